"""Files that are always complete: Parquet and JSON, written beside their final name and moved into place."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sycophancy_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_JSON_BYTES = 64 * 1024 * 1024
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


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as JSON with sorted keys, so that equal values give equal bytes; NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return replace_file(path, lambda file: file.write(text.encode() + b"\n"))


def read_json(path: str | Path) -> Any:
    """Read a JSON file of at most 64 MiB.

    Raises
    ------
    DataError
        If the file is larger, is not JSON in UTF-8, or is nested too deeply.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise DataError(f"{path}: wanted at most {MAX_JSON_BYTES} bytes of JSON, got {size}")
    content = path.read_bytes()
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _not_utf8(error, f"{path}, line {line}") from error
    except (ValueError, RecursionError) as error:
        raise _not_json(error, str(path), "the file") from error


def parse_json_line(line: bytes, where: str) -> Any:
    """Parse a line of a JSON Lines file; a byte order mark may stand before it.

    Raises
    ------
    DataError
        If the line is not JSON in UTF-8, holds half a surrogate pair, or is nested too deeply; the message begins with
        ``where``.
    """
    text = decode_line(line, where)
    try:
        value = json.loads(text)
        # An escape that may be of half a pair, which no UTF-8 can hold.
        written = json.dumps(value, ensure_ascii=False) if "\\ud" in text.lower() else ""
    except (ValueError, RecursionError) as error:
        raise _not_json(error, where, "the line") from error
    _refuse_half_pairs(written, where)
    return value


def decode_line(line: bytes, where: str) -> str:
    """Decode a line of a text file; a byte order mark may stand before it.

    Raises
    ------
    DataError
        If the line is not UTF-8; the message begins with ``where``.
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, where) from error


def text_at(value: Any, *keys: str | int, where: str) -> str:
    """Return the text that a value read from JSON holds under keys and places, each inside the one before.

    Raises
    ------
    DataError
        If nothing or no text stands there, or half a surrogate pair in it; the message begins with ``where``.
    """
    name = ".".join(map(str, keys))
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            raise DataError(
                f"{where}: wanted a text at {name}, got nothing there; mend the row, or leave it out"
            ) from None
    if not isinstance(value, str):
        raise DataError(f"{where}: wanted a text at {name}, got {kind_of(value)}; mend the row, or leave it out")
    _refuse_half_pairs(value, where)
    return value


def kind_of(value: Any) -> str:
    """Name the kind of a value that was read from JSON, as its reader knows it."""
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


def _not_utf8(error: UnicodeDecodeError, where: str) -> DataError:
    return DataError(f"{where}: wanted UTF-8, got the byte 0x{error.object[error.start]:02x}; save the file as UTF-8")


def _not_json(error: ValueError | RecursionError, where: str, what: str) -> DataError:
    got = "too deep a nesting" if isinstance(error, RecursionError) else error
    return DataError(f"{where}: wanted JSON, got {got}; mend or remove {what}")


def _refuse_half_pairs(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(
            f"{where}: wanted text, got half a surrogate pair ({half!a}); write the character whole, or remove it"
        ) from error


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file, whose values stay what they are: a date in a text is a text.

    Raises
    ------
    DataError
        If a line that is not blank is no JSON object; the message names file and line.
    """
    rows = []
    with Path(path).open("rb") as lines:  # as bytes, a line ends at a newline only, never at U+2028
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            row = parse_json_line(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number}: wanted a JSON object, got {type(row).__name__}")
            rows.append(row)
    return rows


def write_table(path: str | Path, table: pa.Table) -> Path:
    """Write a table as Parquet (zstd); equal tables give equal bytes, however they are chunked."""
    import pyarrow.parquet as pq

    whole = table.combine_chunks()
    return replace_file(path, lambda file: pq.write_table(whole, file, compression="zstd"))


def read_table(path: str | Path) -> pa.Table:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If there is no such file, or it is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: wanted a Parquet file, got no such file") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: wanted a Parquet file, got {error}") from error


def digest_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hexadecimal: the identity of options and plans."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_table(table: pa.Table) -> str:
    """Return the SHA-256 of a table's column names and values, in hexadecimal.

    It does not depend on chunks or layout: a table that comes back from Parquet has the same digest.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0".encode())
        whole = column.combine_chunks()
        for part in whole.chunks if hasattr(whole, "chunks") else [whole]:
            _update(digest, part)
    return digest.hexdigest()


def _update(digest: Any, values: pa.Array) -> None:
    """Add an array's values to a digest: which are null, then numbers as bytes, texts and lists with their lengths."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    digest.update(f"{len(values)}\0".encode())
    digest.update(pc.is_null(values).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(b"list")
        digest.update(_bytes_of(pc.list_value_length(values).cast(pa.int64())))
        _update(digest, values.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        digest.update(b"text")
        digest.update(_bytes_of(pc.binary_length(values).cast(pa.int64())))
        digest.update("".join(values.drop_null().to_pylist()).encode())
    else:
        digest.update(str(kind).encode())
        digest.update(_bytes_of(values.cast(pa.uint8()) if pa.types.is_boolean(kind) else values))


def _bytes_of(values: pa.Array) -> bytes:
    number = values.drop_null().to_numpy(zero_copy_only=False)
    return bytes(number.tobytes())


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
