"""What a chat template says around the texts of turns, up to the assistant's reply and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.scoring.chat_template import write_out
from sycophancy_core.scoring.messages import Turn


def after_reply(tokenizer: Any) -> str:
    """Text of the chat template after the assistant's last reply."""
    from jinja2 import TemplateError

    mark = "\u2402reply\u2403"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    try:
        *before, after = write_out(tokenizer, turns).split(mark)
    except TemplateError as error:
        raise DataError(f"chat_template: the tokenizer's template refuses an assistant's turn: {error}") from error
    if len(before) != 1:
        raise DataError("chat_template: the tokenizer's template does not hold the reply exactly once; use plain text")
    return after


_PAD = "   "  # stands around a turn's mark, to see whether the template takes it away


@dataclass(frozen=True, kw_only=True)
class Around:
    """What a chat template makes of turns up to the assistant's reply."""

    parts: list[str]  # its own text: before each turn, and before the reply
    trims: list[Callable[[str], str]]  # what it does to each turn's text
    white: str  # white space after the prompt for a reply, the end of the last part
    gap: str  # spaces before the reply


def written(tokenizer: Any, turns: Sequence[Turn], *, thinking: bool) -> str:
    """Return what the chat template makes of turns up to the assistant's reply.

    Raises
    ------
    DataError
        If the template refuses them.
    """
    from jinja2 import TemplateError

    try:
        return write_out(tokenizer, turns, for_reply=True, thinking=thinking)
    except TemplateError as error:
        raise DataError(f"chat_template: the tokenizer's template refuses these turns: {error}") from error


def around_turns(tokenizer: Any, roles: tuple[str, ...], thinking: bool) -> Around:
    """See what the chat template makes of turns of these roles."""
    marks = [f"\u2402text {i} of the {role}\u2403" for i, role in enumerate(roles)]
    turns = [{"role": role, "content": f"{_PAD}{mark}{_PAD}"} for role, mark in zip(roles, marks, strict=True)]
    rest = written(tokenizer, turns, thinking=thinking)
    opening = "" if thinking else _reply_opening(tokenizer, turns, rest)
    parts, trims = [], []
    for role, mark in zip(roles, marks, strict=True):
        before, *after = rest.split(mark)
        if len(after) != 1:
            raise DataError(
                f"chat_template: the tokenizer's template does not hold the {role}'s text exactly once; "
                + ("leave system_prompt out" if role == "system" else "use plain text")
            )
        trims.append(_trim(left=not before.endswith(_PAD), right=not after[0].startswith(_PAD)))
        parts.append(before.removesuffix(_PAD))
        rest = after[0].removeprefix(_PAD)
    white = opening.rstrip(" ")
    return Around(parts=[*parts, rest + white], trims=trims, white=white, gap=opening[len(white) :])


def _trim(*, left: bool, right: bool) -> Callable[[str], str]:
    if left:
        return str.strip if right else str.lstrip
    return str.rstrip if right else str


def _reply_opening(tokenizer: Any, turns: list[dict[str, str]], prompt: str) -> str:
    """White space that the chat template puts between the prompt for a reply and the reply."""
    from jinja2 import TemplateError

    mark = "\u2402reply\u2403"
    try:
        whole = write_out(tokenizer, [*turns, {"role": "assistant", "content": mark}])
    except TemplateError:
        return ""
    opening = whole.partition(mark)[0].removeprefix(prompt)
    return "" if opening.strip() else opening
