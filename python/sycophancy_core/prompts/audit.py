"""The shortcut audit: what a model that knows nothing can find from the words of the prompts."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import Column, as_table, checked_table

if TYPE_CHECKING:
    Vector: TypeAlias = NDArray[np.float64]

_WORD = re.compile(r"\w+")
_STATED = re.compile(r'"\s+(is(?: not)?) ([^"\n.,;:!?]+)')  # "..." is not Paraphrase
_NUM_FOLDS = 5
_MIN_PROMPTS = 50
_PENALTY = 1.0
_NUM_NEWTON_STEPS = 5
_MAX_CG_STEPS = 15


@dataclass(frozen=True, kw_only=True)
class ShortcutAudit:
    """How well a bag-of-words classifier tells true claims from false ones, and the stated label with "is" or "is not".

    Attributes
    ----------
    accuracy, low, high
        Share of prompts that the words judge rightly under cross-validation, and its interval.
    pair_accuracy, pair_low, pair_high
        The same of the pair of stated label and polarity ("is not Paraphrase" in one source), which no single word
        tells; NaN where no claim says that a quoted text "is" or "is not" something.
    confidence, method
        Of the intervals, clustered by claim.
    chance
        Share of the more frequent truth value.
    n, num_claims
        Prompts judged, and claims (examples, where they are given), which are the clusters.
    words
        The words with the largest weights, the largest first.
    """

    accuracy: float
    low: float
    high: float
    pair_accuracy: float
    pair_low: float
    pair_high: float
    confidence: float
    method: str
    chance: float
    n: int
    num_claims: int
    words: tuple[str, ...]

    @property
    def is_at_chance(self) -> bool:
        """Whether neither is told apart from chance: both intervals reach down to it."""
        return self.low <= self.chance and not self.pair_low > self.chance

    def __str__(self) -> str:
        """Say it in two sentences."""
        by_words = f"above chance, by words such as {', '.join(self.words[:3])}"
        words = "not told apart from chance" if self.low <= self.chance else by_words
        pair = "above chance" if self.pair_low > self.chance else "not told apart from chance"
        shown = (
            f"Shortcut audit: the words alone tell true from false claims in {self.accuracy:.1%} of {self.n} prompts"
            f" (interval {self.low:.1%} to {self.high:.1%}, chance {self.chance:.1%}): {words}."
        )
        if math.isnan(self.pair_accuracy):
            return shown
        return (
            f"{shown} The stated label together with 'is' or 'is not' does in {self.pair_accuracy:.1%}"
            f" (interval {self.pair_low:.1%} to {self.pair_high:.1%}): {pair}."
        )


@checked_arguments
def shortcut_audit(prompts: pa.Table, *, confidence: float = 0.95, limit: int = 10_000, seed: int = 0) -> ShortcutAudit:
    """Judge claims by the words of their prompts alone.

    A logistic regression on word counts, ridge-penalised, learns from four fifths of the claims which prompts state
    truths, and judges the last fifth; every fifth is judged once, and all prompts of a claim stand in the same one.
    Where an example gave several claims, some true and some false, all of its prompts stand together: give the column
    ``example_id`` too. What it finds, a fine-tuned model can find.

    No single word tells a label that more than half of a source's examples have: where most pairs are paraphrases, "is
    Paraphrase" is true more often than not. So a second classifier judges by label and polarity together; balance the
    labels of the examples (:func:`~sycophancy_core.prompts.splits.balance_labels`) where it finds something.

    Parameters
    ----------
    prompts
        A prompts table with truth: columns ``claim_id``, ``prompt``, ``is_true``, and perhaps ``example_id``.
    limit
        Judge at most this many prompts, drawn by ``seed``.

    Raises
    ------
    DataError
        If a column is missing or holds a null, no prompt holds a word, there are fewer than 50 prompts with truth, all
        are true, or all are false, or all are of one claim.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> audit = sc.shortcut_audit(sc.generate(sc.load_examples(), n=400))
    >>> 0 <= audit.low <= audit.accuracy <= audit.high <= 1
    True
    """
    require_whole("shortcut audit", "limit", limit, least=1)
    prompts = as_table(prompts, who="shortcut audit")
    unit = "example_id" if "example_id" in prompts.column_names else "claim_id"
    table = _judgeable(prompts, unit, limit, seed)
    truth = table["is_true"].to_numpy(zero_copy_only=False).astype(np.float64)
    clusters = np.unique(table[unit].to_pylist(), return_inverse=True)[1]
    folds = np.array([zlib.crc32(str(group).encode()) % _NUM_FOLDS for group in table[unit].to_pylist()])
    words = _BagOfWords(table["prompt"].to_pylist())
    is_right, weights = _judge(words, truth, folds)
    found = _share_right(is_right, clusters, confidence)
    pairs = _pairs(table)
    paired = _core.Estimate()
    if any(pairs):
        paired = _share_right(_judge(_BagOfWords(pairs), truth, folds)[0], clusters, confidence)
    strongest = np.argsort(-np.abs(weights), kind="stable")[:10]
    return ShortcutAudit(
        accuracy=found.value,
        low=found.low,
        high=found.high,
        pair_accuracy=paired.value,
        pair_low=paired.low,
        pair_high=paired.high,
        confidence=confidence,
        method=found.method,
        chance=max(float(truth.mean()), 1 - float(truth.mean())),
        n=len(truth),
        num_claims=int(clusters.max()) + 1,
        words=tuple(words.names[index] for index in strongest),
    )


def _judge(words: _BagOfWords, truth: Vector, folds: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """Judge every fold by the others: 1 where that is right, and the mean weights of the words."""
    is_right = np.empty(len(truth))
    weights = np.zeros(len(words.names))
    for fold in range(_NUM_FOLDS):
        fitted = _fit(words, truth, folds != fold)
        weights += fitted[:-1] / _NUM_FOLDS
        judged = words.dot(fitted[:-1]) + fitted[-1] > 0
        is_right[folds == fold] = (judged == (truth > 0))[folds == fold]
    return is_right, weights


def _share_right(is_right: Vector, clusters: NDArray[np.int64], confidence: float) -> _core.Estimate:
    return _core.clustered_mean(is_right, clusters, confidence=confidence, range_low=0.0, range_high=1.0)


def _pairs(prompts: pa.Table) -> list[str]:
    """Return source, polarity and stated label of every prompt as one word; empty where its claim has no such form."""
    sources = prompts["source"].to_pylist() if "source" in prompts.column_names else [""] * len(prompts)
    found = [_STATED.findall(text) for text in prompts["prompt"].to_pylist()]
    return [
        "_".join(_WORD.findall(f"{source} {' '.join(stated[-1])}")) if stated else ""
        for source, stated in zip(sources, found, strict=True)
    ]


def audit_training(prompts: pa.Table, claims: pa.Table) -> str:
    """Say what the words of training prompts give away, claims of one example together; or why that is not known."""
    place = pc.index_in(prompts["claim_id"], value_set=claims["id"].combine_chunks())
    try:
        return str(shortcut_audit(prompts.append_column("example_id", claims["example_id"].take(place))))
    except DataError as error:
        return str(error)


def _judgeable(prompts: pa.Table, unit: str, limit: int, seed: int) -> pa.Table:
    missing = [name for name in ("prompt", "is_true", unit) if name not in prompts.column_names]
    if missing:
        raise DataError(
            f"shortcut audit: the prompts lack the column {missing[0]}; got {', '.join(prompts.column_names)}"
        )
    named = Column(unit, "whole" if pa.types.is_integer(prompts[unit].type) else "text", may_be_null=True)
    texts = [Column(name, "text", is_required=False, may_be_null=True) for name in ("prompt", "source")]
    truth = Column("is_true", "truth", may_be_null=True)
    prompts = checked_table(prompts, (*texts, named, truth), who="shortcut audit")
    unread = [name for name in ("prompt", "is_true", unit) if pa.types.is_null(prompts[name].type)]
    if unread:
        raise DataError(f"shortcut audit: the column {unread[0]} holds nothing but nulls; fill it in")
    table = prompts.filter(pc.is_valid(prompts["is_true"]))
    if len(table) > limit:
        table = table.take(pa.array(_core.sample_positions(len(table), limit, seed), pa.int64()))
    num_true = pc.sum(table["is_true"]).as_py() or 0
    if len(table) < _MIN_PROMPTS or num_true in (0, len(table)):
        raise DataError(
            f"shortcut audit: wanted at least {_MIN_PROMPTS} prompts of true and of false claims,"
            f" got {len(table)} with a truth value, {num_true} of them true"
        )
    for name in ("prompt", unit):
        if table[name].null_count:
            raise DataError(
                f"shortcut audit: the column {name} holds {table[name].null_count} nulls in {len(table)} prompts;"
                " fill them in, or leave these prompts out"
            )
    if len(table[unit].unique()) < 2:
        raise DataError(
            f"shortcut audit: wanted prompts of at least 2 claims, got {len(table)} with one {unit}; add claims"
        )
    return table


class _BagOfWords:
    """Word counts of texts, as a sparse matrix by rows."""

    def __init__(self, texts: list[str]) -> None:
        index: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        for row, text in enumerate(texts):
            found = _WORD.findall(text.lower())
            rows += [row] * len(found)
            columns += [index.setdefault(word, len(index)) for word in found]
        if not index:
            raise DataError(f"shortcut audit: wanted prompts with words, got {len(texts)} without a letter or a digit")
        self._num_rows = len(texts)
        pairs, counts = np.unique(np.array(rows, np.int64) * len(index) + np.array(columns), return_counts=True)
        found_rows, found_columns = np.divmod(pairs, len(index))
        # A word of one prompt says nothing about the others.
        is_common = np.bincount(found_columns, minlength=len(index)) > 1
        self.names = [word for word, keep in zip(index, is_common, strict=True) if keep]
        kept = is_common[found_columns]
        self._rows = found_rows[kept]
        self._columns = (np.cumsum(is_common) - 1)[found_columns[kept]]
        self._counts = counts[kept].astype(np.float64)

    def dot(self, weights: Vector) -> Vector:
        """Return the sum of the weights of every row's words."""
        totals = np.bincount(self._rows, self._counts * weights[self._columns], minlength=self._num_rows)
        return np.asarray(totals, np.float64)

    def transposed_dot(self, values: Vector) -> Vector:
        """Return the sum of the values of every word's rows."""
        totals = np.bincount(self._columns, self._counts * values[self._rows], minlength=len(self.names))
        return np.asarray(totals, np.float64)


def _fit(words: _BagOfWords, truth: Vector, is_seen: NDArray[np.bool_]) -> Vector:
    """Fit weights and intercept by Newton's method; each step is solved by conjugate gradients."""
    beta = np.zeros(len(words.names) + 1)
    ridge = np.append(np.full(len(words.names), _PENALTY), 1e-6)

    def forth(vector: Vector) -> Vector:
        total: Vector = words.dot(vector[:-1]) + vector[-1]
        return total

    def back(values: Vector) -> Vector:
        return np.asarray(np.append(words.transposed_dot(values), values.sum()), np.float64)

    def bend(curvature: Vector, vector: Vector) -> Vector:
        return np.add(back(curvature * forth(vector)), ridge * vector)

    for _ in range(_NUM_NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(forth(beta), -30, 30)))
        curvature = chance * (1 - chance) * is_seen
        gradient = back((truth - chance) * is_seen) - ridge * beta
        beta = beta + _solve(partial(bend, curvature), gradient)
    return beta


def _solve(product_with: Callable[[Vector], Vector], target: Vector) -> Vector:
    """Solve product_with(x) = target for a positive definite product, by conjugate gradients."""
    step = np.zeros_like(target)
    residual = target.copy()
    direction = residual.copy()
    size = residual @ residual
    wanted = 1e-6 * size
    for _ in range(_MAX_CG_STEPS):
        if size <= wanted:
            break
        product = product_with(direction)
        length = size / (direction @ product)
        step += length * direction
        residual -= length * product
        new_size = residual @ residual
        direction = residual + new_size / size * direction
        size = new_size
    return step
