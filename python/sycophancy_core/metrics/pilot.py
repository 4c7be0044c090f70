"""What a pilot says of the spread between claims: for sizing the measurement that follows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError
from sycophancy_core.metrics.answers.sampled import as_certain, is_of_answers, is_sampled
from sycophancy_core.metrics.arrays import pair_by_id
from sycophancy_core.metrics.catalogue import BY_NAME, RANGES, VIEWS, metric_name
from sycophancy_core.metrics.changes import changes_of
from sycophancy_core.metrics.estimates import take, task_rows
from sycophancy_core.metrics.measure import estimates_of, kind_of, unit_words, with_subsets


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """The spread of one metric in a pilot.

    Attributes
    ----------
    task, metric
        What it is of; the metric is a change where the pilot is a comparison.
    sd
        Standard deviation, between claims, of a claim's value in one order of the choices; over all orders where a
        task has one. Of a difference or change of rates the pseudo-claims of its interval count in it, so that a small
        pilot asks for more claims than its plain spread would.
    correlation
        Correlation of a claim's values in two orders, from 0 to 1; 1 where there is one order.
    num_orders
        Orders in which the pilot asked each claim.
    num_claims
        Claims of the pilot that count for the metric: of some metrics only those that the model knows.
    num_pseudo
        Pseudo-claims in ``sd``: two, or none of a rate and in nats.
    num_asked, num_prompts
        Size of the pilot.
    units
        What the task asks, of which each is an independent unit: claims, facts or questions.
    warnings
        What the pilot warns of in this task, such as a model that answers one letter.
    """

    task: str
    metric: str
    sd: float
    correlation: float
    num_orders: int
    num_claims: int
    num_pseudo: int
    num_asked: int
    num_prompts: int
    units: str = "claims"
    warnings: tuple[str, ...] = ()

    def size_for(self, num_claims: int) -> tuple[int, int]:
        """Return how many claims and prompts to ask so that so many claims count, as in the pilot."""
        num_asked = -(-num_claims * self.num_asked // self.num_claims)
        return num_asked, -(-num_asked * self.num_prompts // self.num_asked)

    @property
    def title(self) -> str:
        """The metric as it is printed, with its unit."""
        known = BY_NAME.get(self.metric)
        name = known.title if known else self.metric
        return f"{name} ({'nats' if known is not None and known.unit == 'nats' else 'share'})"


def spread(pilot: Any, *, task: str | None = None, metric: str | None = None) -> Pilot:
    """Take the spread of a metric from a pilot.

    Parameters
    ----------
    pilot
        An evaluation, or a comparison: then of the change.
    task
        One of its tasks; by default the first.
    metric
        By its name, or as it is printed; by default the first main metric that the task has.

    Raises
    ------
    DataError
        If there is no such task or metric, or fewer than two claims have a value, or all have the same.

    Notes
    -----
    With the standard errors e1 and e2 of one order and e of both, var(one order) = (e1**2 + e2**2) / 2 and the
    correlation r solves e**2 = var * (1 + r) / 2: the variance of a mean of two.
    """
    if not any(hasattr(pilot, name) for name in ("measurements", "before")):
        raise DataError(f"power: pilot must be an Evaluation or a Comparison, got a {type(pilot).__name__}")
    sides = (pilot.before, pilot.after) if hasattr(pilot, "before") else (pilot,)
    tables = [as_certain(_of_task(side.measurements, task)) for side in sides]
    name = str(tables[0]["task"][0].as_py())
    if len(tables) == 2:
        tables[1] = pair_by_id(tables[0], tables[1])
    whole = {
        metric: found
        for metric, found in _estimates(tables).items()
        if is_of_answers(metric) or not is_sampled(tables[0])
    }
    chosen = _chosen(metric, list(whole), name, sides)
    orders = _orders(tables[0]) if chosen != "letter_bias" else []
    units = unit_words(kind_of(tables[0]))
    sd = _sd(whole[chosen], name, chosen, units)
    correlation, num_orders = 1.0, 1
    if len(orders) == 2:
        parts = [
            _estimates([table.filter(pc.equal(table["order"], order)) for table in tables]).get(chosen)
            for order in orders
        ]
        errors = [part.standard_error for part in parts if part is not None and part.standard_error > 0]
        if len(errors) == 2:
            variance = (errors[0] ** 2 + errors[1] ** 2) / 2
            correlation = min(1.0, max(0.0, 2 * whole[chosen].standard_error ** 2 / variance - 1))
            sd, num_orders = sd / math.sqrt((1 + correlation) / 2), 2
    return Pilot(
        task=name,
        metric=chosen,
        sd=sd,
        correlation=correlation,
        num_orders=num_orders,
        num_claims=whole[chosen].num_clusters,
        num_pseudo=2 if whole[chosen].pseudo > 0 else 0,
        num_asked=max(found.num_clusters for found in whole.values()),
        num_prompts=tables[0].num_rows,
        units=units,
        warnings=tuple(one.text for one in pilot.findings if one.task == name and one.severity == "warning"),
    )


def require_reachable(effect: float, metric: str, *, is_change: bool) -> None:
    """Refuse an effect that no value of a metric can be; of a change, what lies between two values.

    Raises
    ------
    DataError
        If the effect is out of the metric's range; the message says what points are as a share.
    """
    low, high = BY_NAME[metric].range if metric in BY_NAME else RANGES["nats"]
    most = high - low if is_change else max(-low, high)
    if abs(effect) > most:
        meant = (
            f"for {effect:g} points give {effect / 100:g}" if abs(effect) <= 100 * most else f"give {most:g} at most"
        )
        raise DataError(f"power: effect {effect:g}: this metric is a share; {meant}")


def _of_task(measurements: pa.Table, task: str | None) -> pa.Table:
    parts = {str(name): take(measurements, positions) for name, positions in task_rows(measurements)}
    chosen = next(iter(parts)) if task is None else task
    if chosen not in parts:
        raise DataError(f"power: the pilot has no task {task!r}; there are {', '.join(parts)}")
    return parts[chosen]


def _estimates(tables: Sequence[pa.Table]) -> dict[str, Estimate]:
    kind = kind_of(tables[0])
    first, columns = with_subsets(kind, tables[0], (), None)
    if len(tables) == 1:
        return dict(estimates_of(kind, "all", first, 0.95, None))
    second = tables[1]
    for column in columns:
        second = second.append_column(column, first[column])
    return {item.metric: item.change for item in changes_of(kind, "all", first, second, 0.95, None)}


def _chosen(metric: str | None, metrics: Sequence[str], task: str, sides: Sequence[Any]) -> str:
    if metric is None:
        return next((name for name in VIEWS["primary"] if name in metrics), metrics[0])
    chosen = metric_name(metric)
    if chosen not in metrics:
        rows = sides[0].estimates.select(["task", "metric"]).to_pylist()
        tasks = list(dict.fromkeys(row["task"] for row in rows if row["metric"] == chosen and row["task"] != task))
        there = ", ".join(name for name in VIEWS["headline"] if name in metrics)
        others = f"it is in {', '.join(tasks)}: choose that task (--task {tasks[0]})" if tasks else f"there are {there}"
        raise DataError(f"power: the pilot's task {task!r} has no metric {metric!r}; {others}")
    return chosen


def _orders(measurements: pa.Table) -> list[str]:
    if "order" not in measurements.column_names:
        return []
    return [order for order in measurements["order"].unique().to_pylist() if order is not None]


def _sd(estimate: Estimate, task: str, metric: str, units: str) -> float:
    sd = estimate.standard_error * math.sqrt(max(estimate.num_clusters, 0))
    if estimate.num_clusters < 2 or not (sd > 0 and math.isfinite(sd)):
        raise DataError(
            f"power: {metric} of task {task!r} is the same in all of the pilot's {estimate.num_clusters} {units}, or "
            "unknown, so that nothing says how much it varies; take a larger pilot"
        )
    return sd
