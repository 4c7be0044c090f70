"""Tables that come in as Parquet or as JSON Lines, told apart by the ending of the file's name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.json_files import read_json_lines


def read_rows(path: str | Path) -> pa.Table:
    """Read a Parquet file or, where its name ends in ``.jsonl``, JSON Lines, whose columns are the keys of any row.

    Raises
    ------
    DataError
        If there is no such file, or it holds something else; of tables in CSV only claims and questions are read.
    """
    path = Path(path)
    if path.suffix == ".csv":
        raise DataError(f"{path}: wanted a Parquet or JSON Lines file, got CSV; write the table as .parquet or .jsonl")
    if path.suffix != ".jsonl" or not path.is_file():
        return read_table(path)
    rows = read_json_lines(path)
    names = dict.fromkeys(key for row in rows for key in row)
    try:
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(f"{path}: wanted one kind of value a key, got {error}") from error
