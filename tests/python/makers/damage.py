"""Files that a disk has damaged."""

from __future__ import annotations

from collections.abc import Iterator


def each_changed_bit(whole: bytes, *, step: int = 1) -> Iterator[bytes]:
    """Yield the content with one bit changed, for every ``step``-th bit."""
    for at in range(0, 8 * len(whole), step):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        yield bytes(changed)
