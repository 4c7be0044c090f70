"""Training data that the evaluation asks: found by claim, by what a claim is about and by text, and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sycophancy_core._core import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_SHINGLE_WORDS = 5  # a shorter text, such as "Give a synonym.", is no sign of a leak wherever it occurs
# An example's fields, which hold no quotation mark once they are cleaned, or a sum's operands.
_ABOUT = re.compile(rb'"[^"]*"(?: and "[^"]*")*|-?\d+ \+ -?\d+(?= =)')


@dataclass(kw_only=True)
class _Evaluation:
    """The evaluation's claims and texts, and where to look for a text."""

    texts: list[tuple[str, str]] = field(default_factory=list)  # what errors call the prompt, its words
    claims: dict[str, str] = field(default_factory=dict)  # claim id -> what errors call its first prompt
    abouts: dict[tuple[str, bytes], str] = field(default_factory=dict)  # source, what a claim is about -> the same
    shingles: set[int] = field(default_factory=set)  # hashes of all runs of words: a text occurs with all of its own

    def find(self, words: list[str]) -> str | None:
        """Return the name of the first prompt in which the words occur, one after the other."""
        if len(words) < _SHINGLE_WORDS or any(run not in self.shingles for run in _shingles(words)):
            return None  # nearly always here, though many prompts begin alike: the search below takes long
        wanted = f" {' '.join(words)} "
        return next((name for name, text in self.texts if wanted in text), None)


def refuse_overlap(prompts: pa.Table, instructions: Mapping[str, pa.Table], evaluation: Mapping[str, pa.Table]) -> None:
    """Refuse training data that occurs in the prompts of an evaluation.

    A training prompt must not ask a claim that the evaluation asks, nor another claim about the same example (the same
    quoted text of the same source; the same two operands in their order). No text must occur in an evaluation prompt as
    a whole, compared by its words, whatever their case and punctuation: the training prompt's, and of an instruction
    row its input or, where it has none, its instruction. Texts of less than five words are passed over.

    Parameters
    ----------
    prompts
        Prompts to train on: ``id``, ``claim_id``, ``prompt``, and those of :func:`make_prompts` for what claims are
        about: ``source``, ``claim_offset``.
    instructions
        Instruction rows by the name of their source.
    evaluation
        Prompts tables by the name of their task.

    Raises
    ------
    DataError
        At the first overlap; the message names both sides.
    """
    index = _index(evaluation)
    columns = (prompts[name].to_pylist() for name in ("id", "claim_id", "prompt"))
    for identity, claim, text, about in zip(*columns, _abouts(prompts), strict=True):
        if claim in index.claims:
            _refuse(f"training prompt {identity} asks claim {claim}", index.claims[claim], "asks it")
        if about in index.abouts:
            what = f"training prompt {identity} is about {about[1].decode()[:60]!r} of source {about[0]!r}"
            _refuse(what, index.abouts[about], "is too", advice="split claims by example (split_claims)")
        found = index.find(_words(text))
        if found is not None:
            _refuse(f"training prompt {identity}", found, "holds its text")
    for source, table in instructions.items():
        inputs = table["input"].to_pylist() if "input" in table.column_names else [None] * len(table)
        for number, (instruction, text) in enumerate(zip(table["instruction"].to_pylist(), inputs, strict=True), 1):
            found = index.find(_words(text or instruction))
            if found is not None:
                _refuse(f"row {number} of source {source!r}, {(text or instruction)[:60]!r}", found, "holds its text")


def _refuse(trained: str, asked: str, how: str, *, advice: str = "train on other data") -> None:
    raise DataError(f"mix: {trained}, and evaluation {asked} {how}; {advice}, or evaluate on other prompts")


def _index(evaluation: Mapping[str, pa.Table]) -> _Evaluation:
    index = _Evaluation()
    for task, table in evaluation.items():
        claims = table["claim_id"].to_pylist() if "claim_id" in table.column_names else [None] * len(table)
        columns = (table["id"].to_pylist(), claims, table["prompt"].to_pylist(), _abouts(table))
        for identity, claim, text, about in zip(*columns, strict=True):
            name = f"prompt {identity} of task {task!r}"
            words = _words(text)
            index.texts.append((name, f" {' '.join(words)} "))
            index.shingles.update(_shingles(words))
            if claim is not None:
                index.claims.setdefault(claim, name)
            if about is not None:
                index.abouts.setdefault(about, name)
    return index


def _abouts(table: pa.Table) -> Iterator[tuple[str, bytes] | None]:
    """Yield what each prompt's claim is about, where the table says where the claim begins."""
    if not {"source", "claim_offset"} <= set(table.column_names):
        yield from [None] * len(table)
        return
    columns = (table[name].to_pylist() for name in ("source", "prompt", "claim_offset"))
    for source, text, offset in zip(*columns, strict=True):
        found = None if offset is None else _ABOUT.match(text.encode(), offset)
        yield found and (source, found.group())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _shingles(words: list[str]) -> Iterator[int]:
    for start in range(len(words) - _SHINGLE_WORDS + 1):
        yield hash(tuple(words[start : start + _SHINGLE_WORDS]))
