"""One writer a folder: a lock that names its holder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, UnixFileLock

from sycophancy_core.errors import DataError

LOCK = ".lock"
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")  # as launchers number their processes


@contextmanager
def one_writer(folder: str | Path, *, name: str = LOCK, what: str | Path = "", again: bool = True) -> Iterator[None]:
    """Hold a folder, or a file in it, for this thread alone; the folder is made if it is missing.

    The lock goes with its process, however that ends, and leaves nothing behind.

    Parameters
    ----------
    name
        The lock's file in the folder.
    what
        What is held, for the message; by default the folder.
    again
        Whether the thread that holds it may take it once more.

    Raises
    ------
    DataError
        If another process, or another thread of this one, holds it; the message names the holder.
    OSError
        If the folder cannot be made or written.
    """
    path = Path(folder) / name
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0, is_singleton=True)
    refused = DataError(
        f"{what or folder}: another process writes this run{_holder(path)}; wait for it or use a new folder"
    )
    if lock.is_locked and not again:
        raise refused
    try:
        lock.acquire()
    except Timeout as error:
        raise refused from error
    # Where the file system has no locks, the file's content and end are filelock's own business.
    is_ours = isinstance(lock, UnixFileLock) and lock.lock_counter == 1
    try:
        if is_ours:
            path.write_text(f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        yield
    finally:
        if is_ours:
            path.unlink(missing_ok=True)  # while it is held; who has opened it sees that, and makes another
        lock.release()
        if is_new:
            with suppress(OSError):  # something was written
                path.parent.rmdir()


def _holder(path: Path) -> str:
    try:
        text = path.read_text(errors="replace")[:200]
    except OSError:
        return ""
    return f" ({text})" if text and text.isprintable() else ""


def is_first_process() -> bool:
    """Tell whether this is the only process of its launcher, or the one of them that writes."""
    ranks = [os.environ.get(name, "") for name in _RANKS]
    return all(int(rank) == 0 for rank in ranks if rank.isdigit())
