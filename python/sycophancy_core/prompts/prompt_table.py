"""Prompts to files, batch by batch, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import as_table
from sycophancy_core.runs.files import replace_file, write_csv, write_json_lines
from sycophancy_core.runs.tables import read_rows


@checked_arguments
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

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> sc.write_prompts(sc.generate(sc.load_examples(), n=100), "prompts.parquet")
    100
    """
    writers = {".parquet": _write_parquet, ".jsonl": _write_jsonl, ".csv": _write_csv}
    path = Path(path)
    if path.suffix not in writers:
        raise DataError(f"{path}: wanted a file name that ends in {', '.join(writers)}, got '{path.suffix}'")
    is_stream = hasattr(prompts, "read_next_batch")
    reader = prompts if is_stream else as_table(prompts, who="write_prompts").to_reader()
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
    path = Path(path)
    table = read_rows(path)
    if path.suffix != ".jsonl":
        return table
    try:
        return table.cast(pa.schema([_field(field) for field in table.schema]))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: wanted prompts with one kind of value a key, got {error}") from error


def _field(field: pa.Field) -> pa.Field:
    """Return a column as :func:`prompt_schema` has it; messages and turns may come in other forms and stay theirs."""
    known = prompt_schema()
    is_list = pa.types.is_list(field.type)
    if field.name not in known.names or (is_list and field.name == "prompt"):
        return field
    if is_list and field.name == "turns" and not pa.types.is_struct(field.type.value_type):
        return field
    return known.field(field.name)


def _write_parquet(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    """Write row groups of one batch each; equal prompts give equal bytes."""
    num_rows = 0
    # Texts of prompts hardly repeat, so a dictionary of them only takes memory.
    repeating = ["source", "template", "arm", "order", "choices.list.element", "turns.list.element.role"]
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
    num_rows, is_first = 0, True
    for batch in reader:
        write(pa.Table.from_batches([batch]), is_first)
        num_rows, is_first = num_rows + batch.num_rows, False
    if is_first:
        write(reader.schema.empty_table(), True)
    return num_rows


TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.large_string())]))
"""What is said by turns; the last turn may be the assistant's: what its reply begins with."""


def prompt_schema() -> pa.Schema:
    """Return the columns of a prompts table; ``turns`` are the prompt as messages, null where it is the user's text."""
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
            ("turns", TURNS),
        ]
    )
