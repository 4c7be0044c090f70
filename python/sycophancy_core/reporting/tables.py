"""Estimates as tables: as text for a terminal, and as a block of a page for notebooks and the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from textwrap import fill

import pyarrow as pa

from sycophancy_core.errors import require_whole
from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.blocks import Cell, Table
from sycophancy_core.reporting.findings import unit_of
from sycophancy_core.reporting.numbers import (
    PairedRow,
    Row,
    format_estimate,
    format_p_value,
    in_view,
    metric_title,
    pair_estimates,
    row_title,
    subset_title,
)
from sycophancy_core.reporting.sides import BEFORE_AFTER
from sycophancy_core.reporting.text import clean_text, display_width, fit, fit_name

_HEAD = 20  # columns of a terminal
Column = tuple[str, Callable[[PairedRow], Cell]]


@dataclass(kw_only=True)
class _Notes:
    """Texts below a table, each with the mark that stands for it in the table: a, b, c, ..."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        number = len(self.marks)
        return self.marks.setdefault(text, chr(ord("a") + number) if number < 26 else str(number + 1))


def estimates_block(
    before: pa.Table | None,
    after: pa.Table | None = None,
    difference: pa.Table | None = None,
    *,
    caption: str = "",
    metrics: Sequence[str] | None = None,
    names: tuple[str, str] = BEFORE_AFTER,
) -> Table:
    """Return estimates as a table; each number has its interval, n, clusters, unscored rows and method.

    Parameters
    ----------
    before, after, difference
        Estimates tables; a column is shown for each that is given.
    caption
        Plain text above the table.
    metrics
        Metrics to show, in this order; None shows all.
    names
        What the columns of before and after are called.
    """
    return rows_block(pair_estimates(before, after, difference, metrics=metrics), caption=caption, names=names)


def rows_block(rows: Sequence[PairedRow], *, caption: str = "", names: tuple[str, str] = BEFORE_AFTER) -> Table:
    """Return rows that are paired already as a table; see :func:`estimates_block`."""
    sides = [side for side in ("before", "after", "difference") if any(getattr(row, side) is not None for row in rows)]
    notes = _Notes()
    columns = [*_name_columns(rows), *_number_columns(rows, sides, notes, names)]
    body = [[cell(row) for _, cell in columns] for row in rows]
    marks = {mark: text for text, mark in notes.marks.items()}
    return Table(head=[head for head, _ in columns], rows=body, caption=caption, notes=marks)


def _name_columns(rows: Sequence[PairedRow]) -> Iterator[Column]:
    if len({row.task for row in rows}) > 1:
        yield "task", lambda row: Cell(text=row.task)
    if len({row.metric for row in rows}) == 1 and any(row.subset != "all" for row in rows):
        yield metric_title(rows[0].metric), lambda row: Cell(text=subset_title(row.subset), is_head=True)
    else:
        yield "metric", lambda row: Cell(text=row_title(row), is_head=True)


def _number_columns(
    rows: Sequence[PairedRow], sides: list[str], notes: _Notes, names: tuple[str, str]
) -> Iterator[Column]:
    heads = dict(zip(BEFORE_AFTER, names, strict=True))
    # Next to the name, so that it is in sight at every width.
    yield "method", lambda row: _number(", ".join(dict.fromkeys(notes.mark(text) for text in _methods(row))))
    for side in sides:
        yield "value" if sides == ["before"] else heads.get(side, side), partial(_side_cell, side=side)
    there = {name for row in rows for name, value in (row.difference or {}).items() if value is not None}
    p_value = "p_adjusted" if "p_adjusted" in there else "p_value"
    for name, head, form in (
        (p_value, "p (Holm)" if p_value == "p_adjusted" else "p", format_p_value),
        ("p_equivalence", "p (equal)", format_p_value),
        ("detectable", "detectable", _decimals),
    ):
        if name in there:
            yield head, partial(_difference_cell, name=name, form=form)
    if "num_rose" in there:
        yield "changed", _changed_cell
    yield "n", partial(_counts_cell, name="n")
    yield "clusters", partial(_counts_cell, name="num_clusters")
    if any(estimate["num_unscored"] for row in rows for estimate in row.estimates):
        yield "unscored", partial(_counts_cell, name="num_unscored")


def _side_cell(row: PairedRow, *, side: str) -> Cell:
    value, _, interval = format_estimate(getattr(row, side)).partition(" ")
    return Cell(text=value, small=interval, is_number=True)


def _difference_cell(row: PairedRow, *, name: str, form: Callable[[float | None], str]) -> Cell:
    return _number(form((row.difference or {}).get(name)))


def _changed_cell(row: PairedRow) -> Cell:
    """How many claims changed up and down, of those that ``clusters`` counts."""
    change = row.difference or {}
    rose, fell = change.get("num_rose"), change.get("num_fell")
    return _number("" if rose is None or fell is None else f"+{rose:,} -{fell:,}")


def _methods(row: PairedRow) -> Iterator[str]:
    for estimate in row.estimates:
        if estimate["method"]:
            yield f"{estimate['method']}, {100 * estimate['confidence']:g}%"
        if estimate["reason"]:
            yield f"n/a: {estimate['reason']}"


def _counts_cell(row: PairedRow, *, name: str) -> Cell:
    sides: list[Row] = [e for e in (row.before, row.after) if e is not None] or row.estimates
    return _number(" → ".join(dict.fromkeys(f"{e[name]:,}" for e in sides if e[name] is not None)))


def _decimals(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _number(text: str) -> Cell:
    return Cell(text=text, is_number=True)


def _counts(row: PairedRow) -> str:
    first = row.estimates[-1]
    return f"{first['n']}/{first['num_clusters']}"


def render_table(
    before: pa.Table | None,
    after: pa.Table | None = None,
    difference: pa.Table | None = None,
    *,
    width: int = 100,
    metrics: Sequence[str] | None = VIEWS["headline"],
    names: tuple[str, str] = BEFORE_AFTER,
) -> str:
    """Return estimates as text: one block a task, one line a metric, with interval and counts.

    Parameters
    ----------
    before, after, difference
        Estimates tables; a column is shown for each that is given.
    width
        Terminal columns; names are cut, never numbers.
    metrics
        Metrics to show, in this order; None shows all.
    names
        What the columns of before and after are called; cut where they are longer than most numbers.
    """
    require_whole("table", "width", width, least=1)
    every = pair_estimates(before, after, difference)
    rows = every if metrics is None else in_view(every, metrics)
    sides = [s for s, t in (("before", before), ("after", after), ("difference", difference)) if t is not None]
    called = dict(zip(BEFORE_AFTER, (fit_name(clean_text(name), _HEAD).rstrip() for name in names), strict=True))
    heads = ["value"] if sides == ["before"] else [called.get(side, side) for side in sides]
    cells = [[row_title(r), *(format_estimate(getattr(r, s)) for s in sides), _counts(r)] for r in rows]
    table = [["", *heads, "n/clusters"], *cells]
    widths = [max(display_width(line[i]) for line in table) for i in range(len(table[0]))]
    widths[0] = max(12, min(max(widths[0], 16), width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = [
        "  ".join(fit(c, w, right=i > 0) for i, (c, w) in enumerate(zip(line, widths, strict=True))) for line in table
    ]
    asked = {task: {row.metric for row in every if row.task == task} for task in dict.fromkeys(r.task for r in rows)}
    blocks = []
    for task, there in asked.items():
        mine = [i for i, r in enumerate(rows) if r.task == task]
        head = fit(clean_text(task) or "all tasks", widths[0]) + lines[0][len(fit("", widths[0])) :]
        notes = _notes((rows[i] for i in mine), width, unit_of(there))
        blocks.append("\n".join([head.rstrip(), *(lines[i + 1].rstrip() for i in mine), *notes]))
    return "\n\n".join(blocks) if blocks else "(no estimates)"


def _notes(rows: Iterable[PairedRow], width: int, unit: str) -> list[str]:
    estimates = [(row, e) for row in rows for e in row.estimates]
    levels = dict.fromkeys(f"{100 * e['confidence']:g}%" for _, e in estimates if e["method"])
    unscored = max((e["num_unscored"] or 0 for _, e in estimates), default=0)
    notes = [f"  {' and '.join(levels)} intervals over {unit}s"] if levels else []
    notes += [f"  unscored rows: up to {unscored}"] if unscored else []
    reasons = dict.fromkeys(f"  n/a in {row_title(r)}: {clean_text(e['reason'])}" for r, e in estimates if e["reason"])
    return [fill(note, width, subsequent_indent="    ") for note in (*notes, *reasons)]
