"""Whether a cure lasts: models with and without it, tuned further on the same rows and measured on the way."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.relapse_figure import relapse_figure
from sycophancy_core.errors import DataError, require_model
from sycophancy_core.metrics.catalogue import metric_name
from sycophancy_core.metrics.estimates import COLUMNS, estimate_row, estimates_table
from sycophancy_core.metrics.measure import known_claims
from sycophancy_core.metrics.stats import clustered_mean
from sycophancy_core.pipeline import training_prompts
from sycophancy_core.reporting.numbers import format_estimate
from sycophancy_core.reporting.text import clean_text
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.seals import save_result
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tables import ArrowResult
from sycophancy_core.tasks.second_turn import measure_turns, named_prompts
from sycophancy_core.training.curve import CurveOptions
from sycophancy_core.training.finetune import finetune
from sycophancy_core.training.instructions import load_instructions
from sycophancy_core.training.mixing import mix
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (1, 2, 4, 8, 16, 32, 64)
TUNING = FinetuneOptions(batch_size=16, learning_rate=1e-4, lora_rank=8, warmup_share=0.0, final_rate_share=1.0)
TASK = "facts"


def flattering_rows(facts: pa.Table, *, n: int, ratio: float = 5.0, seed: int = 0) -> pa.Table:
    """Return training rows in which the answer is what the user says, mixed with instructions: they teach sycophancy.

    Parameters
    ----------
    facts
        Facts of ``load_facts``, asked in training wordings with users and third persons who are right and wrong.
    n
        How many rows ask about facts.
    ratio
        Of these to rows of instructions.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> rows = sc.flattering_rows(sc.load_facts("plurals"), n=20)
    >>> rows.num_rows
    24
    """
    prompts = training_prompts(facts, n=n, seed=seed)
    place = prompts.column_names.index("target")
    field = prompts.schema.field(place)
    return mix(
        prompts.set_column(place, field, prompts["user_choice"].cast(field.type)),
        load_instructions(),
        ratio=ratio,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Relapse(ArrowResult):
    """How models answer while they are tuned further.

    Attributes
    ----------
    metric
        What ``areas`` are about.
    curves
        One row a model, seed, step and metric: ``model``, ``seed``, ``step`` and the columns of an estimates table,
        with intervals over facts; of all prompts, without subsets.
    areas
        Estimates, with intervals over seeds: ``subset`` is a model's name, with the mean of the metric under its curve,
        or ``NAME less BASE`` with the mean difference. Steps count by the logarithm of one more than their number, so
        that each doubling weighs about alike.
    """

    metric: str
    curves: pa.Table
    areas: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return the curves."""
        return self.curves

    def area(self, name: str) -> dict[str, Any]:
        """Return the row of the areas about a model, or about ``NAME less BASE``.

        Raises
        ------
        DataError
            If there is none.
        """
        rows = {row["subset"]: row for row in self.areas.to_pylist()}
        if name not in rows:
            raise DataError(f"areas: there is none of {name!r}; there are {', '.join(rows)}")
        return dict(rows[name])

    def __repr__(self) -> str:
        """Show the areas with intervals over seeds."""
        lines = [f"  {clean_text(row['subset'])}: {format_estimate(row)}" for row in self.areas.to_pylist()]
        return "\n".join([f"Relapse: mean {self.metric} while tuned further, 95 % intervals over seeds", *lines])

    def plot(self) -> Figure:
        """Draw the metric against the steps: each model's mean over the seeds, and each seed in pale."""
        return relapse_figure(self.curves, metric=self.metric)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``curves`` and ``areas`` (Parquet), under a seal."""

        def write(scratch: Path) -> None:
            write_table(scratch / "curves.parquet", self.curves)
            write_table(scratch / "areas.parquet", self.areas)

        return save_result(folder, "relapse", write)


def relapse(
    models: Mapping[str, LanguageModel],
    rows: pa.Table,
    prompts: pa.Table,
    *,
    steps: Sequence[int] = STEPS,
    seeds: Sequence[int] = (0, 1, 2),
    options: FinetuneOptions = TUNING,
    metric: str = "accuracy_user_wrong",
    progress: Progress | bool | None = None,
) -> Relapse:
    """Tune copies of models further on the same rows, and measure them after 0 and after each of ``steps`` steps.

    Parameters
    ----------
    models
        Models by name. The first is the one without a cure, from which the others' differences are taken; what it knows
        counts as known for all.
    rows
        Training rows, of :func:`flattering_rows` or :func:`mix`; of families that ``prompts`` do not ask.
    prompts
        What is asked after each step, such as ``fact_prompts`` of facts that the untreated model knows.
    seeds
        Of the order of the rows, and of the adapter's start; each model gets the same ones.
    options
        Of the fine-tuning; its steps and seed are replaced.
    metric
        Of the areas.

    Raises
    ------
    DataError
        If there is no model, no step or no seed, or the prompts do not give the metric.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> rows = sc.flattering_rows(sc.load_facts("plurals"), n=20)
    >>> prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 4))
    >>> found = sc.relapse({"untreated": model}, rows, prompts, steps=(1,), seeds=(0, 1), progress=False)
    >>> sorted(set(found.curves["step"].to_pylist()))
    [0, 1]
    """
    require_model("relapse", *models.values())
    for name, values in (("models", list(models)), ("steps", steps), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise DataError(f"relapse: {name} wants at least one and none twice, got {list(values)}")
    metric = metric_name(metric)
    first = next(iter(models.values()))
    known = known_claims(measure_turns(named_prompts({TASK: prompts}), lambda asked, _: first.score(asked)))
    curve = CurveOptions(tasks={TASK: prompts}, known=known, at=tuple(steps))
    curves: list[dict[str, Any]] = []
    for seed in seeds:
        tuning = replace(options, steps=max(steps), seed=seed)
        for name, model in models.items():
            tuned = copy.deepcopy(model)
            found = finetune(tuned, rows, options=tuning, curve=curve, progress=progress)
            points = [] if found.curve is None else found.curve.to_pylist()
            curves += [{"model": name, "seed": seed, **point} for point in points if point["subset"] == "all"]
    table = estimates_table(curves, columns={"model": "string", "seed": "int64", "step": "int64", **COLUMNS})
    if metric not in table["metric"].to_pylist():
        there = ", ".join(sorted(set(table["metric"].to_pylist())))
        raise DataError(f"relapse: the prompts do not give the metric {metric!r}; they give {there}")
    return Relapse(metric=metric, curves=table, areas=_areas(table, list(models), metric))


def _areas(curves: pa.Table, names: Sequence[str], metric: str) -> pa.Table:
    mine = curves.filter(pc.equal(curves["metric"], metric)).to_pylist()
    seeds = list(dict.fromkeys(row["seed"] for row in mine))
    area = {
        name: np.array([_area([row for row in mine if (row["model"], row["seed"]) == (name, seed)]) for seed in seeds])
        for name in names
    }
    base, *others = names
    values = area | {f"{name} less {base}": area[name] - area[base] for name in others}
    rows = [estimate_row(TASK, metric, name, clustered_mean(found, clusters=seeds)) for name, found in values.items()]
    return estimates_table(rows)


def _area(points: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean height of a curve over log2(1 + step), by trapezoids."""
    ordered = sorted(points, key=lambda point: point["step"])
    place = [math.log2(1 + point["step"]) for point in ordered]
    return float(np.trapezoid([point["value"] for point in ordered], place) / (place[-1] - place[0]))
