"""Estimates as people read them: paired rows, titles, numbers with intervals, and tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill

import pyarrow as pa

from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.numbers import PairedRow, format_estimate, pair_estimates, row_title
from sycophancy_core.reporting.text import clean_text, display_width, fit


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
) -> str:
    """Return estimates as text: one block a task, one line a metric, with interval, counts and method.

    Parameters
    ----------
    before, after, difference
        Estimates tables; a column is shown for each that is given.
    width
        Terminal columns; names are cut, never numbers.
    metrics
        Metrics to show, in this order; None shows all.
    """
    rows = pair_estimates(before, after, difference, metrics=metrics)
    sides = [s for s, t in (("before", before), ("after", after), ("difference", difference)) if t is not None]
    heads = ["value"] if sides == ["before"] else sides
    cells = [[row_title(r), *(format_estimate(getattr(r, s)) for s in sides), _counts(r)] for r in rows]
    table = [["", *heads, "n/clusters"], *cells]
    widths = [max(display_width(line[i]) for line in table) for i in range(len(table[0]))]
    widths[0] = max(12, min(max(widths[0], 16), width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = [
        "  ".join(fit(c, w, right=i > 0) for i, (c, w) in enumerate(zip(line, widths, strict=True))) for line in table
    ]
    blocks = []
    for task in dict.fromkeys(r.task for r in rows):
        mine = [i for i, r in enumerate(rows) if r.task == task]
        name = clean_text(task) or "all tasks"
        head = fit(name, widths[0]) + lines[0][len(fit("", widths[0])) :]
        blocks.append(
            "\n".join([head.rstrip(), *(lines[i + 1].rstrip() for i in mine), *_notes((rows[i] for i in mine), width)])
        )
    return "\n\n".join(blocks) if blocks else "(no estimates)"


def _notes(rows: Iterable[PairedRow], width: int) -> list[str]:
    estimates = [(row, e) for row in rows for e in row.estimates]
    methods = dict.fromkeys(
        f"{clean_text(e['method'])}, {100 * e['confidence']:g} %" for _, e in estimates if e["method"]
    )
    unscored = max((e["num_unscored"] or 0 for _, e in estimates), default=0)
    notes = [f"  intervals: {'; '.join(methods)}"] if methods else []
    notes += [f"  unscored rows: up to {unscored}"] if unscored else []
    reasons = dict.fromkeys(f"  n/a in {row_title(r)}: {clean_text(e['reason'])}" for r, e in estimates if e["reason"])
    return [fill(note, width, subsequent_indent="    ") for note in (*notes, *reasons)]
