"""Files that are always complete, tables among them: written next to their final name, and moved into place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import as_table

_SCRATCH = re.compile(r"\..+\.syco-[a-z0-9_]{8}\.tmp")  # as scratch_folder names it


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder for work that no one is to see half done, and remove it with all that is left in it.

    Its name cannot be foreseen, so no two writers share it and no link lies in wait there. A lock tells that its maker
    lives: what a dead one left is removed here (see :func:`clear_scratch`).

    Parameters
    ----------
    parent
        Where to make it; that folder is made if it is missing.
    name
        What it is for; part of its name.
    """
    parent.mkdir(parents=True, exist_ok=True)
    clear_scratch(parent)
    handle: int | None = None
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name[:40]}.syco-", suffix=".tmp", dir=parent))
        try:
            handle = _lock(folder)
        except BlockingIOError:
            continue  # another process has taken it for a dead one's
        except OSError:
            handle = None  # a file system without locks
        if folder.exists():
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def clear_scratch(folder: Path, *, below: bool = False) -> None:
    """Remove the scratch folders of dead processes in a folder, or also in those below it."""
    for path in folder.rglob(".*.tmp") if below else folder.glob(".*.tmp"):
        if _SCRATCH.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # its maker lives, or the file system cannot tell
                handle = _lock(path)
                shutil.rmtree(path, ignore_errors=True)
                os.close(handle)


def _lock(folder: Path) -> int:
    """Lock a folder for as long as the handle that this returns is open."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def replace_path(path: str | Path, write: Callable[[Path], object], *, keep: bool = False) -> Path:
    """Write a file so that its final name never holds half a file.

    The bytes go to a scratch folder next to it, reach the disk, and take the final name in one step; then the folder
    reaches the disk. A failure (a full disk, an interrupt) leaves an older file of that name as it was. The new file
    has the mode of one that it replaces. A link is followed: the file that it names is replaced. A device or a pipe
    gets the bytes once they are whole.

    Parameters
    ----------
    path
        The final name; its folder is made if it is missing.
    write
        Called once with a path to create.
    keep
        Where there is an older file with other bytes, keep it as ``NAME.previous-1.ENDING``.

    Raises
    ------
    OSError
        If the bytes cannot be written; the message names the file and the cause.
    """
    path = Path(path)
    with saving(path):
        target = final_place(path)
        if target is None:
            _write_through(path, write)
        else:
            _replace(target, write, keep=keep)
    return path


def final_place(path: Path) -> Path | None:
    """Follow links to where a file is to be written; None for a device or a pipe.

    Raises
    ------
    OSError
        If something else than a file is there, or the link goes round in a circle.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    if mode is not None and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    if mode is not None and not stat.S_ISREG(mode):
        what = "a folder is there" if stat.S_ISDIR(mode) else "no ordinary file is there"
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, what)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _replace(path: Path, write: Callable[[Path], object], *, keep: bool) -> None:
    with scratch_folder(path.parent, path.name) as scratch:
        made = scratch / path.name
        write(made)
        if keep and path.exists():
            if _same_bytes(path, made):
                return
            path.rename(previous_name(path))
        move_file(made, path)


def move_file(made: Path, path: Path) -> None:
    """Give a finished file on the same disk its final name, in one step, and let both reach the disk."""
    with saving(path):
        with contextlib.suppress(FileNotFoundError):
            made.chmod(stat.S_IMODE(path.stat().st_mode))
        _sync(made)
        made.replace(path)
        _sync(path.parent)


def previous_name(path: Path) -> Path:
    """Return the first free name under which what a path names can be kept: ``NAME.previous-1.ENDING``."""
    number = 1
    while (kept := path.with_name(f"{path.stem}.previous-{number}{path.suffix}")).exists():
        number += 1
    return kept


def _same_bytes(one: Path, other: Path) -> bool:
    filecmp.clear_cache()
    return filecmp.cmp(one, other, shallow=False)


def _write_through(path: Path, write: Callable[[Path], object]) -> None:
    """Write whole bytes into a device or a pipe; a pipe that nobody reads is refused."""
    with tempfile.TemporaryDirectory(prefix="syco-") as folder:
        made = Path(folder) / path.name
        write(made)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise OSError(errno.ENXIO, "nobody reads this pipe") from error
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as file, made.open("rb") as content:
            shutil.copyfileobj(content, file)


@contextlib.contextmanager
def saving(what: str | Path) -> Iterator[None]:
    """Raise a failure to write, safetensors' own too, as an ``OSError`` that names what was to be written."""
    try:
        yield
    except _write_errors() as error:
        text = str(getattr(error, "strerror", None) or error)
        number = getattr(error, "errno", None)
        if not text.startswith("could not write"):
            text = f"could not write {what}: {text}; files written before it are intact"
        raise (OSError(text) if number is None else OSError(number, text)) from error


def _write_errors() -> tuple[type[Exception], ...]:
    others = sys.modules.get("safetensors")
    return (OSError,) if others is None else (OSError, others.SafetensorError)


def replace_file(path: str | Path, write: Callable[[BinaryIO], object], *, keep: bool = False) -> Path:
    """Write a file through an open binary file, under the promise of :func:`replace_path`."""

    def write_whole(made: Path) -> None:
        with made.open("wb") as file:
            write(file)

    return replace_path(path, write_whole, keep=keep)


def write_table(path: str | Path, table: pa.Table, *, keep: bool = False) -> Path:
    """Write a table in the form that the name's ending says; equal tables give equal bytes, however they are chunked.

    Parameters
    ----------
    path
        A name that ends in ``.parquet`` (zstd, with a checksum a page), ``.jsonl`` (JSON Lines) or ``.csv``, in which a
        list is its JSON text.
    keep
        As for :func:`replace_path`.

    Raises
    ------
    DataError
        If the name ends otherwise.
    """
    write = table_writer(path)
    whole = _as_made_here(table).combine_chunks()
    return replace_file(path, lambda file: write(whole, file), keep=keep)


def _as_made_here(table: pa.Table) -> pa.Table:
    """Call the items of lists as Arrow does; Parquet's reader gives them another name, which a file would keep."""
    schema = pa.schema([field.with_type(_named(field.type)) for field in table.schema], table.schema.metadata)
    return table if list(map(str, schema.types)) == list(map(str, table.schema.types)) else table.cast(schema)


def _named(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(pa.field("item", _named(kind.value_type), kind.value_field.nullable))
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_named(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def table_writer(path: str | Path) -> Callable[[pa.Table, BinaryIO], object]:
    """Return what writes a table in the form that a name's ending says; DataError for another ending."""
    ending = Path(path).suffix
    if not is_table_name(path):
        got = f"'{ending}'" if ending else "a name without ending"
        raise DataError(f"{path}: wanted a file name that ends in {', '.join(_WRITERS)}, got {got}")
    return _WRITERS[ending]


def is_table_name(path: str | Path) -> bool:
    """Tell whether a name ends as a table's does; a dot in a folder's name, as of ``model-0.5b``, is no ending."""
    return Path(path).suffix in _WRITERS


def _write_parquet(table: pa.Table, file: BinaryIO) -> None:
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def write_json_lines(table: pa.Table, file: BinaryIO) -> None:
    """Write one JSON object a row; what is no number is null."""
    for batch in table.to_batches():
        lines = (json.dumps(_without_nan(row), ensure_ascii=False) + "\n" for row in batch.to_pylist())
        file.write("".join(lines).encode())


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if value != value else value


def write_csv(table: pa.Table, file: BinaryIO, *, header: bool = True) -> None:
    """Write comma-separated values after a line of names; a list is its JSON text."""
    for at, column in enumerate(table.schema):
        if pa.types.is_nested(column.type):
            texts = [v if v is None else json.dumps(v, ensure_ascii=False) for v in table[column.name].to_pylist()]
            table = table.set_column(at, column.name, pa.array(texts, pa.string()))
    pc.write_csv(table, file, pc.WriteOptions(include_header=header))


_WRITERS: dict[str, Callable[[pa.Table, BinaryIO], object]] = {
    ".parquet": _write_parquet,
    ".jsonl": write_json_lines,
    ".csv": write_csv,
}


def read_table(path: str | Path) -> pa.Table:
    """Read a Parquet file, checksums of its pages included, without views of texts.

    Raises
    ------
    DataError
        If there is no such file, it is not Parquet, or a column is there twice.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)  # texts are UTF-8
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # such as a missing permission; Arrow's own, about damaged pages, has no number
        raise DataError(f"{path}: wanted a Parquet file, got {error}") from error
    return as_table(table, who=str(path))


def require_folder(folder: str | Path) -> None:
    """Refuse a folder to read from that is not there.

    Raises
    ------
    DataError
        If there is nothing of that name, or a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; wanted a folder" if folder.exists() else f"there is no folder {folder}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
