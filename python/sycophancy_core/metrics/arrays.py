"""Measurements as arrays: what the metrics read from a `measurements` table, and how two tables are paired."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sycophancy_core.errors import DataError, warn

ARMS = ("none", "placebo", "agree", "disagree")
ORDERS = ("agree_first", "disagree_first")


def require_columns(measurements: pa.Table, wanted: tuple[str, ...], *, who: str) -> None:
    """Raise DataError naming the columns of `wanted` that the table lacks, or an empty table."""
    missing = [name for name in wanted if name not in measurements.column_names]
    if missing:
        raise DataError(
            f"{who}: the measurements lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"got {', '.join(measurements.column_names)}"
        )
    if measurements.num_rows == 0:
        raise DataError(f"{who}: the measurements are empty")


def check_known(known: Collection[str] | None, measurements: pa.Table) -> None:
    """Warn where none of the ids is among the prompts: of such ids none counts, and everything is unknown."""
    there = set(measurements["claim_id"].to_pylist()) if "claim_id" in measurements.column_names else set()
    if known and there.isdisjoint(known):
        warn(
            f"known: none of the {len(known):,} ids, such as {min(known)!r}, is a claim_id of these prompts, so that "
            "nothing counts as known; give ids of the column claim_id, as FilterResult.known has them"
        )


def codes(column: pa.ChunkedArray, *, name: str = "an id column") -> tuple[NDArray[np.int64], list[Any]]:
    """Integer codes of a column in order of first appearance, and the values behind them; nulls are refused."""
    try:
        encoded = column.combine_chunks().dictionary_encode()
    except pa.ArrowException as error:
        raise DataError(f"measurements: wanted ids, got a column of {column.type}: {error}") from error
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    if encoded.null_count:
        raise DataError(f"measurements: {name} holds {encoded.null_count} nulls; every row needs a value")
    return encoded.indices.to_numpy(zero_copy_only=False).astype("int64"), encoded.dictionary.to_pylist()


def codes_of(column: pa.ChunkedArray, words: tuple[str, ...], *, name: str) -> NDArray[np.int8]:
    """Position of every value in `words`; another value is refused by name."""
    index, values = codes(column, name=name)
    unknown = [value for value in values if value not in words]
    if unknown:
        raise DataError(f"measurements: {name} must be one of {', '.join(words)}, got {unknown[0]!r}")
    return np.array([words.index(value) for value in values], dtype=np.int8)[index]


def _cast(column: Any, kind: str, what: str) -> Any:
    """Return a column's values as another type; DataError where they cannot be, as texts that spell numbers."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        raise DataError(f"measurements: wanted {what}, got a column of texts")
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise DataError(f"measurements: wanted {what}, got a column of {column.type}: {error}") from error


def floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Float64 with NaN for null."""
    return np.asarray(_cast(column, "float64", "numbers").fill_null(float("nan")).to_numpy(), dtype=np.float64)


def wholes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Int64 with -1 for null."""
    return np.asarray(_cast(column, "int64", "whole numbers").fill_null(-1).to_numpy(), dtype=np.int64)


def truths(column: pa.ChunkedArray) -> NDArray[np.int8]:
    """1 for true, 0 for false, -1 for null."""
    values = _cast(column, "int8", "true and false")
    wrong = pc.index(pc.is_in(values, value_set=pa.array([0, 1, None], "int8")), False).as_py()
    if wrong >= 0:
        raise DataError(f"measurements: wanted true and false, got {values[wrong]} in row {wrong}")
    return np.asarray(values.fill_null(-1).to_numpy(), dtype=np.int8)


@dataclass(frozen=True, kw_only=True)
class ChoiceScores:
    """Log-probabilities of all choices of n prompts, padded with NaN to k columns.

    Attributes
    ----------
    log_prob
        Nats, shape (n, k).
    num_choices
        Choices of every prompt, shape (n,).
    scored
        Whether all choices of the prompt have a finite log-probability.
    """

    log_prob: NDArray[np.float64]
    num_choices: NDArray[np.int64]
    scored: NDArray[np.bool_]

    @property
    def mass(self) -> NDArray[np.float64]:
        """Probability of all choices together; NaN where unscored."""
        return np.where(self.scored, np.nansum(np.exp(self.log_prob), axis=1), np.nan)

    def share_of(self, choice: NDArray[np.int64]) -> NDArray[np.float64]:
        """1 where the prompt's most probable choice is `choice`, 0 where not; k tied choices get 1/k; NaN unscored."""
        filled = np.where(np.isnan(self.log_prob), -np.inf, self.log_prob)
        best = filled == filled.max(axis=1, keepdims=True)
        rows, choice = np.arange(len(filled)), self._inside(choice)
        return np.where(self.scored, best[rows, choice] / best.sum(axis=1), np.nan)

    def log_odds_of(self, choice: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-odds of `choice` against all other choices together, nats; NaN unscored."""
        rows, choice = np.arange(len(self.log_prob)), self._inside(choice)
        own = self.log_prob[rows, choice]
        others = np.where(np.isnan(self.log_prob), -np.inf, self.log_prob)
        others[rows, choice] = -np.inf
        return np.where(self.scored, own - np.logaddexp.reduce(others, axis=1), np.nan)

    def _inside(self, choice: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return choices that have a column; where no prompt is scored there may be none for them."""
        return np.asarray(np.minimum(choice, self.log_prob.shape[1] - 1), dtype=np.int64)


def choice_scores(measurements: pa.Table) -> ChoiceScores:
    """Read `log_prob` (a list a row); a null list, a null or a non-finite entry makes the prompt unscored."""
    column = measurements["log_prob"].combine_chunks()
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise DataError(f"measurements: log_prob must be a list of numbers a row, got a column of {column.type}")
    num_choices = np.asarray(pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    flat = np.asarray(
        _cast(column.flatten(), "float64", "numbers").fill_null(float("nan")).to_numpy(zero_copy_only=False)
    )
    padded = np.full((len(column), max(int(num_choices.max(initial=0)), 1)), np.nan)
    inside = np.arange(padded.shape[1]) < num_choices[:, None]
    padded[inside] = flat
    scored = (num_choices > 0) & (np.isfinite(padded) | ~inside).all(axis=1)
    return ChoiceScores(log_prob=padded, num_choices=num_choices, scored=scored)


def pair_by_id(before: pa.Table, after: pa.Table) -> pa.Table:
    """Rows of `after` in the order of `before`, matched on the prompt's `id`.

    Raises
    ------
    DataError
        If an id occurs twice in one table, or in one table only, if the prompts behind equal ids differ, or if one
        table lacks a column of the other.
    """
    for name, table in (("before", before), ("after", after)):
        require_columns(table, ("id",), who=f"compare ({name})")
        counts = pc.value_counts(table["id"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
        if twice:
            raise DataError(f"compare: {len(twice)} prompt ids occur more than once {name}, such as {_some(twice)}")
    position = pc.index_in(before["id"], value_set=after["id"].combine_chunks())
    lost = before["id"].filter(pc.is_null(position)).to_pylist()
    extra = after["id"].filter(pc.invert(pc.is_in(after["id"], value_set=before["id"].combine_chunks()))).to_pylist()
    if lost or extra:
        raise DataError(
            "compare: before and after must hold the same prompts; "
            f"{len(lost)} ids are only in before ({_some(lost)}), {len(extra)} only in after ({_some(extra)})"
        )
    paired = after.take(position.combine_chunks() if isinstance(position, pa.ChunkedArray) else position)
    for name in ("claim_id", "arm", "order", "stated", "target", "user_choice", "is_true", "log_odds"):
        sides = [side for side, table in (("before", before), ("after", paired)) if name in table.column_names]
        if len(sides) == 1:
            raise DataError(f"compare: the column {name} is only in {sides[0]}; before and after must both have it")
        if sides and name != "log_odds":
            _require_equal(before, paired, name)
    return paired


def _require_equal(before: pa.Table, after: pa.Table, name: str) -> None:
    first, second = before[name].to_pylist(), after[name].to_pylist()
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        if a != b:
            identity = before["id"][row].as_py()
            raise DataError(
                f"compare: prompt {identity} has {name} {a!r} before and {b!r} after; compare equal prompts"
            )


def _some(ids: list[str]) -> str:
    return ", ".join(map(str, ids[:3])) if ids else "none"
