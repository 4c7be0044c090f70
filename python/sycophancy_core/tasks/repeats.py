"""Rows that come twice: of equal ones the first counts, and those that contradict each other count not at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from sycophancy_core.errors import warn

Row = TypeVar("Row")


def settle_repeats(
    rows: Sequence[Row], what: str, *, asks: Callable[[Row], Hashable], group: Callable[[Row], Hashable]
) -> list[Row]:
    """Keep one of equal rows, in their order, and no row of a group in which two ask the same and differ.

    Parameters
    ----------
    what
        What the warning calls the rows.
    asks
        What a row asks: rows that ask the same must be equal.
    group
        What a row belongs to.

    Warns
    -----
    UserWarning
        If a row is left out, with the number of rows for each of the two reasons.
    """
    first: dict[Hashable, Row] = {}
    contradicted = {group(row) for row in rows if first.setdefault(asks(row), row) != row}
    num_contradicting = sum(group(row) in contradicted for row in rows)
    kept = [row for row in first.values() if group(row) not in contradicted]
    num_repeats = len(rows) - num_contradicting - len(kept)
    if num_contradicting or num_repeats:
        warn(
            f"{what}: left out {num_repeats} exact repeats, and {num_contradicting} rows on whose answers the file "
            f"contradicts itself; {len(kept)} of {len(rows)} rows are left"
        )
    return kept
