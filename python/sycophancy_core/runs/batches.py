"""Long work that a kill does not lose: batches in a fixed plan, each acknowledged by a journal record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sycophancy_core.errors import DataError, warn
from sycophancy_core.runs.interrupts import Interrupt, deferred_interrupt
from sycophancy_core.runs.journal import Journal
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.surroundings import surroundings, warn_of_changes

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BatchedWork(Generic[T]):
    """What is done to many prompts, batch by batch.

    Attributes
    ----------
    doing
        The work in a word, such as "scoring".
    num_prompts, batch_prompts
        How many prompts there are in all, and in a batch; the last batch may have fewer.
    identity
        What the result depends on: texts and numbers by name, or lists of numbers in units of how far they may be
        apart when the work goes on.
    words
        What errors call each of these.
    device
        Where the work is done.
    make
        Returns the result of the prompts from a first one to before a last one; tells its progress, in any unit.
    encode, decode
        A result as bytes, and back.
    """

    doing: str
    num_prompts: int
    batch_prompts: int
    identity: Mapping[str, Any]
    words: Mapping[str, str]
    device: str
    make: Callable[[int, int, Progress | None], T]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]


def kept_batches(work: BatchedWork[T], journal: str | Path, *, progress: Progress | None = None) -> list[T]:
    """Do work batch by batch, each kept in a journal; a later call with the same arguments goes on from there.

    The journal's first record is the identity of the work. The results do not depend on where a run was interrupted.

    Raises
    ------
    DataError
        If the journal belongs to other work, or is damaged before its tail.
    KeyboardInterrupt
        On Ctrl-C, SIGTERM or SIGHUP: after the batch in hand is kept, or without it where it takes seconds.

    Warns
    -----
    UserWarning
        If the journal's last record was torn, or it was begun with other libraries or on another processor.
    """
    parts: list[T] = []
    with (
        Journal(journal) as kept,
        deferred_interrupt("finishing the current batch") as interrupt,
    ):
        _begin(kept, Path(journal), work)
        try:
            for record in kept.records[1:]:
                parts.append(work.decode(record))
            for start in range(work.batch_prompts * len(parts), work.num_prompts, work.batch_prompts):
                if interrupt.raised:
                    break
                stop = min(start + work.batch_prompts, work.num_prompts)
                found = work.make(start, stop, _within(progress, start, stop - start, work.num_prompts))
                with interrupt.hold():
                    kept.append(work.encode(found))
                    parts.append(found)
        except Interrupt:
            pass  # what it says is said below
        if interrupt.raised:
            raise _stopped(work, len(parts), Path(journal), interrupt.number)
    return parts


def _begin(kept: Journal, path: Path, work: BatchedWork[Any]) -> None:
    """Write the identity of the work into a new journal; refuse another one's."""
    identity, now = work.identity, surroundings(work.device)
    if kept.torn_bytes:
        warn(
            f"{path}: its last record was torn by a kill or a full disk; its {kept.torn_bytes} bytes are cut off, and "
            "what they held is done once more"
        )
    if not kept.records:
        kept.append(json.dumps({"identity": identity, "surroundings": now}).encode())
        return
    try:
        begun = json.loads(kept.records[0])
        differing = [work.words[key] for key in identity if not _is_same(begun["identity"].get(key), identity[key])]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: wanted the journal of a {work.doing}, got another one; use another folder") from error
    if differing:
        raise DataError(
            f"{path}: this journal was begun with other {' and other '.join(differing)}; use those again, or another "
            "folder"
        )
    warn_of_changes(path, begun["surroundings"], now)


def _is_same(begun: Any, now: Any) -> bool:
    """Compare two parts of an identity; numbers in a list are in units of how far they may be apart."""
    if isinstance(now, list) and isinstance(begun, list) and len(begun) == len(now):
        return all(abs(a - b) <= 1 for a, b in zip(begun, now, strict=True))
    return bool(begun == now)


def _stopped(work: BatchedWork[Any], num_parts: int, journal: Path, number: int) -> Interrupt:
    done = min(num_parts * work.batch_prompts, work.num_prompts)
    kept = f", kept in {journal}; the same call goes on from there" if done else ""
    return Interrupt(
        f"{work.doing} stopped after {done} of {work.num_prompts} prompts{kept}",
        kept=journal if done else None,
        number=number,
    )


def _within(progress: Progress | None, start: int, size: int, total: int) -> Progress | None:
    if progress is None:
        return None

    def show(done: int, of_batch: int) -> None:
        progress(start + size * done // max(1, of_batch), total)

    return show
