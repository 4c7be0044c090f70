"""Prompts to tokens to log-probabilities to measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import TEXTS
from sycophancy_core.scoring.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Log-probabilities of answer choices, row by row as the prompts.

    Attributes
    ----------
    log_prob
        ``log_prob[i, j]`` is log p(choice j | prompt i) in nats, summed over the choice's tokens; shape (n, k); NaN
        where prompt i has fewer than k choices or could not be scored.
    unscored
        Why a row could not be scored, None where it was.
    precision
        The precision that the numbers were made in.
    num_tokens
        Tokens that were run.
    num_tokens_unshared
        Tokens of every prompt with every choice, run alone.
    num_moved_borders
        Prompts of which some choice merges with the prompt's last token; their choices are scored from that token on.
    seconds
        Time taken, tokenization included.
    choice_tokens
        How many tokens of each choice are scored, shape (n, k), 0 where there is no choice; None where the model does
        not say.
    shared_tokens
        With how many scored tokens all choices of a prompt begin, shape (n,): they cancel in log-odds. None likewise.
    log_prob_low
        Where a server gives the likeliest first tokens alone: the least that ``log_prob`` can be, -inf for a choice
        that is not among them, whose ``log_prob`` is the most that it can be. The likeliest choice's ``log_prob`` is
        the least that it can be. None where all are known.
    """

    log_prob: NDArray[np.float64]
    unscored: list[str | None]
    precision: str
    num_tokens: int
    num_tokens_unshared: int
    num_moved_borders: int
    seconds: float
    choice_tokens: NDArray[np.int32] | None = None
    shared_tokens: NDArray[np.int32] | None = None
    log_prob_low: NDArray[np.float64] | None = None

    @property
    def num_unscored(self) -> int:
        """Rows that could not be scored."""
        return sum(reason is not None for reason in self.unscored)

    def __repr__(self) -> str:
        rows, width = self.log_prob.shape
        return (
            f"Scores({rows} prompts x {width} choices, {self.num_unscored} unscored, precision={self.precision!r}, "
            f"{self.num_tokens} of {self.num_tokens_unshared} tokens run, {self.seconds:.1f} s)"
        )


def scores_of(
    batch: TokenBatch, values: NDArray[np.float64], *, precision: str, num_tokens: int, seconds: float
) -> Scores:
    """Put the log-probabilities of a batch's sequences into one row a prompt; one that is not finite spoils its row."""
    num_prompts = int(batch.prompt_index[-1]) + 1
    log_prob = np.full((num_prompts, int(batch.choice_index.max()) + 1), np.nan)
    log_prob[batch.prompt_index, batch.choice_index] = values
    finite = np.ones(num_prompts, dtype=bool)
    np.logical_and.at(finite, batch.prompt_index, np.isfinite(values))
    log_prob[~finite] = np.nan
    return Scores(
        log_prob=log_prob,
        unscored=[None if ok else "non-finite log-probability" for ok in finite],
        precision=precision,
        num_tokens=num_tokens,
        num_tokens_unshared=batch.num_tokens_unshared,
        num_moved_borders=batch.num_moved_borders,
        seconds=seconds,
        choice_tokens=batch.choice_tokens,
        shared_tokens=batch.shared_tokens,
    )


def join_scores(prompts: pa.Table, scores: Scores) -> pa.Table:
    """Join prompts and their scores, row by row, into the table that metrics take.

    Returns
    -------
    pyarrow.Table
        The columns of ``prompts`` without the texts of prompt, turns and thought, and ``log_prob`` (list of nats, one a
        choice), ``log_odds`` (log p(Agree choice) - log p(Disagree choice); null where the choices are not these two),
        ``answer`` (index of the likeliest choice; null on a tie or where unscored), ``unscored`` (the reason, or null)
        and, where the scores say them, ``choice_tokens`` (scored tokens of each choice) and ``shared_tokens`` (those
        with which all choices begin). Where only an interval is known, ``log_prob`` is its upper end, and
        ``log_prob_low`` its lower one, null without one; ``log_odds`` is then the nearest to 0 that it can be.
    """
    if prompts.num_rows != len(scores.unscored):
        raise DataError(
            f"measurements: got {prompts.num_rows} prompts but {len(scores.unscored)} scores; score these prompts"
        )
    counts = [len(row) for row in prompts.column("choices").to_pylist()]
    rows = [
        None if why else scores.log_prob[i, :count].tolist()
        for i, (count, why) in enumerate(zip(counts, scores.unscored, strict=True))
    ]
    orders = prompts.column("order").to_pylist() if "order" in prompts.column_names else [None] * len(rows)
    table = prompts.drop_columns([name for name in TEXTS if name in prompts.column_names])
    for name, values, kind in (
        ("log_prob", rows, pa.list_(pa.float64())),
        ("log_odds", [_log_odds(row, order) for row, order in zip(rows, orders, strict=True)], pa.float64()),
        ("answer", [_answer(row) for row in rows], pa.int8()),
        ("unscored", scores.unscored, pa.string()),
    ):
        table = table.append_column(name, pa.array(values, kind))
    if scores.choice_tokens is not None and scores.shared_tokens is not None:
        tokens = [row[:count] for row, count in zip(scores.choice_tokens.tolist(), counts, strict=True)]
        table = table.append_column("choice_tokens", pa.array(tokens, pa.list_(pa.int32())))
        table = table.append_column("shared_tokens", pa.array(scores.shared_tokens, pa.int32()))
    if scores.log_prob_low is not None:
        low = pa.array(_ends(scores.log_prob_low, counts, scores.unscored), pa.list_(pa.float64()))
        table = table.append_column("log_prob_low", low)
    return table


def log_prob_array(rows: list[list[float] | None]) -> NDArray[np.float64]:
    """Put a measurements table's column ``log_prob`` into an array as :class:`Scores` has it."""
    width = max((len(row) for row in rows if row is not None), default=1)
    return np.array([[*(row or ()), *[np.nan] * (width - len(row or ()))] for row in rows], dtype=np.float64)


def _ends(low: NDArray[np.float64], counts: list[int], unscored: list[str | None]) -> list[list[float | None] | None]:
    """Return the lower ends of each row's intervals; None for one without an end."""
    return [
        None if why else [value if np.isfinite(value) else None for value in row[:count]]
        for row, count, why in zip(low.tolist(), counts, unscored, strict=True)
    ]


def _log_odds(row: list[float] | None, order: str | None) -> float | None:
    if row is None or len(row) != 2 or order not in ("agree_first", "disagree_first"):
        return None
    difference = row[0] - row[1]
    return difference if order == "agree_first" else -difference


def _answer(row: list[float] | None) -> int | None:
    if row is None:
        return None
    best = max(row)
    return row.index(best) if row.count(best) == 1 else None
