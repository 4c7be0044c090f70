"""An intervention less its null: the same prompts answered after both, paired by claim and by seed.

The difference has two intervals: over claims (each claim's mean over the seeds), about other claims, and over seeds
(each seed's mean over the claims), about other draws of the intervention.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.estimates import CHANGE_COLUMNS, estimate_row, take, task_rows
from sycophancy_core.metrics.facts.stance import KNOWLEDGE
from sycophancy_core.metrics.measure import kind_of, unit_words
from sycophancy_core.metrics.stats import clustered_mean, detectable, p_value

# The position answered most often is another one in another seed: it has no mean over seeds.
METRICS = tuple(metric for metric in VIEWS["study"] if metric != "top_choice_rate")
KNOWN_FACTS = f"{KNOWLEDGE}=known"  # nobody gives in who did not know better
COLUMNS = {"null": "string", "unit": "string", **CHANGE_COLUMNS}

Row = dict[str, Any]


class Side(NamedTuple):
    """What one model answered: its measurements, and their estimates."""

    measurements: pa.Table
    estimates: pa.Table


class Contrast(NamedTuple):
    """An intervention and its null, by seed: the null's side first."""

    null: str
    name: str
    pairs: Mapping[int, tuple[Side, Side]]


def contrast_rows(contrast: Contrast, known: Collection[str]) -> list[Row]:
    """Return the changes from the null to the intervention, over claims and over seeds.

    Parameters
    ----------
    known
        Ids of the claims that the unmodified model knows.

    Returns
    -------
    Rows with the columns ``COLUMNS``. ``unit`` is "claim" or "seed"; there is no row over seeds where there is
    one, or where one intervention, made once, is paired with the nulls of all seeds.
    """
    return [*over_claims(contrast, known), *_over_seeds(contrast)]


def over_claims(contrast: Contrast, known: Collection[str]) -> Iterator[Row]:
    """Compare the measurements of all seeds, which are prompts of the same claims."""
    null, users = (_pooled({seed: pair[side].measurements for seed, pair in contrast.pairs.items()}) for side in (0, 1))
    kinds = {str(name): kind_of(take(users, positions)) for name, positions in task_rows(users)}
    for row in _shown(compare_measurements(null, users, known=known, subset_by=()).change, share="before"):
        # Harm in questions is about what the model of the first side knows, which here is the null variant's.
        if row["metric"] == "harm" and kinds[row["task"]] not in ("claims", "facts"):
            continue
        unit = unit_words(kinds[row["task"]]) if row["subset"] == "all" else "known facts"
        about = {"subset": f"{contrast.name}, over {unit}", "null": contrast.null, "unit": "claim"}
        yield row | about | {"p_adjusted": None}


def known_subsets(estimates: pa.Table, *, share: str = "value") -> dict[str, str]:
    """Return, for each task of facts, the subset that is about the facts that are known.

    That is all of them where all are known, since there is then no subset of the known ones.

    Parameters
    ----------
    share
        The column with the share of facts that are known, in the row of that metric.
    """
    rows = (row for row in estimates.to_pylist() if (row["metric"], row["subset"]) == ("known_share", "all"))
    return {row["task"]: "all" if row[share] == 1 else KNOWN_FACTS for row in rows}


def _shown(estimates: pa.Table, *, share: str) -> list[Row]:
    """Return the rows about all prompts; of accuracy on facts those about the known ones, as their effects are."""
    of_facts = known_subsets(estimates, share=share)

    def subset(row: Row) -> str:
        return of_facts.get(row["task"], "all") if row["metric"].startswith("accuracy") else "all"

    return [row for row in estimates.to_pylist() if row["metric"] in METRICS and row["subset"] == subset(row)]


def _pooled(measurements: Mapping[int, pa.Table]) -> pa.Table:
    """Join the measurements of several seeds: a prompt is one of its seed, and is paired with its seed's alone."""
    tables = []
    for seed, table in measurements.items():
        for name in ("id", "template"):
            if name in table.column_names:
                marked = pc.binary_join_element_wise(table[name].cast(pa.string()), f"seed {seed}", ", ")
                table = table.set_column(table.column_names.index(name), name, marked)
        tables.append(table)
    return pa.concat_tables(tables)


def _over_seeds(contrast: Contrast) -> Iterator[Row]:
    """Take each seed's difference as one number."""
    if len({id(users.measurements) for _, users in contrast.pairs.values()}) < 2:
        return  # one intervention against several nulls: what differs is the null alone
    numbers = [[shown_numbers(side.estimates) for side in pair] for pair in contrast.pairs.values()]
    for task, metric in numbers[0][0]:
        ends = [[side.get((task, metric), math.nan) for side in pair] for pair in numbers]
        found = clustered_mean([users - null for null, users in ends], clusters=list(contrast.pairs))
        before, after = (_mean([pair[side] for pair in ends]) for side in (0, 1))
        row = estimate_row(task, metric, f"{contrast.name}, over seeds", found)
        test = {"p_value": p_value(found), "detectable": detectable(found)}
        yield row | {"null": contrast.null, "unit": "seed", "before": before, "after": after} | test


def shown_numbers(estimates: pa.Table) -> dict[tuple[str, str], float]:
    """Return the numbers of one side by task and metric; of accuracy on facts those about the known ones."""
    return {(row["task"], row["metric"]): row["value"] for row in _shown(estimates, share="value")}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
