"""What users in the training do: variants with users less their null variants, paired by claim and by seed.

Any training changes a model. What the intervention does is its difference from the same training without users: the
same claims, steps and seeds. The difference has two intervals: over claims (each claim's mean over the seeds), about
other claims, and over seeds (each seed's mean over the claims), about other draws of the training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict

import pyarrow as pa

from sycophancy_core.metrics.changes import adjust_primary
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import COLUMNS, METRICS, Contrast, Row, Side, contrast_rows
from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.studies.contrasts import SWEPT
from sycophancy_core.studies.options import Variant, name_of


def null_effects(
    variants: Mapping[str, Variant], comparisons: Mapping[str, Comparison], *, known: Collection[str]
) -> pa.Table:
    """Return the numbers of variants with users less those of their null variants, after the fine-tuning.

    Parameters
    ----------
    known
        Ids of the claims that the unmodified model knows.

    Returns
    -------
    Changes by task and metric, with ``null`` (the null variant's training) and ``unit`` ("claim" or "seed"); ``subset``
    names all of it. ``before`` is the null variant's number, ``after`` that of the variant with users. There is no row
    over seeds where there is one seed. ``p_adjusted`` is Holm's, by unit and task over the primary metrics.
    """
    rows: list[Row] = []
    for contrast in _contrasts(variants, comparisons):
        rows += contrast_rows(contrast, known)
    for unit in ("claim", "seed"):
        adjust_primary([row for row in rows if row["unit"] == unit])
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    rows.sort(key=lambda row: (tasks.index(row["task"]), METRICS.index(row["metric"])))
    return estimates_table(rows, columns=COLUMNS)


def _contrasts(variants: Mapping[str, Variant], comparisons: Mapping[str, Comparison]) -> Iterator[Contrast]:
    sides = {name: Side(one.after.measurements, one.after.estimates) for name, one in comparisons.items()}
    swept = [option for option in SWEPT if len({getattr(variant, option) for variant in variants.values()}) > 1]
    others = [option for option in swept if option != "training"]
    found: dict[tuple[str, str], dict[int, tuple[Side, Side]]] = {}
    for name, variant in variants.items():
        for null_name, null in variants.items():
            if variant.training == "users" != null.training and _equal_but_training(variant, null):
                key = null.training, name_of(variant, others) if others else ""
                found.setdefault(key, {})[variant.seed] = sides[null_name], sides[name]
    for (null_training, other), pairs in found.items():
        yield Contrast(null_training, f"users less {null_training}{other and f', {other}'}", pairs)


def _equal_but_training(variant: Variant, null: Variant) -> bool:
    return asdict(variant) | {"training": None} == asdict(null) | {"training": None}
