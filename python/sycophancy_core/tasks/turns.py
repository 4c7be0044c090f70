"""Who says what in a task's prompts: turns from our own wordings, and from tables of any origin."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core.prompts.prompt_table import TURNS
from sycophancy_core.scoring.messages import Turn, as_messages, plain_text, read_messages, read_prompt


def user_turn(text: str) -> list[Turn]:
    """Return the turns of a prompt of which the user says everything."""
    return [{"role": "user", "content": text}]


def fill_turns(wording: str, slot: str, value: str) -> list[Turn]:
    """Cut a wording at its own "Human: " and "Assistant: ", and put a value in place of a slot in its turns.

    The value is not looked at: what it spells out stays in the turn that it stands in.
    """
    return [{"role": role, "content": text.replace(slot, value)} for role, text in _core.split_wording(wording)]


def after_answer(turns: Sequence[Turn], answer: str) -> list[Turn]:
    """Return turns whose last one, the beginning of a reply, ends in the answer."""
    *before, reply = turns
    return [*before, {"role": "assistant", "content": reply["content"] + answer}]


def with_turns(prompts: pa.Table, where: str) -> pa.Table:
    """Return prompts as texts in ``prompt`` and turns in ``turns``, whichever of the two the table gave.

    Parameters
    ----------
    prompts
        Prompts, as texts or messages, and maybe turns, also those of version 0.1: texts, by turns.
    where
        What errors call the table.

    Raises
    ------
    DataError
        If a prompt is neither text nor messages, or turns are not of user and assistant in turn.
    """
    has_turns = "turns" in prompts.column_names
    kind = prompts.schema.field("prompt").type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if is_text and (not has_turns or prompts.schema.field("turns").type == TURNS):
        return prompts
    given = prompts["turns"].to_pylist() if has_turns else [None] * prompts.num_rows
    texts: list[str] = []
    turns: list[list[Turn] | None] = []
    for row, (value, said) in enumerate(zip(prompts["prompt"].to_pylist(), given, strict=True)):
        name = f"{where}: prompt {row}"
        prompt = read_prompt(value, name)
        texts.append(plain_text(prompt))
        if said is not None:
            turns.append(read_messages(as_messages(said), name))
        else:
            turns.append(None if isinstance(prompt, str) else prompt)
    place = prompts.column_names.index("prompt")
    prompts = prompts.set_column(place, "prompt", pa.array(texts, pa.large_string()))
    if has_turns:
        return prompts.set_column(prompts.column_names.index("turns"), "turns", pa.array(turns, TURNS))
    return prompts.append_column("turns", pa.array(turns, TURNS))
