"""An append-only journal: every record carries its length and checksum, so that a torn tail is seen and cut.

Layout: the eight bytes ``SYCOJ001``, then records of three little-endian uint32 (the payload's length, the CRC-32 of
those four bytes, the CRC-32 of the payload) and the payload. A record counts once ``append`` has returned.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sycophancy_core.errors import DataError
from sycophancy_core.runs.locks import one_writer

MAGIC = b"SYCOJ001"
_HEADER = struct.Struct("<III")


@dataclass(frozen=True, kw_only=True)
class JournalContent:
    """What a journal holds: the whole records in order, and how many bytes of a torn record follow them."""

    records: tuple[bytes, ...]
    valid_bytes: int
    torn_bytes: int


def read_journal(path: str | Path) -> JournalContent:
    """Read every whole record of a journal.

    A last record that is cut short, or whose checksum fails at the very end of the file, is torn: it is counted in
    ``torn_bytes`` and left out.

    Raises
    ------
    DataError
        If the file is no journal, or a record before the last one is damaged.
    """
    path = Path(path)
    content = path.read_bytes()
    if content[: len(MAGIC)] != MAGIC:
        if MAGIC.startswith(content):
            return JournalContent(records=(), valid_bytes=0, torn_bytes=len(content))
        raise DataError(f"{path}: wanted a journal that starts with {MAGIC!r}, got {content[: len(MAGIC)]!r}")
    records: list[bytes] = []
    position = len(MAGIC)
    for end, payload in _records(path, content):
        records.append(payload)
        position = end
    return JournalContent(records=tuple(records), valid_bytes=position, torn_bytes=len(content) - position)


def _records(path: Path, content: bytes) -> Iterator[tuple[int, bytes]]:
    position = len(MAGIC)
    while position + _HEADER.size <= len(content):
        length, length_checksum, checksum = _HEADER.unpack_from(content, position)
        if zlib.crc32(content[position : position + 4]) != length_checksum:
            if not any(content[position:]):
                return  # a crash can leave zeros where the file had grown already
            raise _damaged(path, position)
        end = position + _HEADER.size + length
        payload = content[position + _HEADER.size : end]
        if end > len(content):
            return
        if zlib.crc32(payload) != checksum:
            if end == len(content):
                return
            raise _damaged(path, position)
        yield end, payload
        position = end


def _damaged(path: Path, position: int) -> DataError:
    return DataError(
        f"{path}: the record at byte {position} is damaged (its checksum differs), and not by an interrupted write; "
        "restore the file, or delete it to start its stage again"
    )


class Journal:
    """A journal opened for appending, by one process at a time; a torn tail is cut off first.

    Parameters
    ----------
    path
        The file; made if it is missing.

    Attributes
    ----------
    records
        The payloads that the file held when it was opened.
    torn_bytes
        How many bytes of a torn record were cut off.

    Raises
    ------
    DataError
        If another process has it open, or for the reasons of :func:`read_journal`.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._path = path
        with ExitStack() as held:
            held.enter_context(one_writer(path.parent, name=f".{path.name}.lock", what=path, again=False))
            # Open for reading and writing, and made where it is missing.
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            held.callback(self._close_file)
            existing = read_journal(path)
            self.records = existing.records
            self.torn_bytes = existing.torn_bytes
            self._begin(existing.valid_bytes)
            self._held = held.pop_all()

    def _begin(self, valid_bytes: int) -> None:
        """Cut off what is torn, and go on behind it."""
        with self._named():
            self._file.truncate(valid_bytes)
            self._file.seek(valid_bytes)
            if valid_bytes == 0:
                self._file.write(MAGIC)
            self._sync()

    def append(self, payload: bytes) -> None:
        """Append one record; when this returns, the record is on the disk."""
        length = struct.pack("<I", len(payload))
        with self._named():
            self._file.write(_HEADER.pack(len(payload), zlib.crc32(length), zlib.crc32(payload)) + payload)
            self._sync()

    def close(self) -> None:
        """Close the file, and let others write it."""
        self._held.close()

    def _close_file(self) -> None:
        with suppress(OSError):  # of a record that did not reach a full disk, and counts as torn
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let a failure to write name the file."""
        try:
            yield
        except OSError as error:
            message = f"could not write {self._path}: {error.strerror or error}; what it holds already is intact"
            raise OSError(error.errno, message) from error

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
