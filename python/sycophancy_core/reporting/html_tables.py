"""Estimates as HTML tables, for notebooks and the report; all text is escaped where it enters the markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from sycophancy_core.reporting.numbers import (
    Estimate,
    PairedRow,
    format_estimate,
    format_p_value,
    metric_title,
    pair_estimates,
    row_title,
    subset_title,
)
from sycophancy_core.reporting.text import escape

Column = tuple[str, Callable[[PairedRow], str]]


@dataclass(kw_only=True)
class _Notes:
    """Texts below a table, each with the mark that stands for it in the table: a, b, c, ..."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        number = len(self.marks)
        return self.marks.setdefault(text, chr(ord("a") + number) if number < 26 else str(number + 1))

    def html(self) -> str:
        lines = "".join(f"<li><b>{escape(mark)}</b> {escape(text)}</li>" for text, mark in self.marks.items())
        return f'<ul class="notes">{lines}</ul>' if lines else ""


def html_table(
    before: pa.Table | None,
    after: pa.Table | None = None,
    difference: pa.Table | None = None,
    *,
    caption: str = "",
    digits: int = 3,
    metrics: Sequence[str] | None = None,
) -> str:
    """Return estimates as an HTML table; each number has its interval, n, clusters, unscored rows and method.

    Parameters
    ----------
    before, after, difference
        Estimates tables; a column is shown for each that is given.
    caption
        Plain text above the table.
    digits
        Decimals.
    metrics
        Metrics to show, in this order; None shows all.
    """
    rows = pair_estimates(before, after, difference, metrics=metrics)
    given = {"before": before, "after": after, "difference": difference}
    sides = [side for side, table in given.items() if table is not None]
    notes = _Notes()
    columns = [*_name_columns(rows), *_number_columns(rows, sides, digits, notes)]
    body = ("<tr>" + "".join(cell(row) for _, cell in columns) + "</tr>" for row in rows)
    return simple_html_table([head for head, _ in columns], body, caption=caption) + notes.html()


def simple_html_table(head: Sequence[str], body: Iterable[str], *, caption: str = "") -> str:
    """Return an HTML table from plain header texts (escaped here) and finished ``<tr>`` rows."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return f"<table>{title}<thead><tr>{columns}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _name_columns(rows: Sequence[PairedRow]) -> Iterator[Column]:
    if len({row.task for row in rows}) > 1:
        yield "task", lambda row: f"<td>{escape(row.task)}</td>"
    if len({row.metric for row in rows}) == 1 and any(row.subset != "all" for row in rows):
        yield metric_title(rows[0].metric), lambda row: _row_head(subset_title(row.subset))
    else:
        yield "metric", lambda row: _row_head(row_title(row))


def _number_columns(rows: Sequence[PairedRow], sides: list[str], digits: int, notes: _Notes) -> Iterator[Column]:
    for side in sides:
        yield "value" if sides == ["before"] else side, partial(_side_cell, side=side, digits=digits)
    there = {name for row in rows for name, value in (row.difference or {}).items() if value is not None}
    p_value = "p_adjusted" if "p_adjusted" in there else "p_value"
    for name, head, form in (
        (p_value, "p (Holm)" if p_value == "p_adjusted" else "p", format_p_value),
        ("p_equivalence", "p (equal)", format_p_value),
        ("detectable", "detectable", partial(_decimals, digits=digits)),
    ):
        if name in there:
            yield head, partial(_difference_cell, name=name, form=form)
    for name, head in (("n", "n"), ("num_clusters", "clusters"), ("num_unscored", "unscored")):
        yield head, partial(_changes_cell, name=name)
    yield "method", lambda row: _cell(", ".join(dict.fromkeys(notes.mark(text) for text in _methods(row))))


def _side_cell(row: PairedRow, *, side: str, digits: int) -> str:
    return _estimate_cell(getattr(row, side), digits)


def _difference_cell(row: PairedRow, *, name: str, form: Callable[[float | None], str]) -> str:
    return _cell(form((row.difference or {}).get(name)))


def _methods(row: PairedRow) -> Iterator[str]:
    for estimate in row.estimates:
        if estimate["method"]:
            yield f"{estimate['method']}, {100 * estimate['confidence']:g} %"
        if estimate["reason"]:
            yield f"n/a: {estimate['reason']}"


def _changes_cell(row: PairedRow, *, name: str) -> str:
    sides = [e[name] for e in (row.before, row.after) if e is not None] or [e[name] for e in row.estimates]
    return _cell(" → ".join(dict.fromkeys(f"{value:,}" for value in sides if value is not None)))


def _decimals(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _row_head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _cell(text: str) -> str:
    return f'<td class="num">{escape(text)}</td>'


def _estimate_cell(estimate: Estimate | None, digits: int) -> str:
    value, _, interval = format_estimate(estimate, digits=digits).partition(" ")
    small = f' <span class="ci">{escape(interval)}</span>' if interval else ""
    return f'<td class="num">{escape(value)}{small}</td>'
