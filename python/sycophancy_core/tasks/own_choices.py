"""Choices of one's own questions: which columns they are in, and which of them a cell names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import MAX_CHOICES
from sycophancy_core.prompts.own_columns import plain_name
from sycophancy_core.prompts.own_rows import GivenRows

_SERIES: tuple[tuple[re.Pattern[str], Callable[[str], int], int], ...] = (  # names, the number of one, the first
    (re.compile(r"(?:|option_?|choice_?|answer_?)([a-z])"), ord, ord("a")),
    (re.compile(r"(?:option|choice|answer)_?([1-9][0-9]{0,2})"), int, 1),
)


def lettered(given: GivenRows) -> list[str] | None:
    """Return the columns called A, B, C and so on, or Option A or Option 1 and so on; None where there are no two.

    Where a column of lists is called ``choices`` or ``options``, that one counts.
    """
    names = {plain_name(column): column for column in given.columns}
    if {"choices", "options"} & set(names):
        return None
    for pattern, number, first in _SERIES:
        found = sorted((number(match[1]), names[match[0]]) for match in map(pattern.fullmatch, names) if match)
        if len(found) > 1 and [place for place, _ in found] == list(range(first, first + len(found))):
            return [column for _, column in found]
    return None


def listed(choices: Any) -> Any:
    """Return a column's list of choices as texts, an empty one where there is null; another value as it is."""
    if isinstance(choices, str) and choices.lstrip().startswith("["):
        try:
            choices = json.loads(choices)
        except ValueError:
            return choices
    return [cell(choice) or "" for choice in choices] if isinstance(choices, list) else choices


def cell(value: Any) -> str | None:
    """Return a choice as text without white space at its end, which would be scored too; None of an empty cell."""
    return (None if value is None else str(value).rstrip()) or None


def named_choices(where: str, row: Mapping[str, Any]) -> tuple[list[str], dict[str, int | None]]:
    """Return the choices, which begin with a space after a text, and which is right and which the user's."""
    cells = row["choices"]
    choices = [cell for cell in cells if cell is not None] if isinstance(cells, list) else cells
    if not isinstance(choices, list) or len(choices) < 2 or not all(choices):
        raise DataError(f"{where}: choices must be at least two texts, got {choices!r}")
    if len(choices) > MAX_CHOICES:
        raise DataError(f"{where}: choices must be at most {MAX_CHOICES} texts, got {len(choices)}")
    twice = next((choice for choice in choices if [one.strip() for one in choices].count(choice.strip()) > 1), None)
    if twice is not None:
        raise DataError(f"{where}: choices must differ, got {twice!r} twice")
    named: dict[str, int | None] = {}
    for word in ("target", "user_choice"):
        try:
            place = _place(word, row.get(word), cells)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        named[word] = None if place is None else place - cells[:place].count(None)
    ends = row["prompt"] if isinstance(row["prompt"], str) else " "
    bare = not ends[-1].isspace()
    return [f" {text}" if bare and not text[0].isspace() else text for text in choices], named


def may_count_from_one(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether several rows name their choices by places alone, and none of them by 0."""
    cells = [[one.strip() for one in row["choices"] or () if one is not None] for row in rows]
    named = [
        (str(value).strip().removesuffix(".0"), texts)
        for row, texts in zip(rows, cells, strict=True)
        for value in (row.get("target"), row.get("user_choice"))
        if value is not None and str(value).strip()
    ]
    return len(named) > 1 and all(
        text.isascii() and text.isdigit() and int(text) > 0 and not {text, f"{text}.0"} & set(texts)
        for text, texts in named
    )


def _place(word: str, value: Any, cells: Sequence[str | None]) -> int | None:
    """Return the place of the cell that a text, a number or a letter names; None where there is nothing.

    Raises
    ------
    DataError
        If it names no cell or an empty one, or is the text of one choice and the place of another.
    """
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    letter, number = text.strip("().").upper(), int(text) if text.isascii() and text.isdigit() else None
    texts = {text} if number is None else {text, f"{text}.0"}
    found = next((place for place, cell in enumerate(cells) if cell is not None and cell.strip() in texts), None)
    if found is not None and number is not None and number != found and cells[number : number + 1] not in ([], [None]):
        raise DataError(
            f"{word} {text} is the text of choice {_letter(found)} and the place of choice {_letter(number)}; "
            "say the letter"
        )
    if found is None:
        found = ord(letter) - ord("A") if len(letter) == 1 and "A" <= letter <= "Z" else number
    if found is None or found >= len(cells) or cells[found] is None:
        empty = ", whose cell is empty" if found is not None and found < len(cells) else ""
        raise DataError(
            f"{word} must be one of the choices (its text, its letter, or its place from 0 to {len(cells) - 1}), "
            f"got {value!r}{empty}"
        )
    return found


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place)
