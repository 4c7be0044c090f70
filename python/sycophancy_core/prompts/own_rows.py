"""Tables that someone else made, row by row: from files, told apart by the ending of the name, or from memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import as_table
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.json_files import decode_line, json_kind, parse_json_line


@dataclass(frozen=True, kw_only=True)
class GivenRows:
    """The rows of a table that someone else made.

    Attributes
    ----------
    name
        The file's name without ending; "own" for a table in memory.
    where
        What errors call it: the file's path, or the function that reads a table in memory.
    columns
        The names of its columns.
    rows
        The place of each row ("line 3" of a text file as an editor counts, "row 2" of a table counted from 0) and its
        values by column.
    faults
        What is wrong with the rows that could not be read.
    """

    name: str
    where: str
    columns: tuple[str, ...]
    rows: list[tuple[str, dict[str, Any]]]
    faults: list[str]


def given_rows(source: Any, *, who: str) -> GivenRows:
    """Read rows from a CSV, JSON Lines or Parquet file, or a table of pyarrow, pandas, polars or ``datasets``.

    Raises
    ------
    DataError
        If there is no such file, its ending is another one, it is not UTF-8, or a column's name stands twice.
    """
    if not isinstance(source, str | os.PathLike):
        return _of_table(as_table(source, who=who), "own", who)
    path = Path(source)
    if not path.is_file():
        is_folder = path.is_dir()
        wanted = "wanted a file that ends in .csv, .tsv, .jsonl or .parquet"
        raise DataError(f"{path} is a folder; {wanted}" if is_folder else f"there is no file {path}; {wanted}")
    if path.suffix == ".parquet":
        return _of_table(read_table(path), path.stem, str(path))
    if path.suffix in (".csv", ".tsv"):
        return _of_csv(path)
    if path.suffix == ".jsonl":
        return _of_json_lines(path)
    raise DataError(f"{path}: wanted a name that ends in .csv, .tsv, .jsonl or .parquet, got '{path.suffix}'")


def _of_table(table: pa.Table, name: str, where: str) -> GivenRows:
    columns = _distinct(table.column_names, where)
    rows = [
        (f"row {number}", {column: None if value != value else value for column, value in row.items()})  # NaN
        for number, row in enumerate(table.to_pylist())
    ]
    return GivenRows(name=name, where=where, columns=columns, rows=rows, faults=[])


def _of_json_lines(path: Path) -> GivenRows:
    rows: list[tuple[str, dict[str, Any]]] = []
    faults = []
    with path.open("rb") as lines:  # as bytes, a line ends at a newline only, never at U+2028
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                row = parse_json_line(line, f"line {number}")
            except DataError as error:
                faults.append(str(error))
                continue
            if isinstance(row, dict):
                rows.append((f"line {number}", row))
            else:
                faults.append(f"line {number}: wanted a JSON object, got {json_kind(row)}")
    columns = tuple(dict.fromkeys(key for _, row in rows for key in row))
    return GivenRows(name=path.stem, where=str(path), columns=columns, rows=rows, faults=faults)


def _of_csv(path: Path) -> GivenRows:
    _refuse_semicolons(path)
    lines = list(_csv_lines(path))
    if not lines:
        raise DataError(f"{path}: wanted a first line with the columns' names, got an empty file")
    (_, head), *body = lines
    columns = _distinct([name.strip() for name in head], str(path))
    rows: list[tuple[str, dict[str, Any]]] = []
    faults = []
    for place, cells in body:
        if len(cells) == len(columns):
            rows.append((place, {name: cell or None for name, cell in zip(columns, cells, strict=True)}))
        else:
            faults.append(f"{place}: wanted {len(columns)} cells, as the first line has, got {len(cells)}")
    return GivenRows(name=path.stem, where=str(path), columns=columns, rows=rows, faults=faults)


def _refuse_semicolons(path: Path) -> None:
    """Refuse a file with semicolons or tabs where it should have commas, as spreadsheets write in many countries."""
    with path.open("rb") as file:
        head = file.readline()
    mark, name = ("\t", "tabs") if path.suffix == ".tsv" else (",", "commas")
    others = {b";": "semicolons", b"\t": "tabs", b",": "commas"}
    other = max(others, key=head.count)
    if head.count(other) and not head.count(mark.encode()):
        raise DataError(
            f"{path}: wanted columns parted by {name}, got {others[other]} in the first line; save it with {name}"
            + (", or name it .tsv" if other == b"\t" else "")
        )


def _csv_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the cells of every line of CSV that is not blank, with the number of the line where it begins."""
    numbered = enumerate(path.read_bytes().splitlines(keepends=True), start=1)
    reader = csv.reader(
        (decode_line(line, f"{path}, line {number}") for number, line in numbered),
        delimiter="\t" if path.suffix == ".tsv" else ",",
        strict=True,
    )
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield f"line {begins}", cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {begins}: wanted CSV, got {error}; look for a quotation mark that nothing closes"
        ) from error


def _distinct(names: list[str], where: str) -> tuple[str, ...]:
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise DataError(f"{where}: the column {twice[0]!r} is there twice; rename or drop one")
    return tuple(names)
