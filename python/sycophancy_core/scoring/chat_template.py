"""A tokenizer's chat template, written out in one way: with the same date and without thinking for every prompt."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sycophancy_core.errors import ModelError

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
        warnings.warn(
            f"model {name}: its tokenizer has a chat template, but prompts are asked as plain text; give "
            "chat_template=True to ask as in a chat, or chat_template=False if plain text is meant",
            UserWarning,
            stacklevel=3,
        )
    return is_chat and choice == "auto"


def write_out(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], *, for_reply: bool = False, date: str = TEMPLATE_DATE
) -> str:
    """Return the text that the tokenizer's chat template makes of messages.

    Thinking is switched off where the template has a switch for it, since a choice is scored as the whole reply. Where
    the prompt for a reply opens a thought all the same, the thought is closed, empty.

    Parameters
    ----------
    for_reply
        End with what the template puts before the assistant's reply.
    date
        What the template takes for today.

    Raises
    ------
    jinja2.TemplateError
        If the template refuses the messages.
    """
    template = str(tokenizer.get_chat_template())
    text = str(
        tokenizer.apply_chat_template(
            list(messages),
            chat_template=_dated(template, date),
            tokenize=False,
            add_generation_prompt=for_reply,
            date_string=date,
            enable_thinking=False,
            thinking=False,
        )
    )
    if for_reply and text.rfind("<think>") > text.rfind("</think>"):
        text = text.rstrip("\n") + "\n\n</think>\n\n"
    return text


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
