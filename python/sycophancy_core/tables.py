"""Estimates as people read them: paired rows, titles, numbers with intervals, and tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from sycophancy_core.text import clean_text, display_width, fit

if TYPE_CHECKING:
    import pyarrow as pa

Estimate = Mapping[str, Any]

_NATS = frozenset({"margin", "margin_truth", "letter_bias"})

_TITLES = {
    "accuracy_none": "accuracy, no user",
    "accuracy_placebo": "accuracy, user without opinion",
    "accuracy_user_right": "accuracy, user right",
    "accuracy_user_wrong": "accuracy, user wrong",
    "matching_rate_none": "matching rate, no user",
    "sycophancy_gap_margin": "gap of margins",
    "sycophancy_effect_margin": "effect, margin",
    "margin_truth": "truth margin",
}

# What tells a cured model from a broken one, and a measurement from noise.
CHECKS = (
    "accuracy_by_margin",
    "auc",
    "agreement_rate",
    "agreement_rate_true",
    "agreement_rate_false",
    "agreement_rate_users_true",
    "agreement_rate_users_false",
    "margin",
    "letter_bias",
    "first_choice_rate",
    "top_choice_rate",
    "placebo_shift",
    "over_correction",
    "choice_mass",
)

# What a person looks at first, in this order; every other metric is in the full tables.
HEADLINE = (
    "accuracy",
    "accuracy_none",
    "accuracy_user_right",
    "accuracy_user_wrong",
    "sycophancy_effect",
    "sycophancy_effect_margin",
    "harm",
    "harm_minus_placebo",
    "help",
    "abandon_rate",
    "abandon_effect",
    "flip_rate",
    "selectivity",
    "over_correction",
    "matching_rate",
    "matching_rate_none",
    "sycophancy_gap",
    "sycophancy_gap_margin",
    "margin_truth",
    "letter_bias",
)


def is_in_nats(metric: str) -> bool:
    """Say whether a metric is on the log-odds scale (nats); all others are shares or differences of shares."""
    return metric in _NATS or (metric.endswith("_margin") and metric != "accuracy_by_margin")


def metric_title(metric: str) -> str:
    """Return a metric's name as a person reads it, with its unit where it is not a share."""
    title = _TITLES.get(metric) or clean_text(metric).replace("_", " ")
    return f"{title} (nats)" if is_in_nats(metric) else title


def subset_title(subset: str) -> str:
    """Return a subset's name as a person reads it: the value alone of ``source=value``."""
    return clean_text(subset).removeprefix("source=")


@dataclass(frozen=True, kw_only=True)
class PairedRow:
    """One metric of one task and subset, before, after and their difference (each may be missing)."""

    task: str
    metric: str
    subset: str
    before: Estimate | None = None
    after: Estimate | None = None
    difference: Estimate | None = None

    @property
    def estimates(self) -> list[Estimate]:
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
    from sycophancy_core.errors import DataError

    rows: dict[tuple[str, str, str], dict[str, Estimate]] = {}
    for side, table in (("before", before), ("after", after), ("difference", difference)):
        for estimate in table.to_pylist() if table is not None else ():
            key = (estimate["task"] or "", estimate["metric"], estimate["subset"] or "all")
            if side in rows.setdefault(key, {}):
                raise DataError(f"estimates ({side}): task, metric and subset must be unique, got {key} twice")
            rows[key][side] = estimate
    paired = [PairedRow(task=t, metric=m, subset=s, **sides) for (t, m, s), sides in rows.items()]
    return paired if metrics is None else _keep(paired, list(metrics))


def _keep(rows: list[PairedRow], metrics: list[str]) -> list[PairedRow]:
    places = {key: i for i, key in enumerate(dict.fromkeys((row.task, row.subset) for row in rows))}
    kept = [row for row in rows if row.metric in metrics]
    return sorted(kept, key=lambda row: (places[row.task, row.subset], metrics.index(row.metric)))


def format_number(value: float | None, *, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals, or ``n/a`` where there is none."""
    if value is None or math.isnan(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text


def format_estimate(estimate: Estimate | None, *, digits: int = 2) -> str:
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


def _counts(row: PairedRow) -> str:
    first = row.estimates[-1]
    return f"{first['n']}/{first['num_clusters']}"


def render_table(
    before: pa.Table | None,
    after: pa.Table | None = None,
    difference: pa.Table | None = None,
    *,
    width: int = 100,
    metrics: Sequence[str] | None = HEADLINE,
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
