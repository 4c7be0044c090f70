"""Prompts to tokens to log-probabilities to measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.tokens import tokenize, tokenize_prompts

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sycophancy_core.models import LanguageModel
    from sycophancy_core.tokens import TokenBatch

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``; for scoring both count tokens."""


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
    """

    log_prob: NDArray[np.float64]
    unscored: list[str | None]
    precision: str
    num_tokens: int
    num_tokens_unshared: int
    num_moved_borders: int
    seconds: float

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


def score_prompts(model: LanguageModel, prompts: pa.Table, *, progress: Progress | None = None) -> Scores:
    """Score every answer choice of every prompt.

    Parameters
    ----------
    model
        The language model.
    prompts
        Table with columns ``prompt`` and ``choices``; ``id``, where present, names rows in errors, and ``turns``, where
        present, is what a chat model reads in place of the prompt (see :func:`sycophancy_core.tokens.tokenize`).
    progress
        Called with tokens done and in all.

    Raises
    ------
    DataError
        If there is no prompt, a prompt has no choice, a choice has no tokens, or prompt and choice together exceed the
        model's context.
    KeyboardInterrupt
        Within half a second of Ctrl-C.

    References
    ----------
    Wei et al. 2023, section 2.
    """
    for column in ("prompt", "choices"):
        if column not in prompts.column_names:
            raise DataError(f"score: the prompts lack the column {column!r}; wanted a table as make_prompts gives it")
    return _score(model, lambda: tokenize_prompts(model, prompts), progress)


def score_texts(
    model: LanguageModel,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    *,
    ids: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score lists of texts; see :func:`score_prompts`."""
    return _score(model, lambda: tokenize(model, prompts, choices, ids=ids), progress)


def _score(model: LanguageModel, make_batch: Callable[[], TokenBatch], progress: Progress | None) -> Scores:
    started = time.perf_counter()
    batch = make_batch()
    values, num_tokens, _ = model.score_tokens(batch, progress=progress)
    num_prompts = int(batch.prompt_index[-1]) + 1
    log_prob = np.full((num_prompts, int(batch.choice_index.max()) + 1), np.nan)
    log_prob[batch.prompt_index, batch.choice_index] = values
    finite = np.ones(num_prompts, dtype=bool)
    np.logical_and.at(finite, batch.prompt_index, np.isfinite(values))
    log_prob[~finite] = np.nan
    return Scores(
        log_prob=log_prob,
        unscored=[None if ok else "non-finite log-probability" for ok in finite],
        precision=model.precision,
        num_tokens=num_tokens,
        num_tokens_unshared=batch.num_tokens_unshared,
        num_moved_borders=batch.num_moved_borders,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True)
class PrecisionCheck:
    """How far scores in one precision are from those in float32.

    Attributes
    ----------
    precision
        The precision that was checked.
    num_prompts
        Prompts that were compared.
    num_flipped
        Prompts with another answer.
    mean_margin_change, max_margin_change
        Mean and maximum of the change of log p(choice j) - log p(choice 0), j > 0, in nats.
    widest_flipped_margin
        The widest float32 margin between best and second choice among flipped answers, in nats; 0 where none flipped.
    """

    precision: str
    num_prompts: int
    num_flipped: int
    mean_margin_change: float
    max_margin_change: float
    widest_flipped_margin: float


def precision_check(model: LanguageModel, prompts: pa.Table) -> PrecisionCheck:
    """Score prompts in the model's precision and in ``highest``, and compare.

    Raises
    ------
    ModelError
        If the native engine, which alone can do both, does not know the model, or its weights are not float32.
    """
    exact = model.with_precision("highest")
    if exact.precision != "float32/highest":
        raise ModelError(
            f"precision_check: the weights of {model.name} are {exact.precision}, so that there are no scores in "
            "float32 to compare with; load it with dtype='float32'"
        )
    return compare_scores(model.score(prompts), exact.score(prompts))


def compare_scores(scores: Scores, exact: Scores) -> PrecisionCheck:
    """Compare the scores of the same prompts in two precisions."""
    ours, wanted = scores.log_prob, exact.log_prob
    if ours.shape != wanted.shape:
        raise DataError(f"precision_check: got scores of shape {ours.shape} and {wanted.shape}; score the same prompts")
    rows = ~np.isnan(ours[:, 0]) & ~np.isnan(wanted[:, 0])
    ours, wanted = ours[rows], wanted[rows]
    change = np.abs((ours[:, 1:] - ours[:, :1]) - (wanted[:, 1:] - wanted[:, :1]))
    change = change[~np.isnan(change)]
    flipped = np.nanargmax(ours, axis=1) != np.nanargmax(wanted, axis=1) if len(ours) else np.zeros(0, dtype=bool)
    ranked = np.sort(np.nan_to_num(wanted[flipped], nan=-np.inf), axis=1)
    return PrecisionCheck(
        precision=scores.precision,
        num_prompts=len(ours),
        num_flipped=int(flipped.sum()),
        mean_margin_change=float(change.mean()) if change.size else 0.0,
        max_margin_change=float(change.max()) if change.size else 0.0,
        widest_flipped_margin=float((ranked[:, -1] - ranked[:, -2]).max()) if flipped.any() else 0.0,
    )


def measurements(prompts: pa.Table, scores: Scores) -> pa.Table:
    """Join prompts and their scores, row by row, into the table that metrics take.

    Returns
    -------
    pyarrow.Table
        The columns of ``prompts`` without the texts of prompt and turns, and ``log_prob`` (list of nats, one a choice),
        ``log_odds`` (log p(Agree choice) - log p(Disagree choice); null where the choices are not these two),
        ``answer`` (index of the likeliest choice; null on a tie or where unscored) and ``unscored`` (the reason, or
        null).
    """
    import pyarrow as pa

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
    table = prompts.drop_columns([name for name in ("prompt", "turns") if name in prompts.column_names])
    for name, values, kind in (
        ("log_prob", rows, pa.list_(pa.float64())),
        ("log_odds", [_log_odds(row, order) for row, order in zip(rows, orders, strict=True)], pa.float64()),
        ("answer", [_answer(row) for row in rows], pa.int8()),
        ("unscored", scores.unscored, pa.string()),
    ):
        table = table.append_column(name, pa.array(values, kind))
    return table


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


__all__ = [
    "PrecisionCheck",
    "Progress",
    "Scores",
    "compare_scores",
    "measurements",
    "precision_check",
    "score_prompts",
    "score_texts",
]
