"""Parts of claims: samples that look like the whole, and those kept for evaluation."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import Column, as_table, checked_table

ADDITION = "addition"
HELD_OUT_SHARE = 0.3
ABOUT = ("kind", "text", "example_id")  # columns that say what a claim is about


@checked_arguments
def split_claims(claims: pa.Table, *, share: float = HELD_OUT_SHARE) -> tuple[pa.Table, pa.Table]:
    """Split claims into those for training and those kept for evaluation, by a hash of what they are about.

    All claims about an example are on one side, wherever and with whatever else it is split. A sum is about its two
    operands in their order, so 5 + 3 may be trained on where 3 + 5 is held out. An example is of one source: where the
    same text stands in two, each goes by its own id, and :func:`mix` refuses to train on one and evaluate on the other.

    Parameters
    ----------
    claims
        Table of claims, as :func:`make_claims` and :func:`make_additions` return it.
    share
        Share of what they are about that is kept for evaluation, between 0 and 1.

    Returns
    -------
    The claims for training and the claims for evaluation, each in their order.

    Raises
    ------
    DataError
        If the share is not between 0 and 1, or the table is none of claims.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> claims = sc.read_claims("claims.csv")
    >>> for_training, held_out = sc.split_claims(claims, share=0.3)
    >>> for_training.num_rows + held_out.num_rows == claims.num_rows
    True
    """
    if not 0 <= share <= 1:
        raise DataError(f"split_claims: share must be between 0 and 1, got {share}")
    claims = as_table(claims, who="split_claims")
    missing = [name for name in ABOUT if name not in claims.column_names or claims[name].null_count]
    if missing:
        raise DataError(f"split_claims: wanted claims with {', '.join(ABOUT)} in every row, got none in {missing[0]}")
    claims = checked_table(claims, [Column(name, "text") for name in ABOUT], who="split_claims")
    held_out = is_held_out(claims, share=share)
    return claims.filter(pa.array(~held_out)), claims.filter(pa.array(held_out))


def is_held_out(claims: pa.Table, *, share: float = HELD_OUT_SHARE) -> NDArray[np.bool_]:
    """Tell which claims :func:`split_claims` keeps for evaluation."""
    columns = (claims[name].to_pylist() for name in ABOUT)
    abouts = (
        text.split("=")[0].strip() if kind == ADDITION else example
        for kind, text, example in zip(*columns, strict=True)
    )
    return np.array([uniform_of(about) < share for about in abouts], np.bool_)


def uniform_of(text: str) -> float:
    """Return a number in [0, 1) that is drawn by a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def seed_of_turn(seed: int, turn: int) -> int:
    """Return the seed of a repeated draw: of the first ``seed`` itself, of the others one that no near seed shares."""
    if turn == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"turn {turn} of seed {seed}".encode()).digest()[:8], "big") >> 1


def draw_places(number: int, limit: int | None, *, seed: int) -> list[int]:
    """Draw at most ``limit`` of so many places, each as likely, in order; all without a limit."""
    if limit is None or limit >= number:
        return list(range(number))
    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    return sorted(np.argsort(random.random(number), kind="stable")[:limit].tolist())


def sample_claims(claims: pa.Table, n: int, *, seed: int) -> pa.Table:
    """Draw ``n`` of the claims, in their order: every source x truth x polarity gets its share, to within one claim.

    Shares are rounded so that sources, and truth x polarity over all sources, keep near to theirs too.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, 4]))
    source, cell = _codes(claims, "source"), _codes(claims, "is_true", "polarity")
    strata, stratum = np.unique(source * (cell.max() + 1) + cell, return_inverse=True)
    sizes = np.bincount(stratum)
    counts = _counts(*np.divmod(strata, cell.max() + 1), sizes * n / len(stratum), n, random)
    return claims.take(_first_of_strata(stratum, counts, random))


@checked_arguments
def balance_labels(examples: pa.Table, *, seed: int = 0) -> pa.Table:
    """Keep of every source as many examples of each label as the rarest has, drawn by ``seed``, in their order.

    Where a label holds most of a source's examples, claims that state it are true more often than not, which a model
    can learn without the text (:func:`~sycophancy_core.prompts.audit.shortcut_audit`).

    Raises
    ------
    DataError
        If the table is none of examples.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> examples = sc.load_examples().slice(0, 21)
    >>> sc.balance_labels(examples)["label"].value_counts().to_pylist()
    [{'values': 0, 'counts': 9}, {'values': 1, 'counts': 9}]
    """
    examples = as_table(examples, who="balance_labels")
    missing = [name for name in ("source", "label") if name not in examples.column_names]
    if missing or examples.num_rows == 0:
        raise DataError(
            f"balance_labels: wanted examples with source and label, got {', '.join(examples.column_names)}"
        )
    examples = checked_table(examples, (Column("source", "text"), Column("label", "whole")), who="balance_labels")
    random = np.random.Generator(np.random.Philox(key=[seed, 6]))
    source, stratum = _codes(examples, "source"), _codes(examples, "source", "label")
    sizes = np.bincount(stratum)
    of_source = source[np.unique(stratum, return_index=True)[1]]
    rarest = np.full(source.max() + 1, len(source))
    np.minimum.at(rarest, of_source, sizes)
    return examples.take(_first_of_strata(stratum, rarest[of_source], random))


def _first_of_strata(
    stratum: NDArray[np.int64], counts: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows drawn, in their order: of each stratum as many as it is to give."""
    sizes = np.bincount(stratum)
    order = np.lexsort((random.random(len(stratum)), stratum))  # a stratum's rows stand together, in random order
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < np.repeat(counts, sizes)])


def _codes(claims: pa.Table, *names: str) -> NDArray[np.int64]:
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


def sample_truths(claims: pa.Table, limit: int | None, *, seed: int) -> pa.Table:
    """Draw at most ``limit`` claims, in their order: half of them true, as far as there are enough of both.

    Parameters
    ----------
    claims
        Claims; ``is_true`` says which are true.
    limit
        How many, at least 1; None for all.
    """
    if limit is None or limit >= claims.num_rows:
        return claims
    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    is_true = np.array(claims["is_true"].to_pylist(), np.bool_)
    draw = random.random(len(is_true))
    rank = np.empty(len(is_true), np.int64)  # of a claim's number among those of its truth
    for truth in (True, False):
        places = np.flatnonzero(is_true == truth)
        rank[places[np.argsort(draw[places], kind="stable")]] = np.arange(len(places))
    return claims.take(np.sort(np.lexsort((draw, rank))[:limit]))


def sample_rows(table: pa.Table, limit: int | None, *, seed: int) -> pa.Table:
    """Draw at most ``limit`` rows, in their order.

    Raises
    ------
    DataError
        If ``limit`` is negative.
    """
    if limit is not None and limit < 0:
        raise DataError(f"sample_rows: limit must be at least 0, got {limit}")
    table = as_table(table, who="sample_rows")
    if limit is None or limit >= table.num_rows:
        return table

    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    chosen = np.argsort(random.random(table.num_rows), kind="stable")[:limit]
    return table.take(np.sort(chosen))
