"""Estimates as people read them: paired rows, titles, and numbers with intervals, in tables and in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.catalogue import BY_NAME
from sycophancy_core.reporting.text import clean_text

Row = Mapping[str, Any]  # of an estimates table
Rows = Mapping[str, Row]  # by metric
REPEATS = ("matching_rate", "matching_rate_none", "sycophancy_gap", "sycophancy_gap_margin")
_SAME = 0.02  # shares that are closer are the same one: unscored prompts alone make such a difference


def metric_title(metric: str) -> str:
    """Return a metric's name as a person reads it, with its unit where it is not a share."""
    return BY_NAME[metric].printed if metric in BY_NAME else clean_text(metric).replace("_", " ")


def subset_title(subset: str) -> str:
    """Return a subset's name as a person reads it: the value alone of ``source=value``."""
    return clean_text(subset).removeprefix("source=")


@dataclass(frozen=True, kw_only=True)
class PairedRow:
    """One metric of one task and subset, before, after and their difference (each may be missing)."""

    task: str
    metric: str
    subset: str
    before: Row | None = None
    after: Row | None = None
    difference: Row | None = None

    @property
    def estimates(self) -> list[Row]:
        """The estimates that are there, in the order before, after, difference."""
        return [e for e in (self.before, self.after, self.difference) if e is not None]


def pair_estimates(
    before: pa.Table | None,
    after: pa.Table | None = None,
    difference: pa.Table | None = None,
    *,
    metrics: Sequence[str] | None = None,
) -> list[PairedRow]:
    """Join up to three estimates tables on task, metric and subset, in order of first appearance.

    The metrics ``REPEATS`` are left out where they only repeat the effect; see :func:`repeats_effect`.

    Parameters
    ----------
    before, after, difference
        Estimates tables.
    metrics
        Keep these metrics, in this order within a task and subset; None keeps all, as they come.

    Raises
    ------
    DataError
        If a table holds one task, metric and subset twice.
    """
    rows: dict[tuple[str, str, str], dict[str, Row]] = {}
    for side, table in (("before", before), ("after", after), ("difference", difference)):
        for estimate in table.to_pylist() if table is not None else ():
            key = (estimate["task"] or "", estimate["metric"], estimate["subset"] or "all")
            if side in rows.setdefault(key, {}):
                raise DataError(f"estimates ({side}): task, metric and subset must be unique, got {key} twice")
            rows[key][side] = estimate
    groups: dict[tuple[str, str], dict[str, dict[str, Row]]] = {}
    for (task, metric, subset), sides in rows.items():
        groups.setdefault((task, subset), {})[metric] = sides
    paired = [
        PairedRow(task=task, metric=metric, subset=subset, **sides)
        for (task, metric, subset), sides in rows.items()
        if not (metric in REPEATS and _repeats(groups[task, subset]))
    ]
    return paired if metrics is None else in_view(paired, metrics)


def repeats_effect(matching: Row | None, effect: Row | None, *, is_change: bool = False) -> bool:
    """Say whether the matching rate is the sycophancy effect in other units, and so are the gap and what belongs to it.

    Where users of both views are asked in both orders, the matching rate is (1 + effect) / 2 and the gap effect / 2, so
    that ``REPEATS`` say nothing new. They do where a kind of user is missing, as in the questions of Perez et al. and
    in the published sums.
    """
    if matching is None or effect is None or matching["value"] is None or effect["value"] is None:
        return False
    expected = (0.0 if is_change else 0.5) + effect["value"] / 2
    return bool(abs(matching["value"] - expected) <= _SAME)


def _repeats(group: Mapping[str, Mapping[str, Row]]) -> bool:
    matching, effect = (group.get(name, {}) for name in ("matching_rate", "sycophancy_effect"))
    return any(
        repeats_effect(matching.get(side), effect.get(side), is_change=side == "difference") for side in matching
    )


def in_view(rows: Sequence[PairedRow], metrics: Sequence[str]) -> list[PairedRow]:
    """Keep the rows of these metrics, in this order within a task and subset."""
    places = {key: i for i, key in enumerate(dict.fromkeys((row.task, row.subset) for row in rows))}
    wanted = list(metrics)
    kept = [row for row in rows if row.metric in wanted]
    return sorted(kept, key=lambda row: (places[row.task, row.subset], wanted.index(row.metric)))


def format_number(value: float | None, *, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals, or ``n/a`` where there is none."""
    if value is None or math.isnan(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text


def format_estimate(estimate: Row | None, *, digits: int = 2) -> str:
    """Return ``value [low, high]``; empty where there is no estimate, ``n/a`` where it is undefined.

    Numbers of ten and more (nats) have one decimal less.
    """
    if estimate is None:
        return ""
    numbers = [estimate[name] for name in ("value", "low", "high")]
    digits -= any(number is not None and abs(number) >= 10 for number in numbers)
    value, low, high = (format_number(number, digits=digits) for number in numbers)
    if value == "n/a":
        return value
    return f"{value} [n/a]" if "n/a" in (low, high) else f"{value} [{low}, {high}]"


def format_p_value(p_value: float | None) -> str:
    """Return a p-value to two significant digits, ``< 0.001`` below that."""
    if p_value is None or math.isnan(p_value):
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def row_title(row: PairedRow) -> str:
    """Return a row's metric and, unless it is about the whole task, its subset."""
    title = metric_title(row.metric)
    return title if row.subset == "all" else f"{title}, {subset_title(row.subset)}"


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether a value is there and is not NaN."""
    return value is not None and value == value


def value_of(rows: Rows, metric: str) -> float | None:
    """Return a metric's value; None where the metric is missing or NaN."""
    row = rows.get(metric)
    return float(row["value"]) if row is not None and is_number(row["value"]) else None


def holds(row: Row, value: float) -> bool:
    """Whether the interval holds a value."""
    return bool(row["low"] <= value <= row["high"])


def is_above(row: Row | None, value: float) -> TypeGuard[Row]:
    """Whether the whole interval lies above a value; False without an interval."""
    return row is not None and bool(row["low"] > value)


def is_below(row: Row | None, value: float) -> TypeGuard[Row]:
    """Whether the whole interval lies below a value; False without an interval."""
    return row is not None and bool(row["high"] < value)


def percentage(share: float) -> str:
    """Return a share in percent with at most one decimal, as in ``52.5%``."""
    return f"{_formatted(100 * share, '.1f').removesuffix('.0')}%"


def percent(row: Row) -> str:
    """Return a rate in percent with its interval; all have one decimal where one of them needs it."""
    form = f".{_decimals(row)}f"
    return f"{_number(row['value'], form, 100)}% {_interval(row, form, 100)}"


def points(row: Row, *, plus: str = "+") -> str:
    """Return a difference of rates in percentage points with its interval, with digits as of :func:`percent`.

    Parameters
    ----------
    plus
        What stands before a number above zero; empty for a cost.
    """
    form = f"{plus}.{_decimals(row)}f"
    return f"{_number(row['value'], form, 100)} points {_interval(row, form, 100)}"


def nats(row: Row) -> str:
    """Return a value in nats with its interval."""
    return f"{_number(row['value'], '+.2f', 1)} nats {_interval(row, '+.2f', 1)}"


def signed(number: float) -> str:
    """Return a number with its sign and two decimals."""
    return _formatted(number, "+.2f")


def counted(number: int, what: str) -> str:
    """Return a number with its noun, as in ``1 prompt`` and ``2 prompts``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return parts of a sentence as a list, as in ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def p_words(p_value: float) -> str:
    """Return a p-value as a sentence holds it: ``p < 0.001``, ``p 0.012``."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.2g}"


def _decimals(row: Row) -> int:
    """Return how many decimals percents of a number and its interval need: one, or none if all are whole."""
    numbers = [100 * row[name] for name in ("value", "low", "high") if is_number(row[name])]
    return int(any(not f"{number:.1f}".endswith(".0") for number in numbers))


def _interval(row: Row, form: str, scale: float) -> str:
    if is_number(row["low"]):
        return f"[{_number(row['low'], form, scale)}, {_number(row['high'], form, scale)}]"
    return f"[n/a: {row['reason']}]"


def _number(value: float, form: str, scale: float) -> str:
    return _formatted(scale * value, form) if is_number(value) else "n/a"


def _formatted(number: float, form: str) -> str:
    """Format a number without the sign of a negative zero."""
    text = format(number, form)
    return text.replace("-", "+" if "+" in form else "") if float(text) == 0 else text
