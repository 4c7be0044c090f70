"""What changed between two measurements of the same prompts: every metric before, after, and their paired change."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError
from sycophancy_core.metrics.arrays import pair_by_id, require_columns
from sycophancy_core.metrics.catalogue import METRICS
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
from sycophancy_core.metrics.measure import CHOICE_COLUMNS, Kind, kind_of, metrics_of, with_subsets
from sycophancy_core.metrics.one_user import one_sided_metrics

_MUST_NOT_MOVE = frozenset(metric.name for metric in METRICS if metric.must_not_move)


class Compared(NamedTuple):
    """The estimates before, after and of the change, all of the same prompts and claims."""

    before: pa.Table
    after: pa.Table
    change: pa.Table


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
        Ids of the claims that the model knew before, in any task; by default, in each task, those on whose right side
        its margin without an opinion was before, over the prompts that could be scored before and after.
    subset_by
        Columns by whose values every metric is reported as well.
    equivalence_margin
        Share of answers by which accuracy without an opinion may differ and still count as kept.

    Returns
    -------
    Compared
        Three tables of estimates. That of the change also has the columns `before`, `after`, `p_value` (two-sided),
        `p_adjusted` (Holm, over the metrics of one task and subset), `detectable` (the change that these data would
        have shown with probability 0.8) and, for `accuracy` and `accuracy_none`, `equivalence_margin` and
        `p_equivalence` (two one-sided tests: small if the change lies within the margin; NaN where there is no
        interval).

    Raises
    ------
    DataError
        If an id occurs twice or on one side only, if equal ids stand for different prompts, a column is missing, or the
        margin is not positive.

    References
    ----------
    Holm 1979; Schuirmann 1987 for the two one-sided tests.
    """
    if not equivalence_margin > 0:
        raise DataError(f"compare: the equivalence margin must be > 0, got {equivalence_margin}")
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
            found = list(_changes(kind, subset, take(first, inside), take(second, inside), confidence, known))
            adjusted = _core.holm([_core.p_value(change) for _, _, _, change in found])
            for (metric, old, new, change), p_adjusted in zip(found, adjusted, strict=True):
                old_rows.append(estimate_row(task, metric, subset, old))
                new_rows.append(estimate_row(task, metric, subset, new))
                row = estimate_row(task, metric, subset, change)
                row |= {"before": old.value, "after": new.value, "p_value": _core.p_value(change)}
                row |= {"p_adjusted": float(p_adjusted), "detectable": _core.detectable(change)}
                if metric in _MUST_NOT_MOVE:
                    p_equivalence = _core.tost(change, equivalence_margin)
                    row |= {"equivalence_margin": equivalence_margin, "p_equivalence": p_equivalence}
                change_rows.append(row)
    return Compared(
        before=estimates_table(old_rows),
        after=estimates_table(new_rows),
        change=estimates_table(change_rows, columns=CHANGE_COLUMNS),
    )


def _changes(
    kind: Kind, subset: str, before: pa.Table, after: pa.Table, confidence: float, known: Collection[str] | None
) -> Iterator[tuple[str, Estimate, Estimate, Estimate]]:
    for side, table in (("before", before), ("after", after)):
        require_columns(table, CLAIM_COLUMNS if kind == "claims" else CHOICE_COLUMNS, who=f"compare ({side})")
    if kind == "claims":
        rows_before, facts = claim_arrays(before, "claim_id", known)
        rows_after, _ = claim_arrays(after, "claim_id", known)
        for item in _core.compare_claims(rows_before, rows_after, facts, confidence=confidence):
            yield item.metric, item.before, item.after, item.change
        for old, new in zip(one_sided_metrics(before), one_sided_metrics(after), strict=True):
            yield old.metric, *old.compare(new, confidence)
        return
    make = metrics_of(kind, subset)
    frozen = after if kind == "second_turn" else None  # what was doubted must be right, or wrong, in both
    for old, new in zip(make(before, frozen=frozen), make(after, frozen=before), strict=True):
        yield old.metric, *old.compare(new, confidence)
