"""Tasks of one's own: a small checked record says where the prompts are and what their columns are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.prompt_table import prompt_schema
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.json_files import read_json, read_json_lines
from sycophancy_core.scoring.messages import plain_text, read_prompt
from sycophancy_core.tables import MAX_CHOICES

_REQUIRED = ("prompt", "choices")
_OPTIONAL = ("target", "user_choice", "claim_id", "source", "arm")
_ARMS = ("none", "placebo", "agree", "disagree")


def load_task(spec: Mapping[str, Any] | str | os.PathLike[str]) -> pa.Table:
    """Make the prompts of a task that a record describes.

    Parameters
    ----------
    spec
        A mapping, or a JSON file with one: ``name``; ``prompts``, a JSON Lines or Parquet file (beside the JSON file,
        unless absolute); and ``columns``, which gives for ``prompt`` (a text, or messages of ``role`` and ``content``,
        the last maybe the beginning of the assistant's reply) and ``choices`` (list of texts), and for any of
        ``target`` (index of the right choice), ``user_choice`` (index of the user's), ``claim_id`` (rows of one
        question share it; by default each row is its own), ``source`` and ``arm`` (none, placebo, agree, disagree) the
        column's name in the file.

    Returns
    -------
    pyarrow.Table
        Prompts. With a right choice they are measured by accuracy, with the user's alone by the matching rate.

    Raises
    ------
    DataError
        If the record has a missing or unknown key, the file lacks a column, or a row does not fit its column.
    """
    folder = Path() if isinstance(spec, Mapping) else Path(spec).parent
    name, path, columns = _checked(spec)
    read = _read(folder / path)
    if not read:
        raise DataError(f"task {name}: {path} holds no rows")
    there = list(dict.fromkeys(key for row in read for key in row))
    lacking = [column for column in columns.values() if column not in there]
    if lacking:
        raise DataError(f"task {name}: {path} lacks the column {lacking[0]!r}; got {', '.join(map(str, there))}")
    rows = [
        _row(name, number, {word: row.get(column) for word, column in columns.items()})
        for number, row in enumerate(read)
    ]
    ids = [row["id"] for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(number for number, identity in enumerate(ids) if identity in ids[:number])
        raise DataError(f"task {name}, row {twice + 1}: the same question, arm and prompt stand in an earlier row")
    return pa.Table.from_pylist(rows, schema=prompt_schema())


def _checked(spec: Mapping[str, Any] | str | os.PathLike[str]) -> tuple[str, str, dict[str, str]]:
    if not isinstance(spec, Mapping) and not Path(spec).is_file():
        raise DataError(f"{spec}: wanted a JSON file that describes a task, got no such file")
    where = "task" if isinstance(spec, Mapping) else str(spec)
    content = spec if isinstance(spec, Mapping) else read_json(Path(spec))
    if not isinstance(content, Mapping) or set(content) != {"name", "prompts", "columns"}:
        got = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise DataError(f"{where}: wanted the keys name, prompts and columns, got {got}")
    columns = content["columns"]
    if not isinstance(columns, Mapping) or not all(isinstance(column, str) for column in columns.values()):
        raise DataError(f"{where}: columns must give each word the name of a column, got {columns!r}")
    unknown = [word for word in columns if word not in (*_REQUIRED, *_OPTIONAL)]
    missing = [word for word in _REQUIRED if word not in columns]
    if unknown or missing:
        raise DataError(
            f"{where}: columns must name {' and '.join(_REQUIRED)}, and may name {', '.join(_OPTIONAL)}; "
            f"got {', '.join(map(str, columns))}"
        )
    if not {"target", "user_choice"} & set(columns):
        raise DataError(f"{where}: columns must name target, user_choice or both, or there is nothing to measure")
    return str(content["name"]), str(content["prompts"]), dict(columns)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path}: wanted a JSON Lines or Parquet file of prompts, got no such file")
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = read_table(path).to_pylist()
        return rows
    return read_json_lines(path)


def _row(name: str, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    where = f"task {name}, row {number + 1}"
    asked, choices = read_prompt(row["prompt"], where), row["choices"]
    prompt = plain_text(asked)
    if not prompt:
        raise DataError(f"{where}: prompt must be a text, got ''")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise DataError(f"{where}: choices must be at least two texts, got {choices!r}")
    if len(choices) > MAX_CHOICES:
        raise DataError(f"{where}: choices must be at most {MAX_CHOICES} texts, got {len(choices)}")
    for word in ("target", "user_choice"):
        index = row.get(word)
        if index is not None and not (type(index) is int and 0 <= index < len(choices)):
            raise DataError(f"{where}: {word} must be an index below {len(choices)}, got {index!r}")
    arm = _arm(where, row)
    claim_id = str(row["claim_id"]) if row.get("claim_id") is not None else _identity(name, prompt)
    return {
        "id": _identity(name, claim_id, arm, prompt),
        "claim_id": claim_id,
        "pair_id": claim_id,
        "source": name if row.get("source") is None else str(row["source"]),
        "template": f"{name}/own",
        "arm": arm,
        "order": None,
        "prompt": prompt,
        "choices": choices,
        "target": row.get("target"),
        "user_choice": row.get("user_choice"),
        "is_true": None,
        "claim_offset": None,
        "turns": None if isinstance(asked, str) else asked,
    }


def _arm(where: str, row: Mapping[str, Any]) -> str:
    """Return the arm as given or, with a user's choice, whether that is the right one; "agree" where none is right."""
    user, target = row.get("user_choice"), row.get("target")
    implied = "none" if user is None else "agree" if target in (None, user) else "disagree"
    arm = row.get("arm") or implied
    if arm not in _ARMS or (user is None) != (arm in ("none", "placebo")):
        raise DataError(f"{where}: arm must be one of {', '.join(_ARMS)}, and fit user_choice {user!r}; got {arm!r}")
    return str(arm)


def _identity(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
