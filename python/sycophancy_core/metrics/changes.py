"""What changed between two measurements of the same prompts: every metric before, after, and their paired change."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.answers.sampled import as_certain, is_sampled, of_answers
from sycophancy_core.metrics.arrays import check_known, pair_by_id, require_columns
from sycophancy_core.metrics.catalogue import METRICS, primary_metrics
from sycophancy_core.metrics.choices import CHOICE_COLUMNS, choice_rows, known_codes, question_kind
from sycophancy_core.metrics.claims import CLAIM_COLUMNS, claim_arrays
from sycophancy_core.metrics.estimates import (
    CHANGE_COLUMNS,
    EQUIVALENCE_MARGIN,
    estimate_row,
    estimates_table,
    subset_rows,
    take,
    task_rows,
)
from sycophancy_core.metrics.facts.stance import FactChange, compare_facts
from sycophancy_core.metrics.measure import Kind, kind_of, with_subsets

Change = _core.MetricChange | FactChange

_MUST_NOT_MOVE = frozenset(metric.name for metric in METRICS if metric.must_not_move)


class Compared(NamedTuple):
    """The estimates before, after and of the change, all of the same prompts and claims."""

    before: pa.Table
    after: pa.Table
    change: pa.Table


@checked_arguments
def compare_measurements(
    before: pa.Table,
    after: pa.Table,
    *,
    confidence: float = 0.95,
    known: Collection[str] | None = None,
    subset_by: tuple[str, ...] = ("source",),
    equivalence_margin: float = EQUIVALENCE_MARGIN,
) -> Compared:
    """Estimate every metric before and after, and after - before, paired by claim.

    Parameters
    ----------
    before, after
        Measurements of the same prompts, in any order; joined on `id`.
    confidence
        Level of the intervals.
    known
        Ids of the claims and questions that the model knew before, in any task (see `known_claims`); by default, in
        each task, what its answers before show, over the prompts that could be scored before and after.
    subset_by
        Columns by whose values every metric is reported as well.
    equivalence_margin
        Share of answers by which accuracy without an opinion may differ and still count as kept.

    Returns
    -------
    Compared
        Three tables of estimates. That of the change also has the columns `before`, `after`, `p_value` (two-sided),
        `p_adjusted` (Holm, over the primary metrics of one task and subset; null for all others, which are
        exploratory), `num_rose` and `num_fell` (claims that changed up and down), `detectable` (the change that these
        data would have shown with probability 0.8) and, for `accuracy` and `accuracy_none`, `equivalence_margin` and
        `p_equivalence` (two one-sided tests: small if the change lies within the margin; NaN where there is no
        interval).

    Raises
    ------
    DataError
        If an id occurs twice or on one side only, if equal ids stand for different prompts, a column is missing, the
        margin does not lie between 0 and 1, or known ids are not texts.

    Warns
    -----
    UserWarning
        If none of the known ids is among the prompts.

    References
    ----------
    Bonett and Price 2012 for the intervals; Holm 1979; Schuirmann 1987 and Tango 1998 for the two one-sided tests.
    """
    if not 0 < equivalence_margin < 1:
        raise DataError(
            "compare: the equivalence margin is a share of answers, more than 0 and less than 1 (5 points are 0.05), "
            f"got {equivalence_margin}"
        )
    if is_sampled(before) != is_sampled(after):
        raise DataError("compare: one side was sampled and the other has log-probabilities; measure both in one way")
    check_known(known, before)
    sampled, before, after = is_sampled(before), as_certain(before), as_certain(after)
    paired = pair_by_id(before, after)
    old_rows, new_rows, change_rows = [], [], []
    for name, positions in task_rows(before):
        first, second = take(before, positions), take(paired, positions)
        kind = kind_of(first)
        task = kind if name is None else name
        first, columns = with_subsets(kind, first, subset_by, known)
        for column in columns[len(subset_by) :]:  # what the model knew before
            second = second.append_column(column, first[column])
        for subset, inside in subset_rows(first, columns):
            found = changes_of(kind, subset, take(first, inside), take(second, inside), confidence, known)
            old_rows += [estimate_row(task, item.metric, subset, item.before) for item in found]
            new_rows += [estimate_row(task, item.metric, subset, item.after) for item in found]
            changes = [_change_row(task, subset, item, equivalence_margin) for item in found]
            adjust_primary(changes)
            change_rows += changes
    tables = (
        estimates_table(old_rows),
        estimates_table(new_rows),
        estimates_table(change_rows, columns=CHANGE_COLUMNS),
    )
    return Compared(*(of_answers(table, sampled=sampled) for table in tables))


def changes_of(
    kind: Kind, subset: str, before: pa.Table, after: pa.Table, confidence: float, known: Collection[str] | None
) -> Sequence[Change]:
    """Return every metric of one task's rows with its estimates before, after and of the change."""
    for side, table in (("before", before), ("after", after)):
        require_columns(table, CLAIM_COLUMNS if kind == "claims" else CHOICE_COLUMNS, who=f"compare ({side})")
    if kind == "claims":
        rows_before, facts = claim_arrays(before, "claim_id", known)
        rows_after, _ = claim_arrays(after, "claim_id", known)
        return _core.compare_claims(rows_before, rows_after, facts, confidence=confidence)
    if kind == "facts":
        return compare_facts(before, after, subset=subset, confidence=confidence)
    return _core.compare_choices(
        choice_rows(before),
        choice_rows(after),
        question_kind(kind),
        known_codes(before, known),
        confidence=confidence,
    )


def _change_row(task: str, subset: str, item: Change, equivalence_margin: float) -> dict[str, object]:
    row = estimate_row(task, item.metric, subset, item.change)
    row |= {"before": item.before.value, "after": item.after.value, "p_value": _core.p_value(item.change)}
    row |= {"num_rose": item.change.num_rose, "num_fell": item.change.num_fell}
    row |= {"detectable": _core.detectable(item.change)}
    if item.metric in _MUST_NOT_MOVE:
        p_equivalence = _core.tost(item.change, equivalence_margin)
        row |= {"equivalence_margin": equivalence_margin, "p_equivalence": p_equivalence}
    return row


def adjust_primary(rows: Sequence[dict[str, Any]]) -> None:
    """Give the rows of primary metrics Holm's p value over those of their task; other metrics are exploratory.

    Primary are the task's main metric and its accuracies: see ``metrics.catalogue.primary_metrics``.

    References
    ----------
    Holm 1979.
    """
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        primary = primary_metrics({row["metric"] for row in mine})
        tested = [row for row in mine if row["metric"] in primary and math.isfinite(row["p_value"])]
        for row, adjusted in zip(tested, _core.holm([row["p_value"] for row in tested]), strict=True):
            row["p_adjusted"] = float(adjusted)
