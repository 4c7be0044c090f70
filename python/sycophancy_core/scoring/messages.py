"""Who says what: prompts as messages, in the form of OpenAI and TRL, and as the plain text of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.scoring.chat_template import END_OF_THOUGHT

Turn = dict[str, str]
"""What one speaker says: ``role`` (system, user or assistant) and ``content``."""

Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or messages of ``role`` and ``content``, the last of which may be what the assistant's reply begins with."""

THOUGHTS = ("thought", "thought_ended")
"""The columns of what was thought before a reply: its text, and whether it ended by itself."""

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NAMES = {"user": "Human:", "assistant": "Assistant:"}
# What a message may have besides its text, and what would be lost without it.
_UNREAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "audio")


def read_prompt(value: object, where: str) -> str | list[Turn]:
    """Return a prompt that is a text as it is, and one of messages as turns.

    Raises
    ------
    DataError
        If it is neither; ``where`` begins the message.
    """
    if isinstance(value, str):
        return _whole_text(value, where)
    if isinstance(value, list | tuple):
        return read_messages(value, where)
    raise DataError(f"{where}: wanted a text or messages (a list of role and content), got {_kind(value)}")


def read_messages(value: object, where: str) -> list[Turn]:
    """Check messages and return the turns that they are.

    A text may be given in parts of type ``text``, and the system's message as the developer's.

    Raises
    ------
    DataError
        If they are not of user and assistant by turns, the user first, maybe after one of system; or if a message holds
        something else than text. ``where`` begins the message.
    """
    messages = value if isinstance(value, list | tuple) else ()
    if not all(isinstance(message, Mapping) for message in messages):
        other = next(message for message in messages if not isinstance(message, Mapping))
        raise DataError(f"{where}: each of messages must hold a role and a text as its content, got {_kind(other)}")
    turns = [{"role": _role(message), "content": _content(message, where)} for message in messages]
    if len(turns) > 1 and turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()  # a reply that begins with nothing
    roles = [turn["role"] for turn in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or spoken != [("user", "assistant")[i % 2] for i in range(len(spoken))]:
        raise DataError(
            f"{where}: messages must be of user and assistant by turns, the user first, maybe after one of system; "
            f"got {', '.join(roles) or 'none'}"
        )
    return turns


def plain_text(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """Return a prompt as a model without roles reads it: a text as it is, turns as those of Human and Assistant.

    What the system says stands before the first question. The text ends where the assistant's reply goes on.
    """
    if isinstance(prompt, str):
        return prompt
    spoken: list[str] = []
    system = ""
    for turn in prompt:
        if turn["role"] == "system":
            system = f"{turn['content']}\n\n"
        else:
            spoken.append(f"{_NAMES[turn['role']]} {system if not spoken else ''}{turn['content']}")
    if prompt[-1]["role"] == "user":
        spoken.append(_NAMES["assistant"])
    return "\n\n".join(spoken)


def read_choices(value: object, where: str) -> list[str]:
    """Return a prompt's answer choices.

    Raises
    ------
    DataError
        If they are no list of texts; ``where`` begins the message.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(choice, str) for choice in value):
        wrong = value
        if isinstance(value, list | tuple):
            wrong = next(choice for choice in value if not isinstance(choice, str))
        raise DataError(f"{where}: choices must be a list of texts, got {_kind(wrong)}")
    return [_whole_text(choice, where) for choice in value]


def _whole_text(text: str, where: str) -> str:
    """Refuse a text that holds half a surrogate pair, which no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError:
        message = f"{where}: {text!a} holds half a surrogate pair; write the character whole, or remove it"
        raise DataError(message) from None
    return text


def require_list(value: object, where: str, what: str) -> None:
    """Refuse one text, or one conversation, where several are wanted.

    Raises
    ------
    DataError
        If ``value`` is not a list, or its items are messages; ``where`` begins the message.
    """
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: {what} must be a list, got {_kind(value)}; put it into a list")
    if any(isinstance(item, Mapping) for item in value):
        raise DataError(f"{where}: {what} must be a list, got the messages of one prompt; put them into a list")


def table_prompts(prompts: pa.Table, *, by_turns: bool) -> list[Any]:
    """Return what a model is asked, row by row, of a table with the column ``prompt`` and maybe ``turns``.

    Parameters
    ----------
    by_turns
        Whether the model reads roles: then a row's turns come before its text.

    Raises
    ------
    DataError
        If a row has a thought, which would be lost; see :func:`table_thoughts`.
    """
    if table_thoughts(prompts) is not None:
        raise DataError(
            "these prompts have thoughts, after which they are scored or sampled, but nothing else is done with them; "
            "leave the column thought out"
        )
    texts: list[Any] = prompts["prompt"].to_pylist()
    if not by_turns or "turns" not in prompts.column_names:
        return texts
    turns = prompts["turns"].to_pylist()
    return [text if said is None else as_messages(said) for text, said in zip(texts, turns, strict=True)]


def table_thoughts(prompts: pa.Table) -> list[str | None] | None:
    """Return what the assistant thinks before each reply, of a table's column ``thought``; None where nothing is.

    Raises
    ------
    DataError
        If a thought is not a text, or holds the tag that closes it.
    """
    if "thought" not in prompts.column_names or prompts["thought"].null_count == prompts.num_rows:
        return None
    thoughts: list[str | None] = prompts["thought"].to_pylist()
    for row, thought in enumerate(thoughts):
        if not (thought is None or isinstance(thought, str)):
            raise DataError(f"thought: wanted a text or null, got {_kind(thought)} in row {row}")
        if thought is not None and END_OF_THOUGHT in thought:
            raise DataError(f"thought: wanted a text without tags, got {END_OF_THOUGHT} in row {row}; take it out")
    return thoughts


def without_thoughts(prompts: pa.Table) -> pa.Table:
    """Return prompts without what :func:`think` adds to them."""
    return prompts.drop_columns([name for name in THOUGHTS if name in prompts.column_names])


def as_messages(turns: Sequence[Any]) -> Sequence[Any]:
    """Return turns as messages.

    Files of version 0.1 hold texts instead: what user and assistant say by turns, and last what the reply begins with.

    Raises
    ------
    DataError
        If turns are no list, or such texts do not end with the reply's beginning.
    """
    if not isinstance(turns, list | tuple):
        raise DataError(f"turns: wanted messages, got {_kind(turns)}; give a list of role and content, or null")
    if not all(isinstance(turn, str) for turn in turns):
        return turns
    if len(turns) % 2:
        raise DataError(
            f"turns: got {len(turns) - 1} texts before the reply; wanted the user's, or the user's and the assistant's "
            "in turn, the user's last"
        )
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    return _ROLES.get(role, role) if isinstance(role, str) else _kind(role)


def _content(message: Mapping[str, Any], where: str) -> str:
    unread = [key for key in _UNREAD if message.get(key)]
    if unread:
        raise DataError(f"{where}: messages must hold a role and a text, got {unread[0]} too, which would be lost")
    content = message.get("content")
    parts = content if isinstance(content, list | tuple) and content else [{"type": "text", "text": content}]
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        if not isinstance(text, str):
            got = _kind(content) if parts is not content else "a part that is not a text"
            raise DataError(f"{where}: each of messages must hold a role and a text as its content, got {got}")
        texts.append(text)
    return _whole_text("".join(texts), where)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "one text" if isinstance(value, str) else type(value).__name__


def asked_in_chat(prompt: str | Sequence[Mapping[str, str]]) -> list[Turn]:
    """Return the messages by which a chat endpoint is asked.

    What a reply is to begin with stands at the end of the user's message, since endpoints differ in whether they go on
    with a reply.
    """
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]
    if turns[-1]["role"] == "assistant":
        begun = turns.pop()["content"]
        turns[-1]["content"] += f"\n\n{begun}"
    return turns
