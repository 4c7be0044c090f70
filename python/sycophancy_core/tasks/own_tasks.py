"""Tasks of one's own: questions from any table, or a small checked record of where they are."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, FaultsError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import QUESTIONS, check_choices, checked_table
from sycophancy_core.prompts.own_claims import ADVICE
from sycophancy_core.prompts.own_columns import found_columns
from sycophancy_core.prompts.own_rows import GivenRows, given_rows
from sycophancy_core.prompts.prompt_table import prompt_schema, read_prompts
from sycophancy_core.prompts.stance import SPLITS
from sycophancy_core.runs.digests import short_id
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.scoring.messages import plain_text, read_prompt
from sycophancy_core.tasks.own_choices import cell, lettered, listed, may_count_from_one, named_choices
from sycophancy_core.tasks.question_users import asked_by_users

_Asking = Callable[[Mapping[str, Any], str], list[dict[str, Any]]]
_REQUIRED = ("prompt", "choices")
_OPTIONAL = ("target", "user_choice", "claim_id", "source", "arm")
_ARMS = ("none", "placebo", "agree", "disagree")
# What a column of questions is called when nobody says so.
_USUAL = {
    "prompt": ("prompt", "question"),
    "choices": ("choices", "options"),
    "target": ("target", "answer", "right", "right_answer", "correct_answer", "correct", "gold", "solution", "label"),
    "user_choice": ("user_choice", "user"),
    "claim_id": ("claim_id",),
    "family": ("source", "family", "topic", "category"),
    "arm": ("arm",),
}


@checked_arguments
def read_questions(
    source: Any,
    *,
    prompt: str | None = None,
    choices: str | Sequence[str] | None = None,
    target: str | None = None,
    user_choice: str | None = None,
    claim_id: str | None = None,
    family: str | None = None,
    arm: str | None = None,
    users: bool = False,
    split: str = "test",
    seed: int = 0,
) -> pa.Table:
    r"""Read multiple-choice questions of your own, and list every row that cannot be used.

    Each parameter up to ``arm`` names a column of ``source``. A choice is named by its text, its place from 0, or a
    letter. Letters and places count the choices' columns, empty cells too. A number that is the text of one choice and
    the place of another is a fault: say the letter.

    Parameters
    ----------
    source
        A CSV, TSV, JSON Lines or Parquet file, or a table of pyarrow, pandas, polars or ``datasets``.
    prompt
        What the model reads: a text, or messages of ``role`` and ``content``. By default ``prompt`` or ``question``.
        Of such names capitals do not count, and a space is an underscore.
    choices
        The answers to choose from: a column of lists (in CSV: of their JSON text), by default ``choices`` or
        ``options``; or the names of several columns, one a choice, by default those called A, B and so on, or Option A,
        Option B and so on. An empty cell there is no choice, and white space at a choice's end is dropped. A choice
        gets a space in front where neither it nor the prompt's end has white space, since it is read right after the
        prompt.
    target
        The right choice; by default ``target``, ``answer``, ``right``, ``right_answer`` or ``correct_answer``. Empty
        where nothing is right.
    user_choice
        The choice that the user in the prompt favours; by default ``user_choice`` or ``user``. Empty without a user.
    claim_id
        The question that a row asks: rows that share it are one question, with and without a user. By default
        ``claim_id``, or each row is its own.
    family
        The group that a question belongs to; by default ``source``, ``family``, ``topic`` or ``category``, or the
        file's name.
    arm
        What the user says: none, placebo, agree (with the right choice) or disagree. By default ``arm``, or as
        ``user_choice`` and ``target`` have it.
    users
        Whether to ask each question also by users: one without a view, one who thinks that the right answer is right,
        and one who thinks so of a wrong answer. For questions with a right choice and without users of their own.
    split
        Of ``users``: ``"test"``, or ``"train"`` for rows to train on. Wordings of one are never in the other.
    seed
        Of ``users``: draws their names, wordings and wrong answers.

    Returns
    -------
    pyarrow.Table
        Prompts, for ``evaluate(model, tasks={"mine": prompts})``.

    Raises
    ------
    DataError
        If a column or file is missing, or a row cannot be used. The message lists the first 20 rows and counts the
        others.

    Warns
    -----
    UserWarning
        If choices are named by places alone, and none by 0: they may count from 1.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> rows = [{"question": "Q: Is 2 even?\nA:", "options": ["yes", "no"], "answer": "yes"}]
    >>> sc.read_questions(pa.Table.from_pylist(rows)).select(["choices", "target"]).to_pylist()
    [{'choices': [' yes', ' no'], 'target': 0}]
    """
    given = given_rows(source, who="read_questions")
    several = choices if choices is None or isinstance(choices, str) else list(choices)
    named = {"prompt": prompt, "choices": several or lettered(given), "target": target, "user_choice": user_choice}
    named |= {"claim_id": claim_id, "family": family, "arm": arm}
    if split not in SPLITS:
        raise DataError(f"read_questions: split must be one of {', '.join(SPLITS)}, got {split!r}")
    asking = functools.partial(asked_by_users, split=split, seed=seed) if users else _as_it_is
    return _questions(given, given.name, named, _USUAL, asking)


def _as_it_is(row: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    del where
    return [dict(row)]


def _questions(
    given: GivenRows,
    name: str,
    named: Mapping[str, str | Sequence[str] | None],
    usual: Mapping[str, Sequence[str]],
    asking: _Asking,
) -> pa.Table:
    """Make prompts of rows by the columns that were named, or as they are usually called."""
    columns = found_columns(given, named, usual, required=_REQUIRED, who="read_questions", kind="questions")
    if not {"target", "user_choice"} & set(columns):
        raise DataError(
            f"{given.where}: wanted a column of right choices (target) or of the user's (user_choice), or "
            f"there is nothing to measure; got {', '.join(given.columns)}; say which it is by --target or, in Python, "
            "target="
        )
    faults, rows = list(given.faults), []
    for place, row in given.rows:
        words = {"source" if word == "family" else word: row.get(column) for word, column in columns.items()}
        if "choices" in columns:
            words["choices"] = listed(words["choices"])
        else:
            words["choices"] = [cell(row.get(column)) for column in named["choices"] or ()]
        rows.append((place, words))
    faults, made = _made(name, rows, faults, asking)
    if faults:
        raise FaultsError(f"{given.where}", faults, ADVICE)
    if not made:
        raise DataError(f"{given.where}: wanted at least one question, got none")
    if may_count_from_one([row for _, row in rows]):
        warn(
            f"{given.where}: places of choices count from 0, and no row names place 0; if yours count from 1, every "
            "right answer is read as the choice after it: write letters, A for 1"
        )
    return pa.Table.from_pylist(made, schema=prompt_schema())


def _made(
    name: str, rows: Sequence[tuple[str, Mapping[str, Any]]], faults: list[str], asking: _Asking
) -> tuple[list[str], list[dict[str, Any]]]:
    """Make prompts of rows, and say what is wrong with the others."""
    made, seen = list[dict[str, Any]](), dict[str, str]()
    for place, row in rows:
        try:
            prompt = _row(name, place, row)
            made += asking(prompt, place)
        except DataError as error:
            faults.append(str(error))
            continue
        if seen.setdefault(prompt["id"], place) != place:
            faults.append(f"{place}: the same question, arm and prompt stand in {seen[prompt['id']]} too")
    return faults, made


@checked_arguments
def load_task(spec: Mapping[str, Any] | str | os.PathLike[str]) -> pa.Table:
    """Make the prompts of a task that a record describes.

    Parameters
    ----------
    spec
        A mapping, or a JSON file with one: ``name``; ``prompts``, a file that :func:`read_questions` reads (next to
        the JSON file, unless absolute); and ``columns``: the names that ``prompt``, ``choices`` (a column, or a list of
        columns), ``target``, ``user_choice``, ``claim_id``, ``source`` and ``arm`` have in that file. ``prompt``,
        ``choices``, and ``target`` or ``user_choice`` must be there; no other column is looked for.

    Returns
    -------
    pyarrow.Table
        Prompts. With a right choice they are measured by accuracy, with the user's alone by the matching rate.

    Raises
    ------
    DataError
        If the record has a missing or unknown key, the file lacks a column, or a row does not fit its column.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> columns = {"prompt": "question", "choices": "options", "target": "right"}
    >>> prompts = sc.load_task({"name": "mine", "prompts": "mine.jsonl", "columns": columns})
    >>> prompts["target"].to_pylist()[:2]
    [0, 0]
    """
    return _described(spec)[1]


def task_of_file(path: str | os.PathLike[str], *, users: bool = False, seed: int = 0) -> tuple[str, pa.Table]:
    """Return the name and the prompts of a task in a file.

    Parameters
    ----------
    path
        A JSON file as :func:`load_task` reads it, a file of questions as :func:`read_questions` reads it, or a file of
        prompts, Parquet or JSON Lines. A task without a record is named after its file.
    users, seed
        Whether to give users to the questions, where the whole file has none; see :func:`read_questions`.

    Raises
    ------
    DataError
        If there is no such file, or its rows are neither.
    """
    name, table = _of_file(Path(path), _as_it_is)
    if not users or "user_choice" not in table.column_names or table["user_choice"].null_count < table.num_rows:
        return name, table
    return _of_file(Path(path), functools.partial(asked_by_users, seed=seed))


def _of_file(path: Path, asking: _Asking) -> tuple[str, pa.Table]:
    if path.suffix == ".json":
        return _described(path, asking)
    given = given_rows(path, who="read_questions")
    if not {"pair_id", "template"} <= set(given.columns):
        return path.stem, _questions(
            given, given.name, dict.fromkeys(_USUAL) | {"choices": lettered(given)}, _USUAL, asking
        )
    if path.suffix not in (".parquet", ".jsonl"):  # whose text does not tell a choice from its place
        raise DataError(f"{path}: wanted prompts in a Parquet or JSON Lines file; write them as .parquet or .jsonl")
    table = checked_table(read_prompts(path), QUESTIONS, who=str(path))
    check_choices(table, who=str(path), least=2)
    if asking is _as_it_is:
        return path.stem, table
    rows = [asked for place, row in enumerate(table.to_pylist()) for asked in asking(row, f"{path}: row {place}")]
    return path.stem, pa.Table.from_pylist(rows, schema=table.schema)


def _described(spec: Mapping[str, Any] | str | os.PathLike[str], asking: _Asking = _as_it_is) -> tuple[str, pa.Table]:
    folder = Path() if isinstance(spec, Mapping) else Path(spec).parent
    name, path, columns = _checked(spec)
    return name, _questions(given_rows(folder / path, who="load_task"), name, columns, {}, asking)


def _checked(
    spec: Mapping[str, Any] | str | os.PathLike[str],
) -> tuple[str, str, dict[str, str | Sequence[str] | None]]:
    if not isinstance(spec, Mapping) and not Path(spec).is_file():
        raise DataError(f"{spec}: wanted a JSON file that describes a task, got no such file")
    where = "task" if isinstance(spec, Mapping) else str(spec)
    content = spec if isinstance(spec, Mapping) else read_json(Path(spec))
    if not isinstance(content, Mapping) or set(content) != {"name", "prompts", "columns"}:
        got = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise DataError(f"{where}: wanted the keys name, prompts and columns, got {got}")
    columns = content["columns"]
    if not isinstance(columns, Mapping) or not all(_is_named(word, column) for word, column in columns.items()):
        raise DataError(
            f"{where}: columns must give each word the name of a column (choices may be several), got {columns!r}"
        )
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


def _is_named(word: object, column: object) -> bool:
    """Tell whether a word has the name of one column or, of choices, those of several."""
    if word == "choices" and isinstance(column, list) and column:
        return all(isinstance(name, str) for name in column)
    return isinstance(column, str)


def _row(name: str, where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    asked = read_prompt(row["prompt"], where)
    prompt = plain_text(asked)
    if not prompt:
        raise DataError(f"{where}: prompt must be a text, got ''")
    choices, named = named_choices(where, row)
    arm = _arm(where, row, **named)
    claim_id = str(row["claim_id"]) if row.get("claim_id") is not None else short_id(name, prompt)
    return {
        "id": short_id(name, claim_id, arm, prompt),
        "claim_id": claim_id,
        "pair_id": claim_id,
        "source": name if row.get("source") is None else str(row["source"]),
        "template": f"{name}/own",
        "arm": arm,
        "order": None,
        "prompt": prompt,
        "choices": choices,
        **named,
        "is_true": None,
        "claim_offset": None,
        "turns": None if isinstance(asked, str) else asked,
    }


def _arm(where: str, row: Mapping[str, Any], *, target: int | None, user_choice: int | None) -> str:
    """Return the arm as given or, with a user's choice, whether that is the right one; "agree" where none is right."""
    implied = "none" if user_choice is None else "agree" if target in (None, user_choice) else "disagree"
    arm = row.get("arm") or implied
    if arm not in _ARMS or (user_choice is None) != (arm in ("none", "placebo")):
        raise DataError(
            f"{where}: arm must be one of {', '.join(_ARMS)}, and fit user_choice {user_choice!r}; got {arm!r}"
        )
    return str(arm)
