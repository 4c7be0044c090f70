"""Instruction data from files: records or chats, JSON Lines or Parquet, one file or a folder in the hub's layout."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError, FaultsError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.prompts.own_claims import ADVICE
from sycophancy_core.prompts.prompt_table import TURNS
from sycophancy_core.runs.json_files import parse_json_line
from sycophancy_core.scoring.messages import plain_text, read_messages

_SAMPLE = Path(__file__).parents[1] / "data/samples/instructions.jsonl"
_KEYS = ("instruction", "input", "output", "messages", "prompt", "completion")
_TRAIN = ("train", "training")
# A split, as a word of a file's path: data/train-00000-of-00002, default/test/0000, alpaca_validation.
_SPLIT = re.compile(
    rf"(?<![a-z])({'|'.join(_TRAIN)}|test|testing|valid|validation|val|dev|development|eval|evaluation)(?![a-z])"
)
_BATCH_ROWS = 4096
# What the wording of an instruction row puts around a chat's prompt, whose plain text has it already.
_WORDING = ("Human: ", "\n\nAssistant:")

Row = tuple[str, Mapping[str, Any] | bytes]  # where it stands, and its keys or, not yet read, its line of JSON


@checked_arguments
def load_instructions(
    path: str | os.PathLike[str] | None = None, *, limit: int | None = None, seed: int = 0
) -> pa.Table:
    """Load instruction rows: columns ``instruction``, ``input``, ``output``, and ``turns`` for chats.

    A chat (``messages``: a list of ``role`` and ``content``, as OpenAI and TRL have them; or TRL's ``prompt`` and
    ``completion``, each such a list) becomes one row: its last answer is the output, all before it are the turns, and
    as the text of a dialogue the instruction.

    Parameters
    ----------
    path
        A ``.jsonl`` or ``.parquet`` file whose rows have ``instruction``, ``output`` and maybe ``input``, or are
        chats; or a folder with such files at any depth, all of one kind. Of a folder, the files are read whose
        path below it names the train split or none; those named test, validation, dev or eval are left out. None: the
        packaged rows.
    limit
        At most this many rows, drawn by ``seed``, in their order. Files are then read as streams: memory grows with
        ``limit``, not with the files.

    Raises
    ------
    DataError
        If there is no such file or no row in it, or a row is neither or has no answer. The message lists the first 20
        such rows, with file and line or row, and counts the others.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> sc.load_instructions("chats.jsonl")["output"][0].as_py()
    'Good night.'
    """
    files = [_SAMPLE] if path is None else _files(Path(path))
    require_whole("load_instructions", "limit", limit, none="None")
    chosen: list[Sequence[int] | None] = [None] * len(files)
    if limit is not None:
        counts = [_count(file) for file in files]
        drawn = sorted(int(at) for at in _core.sample_positions(sum(counts), min(limit, sum(counts)), seed))
        starts = [sum(counts[:i]) for i in range(len(files))]
        chosen = [
            [at - start for at in drawn if start <= at < start + count]
            for start, count in zip(starts, counts, strict=True)
        ]
    rows = chain.from_iterable(_rows(file, wanted) for file, wanted in zip(files, chosen, strict=True))
    texts = [(name, pa.large_string()) for name in ("instruction", "input", "output")]
    schema = pa.schema([*texts, ("turns", TURNS)])
    tables = [schema.empty_table()]
    faults = list[str]()
    while part := list(islice(rows, _BATCH_ROWS)):
        tables.append(pa.Table.from_pylist(_instructions(part, faults), schema=schema))
    if faults:
        raise FaultsError("load_instructions", faults, ADVICE)
    found = pa.concat_tables(tables)
    if limit is None and not found.num_rows:
        raise DataError(f"load_instructions: {path}: wanted at least one row, got none")
    return found


def _instructions(rows: Sequence[Row], faults: list[str]) -> list[dict[str, Any]]:
    """Return the rows that can be used, and add what is wrong with the others to the faults."""
    found = []
    for where, row in rows:
        try:
            found.append(_instruction(row, where))
        except DataError as error:
            faults.append(str(error))
    return found


def _files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix in (".jsonl", ".parquet"):
        return [path]
    if not path.is_dir():
        there = "a file of another kind" if path.exists() else "nothing there"
        raise DataError(f"load_instructions: {path}: wanted a .jsonl or .parquet file or a folder of them, got {there}")
    found = sorted(file for file in path.rglob("*") if file.suffix in (".jsonl", ".parquet") and file.is_file())
    splits = {file: _split(file.relative_to(path)) for file in found}
    files = [file for file in found if splits[file] in (*_TRAIN, None)]
    if not files or len({file.suffix for file in files}) > 1:
        there = ", ".join(file.relative_to(path).as_posix() for file in found[:5]) or "none"
        raise DataError(
            f"load_instructions: {path}: wanted .jsonl files or .parquet files of a train split, of one kind, "
            f"got {there}"
        )
    return files


def _split(file: Path) -> str | None:
    """Return the split that a path names last: the file's own name comes before its folders'."""
    named = _SPLIT.findall(file.with_suffix("").as_posix().lower())
    return named[-1] if named else None


def _count(file: Path) -> int:
    if file.suffix == ".jsonl":
        with file.open("rb") as lines:
            return sum(not line.isspace() for line in lines)
    return int(_open_parquet(file).metadata.num_rows)


def _rows(file: Path, wanted: Sequence[int] | None) -> Iterator[Row]:
    """Yield a file's rows, or those at the wanted positions, in order, a batch in memory at a time."""
    read = _json_rows if file.suffix == ".jsonl" else _parquet_rows
    yield from read(file, None if wanted is None else frozenset(wanted))


def _json_rows(file: Path, wanted: frozenset[int] | None) -> Iterator[Row]:
    position = -1
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            position += 1
            if wanted is not None and position not in wanted:
                continue
            yield f"{file}: line {number}", line


def _parquet_rows(file: Path, wanted: frozenset[int] | None) -> Iterator[Row]:
    opened = _open_parquet(file)
    columns = [name for name in _KEYS if name in opened.schema_arrow.names]
    start = 0
    for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        inside = range(len(batch))
        at = [i for i in inside if wanted is None or start + i in wanted]
        for i, row in zip(at, batch.take(pa.array(at, pa.int64())).to_pylist() if at else (), strict=True):
            yield f"{file}: row {start + i + 1}", row
        start += len(batch)


def _open_parquet(file: Path) -> Any:
    try:
        return pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file}: wanted a Parquet file, got {error}") from error


def _instruction(given: Mapping[str, Any] | bytes, where: str) -> dict[str, Any]:
    row = parse_json_line(given, where) if isinstance(given, bytes) else given
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: wanted a JSON object, got {type(row).__name__}")
    if row.get("messages") is not None:
        return _of_chat(row["messages"], where)
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        return _of_chat([*row["prompt"], *row["completion"]], where)
    if "instruction" not in row or "output" not in row:
        there = ", ".join(str(key) for key in row) or "none"
        raise DataError(f"{where}: wanted the keys instruction and output, or messages, got {there}")
    texts = {"instruction": row["instruction"], "input": row.get("input") or "", "output": row["output"]}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{where}: '{name}' must be a text, got {type(text).__name__}")
    if not texts["output"].strip():
        raise DataError(f"{where}: 'output' must be an answer, got an empty text")
    return texts


def _of_chat(messages: Any, where: str) -> dict[str, Any]:
    turns = read_messages(messages, where)
    if turns[-1]["role"] != "assistant":
        raise DataError(f"{where}: messages must end with the assistant's answer, got one of {turns[-1]['role']} last")
    before, after = _WORDING
    text = plain_text(turns[:-1]).removeprefix(before).removesuffix(after)
    return {"instruction": text, "input": "", "output": turns[-1]["content"], "turns": turns[:-1]}
