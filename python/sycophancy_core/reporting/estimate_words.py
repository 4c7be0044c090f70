"""One estimate in words, and what its interval shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

Row = Mapping[str, Any]
Rows = Mapping[str, Row]  # by metric


def is_number(value: float | None) -> bool:
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


def percent(row: Row) -> str:
    """Return a rate in percent with its interval."""
    return f"{100 * row['value']:.1f} % {_interval(row, '.1f', 100)}"


def points(row: Row) -> str:
    """Return a difference of rates in percentage points with its interval."""
    return f"{_number(row['value'], '+.1f', 100)} points {_interval(row, '+.1f', 100)}"


def nats(row: Row) -> str:
    """Return a value in nats with its interval."""
    return f"{_number(row['value'], '+.2f', 1)} nats {_interval(row, '+.2f', 1)}"


def _interval(row: Row, form: str, scale: float) -> str:
    if is_number(row["low"]):
        return f"[{_number(row['low'], form, scale)}, {_number(row['high'], form, scale)}]"
    return f"[n/a: {row['reason']}]"


def _number(value: float, form: str, scale: float) -> str:
    return format(scale * value, form) if is_number(value) else "n/a"
