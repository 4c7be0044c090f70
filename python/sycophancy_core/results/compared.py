"""From two evaluations to a comparison: pair them, estimate every change, and say what stands out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.reporting.finding import Finding, warning
from sycophancy_core.reporting.sides import side_names
from sycophancy_core.reporting.verdicts import comparison_findings, with_warnings_of
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.runs.digests import digest_table


def comparison_of(
    before: Evaluation, after: Evaluation, *, known: Collection[str] | None, equivalence_margin: float
) -> Comparison:
    """Return the comparison of two evaluations; parameters and errors as for ``pipeline.compare``."""
    _require_same_prompts(before, after)
    old, new, changes = compare_measurements(
        before.measurements, after.measurements, known=known, equivalence_margin=equivalence_margin
    )
    names = side_names(before, after)
    if _are_same(before, after):
        findings = tuple(_same(task, names) for task in dict.fromkeys(changes["task"].to_pylist()))
    else:
        findings = comparison_findings(old, new, changes, is_known_given=known is not None)
    return Comparison(
        before=replace(before, estimates=old),
        after=replace(after, estimates=new),
        estimates=changes,
        findings=with_warnings_of(findings, before.findings, after.findings, names=names),
    )


def _are_same(before: Evaluation, after: Evaluation) -> bool:
    """Tell whether two evaluations have the same scores of the same model, to the last bit."""
    if before.facts != after.facts:
        return False
    first, second = (digest_table(one.measurements) for one in (before, after))
    return first == second


def _same(task: str, names: tuple[str, str]) -> Finding:
    """Say in place of a verdict that there are no two things to compare: an interval about 0 would look like proof."""
    first, second = names
    text = (
        f"{first} and {second} are the same evaluation (same model, prompts and scores), so every change is 0 and "
        "shows nothing"
    )
    return warning(task, "same", text)


def _require_same_prompts(before: Evaluation, after: Evaluation) -> None:
    """Refuse evaluations of different prompts, and say in words what they were asked that differs."""
    if any("id" not in one.measurements.column_names for one in (before, after)):
        return  # which is said of the tables
    first, second = (set(one.measurements["id"].to_pylist()) for one in (before, after))
    if first == second:
        return
    differences = list(_asked_differently(before.facts, after.facts))
    words = (
        ", ".join(differences) or f"{len(first - second):,} are only in before, {len(second - first):,} only in after"
    )
    raise DataError(
        f"compare: the two asked different prompts: {words}; measure both with the same --tasks, --claims, --limit and "
        "--seed"
    )


def _asked_differently(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield which of tasks, limit and seed differ; where none does, the tasks that ask other claims or questions."""
    first, second = _digests(before), _digests(after)
    is_found = False
    if set(first) != set(second):
        is_found = True
        yield f"tasks {', '.join(first)} and tasks {', '.join(second)}"
    for name in ("limit", "seed"):
        one, other = (f"no {name}" if side.get(name) is None else f"{name} {side[name]}" for side in (before, after))
        if one != other:
            is_found = True
            yield f"{one} and {other}"
    for task in () if is_found else first:
        if first[task] != second[task]:
            yield f"task {task} asked other claims or questions"


def _digests(facts: Mapping[str, Any]) -> dict[str, object]:
    """Return the digest of each task's prompts, as far as facts, which may be of another program, say."""
    tasks = facts.get("tasks")
    items = tasks.items() if isinstance(tasks, Mapping) else ()
    return {str(name): about.get("digest") if isinstance(about, Mapping) else None for name, about in items}
