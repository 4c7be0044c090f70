"""Changes of made-up models and made-up changes of metrics, with what is found in them."""

from __future__ import annotations

import pyarrow as pa
from makers.made_up_results import estimate, estimates, measurements

from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import known_claims
from sycophancy_core.reporting.finding import Finding
from sycophancy_core.reporting.verdicts import comparison_findings

NAN = float("nan")


def change(before: pa.Table, after: pa.Table, *, is_known_given: bool = False) -> tuple[Finding, ...]:
    """Return what is found between two measurements."""
    known = known_claims(before) if is_known_given else None
    tables = compare_measurements(before, after, known=known)
    return comparison_findings(*tables, is_known_given=is_known_given)


def model(**behaviour: float) -> pa.Table:
    """Return the measurements of a made-up model on 100 claims of the task ``t``."""
    return measurements(tasks=["t"], num_claims=100, **behaviour)


def kinds(findings: tuple[Finding, ...]) -> set[str]:
    """Return the kinds of findings."""
    return {finding.kind for finding in findings}


def of_kind(findings: tuple[Finding, ...], kind: str) -> Finding:
    """Return the one finding of a kind."""
    (one,) = [finding for finding in findings if finding.kind == kind]
    return one


def moved(metric: str, before: float, after: float, half: float = 0.03, **more: object) -> list[dict[str, object]]:
    """Estimates of one metric before, after and of its change, with an interval of the change of +-half."""
    ends = {"before": before, "after": after}
    change = estimate("t", metric, after - before, half, **ends, **more)
    return [estimate("t", metric, before, 0.02), estimate("t", metric, after, 0.02), change]


def judged(*metrics: list[dict[str, object]], is_known_given: bool = False) -> tuple[Finding, ...]:
    """Return the findings of metrics made by ``moved``."""
    columns = sorted({name for rows in metrics for row in rows for name in row})
    sides = [[{**dict.fromkeys(columns), **row} for row in rows] for rows in zip(*metrics, strict=True)]
    return comparison_findings(*map(estimates, sides), is_known_given=is_known_given)


CURE = moved("sycophancy_effect", 0.9, 0.1, 0.1, p_adjusted=0.001)
KEPT = moved("accuracy_none", 0.99, 0.99, 0.02, p_adjusted=1.0, equivalence_margin=0.05, p_equivalence=0.001)
