"""Training data that the evaluation asks: found by claim, by what a claim is about and by text, and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import Column, checked_table

_SHINGLE_WORDS = 5  # a shorter text, such as "Give a synonym.", is no sign of a leak wherever it occurs
# Scripts without spaces (Thai to Burmese, Khmer, kana, Chinese): each character stands for half a word.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
_CHARACTER = re.compile(rf"[{_SPACELESS}]")
_SPLIT = "split claims by example (split_claims), leave out of training what is in several sets"
# An example's fields, which hold no quotation mark once they are cleaned, or a sum's operands.
_ABOUT = re.compile(rb'"[^"]*"(?: and "[^"]*")*|-?\d+ \+ -?\d+(?= =)')


_ASKED = (
    Column("id", "text"),
    Column("prompt", "text"),
    Column("claim_id", "text", is_required=False, may_be_null=True),
    Column("claim_offset", "whole", is_required=False, may_be_null=True),
)


@dataclass(kw_only=True)
class _Evaluation:
    """The evaluation's claims and texts, and where to look for a text."""

    texts: list[tuple[str, str]] = field(default_factory=list)  # what errors call the prompt, its words
    claims: dict[str, str] = field(default_factory=dict)  # claim id -> what errors call its first prompt
    abouts: dict[bytes, str] = field(default_factory=dict)  # what a claim is about -> the same
    fields: dict[str, str] = field(default_factory=dict)  # the words of a text that a claim quotes -> the same
    field_sizes: dict[int, set[int]] = field(default_factory=dict)  # hash of a field's first words -> sizes of such
    shingles: set[int] = field(default_factory=set)  # hashes of all runs of words: a text occurs with all of its own

    def find(self, words: list[str]) -> str | None:
        """Return the name of the first prompt in which the words occur, one after the other."""
        if _is_short(words) or any(run not in self.shingles for run in _shingles(words)):
            return None  # nearly always here, though many prompts begin alike: the search below takes long
        wanted = f" {' '.join(words)} "
        return next((name for name, text in self.texts if wanted in text), None)

    def find_quoted(self, words: list[str]) -> str | None:
        """Return the name of the first prompt whose claim quotes a text that occurs among the words."""
        for start, run in enumerate(_shingles(words)):
            for size in self.field_sizes.get(run, ()):
                name = self.fields.get(" ".join(words[start : start + size]))
                if name is not None:
                    return name
        return None

    def add_fields(self, about: bytes, name: str) -> None:
        """Take up the texts that a claim quotes."""
        for text in re.findall(r'"([^"]*)"', about.decode()):
            words = _words(text)
            if not _is_short(words):
                self.fields.setdefault(" ".join(words), name)
                self.field_sizes.setdefault(next(_shingles(words)), set()).add(len(words))


def refuse_overlap(prompts: pa.Table, instructions: Mapping[str, pa.Table], evaluation: Mapping[str, pa.Table]) -> None:
    """Refuse training data that occurs in the prompts of an evaluation.

    A training prompt must not ask a claim that the evaluation asks, nor another claim about the same example (the same
    quoted text, of whatever source; the same two operands in their order), nor occur in an evaluation prompt whole. No
    instruction, input or output of an instruction row must occur in an evaluation prompt as a whole, nor hold a text
    that the claim of an evaluation prompt quotes. Texts are compared by their words, whatever their case and
    punctuation; those of less than five words are passed over. In scripts without spaces, such as Chinese, characters
    are compared, two for a word.

    Parameters
    ----------
    prompts
        Prompts to train on: ``id``, ``claim_id``, ``prompt``, and those of :func:`make_prompts` for what claims are
        about: ``claim_offset``.
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
            what = f"training prompt {identity} is about {about.decode()[:60]!r}"
            _refuse(what, index.abouts[about], "is too", advice=_SPLIT)
        found = index.find(_words(text))
        if found is not None:
            _refuse(f"training prompt {identity}", found, "holds its text")
    for source, table in instructions.items():
        _refuse_rows(source, table, index)


def _refuse_rows(source: str, table: pa.Table, index: _Evaluation) -> None:
    """Refuse instruction rows that stand in an evaluation prompt, or hold what its claim quotes."""
    names = [name for name in ("instruction", "input", "output") if name in table.column_names]
    for number, texts in enumerate(zip(*(table[name].to_pylist() for name in names), strict=True), 1):
        for text in filter(None, texts):
            what, words = f"row {number} of source {source!r}, {text[:60]!r}", _words(text)
            found = index.find(words)
            if found is not None:
                _refuse(what, found, "holds its text")
            found = index.find_quoted(words)
            if found is not None:
                _refuse(what, found, "quotes a text that it holds")


def _refuse(trained: str, asked: str, how: str, *, advice: str = "train on other data") -> None:
    raise DataError(f"mix: {trained}, and evaluation {asked} {how}; {advice}, or evaluate on other prompts")


def _index(evaluation: Mapping[str, pa.Table]) -> _Evaluation:
    index = _Evaluation()
    for task, given in evaluation.items():
        table = checked_table(given, _ASKED, who=f"mix (evaluation {task})")
        claims = table["claim_id"].to_pylist() if "claim_id" in table.column_names else [None] * len(table)
        columns = (table["id"].to_pylist(), claims, table["prompt"].to_pylist(), _abouts(table))
        for identity, claim, text, about in zip(*columns, strict=True):
            name = f"prompt {identity} of task {task!r}"
            words = _words(text)
            index.texts.append((name, f" {' '.join(words)} "))
            index.shingles.update(_shingles(words))
            if claim is not None:
                index.claims.setdefault(claim, name)
            if about is not None and about not in index.abouts:
                index.abouts[about] = name
                index.add_fields(about, name)
    return index


def _abouts(table: pa.Table) -> Iterator[bytes | None]:
    """Yield what each prompt's claim is about, where the table says where the claim begins."""
    if "claim_offset" not in table.column_names:
        yield from [None] * len(table)
        return
    for text, offset in zip(table["prompt"].to_pylist(), table["claim_offset"].to_pylist(), strict=True):
        found = None if offset is None else _ABOUT.match(text.encode(), offset)
        yield found and found.group()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _is_short(words: list[str]) -> bool:
    return len(words) - sum(_CHARACTER.match(word) is not None for word in words) / 2 < _SHINGLE_WORDS


def _shingles(words: list[str]) -> Iterator[int]:
    for start in range(len(words) - _SHINGLE_WORDS + 1):
        yield hash(tuple(words[start : start + _SHINGLE_WORDS]))
