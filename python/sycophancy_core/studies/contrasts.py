"""What the options of a study do: averages over seeds, and variants that differ in one option alone, taken in pairs.

The unit is the seed: it draws the training prompts and starts the adapter, so variants of one seed are not independent.
The intervals are about other seeds on the same held-out claims; each variant's own intervals are about other claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from sycophancy_core.metrics.changes import adjust_primary
from sycophancy_core.metrics.estimates import CHANGE_COLUMNS, estimate_row, estimates_table
from sycophancy_core.metrics.stats import clustered_mean, detectable, p_value

SWEPT = ("filter", "recipe", "training", "ratio", "steps")  # and the seed, which is what is averaged over
Row = Mapping[str, Any]


def seed_averages(table: pa.Table, *, metrics: Sequence[str]) -> pa.Table:
    """Average numbers after the fine-tuning over the seeds.

    Returns
    -------
    Estimates by task and metric; ``subset`` names the swept options.
    """
    rows = _numbers(table, metrics)
    swept = _swept(rows)
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["metric"], _name(row, swept)), []).append(row)
    return estimates_table(
        [
            estimate_row(*key, clustered_mean([row["after"] for row in group], clusters=[row["seed"] for row in group]))
            for key, group in groups.items()
        ]
    )


def option_effects(table: pa.Table, *, metrics: Sequence[str]) -> pa.Table:
    """Return what each swept option changes: its other values against its first, in variants equal but for it.

    Null variants take no part; what they tell is a table of its own, see ``null_effects``.

    Returns
    -------
    Changes by task and metric; ``subset`` names option and values, ``n`` counts the pairs, ``num_clusters`` the seeds,
    ``before`` and ``after`` are the means under the two values; ``p_adjusted`` is Holm's, see :func:`adjust_primary`.
    """
    rows = [row for row in _numbers(table, metrics) if row["training"] == "users"]
    made: list[dict[str, Any]] = []
    for option in _swept(rows):
        first, *others = dict.fromkeys(row[option] for row in rows)
        for other in others:
            for (task, metric), pairs in _pairs(rows, option, first, other).items():
                ends = [[row["after"] for row in side] for side in zip(*pairs, strict=True)]
                changes = [after - before for before, after in zip(*ends, strict=True)]
                found = clustered_mean(changes, clusters=[row["seed"] for row, _ in pairs])
                before, after = (sum(values) / len(values) for values in ends)
                test = {"p_value": p_value(found), "detectable": detectable(found)}
                row = estimate_row(task, metric, f"{option}: {first} to {other}", found)
                made.append(row | {"before": before, "after": after} | test)
    adjust_primary(made)
    return estimates_table(made, columns=CHANGE_COLUMNS)


def _numbers(table: pa.Table, metrics: Sequence[str]) -> list[Row]:
    """Return the rows of whole tasks that have a number after the fine-tuning, by task and in the metrics' order."""
    rows = [row for row in table.to_pylist() if row["subset"] == "all" and row["metric"] in metrics]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    rows.sort(key=lambda row: (tasks.index(row["task"]), metrics.index(row["metric"])))
    return [row for row in rows if row["after"] is not None and math.isfinite(row["after"])]


def _swept(rows: Sequence[Row]) -> list[str]:
    return [option for option in SWEPT if len({row[option] for row in rows}) > 1]


def _name(row: Row, swept: Sequence[str]) -> str:
    return ", ".join(f"{option} {row[option]}" for option in swept) or "the only variant"


def _pairs(rows: Sequence[Row], option: str, first: Any, other: Any) -> dict[tuple[str, str], list[tuple[Row, Row]]]:
    """Match the rows of two values of an option: same task, metric, seed and other options."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("task", "metric", "seed", *SWEPT) if name != option)

    def side(value: Any) -> Iterator[Row]:
        return (row for row in rows if row[option] == value)

    partners = {key(row): row for row in side(other)}
    found: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for row in side(first):
        if key(row) in partners:
            found.setdefault((row["task"], row["metric"]), []).append((row, partners[key(row)]))
    return found
