"""A tokenizer's chat template, written out in one way: with the same date, and thinking off or on, for every prompt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sycophancy_core.errors import ModelError, warn

TemplateChoice = bool | Literal["auto"] | None
"""Whether to ask in the chat template; see ``load_model``."""

TEMPLATE_DATE = "26 Jul 2024"  # on which Llama 3's template falls back; some templates ask for today's

# The parts of the date by their directives of strftime, in English whatever the locale. "%%" comes last.
_DATE_PARTS = {
    "%-d": "26",
    "%-m": "7",
    "%d": "26",
    "%e": "26",
    "%b": "Jul",
    "%B": "July",
    "%m": "07",
    "%Y": "2024",
    "%y": "24",
    "%a": "Fri",
    "%A": "Friday",
    "%j": "208",
    "%H": "00",
    "%I": "12",
    "%p": "AM",
    "%M": "00",
    "%S": "00",
    "%Z": "UTC",
    "%%": "%",
}


def choose_template(choice: TemplateChoice, name: str, *, is_chat: bool) -> bool:
    """Return whether to ask in the chat template.

    Parameters
    ----------
    is_chat
        Whether the model has a template and was trained in it.

    Raises
    ------
    ModelError
        If the choice is none of True, False, "auto" and None.

    Warns
    -----
    UserWarning
        If nothing was chosen for a model that has a template.
    """
    if isinstance(choice, bool):
        return choice
    if choice not in (None, "auto"):
        raise ModelError(f"load_model: chat_template must be True, False or 'auto', got {choice!r}")
    if is_chat and choice is None:
        warn(
            f"model {name}: its tokenizer has a chat template, but prompts are asked as plain text; give "
            "chat_template=True to ask as in a chat, or chat_template=False if plain text is meant"
        )
    return is_chat and choice == "auto"


def write_out(
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    *,
    for_reply: bool = False,
    thinking: bool = False,
    date: str = TEMPLATE_DATE,
) -> str:
    """Return the text that the tokenizer's chat template makes of messages.

    Thinking is switched off where the template has a switch for it, since a choice is scored as the whole reply. Where
    the prompt for a reply opens a thought all the same, the thought is closed, empty.

    Parameters
    ----------
    for_reply
        End with what the template puts before the assistant's reply.
    thinking
        Switch thinking on instead: what opens a thought stays open.
    date
        What the template takes for today.

    Raises
    ------
    jinja2.TemplateError
        If the template refuses the messages.
    ModelError
        If the prompt for a reply opens a thought in other tags than ``<think>``, so that a choice would be scored in
        the middle of it.
    """
    template = str(tokenizer.get_chat_template())
    text = str(
        tokenizer.apply_chat_template(
            list(messages),
            chat_template=_dated(template, date),
            tokenize=False,
            add_generation_prompt=for_reply,
            date_string=date,
            enable_thinking=thinking,
            thinking=thinking,
        )
    )
    if for_reply and not thinking and _opens_thought(text, messages):
        return text.rstrip("\n") + f"\n\n{END_OF_THOUGHT}\n\n"
    if for_reply:
        _refuse_other_thought(text, messages)
    return text


THINK, END_OF_THOUGHT = "<think>", "</think>"
# What a prompt ends with that opens a thought: <thought>, <seed:think>, [THINK], <|START_THINKING|>, ...
_OTHER_THOUGHT = re.compile(
    r"([<\[◁](?![/|｜]*(?:/|END))[^<>\[\]◁▷\s]*(?:THINK|THOUGHT|REASON)[^<>\[\]◁▷\s/]*[>\]▷])\s*$", re.IGNORECASE
)


def _opens_thought(text: str, messages: Sequence[Mapping[str, str]]) -> bool:
    """Tell whether the prompt for a reply ends inside a thought, which a message that says "<think>" does not open."""
    if text.rfind(THINK) <= text.rfind(END_OF_THOUGHT):
        return False
    return text.rstrip().endswith(THINK) or not any(THINK in message["content"] for message in messages)


def _refuse_other_thought(text: str, messages: Sequence[Mapping[str, str]]) -> None:
    opened = _OTHER_THOUGHT.search(text)
    if opened and opened[1] != THINK and not any(one["content"].rstrip().endswith(opened[1]) for one in messages):
        raise ModelError(
            f"chat_template: the prompt for a reply opens a thought with {opened[1]}, where only {THINK} is known, so "
            "that an answer would be scored in the middle of the thought; use plain text, or another template"
        )


@dataclass(frozen=True, kw_only=True)
class ThoughtMarks:
    """What stands around a thought in a template's reply.

    Attributes
    ----------
    opening
        After the prompt for a reply with thinking on, up to the thought: empty where that prompt opens the thought.
    closing
        Between the thought and what the assistant says after it.
    """

    opening: str
    closing: str


def thought_marks(tokenizer: Any) -> ThoughtMarks | None:
    """Return how a chat template writes a thought; None where it knows none (``</think>``).

    They are as the template writes a past thought (a message's ``reasoning_content``). Where it writes none, they are
    as in its prompt for a reply, with thinking on or off; where neither shows them, as most templates have them.

    Raises
    ------
    jinja2.TemplateError
        If the template refuses a question.
    """
    asked = [{"role": "user", "content": "?"}]
    opened = write_out(tokenizer, asked, for_reply=True, thinking=True)
    is_open = _opens_thought(opened, asked)
    if past := _past_thought(tokenizer, asked):
        before, closing = past
        begun = before.removeprefix(opened) if before.startswith(opened) else before[before.rindex(THINK) :]
        return ThoughtMarks(opening="" if is_open else begun, closing=closing)
    closed = re.search(rf"(?:{THINK}(\s*))?{END_OF_THOUGHT}(\s*)$", write_out(tokenizer, asked, for_reply=True))
    if closed is None:
        is_known = END_OF_THOUGHT in str(tokenizer.get_chat_template())
        return ThoughtMarks(opening=f"{THINK}\n", closing=f"\n{END_OF_THOUGHT}\n\n") if is_known else None
    inside = closed[1] or ""
    gap = inside[: len(inside) // 2]
    if is_open:
        begun = opened.rpartition(THINK)[2]
        gap = begun[: len(begun) - len(begun.lstrip())]
    return ThoughtMarks(opening="" if is_open else f"{THINK}{gap}", closing=f"{gap}{END_OF_THOUGHT}{closed[2]}")


def _past_thought(tokenizer: Any, asked: list[dict[str, str]]) -> tuple[str, str] | None:
    """Return what a template writes before a past thought, and between it and the reply; None where it writes none."""
    from jinja2 import TemplateError

    thought, reply = "\u2402thought\u2403", "\u2402reply\u2403"
    answered = [*asked, {"role": "assistant", "content": reply, "reasoning_content": thought}]
    try:
        before, found, after = write_out(tokenizer, answered, thinking=True).partition(thought)
    except TemplateError:
        return None
    closing = after.partition(reply)[0]
    return (before, closing) if found and THINK in before and closing.strip() == END_OF_THOUGHT else None


def template_facts(tokenizer: Any, system_prompt: str | None) -> dict[str, str | None]:
    """Return what every prompt of a job has from the chat template.

    Returns
    -------
    dict
        ``chat_template``: its sha256; ``system_prompt``: as given; ``template_opening``: what stands before the user's
        first text, a system prompt of the template's own included; ``template_date``: the date that it writes, None
        where it writes none.
    """
    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    mark = "\u2402text\u2403"
    messages = [*system, {"role": "user", "content": mark}]
    text = write_out(tokenizer, messages, for_reply=True)
    is_dated = text != write_out(tokenizer, messages, for_reply=True, date="1 Jan 1970")
    template = str(tokenizer.get_chat_template())
    return {
        "chat_template": hashlib.sha256(template.encode()).hexdigest(),
        "system_prompt": system_prompt,
        "template_opening": text.partition(mark)[0],
        "template_date": TEMPLATE_DATE if is_dated else None,
    }


def _dated(template: str, date: str) -> str:
    """Return the template with a clock of its own, where it asks for the time."""
    if "strftime_now" not in template:
        return template
    parts = _DATE_PARTS if date == TEMPLATE_DATE else dict.fromkeys(_DATE_PARTS, date)
    replaced = "".join(f' | replace("{directive}", "{part}")' for directive, part in parts.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{replaced} }}}}{{% endmacro +%}}{template}"
