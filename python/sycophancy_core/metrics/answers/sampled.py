"""Answers that were sampled: one row a draw, an answer or none, and no log-probabilities.

A draw counts as a prompt whose answer is certain. So every rate, effect and harm is computed as always, over draws, and
its interval is clustered by claim, which holds both the draws of a claim and the claims. What needs log-probabilities
(margins in nats, the AUC, the choices' mass, how sure a model is, shares by the length of answers) is left out.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sycophancy_core.metrics.arrays import codes
from sycophancy_core.metrics.catalogue import is_in_nats
from sycophancy_core.metrics.facts.stance_catalogue import BY_LENGTH

DRAW = "draw"
_CERTAIN = 50.0  # nats by which the answer stands above each other choice; rates look at the order alone
_OF_MARGINS = ("accuracy_by_margin", "auc", "choice_mass", *(metric.name for metric in BY_LENGTH))
_BY_MARGIN = "confidence="


def is_sampled(measurements: pa.Table) -> bool:
    """Tell whether the rows are draws, numbered in the column ``draw``, whose answers have no log-probabilities."""
    return DRAW in measurements.column_names


def as_certain(measurements: pa.Table) -> pa.Table:
    """Return draws as the metrics take prompts; rows that are no draws as they are.

    Draws without an answer are unscored. Of a claim, each draw with a user is paired with the one of the same number
    without; a question or fact is judged by the share of all its draws.
    """
    if not is_sampled(measurements):
        return measurements
    answers = measurements["answer"].to_pylist()
    counts = pc.list_value_length(measurements["choices"]).to_pylist()
    rows = [
        None if answer is None else np.where(np.arange(count) == answer, 0.0, -_CERTAIN).tolist()
        for answer, count in zip(answers, counts, strict=True)
    ]
    found = _with_column(measurements, "log_prob", pa.array(rows, pa.list_(pa.float64())))
    if "order" in measurements.column_names:
        orders = measurements["order"].to_pylist()
        odds = [_log_odds(*row) for row in zip(answers, orders, counts, strict=True)]
        found = _with_column(found, "log_odds", pa.array(odds, pa.float64()))
    if {"template", "is_true"} <= set(measurements.column_names):
        columns = (measurements[name].to_pylist() for name in ("template", DRAW, "is_true"))
        names = [
            template if template is None or is_true is None else f"{template}#{draw}"
            for template, draw, is_true in zip(*columns, strict=True)
        ]
        found = _with_column(found, "template", pa.array(names, pa.string()))
    return found


def prompt_codes(measurements: pa.Table) -> NDArray[np.int64]:
    """Return for each row the number of its prompt, which the draws of a prompt share, shape (n,)."""
    if not is_sampled(measurements):
        return np.arange(measurements.num_rows)
    ids = [identity.rpartition("#")[0] for identity in measurements["id"].to_pylist()]  # the draw's number ends each
    return codes(pa.chunked_array([ids]))[0]


def of_answers(estimates: pa.Table, *, sampled: bool) -> pa.Table:
    """Return the estimates that answers alone give: of draws, those without log-probabilities."""
    if not sampled:
        return estimates
    rows = estimates.select(["metric", "subset"]).to_pylist()
    keep = [is_of_answers(row["metric"]) and not row["subset"].startswith(_BY_MARGIN) for row in rows]
    return estimates.filter(pa.array(keep, pa.bool_()))


def is_of_answers(metric: str) -> bool:
    """Tell whether answers alone give a metric."""
    return not (is_in_nats(metric) or metric in _OF_MARGINS)


def _log_odds(answer: int | None, order: str | None, count: int) -> float | None:
    if answer is None or count != 2 or order not in ("agree_first", "disagree_first"):
        return None
    return _CERTAIN if (answer == 0) == (order == "agree_first") else -_CERTAIN


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)
