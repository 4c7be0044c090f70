"""Whether a cure lasts: models with and without it, tuned further on the same rows and measured on the way."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.figures import relapse_figure
from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import QUESTIONS, ArrowResult, checked_table
from sycophancy_core.metrics.catalogue import better, metric_name
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
ROWS = "the rows"  # what a single table is called
_CURVE = {"rows": "string", "model": "string", "seed": "int64", "step": "int64"}
_HALVES = pa.schema(
    [("rows", pa.string()), ("model", pa.string()), ("seed", pa.int64()), ("gain", pa.float64()), ("step", pa.int64())]
)


@checked_arguments
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
        What ``areas`` and ``halves`` are about.
    curves
        One row a table of rows, model, seed, step and metric: ``rows`` (the table's name), ``model``, ``seed``,
        ``step`` and the columns of an estimates table, with intervals over facts; of all prompts, without subsets.
    areas
        ``rows``, and estimates with intervals over seeds: ``subset`` is a model's name, with the mean of the metric
        under its curve, or ``NAME less BASE`` with the mean difference. Steps count by the logarithm of one more than
        their number, so that each doubling weighs about alike.
    halves
        When half of a cure's gain is gone, one row a table of rows, cured model and seed: ``rows``, ``model``,
        ``seed``, ``gain`` (how much better the metric is than that of the model without a cure, before any step) and
        ``step``, the first that was measured at which at most half of it is left; null where more is left to the end,
        or there is no gain.
    """

    metric: str
    curves: pa.Table
    areas: pa.Table
    halves: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return the curves."""
        return self.curves

    @checked_arguments
    def area(self, name: str, *, rows: str | None = None) -> dict[str, Any]:
        """Return the row of the areas about a model, or about ``NAME less BASE``.

        Parameters
        ----------
        rows
            Name of the table that was tuned on; by default the first.

        Raises
        ------
        DataError
            If there is none.
        """
        rows = self.areas["rows"][0].as_py() if rows is None else rows
        found = {(row["rows"], row["subset"]): row for row in self.areas.to_pylist()}
        if (rows, name) not in found:
            raise DataError(f"areas: there is none of {name!r} on {rows!r}; there are {list(found)}")
        return dict(found[rows, name])

    def __repr__(self) -> str:
        """Show the areas with intervals over seeds, and when half of the gain is gone."""
        lines = [f"Relapse: mean {self.metric} while tuned further, 95% intervals over seeds"]
        halves = self.halves.to_pylist()
        for rows in dict.fromkeys(self.areas["rows"].to_pylist()):
            lines.append(f"on {clean_text(rows)}")
            mine = [row for row in self.areas.to_pylist() if row["rows"] == rows]
            lines += [f"  {clean_text(row['subset'])}: {format_estimate(row)}" for row in mine]
            for model in dict.fromkeys(row["model"] for row in halves):
                gone = [_in_words(row) for row in halves if (row["rows"], row["model"]) == (rows, model)]
                lines.append(f"  half of the gain of {clean_text(model)} is gone, by seed: {', '.join(gone)}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the metric against the steps, a panel a table of rows: each model's mean, and each seed in pale."""
        return relapse_figure(self.curves, metric=self.metric)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write ``curves``, ``areas`` and ``halves`` (Parquet), under a seal."""

        def write(scratch: Path) -> None:
            for name in ("curves", "areas", "halves"):
                write_table(scratch / f"{name}.parquet", getattr(self, name))

        return save_result(folder, "relapse", write)


@checked_arguments
def relapse(
    models: Mapping[str, LanguageModel],
    rows: pa.Table | Mapping[str, pa.Table],
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
        Training rows, of families that ``prompts`` do not ask; or several tables by name, each of which all models are
        tuned on from their start: rows that flatter (:func:`flattering_rows`), and ordinary ones
        (:func:`instruction_rows`).
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
        If there is no model, no table of rows, no step or no seed, or the prompts do not give the metric.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> rows = {
    ...     "flattering": sc.flattering_rows(sc.load_facts("plurals"), n=20),
    ...     "instructions": sc.instruction_rows(sc.load_instructions(), n=24),
    ... }
    >>> prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 4))
    >>> found = sc.relapse({"untreated": model}, rows, prompts, steps=(1,), seeds=(0, 1), progress=False)
    >>> sorted(set(found.curves["step"].to_pylist()))
    [0, 1]
    """
    prompts = checked_table(prompts, QUESTIONS, who="relapse (prompts)")
    tables = dict(rows) if isinstance(rows, Mapping) else {ROWS: rows}
    for name, values in (("models", list(models)), ("rows", list(tables)), ("steps", steps), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise DataError(f"relapse: {name} wants at least one and none twice, got {list(values)}")
    metric = metric_name(metric)
    first = next(iter(models.values()))
    known = known_claims(measure_turns(named_prompts({TASK: prompts}), lambda asked, _: first.score(asked)))
    curve = CurveOptions(tasks={TASK: prompts}, known=known, at=tuple(steps))
    curves: list[dict[str, Any]] = []
    for (kind, table), seed, (name, model) in product(tables.items(), seeds, models.items()):
        tuning = replace(options, steps=max(steps), seed=seed)
        found = finetune(copy.deepcopy(model), table, options=tuning, curve=curve, progress=progress)
        points = [] if found.curve is None else found.curve.to_pylist()
        about = {"rows": kind, "model": name, "seed": seed}
        curves += [{**about, **point} for point in points if point["subset"] == "all"]
    return _summed_up(estimates_table(curves, columns=_CURVE | COLUMNS), list(models), metric)


def _summed_up(table: pa.Table, names: Sequence[str], metric: str) -> Relapse:
    if metric not in table["metric"].to_pylist():
        there = ", ".join(sorted(set(table["metric"].to_pylist())))
        raise DataError(f"relapse: the prompts do not give the metric {metric!r}; they give {there}")
    mine = table.filter(pc.equal(table["metric"], metric)).to_pylist()
    areas: list[dict[str, Any]] = []
    halves: list[dict[str, Any]] = []
    for kind in dict.fromkeys(row["rows"] for row in mine):
        curves: dict[tuple[str, int], dict[int, float]] = {}
        for row in mine:
            if row["rows"] == kind:
                curves.setdefault((row["model"], row["seed"]), {})[row["step"]] = row["value"]
        areas += [{"rows": kind, **row} for row in _areas(curves, names, metric)]
        halves += [{"rows": kind, **row} for row in _halves(curves, names, metric)]
    return Relapse(
        metric=metric,
        curves=table,
        areas=estimates_table(areas, columns={"rows": "string", **COLUMNS}),
        halves=pa.Table.from_pylist(halves, schema=_HALVES),
    )


def _in_words(half: Mapping[str, Any]) -> str:
    if half["step"] is not None:
        return f"step {half['step']}"
    return "more is left" if half["gain"] > 0 else "there was none"


Curves = Mapping[tuple[str, int], Mapping[int, float]]  # by model and seed: the metric by step


def _areas(curves: Curves, names: Sequence[str], metric: str) -> list[dict[str, Any]]:
    seeds = list(dict.fromkeys(seed for _, seed in curves))
    area = {name: np.array([_area(curves[name, seed]) for seed in seeds]) for name in names}
    base, *others = names
    values = area | {f"{name} less {base}": area[name] - area[base] for name in others}
    return [estimate_row(TASK, metric, name, clustered_mean(found, clusters=seeds)) for name, found in values.items()]


def _area(curve: Mapping[int, float]) -> float:
    """Return the mean height of a curve over log2(1 + step), by trapezoids."""
    steps = sorted(curve)
    place = [math.log2(1 + step) for step in steps]
    return float(np.trapezoid([curve[step] for step in steps], place) / (place[-1] - place[0]))


def _halves(curves: Curves, names: Sequence[str], metric: str) -> Iterator[dict[str, Any]]:
    """Yield the step at which at most half of what a cure is better than no cure is left."""
    base, *others = names
    sign = -1 if metric in better("nearest zero") else 1
    for name, seed in curves:
        if name in others:
            plain, cured = ({step: _worth(v, sign) for step, v in curves[one, seed].items()} for one in (base, name))
            less = {step: cured[step] - plain[step] for step in cured}
            gone = [step for step in sorted(less) if less[0] > 0 and less[step] <= less[0] / 2]
            yield {"model": name, "seed": seed, "gain": less[0], "step": gone[0] if gone else None}


def _worth(value: float, sign: int) -> float:
    return value if sign > 0 else -abs(value)
