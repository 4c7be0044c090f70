"""Samples of claims that look like the whole: by source, truth and polarity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def sample_claims(claims: pa.Table, n: int, *, seed: int) -> pa.Table:
    """Draw ``n`` of the claims, in their order: every source x truth x polarity gets its share, to within one claim.

    Shares are rounded so that sources, and truth x polarity over all sources, keep near to theirs too.
    """
    import numpy as np

    random = np.random.Generator(np.random.Philox(key=[seed, 4]))
    source, cell = _codes(claims, "source"), _codes(claims, "is_true", "polarity")
    strata, stratum = np.unique(source * (cell.max() + 1) + cell, return_inverse=True)
    sizes = np.bincount(stratum)
    counts = _counts(*np.divmod(strata, cell.max() + 1), sizes * n / len(stratum), n, random)
    # A stratum's claims stand together, in random order; of each the first ones are taken.
    order = np.lexsort((random.random(len(stratum)), stratum))
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return claims.take(np.sort(order[rank < np.repeat(counts, sizes)]))


def _codes(claims: pa.Table, *names: str) -> NDArray[np.int64]:
    import numpy as np

    seen: dict[tuple[Any, ...], int] = {}
    rows = zip(*(claims[name].to_pylist() for name in names), strict=True)
    return np.array([seen.setdefault(row, len(seen)) for row in rows], np.int64)


def _counts(
    source: NDArray[np.int64],
    cell: NDArray[np.int64],
    shares: NDArray[np.float64],
    n: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Round the strata's shares to ``n`` in all: down, then up where source, cell and stratum lack most."""
    import numpy as np

    counts = np.floor(shares).astype(np.int64)
    ties = 1e-6 * random.random(len(shares))
    is_open = shares > counts
    for _ in range(n - counts.sum()):
        lack = shares - counts
        wanted = lack + np.bincount(source, lack)[source] + np.bincount(cell, lack)[cell] + ties
        best = np.argmax(np.where(is_open, wanted, -np.inf))
        counts[best] += 1
        is_open[best] = False
    return counts
