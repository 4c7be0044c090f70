"""Files that are always complete: Parquet and JSON, written beside their final name and moved into place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sycophancy_core.errors import DataError

_TEMPORARY = re.compile(r"\..+\.([1-9][0-9]{0,8})\.tmp")  # as replace_path names it; the number is the process's


def replace_path(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file so that its final name never holds half a file.

    The bytes go to a temporary file in the same folder, reach the disk, and take the final name in one step; then the
    folder reaches the disk. A failure (a full disk, an interrupt) removes the temporary file and leaves an older file
    of that name as it was.

    Parameters
    ----------
    path
        The final name; its folder is made if it is missing.
    write
        Called once with the temporary file's path, which it creates.

    Raises
    ------
    OSError
        If the bytes cannot be written; the message names the file and the cause.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        message = f"could not write {path}: {error.strerror or error}; files written before it are intact"
        raise OSError(error.errno, message) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)
    return path


def clear_temporaries(folder: Path) -> None:
    """Remove what killed processes left of :func:`replace_path` in and below a folder that no other process writes."""
    for path in folder.rglob(".*.tmp"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and path.is_file() and not _is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


@contextlib.contextmanager
def saving(what: str | Path) -> Iterator[None]:
    """Raise a failure of safetensors to write, such as on a full disk, as the ``OSError`` that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(f"could not write {what}: {error}; files written before it are intact") from error


def replace_file(path: str | Path, write: Callable[[BinaryIO], object]) -> Path:
    """Write a file through an open binary file, under the promise of :func:`replace_path`."""

    def write_whole(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    return replace_path(path, write_whole)


def write_table(path: str | Path, table: pa.Table) -> Path:
    """Write a table as Parquet (zstd); equal tables give equal bytes, however they are chunked."""
    whole = table.combine_chunks()
    return replace_file(path, lambda file: pq.write_table(whole, file, compression="zstd"))


def read_table(path: str | Path) -> pa.Table:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If there is no such file, or it is not Parquet.
    """
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: wanted a Parquet file, got no such file") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: wanted a Parquet file, got {error}") from error


def lock(handle: int, what: str) -> None:
    """Take an open file for this process alone, until it is closed; DataError if another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"{what}: another process writes this run; wait for it or use a new folder") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
