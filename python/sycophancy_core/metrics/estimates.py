"""The estimates table: one row a task, metric and subset; and how measurements are cut into tasks and subsets."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core._core import Estimate
from sycophancy_core.inputs.tables import Column, Kind, checked_table

COLUMNS = {
    "task": "string",
    "metric": "string",
    "subset": "string",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "confidence": "float64",
    "method": "string",
    "n": "int64",
    "num_clusters": "int64",
    "num_unscored": "int64",
    "reason": "string",
}
CHANGE_COLUMNS = {
    **COLUMNS,
    "before": "float64",
    "after": "float64",
    "num_rose": "int64",
    "num_fell": "int64",
    "p_value": "float64",
    "p_adjusted": "float64",
    "detectable": "float64",
    "equivalence_margin": "float64",
    "p_equivalence": "float64",
}
EQUIVALENCE_MARGIN = 0.05  # share of answers; a change of accuracy within it counts as none


def estimate_row(task: str, metric: str, subset: str, estimate: Estimate) -> dict[str, object]:
    """One row of the estimates table; `reason` is null where the interval is there."""
    row = {name: getattr(estimate, name) for name in COLUMNS if name not in ("task", "metric", "subset", "reason")}
    return {"task": task, "metric": metric, "subset": subset, **row, "reason": estimate.reason or None}


def estimates_table(rows: list[dict[str, object]], *, columns: dict[str, str] | None = None) -> pa.Table:
    """Rows as a table with fixed column types."""
    wanted = COLUMNS if columns is None else columns
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in wanted.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def checked_estimates(table: pa.Table, *, who: str) -> pa.Table:
    """Return an estimates table that another program may have written, with the types that it has to have.

    Raises
    ------
    DataError
        If a column is missing, or holds another kind of value.
    """
    texts = ("task", "metric", "subset", "reason", "method")
    kinds: dict[str, Kind] = {name: "text" if name in texts else "number" for name in COLUMNS}
    nulls = {"value", "low", "high", "reason", "method"}
    return checked_table(
        table, [Column(name, kind, may_be_null=name in nulls) for name, kind in kinds.items()], who=who
    )


def task_rows(measurements: pa.Table) -> Iterator[tuple[str | None, pa.Array | None]]:
    """Every task and the positions of its rows, in order of first appearance; (None, None) where no task is named."""
    if "task" not in measurements.column_names:
        yield None, None
        return
    for task in measurements["task"].unique().to_pylist():
        yield task, _positions(measurements, "task", task)


def subset_rows(measurements: pa.Table, subset_by: tuple[str, ...]) -> Iterator[tuple[str, pa.Array | None]]:
    """`("all", None)`, then `("column=value", positions)` for every value of the columns, where there are several."""
    yield "all", None
    for column in subset_by:
        if column not in measurements.column_names:
            continue
        values = measurements[column].unique().drop_null().to_pylist()
        if len(values) > 1:
            for value in sorted(values, key=str):
                yield f"{column}={value}", _positions(measurements, column, value)


def take(table: pa.Table, positions: pa.Array | None) -> pa.Table:
    """Return the rows at `positions`; all rows for None."""
    return table if positions is None else table.take(positions)


def _positions(table: pa.Table, column: str, value: object) -> pa.Array:
    mask = pc.equal(table[column], pa.scalar(value, table[column].type)).fill_null(False)
    return pc.indices_nonzero(mask)
