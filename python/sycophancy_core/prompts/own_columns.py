"""Which column of someone else's table is which, and what to type where that cannot be told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sycophancy_core.errors import DataError, warn
from sycophancy_core.prompts.own_rows import GivenRows

_ALIKE = ("claim_id", "id", "about", "family", "arm")  # which change no answer
Guess = Callable[[GivenRows, Sequence[str]], tuple[str | list[str], str] | None]
"""Takes the rows and the columns without a use; gives what to suggest, and why, or None."""


def found_columns(
    given: GivenRows,
    named: Mapping[str, str | Sequence[str] | None],
    usual: Mapping[str, Sequence[str]],
    *,
    required: Sequence[str],
    who: str,
    kind: str,
    guesses: Mapping[str, Guess] | None = None,
) -> dict[str, str]:
    """Say which column is which: as it was named, or as it is usually called.

    Parameters
    ----------
    named
        A column, several or None for each parameter of the function that reads the table.
    usual
        The columns to look for where None was named, in small letters and with underscores: "Is true" is "is_true".
    required
        Parameters that need a column.
    who
        The function that reads the table.
    kind
        What ``sycophancy-core validate --kind`` calls such a table.
    guesses
        How to find a column to suggest where a required one is missing.

    Returns
    -------
    dict[str, str]
        The column of each parameter that has one column.

    Raises
    ------
    DataError
        If a named column or a required one is missing; all of them are in the message.
    """
    columns = {what: chosen for what, chosen in named.items() if isinstance(chosen, str)}
    for what, chosen in named.items():
        _require_named(given, what, [chosen] if isinstance(chosen, str) else chosen or [], who)
        there = _called(given, usual.get(what, ()))
        if chosen is None and there:
            columns[what] = there[0]
            if len(there) > 1 and what not in _ALIKE:
                warn(
                    f"{_subject(given, who)}: {what} may be the column {_or(there)}; {there[0]} is read; say which it "
                    f"is by --{what.replace('_', '-')} or, in Python, {what}="
                )
    missing = [what for what in required if what not in columns and named.get(what) is None]
    if missing and (given.columns or not given.faults):
        lacks = " and none of ".join(f"{what} ({_or(usual[what])})" for what in missing)
        free = [name for name in given.columns if name not in columns.values()]
        raise DataError(
            f"{_subject(given, who)} has no column of {lacks}; its columns are {', '.join(given.columns) or 'none'}; "
            + _advice(
                given, named, {what: (guesses or {}).get(what, _no_guess)(given, free) for what in missing}, who, kind
            )
        )
    return columns


def _called(given: GivenRows, names: Sequence[str]) -> list[str]:
    """Return the columns that are called by these names, in the order of the names, those as written first."""
    return [
        *(name for name in names if name in given.columns),
        *(column for name in names for column in given.columns if plain_name(column) == name != column),
    ]


def plain_name(column: str) -> str:
    """Return a column's name in small letters, its words joined by underscores."""
    return re.sub(r"[\W_]+", "_", column.lower()).strip("_")


def _require_named(given: GivenRows, what: str, chosen: Sequence[str], who: str) -> None:
    absent = [name for name in chosen if name not in given.columns]
    if absent and (given.columns or not given.faults):
        there_is = "there is no column" if len(absent) == 1 else "there are no columns"
        raise DataError(
            f"{given.where if _is_file(given) else who}: {what}: {there_is} {', '.join(absent)}; "
            f"got {', '.join(given.columns) or 'none'} (names are case-sensitive)"
        )


def _advice(
    given: GivenRows,
    named: Mapping[str, str | Sequence[str] | None],
    found: Mapping[str, tuple[str | list[str], str] | None],
    who: str,
    kind: str,
) -> str:
    """Say what to type: with the columns that were named already, and those that fit."""
    values = {what: guess[0] if guess else "COLUMN" for what, guess in found.items()}
    reasons = [guess[1] for guess in found.values() if guess]
    why = " and ".join(reasons) if len(reasons) == len(found) else "say which it is"
    python = f"{who}(..., {', '.join(f'{what}={value!r}' for what, value in values.items())})"
    if not _is_file(given):
        return f"{why}: {python}"
    words = ["sycophancy-core", "validate", given.where, *(["--kind", kind] if kind != "claims" else [])]
    for what, value in {**{what: chosen for what, chosen in named.items() if chosen}, **values}.items():
        words += [f"--{what.replace('_', '-')}", *([value] if isinstance(value, str) else value)]
    other = _other_kind(given, kind)
    if other and len(found) > 1:
        return other
    option = {"claims": "--claims", "questions": "evaluate --tasks or measure --questions"}[kind]
    command = f"`{shlex.join([*words, '-o', 'checked.parquet'])}`, then give checked.parquet to {option}"
    return f"{why}: {command}; in Python: {python}{f'; {other}' if other else ''}"


def _other_kind(given: GivenRows, kind: str) -> str:
    """Say what to type where the columns are those of the other kind."""
    names = {plain_name(column) for column in given.columns}
    if kind == "claims" and {"prompt", "question"} & names:
        return f"if these are questions: `sycophancy-core validate {shlex.quote(given.where)} --kind questions`"
    if kind == "questions" and {"text", "claim", "statement"} & names:
        return f"if these are claims: --tasks claims --claims {shlex.quote(given.where)}"
    return ""


def _no_guess(given: GivenRows, free: Sequence[str]) -> None:
    del given, free


def _subject(given: GivenRows, who: str) -> str:
    return given.where if _is_file(given) else f"{who}: the table"


def _is_file(given: GivenRows) -> bool:
    return bool(Path(given.where).suffix)


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
