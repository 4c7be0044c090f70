"""Facts: questions with one right answer and two wrong ones, in families such as capitals and sums.

A family is one JSON Lines file. Some families may be trained on while others only test: they are the unit of transfer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, FaultsError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.runs.json_files import json_kind, parse_json_line

_FOLDER = Path(__file__).parents[1] / "data/facts"
_TEXTS = ("id", "question", "lead_in", "right", "statement")
_KEYS = (*_TEXTS, "wrong")
_SLOT = "{answer}"
NUM_WRONG = 2


def fact_families() -> list[str]:
    """Return the names of the families that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.jsonl"))


@checked_arguments
def load_facts(families: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None) -> pa.Table:
    """Load facts, those of the package or your own, and check every one.

    Parameters
    ----------
    families
        None for all families of the package; or one or several of: the name of such a family, the path of a JSON Lines
        file of your own, a folder of such files. A file's name without ``.jsonl`` is the name of its family.

    Returns
    -------
    pyarrow.Table
        One row a fact: ``id``, ``family``, ``question``, ``lead_in`` (the beginning of the reply, which an answer
        completes), ``right``, ``wrong`` (two texts), ``statement`` (a clause that stands after "that"; ``{answer}``
        marks the place of the answer).

    Raises
    ------
    DataError
        If there is no such family, file or fact, or a line is no fact: a missing or unknown key, an empty text, an
        answer twice, a slot that is not there once, an answer that begins another one (its probability would include
        the other's), an id or a question that stands twice. The message lists every fault with file and line.

    Examples
    --------
    >>> load_facts("capitals").slice(0, 1).to_pylist()[0]["right"]
    'Paris'
    """
    if families is None:
        families = fact_families()
    elif isinstance(families, (str, os.PathLike)):
        families = [families]
    paths = [path for family in families for path in _paths(family)]
    if not paths:
        raise DataError(f"facts: wanted at least one family of {', '.join(fact_families())}, or a path; got none")
    faults: list[str] = []
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[str, str], str] = {}
    for path in paths:
        for where, fact in _facts_of(path, faults):
            twice = [name for name in ("id", "question") if (name, fact[name]) in seen]
            faults += [f"{where}: the {name} {fact[name]!r} is in {seen[name, fact[name]]} too" for name in twice]
            seen |= {(name, fact[name]): where for name in ("id", "question")}
            rows.append({"family": path.stem} | fact)
    if faults:
        raise FaultsError("facts", faults, "mend these lines, or leave them out")
    if not rows:
        raise DataError(f"facts: {', '.join(map(str, paths))} hold no fact; wanted one JSON object a line")
    return pa.Table.from_pylist(rows, schema=_schema())


def _schema() -> pa.Schema:
    texts = ("id", "family", "question", "lead_in", "right")
    return pa.schema(
        [*((name, pa.string()) for name in texts), ("wrong", pa.list_(pa.string())), ("statement", pa.string())]
    )


def _paths(family: str | os.PathLike[str]) -> list[Path]:
    if str(family) in fact_families():
        return [_FOLDER / f"{family}.jsonl"]
    path = Path(family)
    if path.is_dir():
        return sorted(path.glob("*.jsonl"))
    if not path.is_file():
        known = ", ".join(fact_families())
        raise DataError(
            f"facts: {str(family)!r} is neither a family ({known}) nor a JSON Lines file or a folder of such files"
        )
    if path.suffix in (".csv", ".tsv", ".parquet"):
        raise DataError(f"facts: {path}: wanted a JSON Lines file (docs/facts.md shows a line), got {path.suffix}")
    return [path]


def _facts_of(path: Path, faults: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the content of every sound line; what is wrong with the others goes to ``faults``."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            where = f"{path.name}, line {number}"
            try:
                fact = parse_json_line(line, where)
            except DataError as error:
                faults.append(str(error))
                continue
            found = [f"{where}: {fault}" for fault in _faults(fact)]
            faults += found
            if not found:
                yield where, fact


def _faults(fact: Any) -> Iterator[str]:
    """Say what is wrong with one line of a file of facts."""
    if not isinstance(fact, dict):
        yield f"wanted an object with {', '.join(_KEYS)}, got {json_kind(fact)}"
        return
    missing, unknown = [key for key in _KEYS if key not in fact], [key for key in fact if key not in _KEYS]
    if missing:
        yield f"wanted the keys {', '.join(_KEYS)}; {', '.join(missing)} is missing"
    if unknown:
        yield f"wanted the keys {', '.join(_KEYS)}; got {', '.join(unknown)} too"
    bad = [key for key in _TEXTS if key in fact and not _is_text(fact[key])]
    for key in bad:
        yield f"{key} must be a text without spaces around it, got {fact[key]!r}"
    if "statement" in fact and "statement" not in bad and fact["statement"].count(_SLOT) != 1:
        yield f"statement must hold {_SLOT} exactly once, got {fact['statement']!r}"
    wrong = fact.get("wrong")
    if "wrong" not in fact:
        return
    if not isinstance(wrong, list) or len(wrong) != NUM_WRONG or not all(map(_is_text, wrong)):
        yield f"wrong must be {NUM_WRONG} texts without spaces around them, got {wrong!r}"
    elif _is_text(fact.get("right")):
        yield from answer_faults([fact["right"], *wrong])


def answer_faults(answers: Sequence[str]) -> Iterator[str]:
    """Say which answers of a fact a model's choice cannot tell apart."""
    if len(set(answers)) < len(answers):
        yield f"right and wrong must be different answers, got {answers}"
        return
    for answer in answers:
        for other in answers:
            if other != answer and other.startswith(answer):
                yield f"the answer {answer!r} begins the answer {other!r}, whose probability it would include"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value == value.strip()
