"""The training curve: a small evaluation every few steps, early stopping on it, and the best step's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sycophancy_core.errors import DataError, require_counts, require_whole
from sycophancy_core.inputs.arguments import checked_fields
from sycophancy_core.metrics.catalogue import better, metric_name
from sycophancy_core.metrics.estimates import COLUMNS, estimates_table, take, task_rows
from sycophancy_core.metrics.measure import known_claims, measure
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.scoring.checkpoints.peft_layers import summed_layers
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tasks.second_turn import measure_turns, named_prompts
from sycophancy_core.training.adapters.low_rank import applied_adapter, trainable_parameters

if TYPE_CHECKING:
    import torch

_CHOOSING = (*better("higher"), *better("nearest zero"))


@checked_fields
@dataclass(frozen=True, kw_only=True, eq=False)
class CurveOptions:
    """What to measure during a fine-tuning, and whether to choose the step by it.

    Attributes
    ----------
    tasks
        Prompts tables by name, as ``evaluate`` takes them; small ones, since each point of the curve scores them all.
        Where ``metric`` chooses the step, they must not be the prompts of the evaluation that is reported afterwards,
        which would look better than the model is.
    known
        Ids of the claims, questions and facts that count as known, such as those that another model knows; None for
        those that the untouched model knows.
    every
        Optimizer steps from one evaluation to the next; the untouched model and the last step are measured too.
    at
        The steps to measure in place of every so many, with the same two ends; None for ``every``.
    metric
        Metric by which the best step is chosen, called by its name or as it is printed: one for which the catalogue
        says which values are better; over several tasks, the mean of those in which it has a value. A model that
        answers one letter to everything has an effect of zero: ``"accuracy_user_wrong"`` does not take it for a cure.
        None: the curve is recorded only, and the last step's weights are kept.
    patience
        Stop after this many evaluations without a better one; None never stops early. The learning rate's schedule is
        that of all ``steps``.
    """

    tasks: Mapping[str, pa.Table]
    known: frozenset[str] | None = None
    every: int = 10
    at: tuple[int, ...] | None = None
    metric: str | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if not self.tasks or any(table.num_rows == 0 for table in self.tasks.values()):
            raise DataError("CurveOptions: tasks must hold at least one table of prompts, and none may be empty")
        require_counts("CurveOptions", self, ("every",))
        require_counts("CurveOptions", self, ("patience",), none="None")
        for step in self.at or ():
            require_whole("CurveOptions", "at", step)
        if self.metric is not None:
            object.__setattr__(self, "metric", metric_name(self.metric))
        if self.metric is not None and self.metric not in _CHOOSING:
            known = ", ".join(_CHOOSING)
            raise DataError(f"CurveOptions: metric must be None or one of {known}, got {self.metric!r}")
        if self.patience is not None and self.metric is None:
            raise DataError(f"CurveOptions: patience needs a metric, got patience {self.patience}, metric None")

    def identity(self) -> dict[str, Any]:
        """Return what decides the curve: settings, and digests of the prompts."""
        digests = {name: digest_table(table) for name, table in self.tasks.items()}
        found: dict[str, Any] = {
            "tasks": digests,
            "every": self.every,
            "metric": self.metric,
            "patience": self.patience,
        }
        if self.at is not None:
            found["at"] = list(self.at)
        return found if self.known is None else {**found, "known": sorted(self.known)}


class CurveRecorder:
    """Measures a model while it is trained, and remembers the best step.

    Parameters
    ----------
    model
        The model, scored on its shared weights, an adapter on them included.
    options
        What to measure, and how to choose.
    """

    def __init__(self, model: LanguageModel, options: CurveOptions) -> None:
        self._model = model
        self._options = options
        self._known: dict[str, list[str]] = {}  # by task
        self._rows: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = {}  # parameter name -> its values at the best step

    @property
    def steps(self) -> list[int]:
        """The steps that were measured."""
        return list(dict.fromkeys(row["step"] for row in self._rows))

    @property
    def losses(self) -> dict[int, float]:
        """How far each step is from the metric's best value, in the tasks that ever have one; NaN where undefined."""
        mine = [row for row in self._rows if row["metric"] == self._options.metric]
        tasks = {row["task"] for row in mine if math.isfinite(row["value"])}
        losses = {}
        for step in self.steps:
            values = [row["value"] for row in mine if row["step"] == step and row["task"] in tasks]
            far = [abs(value) if self._options.metric in better("nearest zero") else -value for value in values]
            losses[step] = math.fsum(far) / len(far) if far else math.nan
        return losses

    @property
    def best_step(self) -> int | None:
        """The evaluated step with the best value, the earliest of equals; None without a metric or a value."""
        defined = {step: loss for step, loss in self.losses.items() if math.isfinite(loss)}
        return min(defined, key=lambda step: defined[step]) if defined else None

    @property
    def is_over(self) -> bool:
        """Whether as many evaluations as ``patience`` have passed since the best one."""
        best, patience = self.best_step, self._options.patience
        return best is not None and patience is not None and sum(s > best for s in self.losses) >= patience

    def is_due(self, step: int, num_steps: int) -> bool:
        """Tell whether a step is to be measured, and was not yet."""
        is_measured = any(row["step"] == step for row in self._rows)
        at, every = self._options.at, self._options.every
        is_asked = step % every == 0 if at is None else step == 0 or step in at
        return (is_asked or step == num_steps) and not is_measured

    def measure(self, step: int) -> None:
        """Evaluate the model as it is after ``step`` steps; keep a copy of its weights if none was better.

        Draws no random number and leaves every weight as it was, to the bit.

        Raises
        ------
        DataError
            If no task has the metric, or none a value of it before the first step.
        """
        module = self._model.model
        was_training = module.training
        module.eval()
        try:
            with applied_adapter(module), summed_layers(module):
                measurements = measure_turns(
                    named_prompts(self._options.tasks), lambda prompts, _: self._model.score(prompts)
                )
        finally:
            module.train(was_training)
        found = []
        for task, positions in task_rows(measurements):
            mine = take(measurements, positions)
            if step == 0:
                known = self._options.known
                self._known[str(task)] = sorted(known_claims(mine) if known is None else known)
            found += measure(mine, known=self._known[str(task)], subset_by=()).to_pylist()
        # A NaN's sign does not survive a checkpoint, so that every NaN is made the same one here.
        self._rows += [{"step": step} | {k: math.nan if v != v else v for k, v in row.items()} for row in found]
        metric = self._options.metric
        if metric is not None and metric not in {row["metric"] for row in found}:
            there = ", ".join(sorted({row["metric"] for row in found}.intersection(_CHOOSING)))
            raise DataError(f"CurveOptions: no task has the metric {metric!r}; choose one of {there}")
        if metric is not None and step == 0 and self.best_step is None:
            why = next(row["reason"] for row in found if row["metric"] == metric)
            raise DataError(
                f"CurveOptions: {metric!r} has no value for the untouched model ({why}); choose another metric"
            )
        if self.best_step == step:
            self.best = {name: parameter.detach().clone() for name, parameter in trainable_parameters(module)}

    def values_at(self, step: int) -> dict[str, float]:
        """Return what was measured after a step, where it is finite: ``task/metric`` and the ends of its interval."""
        found: dict[str, float] = {}
        for row in self._rows:
            if row["step"] == step:
                name = f"{row['task']}/{row['metric']}"
                parts = {name: row["value"], f"{name}/low": row["low"], f"{name}/high": row["high"]}
                found |= {key: value for key, value in parts.items() if value is not None and math.isfinite(value)}
        return found

    def keep_best(self) -> None:
        """Put the best step's weights back, in place; without a metric, keep the last step's."""
        import torch

        with torch.no_grad():
            for name, parameter in trainable_parameters(self._model.model) if self.best else ():
                parameter.copy_(self.best[name])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint contains besides ``best``: numbers and texts."""
        return {"known": self._known, "rows": self._rows}

    def restore(self, state: Mapping[str, Any], best: dict[str, torch.Tensor]) -> None:
        """Go on from a checkpoint's ``state`` and ``best``."""
        self._known, self._rows, self.best = dict(state["known"]), list(state["rows"]), best

    def table(self) -> pa.Table:
        """Return the curve: the columns of an estimates table after ``step``, and ``is_best``."""
        best = self.best_step
        rows = [{**row, "is_best": row["step"] == best} for row in self._rows]
        return estimates_table(rows, columns={"step": "int64", **COLUMNS, "is_best": "bool"})
