"""Prompts to files, batch by batch, in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import read_table, replace_file, write_csv, write_json_lines
from sycophancy_core.runs.json_files import read_json_lines

if TYPE_CHECKING:
    import os

    import pyarrow as pa


def write_prompts(prompts: pa.Table | pa.RecordBatchReader, path: str | os.PathLike[str]) -> int:
    """Write a table, or a stream such as ``stream_prompts`` gives, as Parquet, JSON Lines or CSV.

    Parameters
    ----------
    path
        The file; its suffix, ``.parquet``, ``.jsonl`` or ``.csv``, says the form. It appears when it is complete.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    DataError
        If the suffix is another one.
    """
    writers = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}
    path = Path(path)
    if path.suffix not in writers:
        raise DataError(f"{path}: wanted a file name that ends in {', '.join(writers)}, got '{path.suffix}'")
    reader = prompts if hasattr(prompts, "read_next_batch") else prompts.to_reader()
    counts: list[int] = []
    replace_file(path, lambda file: counts.append(writers[path.suffix](reader, file)))
    return counts[0]


def read_prompts(path: str | os.PathLike[str]) -> pa.Table:
    """Read a table of prompts that :func:`write_prompts` wrote.

    Raises
    ------
    DataError
        If there is no such file, or it is neither Parquet nor JSON Lines with one kind of value a key.
    """
    import pyarrow as pa

    path = Path(path)
    if path.suffix != ".jsonl" or not path.is_file():
        return read_table(path)
    known = prompt_schema()
    try:
        table = pa.Table.from_pylist(read_json_lines(path))
        return table.cast(pa.schema([known.field(f.name) if f.name in known.names else f for f in table.schema]))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: wanted prompts with one kind of value a key, got {error}") from error


def _write_parquet(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    """Write row groups of one batch each; equal prompts give equal bytes."""
    import pyarrow.parquet as pq

    num_rows = 0
    # Texts of prompts hardly repeat, so a dictionary of them only takes memory.
    repeating = ["source", "template", "arm", "order", "choices.list.element"]
    with pq.ParquetWriter(
        file, reader.schema, compression="zstd", use_dictionary=repeating, write_page_checksum=True
    ) as writer:
        for batch in reader:
            writer.write_batch(batch)
            num_rows += batch.num_rows
    return num_rows


def _write_jsonl(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    return _write_batches(reader, lambda table, _: write_json_lines(table, file))


def _write_csv(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    return _write_batches(reader, lambda table, is_first: write_csv(table, file, header=is_first))


def _write_batches(reader: pa.RecordBatchReader, write: Callable[[pa.Table, bool], None]) -> int:
    """Write batch by batch, and say of each whether it is the first; a stream without rows has one batch without."""
    import pyarrow as pa

    num_rows, is_first = 0, True
    for batch in reader:
        write(pa.Table.from_batches([batch]), is_first)
        num_rows, is_first = num_rows + batch.num_rows, False
    if is_first:
        write(reader.schema.empty_table(), True)
    return num_rows


def prompt_schema() -> pa.Schema:
    """Return the columns of a prompts table."""
    import pyarrow as pa

    text, index = pa.string(), pa.int8()
    return pa.schema(
        [
            *((name, text) for name in ("id", "claim_id", "pair_id", "source", "template", "arm", "order")),
            ("prompt", pa.large_string()),
            ("choices", pa.list_(text)),
            ("target", index),
            ("user_choice", index),
            ("is_true", pa.bool_()),
            ("claim_offset", pa.int64()),
        ]
    )
