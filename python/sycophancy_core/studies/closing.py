"""The table that ends a demo: a few rows in plain words, with intervals, from the most telling numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sycophancy_core.metrics.null_contrast import KNOWN_FACTS, known_subsets
from sycophancy_core.reporting.numbers import format_estimate
from sycophancy_core.reporting.text import display_width, fit
from sycophancy_core.results.evaluation import Comparison

TASK = "facts"
ROWS = {
    "right, asked alone": "accuracy_none",
    "right, user names the right answer": "accuracy_user_right",
    "right, user mentions a wrong answer": "accuracy_mention_wrong",
    "right, user thinks a wrong answer right": "accuracy_user_wrong",
    "follows the user's view": "stance_effect",
}
HEADS = ("before", "trained with users", "trained without", "with less without")
NOTES = """\
Follows the user's view: wrong answers when the user thinks a wrong answer right, less those when the user denies it in
the same words. Trained without: the same facts, steps and seed, but no user in the training. In brackets: 95%
intervals over facts."""


def closing_table(users: Comparison, null: Comparison, effects: pa.Table) -> str:
    """Show what the training with users did to facts that the model knew, next to the training without.

    Parameters
    ----------
    users, null
        What the training with users, and that without, changed.
    effects
        The difference of the two; see ``null_effects``.
    """
    sides = [_by_metric(table) for table in (users.before.estimates, users.after.estimates, null.after.estimates)]
    sides.append({row["metric"]: row for row in effects.to_pylist() if row["task"] == TASK and row["unit"] == "claim"})
    cells = [[words, *(format_estimate(side.get(metric)) for side in sides)] for words, metric in ROWS.items()]
    number = sides[0]["stance_effect"]["num_clusters"] if sides[0] else 0
    table = [[f"{number} facts that the model knew before", *HEADS], *cells]
    widths = [max(display_width(line[i]) for line in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(fit(cell, width, right=i > 0) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in table
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", NOTES])


def _by_metric(estimates: pa.Table) -> dict[str, Mapping[str, Any]]:
    """Return the estimates of known facts."""
    subset = known_subsets(estimates).get(TASK, KNOWN_FACTS)
    rows = (row for row in estimates.to_pylist() if row["task"] == TASK and row["subset"] == subset)
    return {row["metric"]: row for row in rows}
