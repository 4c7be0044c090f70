"""One estimate in words, and what its interval shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

Row = Mapping[str, Any]
Rows = Mapping[str, Row]  # by metric


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
    return f"{_trimmed(100 * share, '.1f')}%"


def percent(row: Row) -> str:
    """Return a rate in percent with its interval."""
    return f"{percentage(row['value'])} {_interval(row, '.1f', 100)}"


def points(row: Row) -> str:
    """Return a difference of rates in percentage points with its interval."""
    return f"{_number(row['value'], '+.1f', 100)} points {_interval(row, '+.1f', 100)}"


def nats(row: Row) -> str:
    """Return a value in nats with its interval."""
    return f"{_number(row['value'], '+.2f', 1)} nats {_interval(row, '+.2f', 1)}"


def signed(number: float) -> str:
    """Return a number with its sign and two decimals."""
    return _trimmed(number, "+.2f")


def counted(number: int, what: str) -> str:
    """Return a number with its noun, as in ``1 prompt`` and ``2 prompts``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def p_words(p_value: float) -> str:
    """Return a p-value as a sentence holds it: ``p < 0.001``, ``p 0.012``."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.2g}"


def _interval(row: Row, form: str, scale: float) -> str:
    if is_number(row["low"]):
        return f"[{_number(row['low'], form, scale)}, {_number(row['high'], form, scale)}]"
    return f"[n/a: {row['reason']}]"


def _number(value: float, form: str, scale: float) -> str:
    return _trimmed(scale * value, form) if is_number(value) else "n/a"


def _trimmed(number: float, form: str) -> str:
    """Format a number without a decimal zero of ``.1f`` and without the sign of a negative zero."""
    text = format(number, form)
    text = text.removesuffix(".0")
    return text.replace("-", "+" if "+" in form else "") if float(text) == 0 else text
