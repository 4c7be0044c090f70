"""From measurements to an evaluation: estimate every metric, and say what stands out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from sycophancy_core.metrics.measure import measure
from sycophancy_core.reporting.findings import evaluation_findings
from sycophancy_core.results.evaluation import Evaluation
from sycophancy_core.runs.surroundings import today


def evaluation_of(
    model: str,
    measurements: pa.Table,
    *,
    facts: Mapping[str, Any],
    prompts: pa.Table | None = None,
    known: Collection[str] | None = None,
) -> Evaluation:
    """Return the evaluation of measured prompts; parameters as the attributes of :class:`Evaluation`."""
    estimates = measure(measurements, known=known)
    return Evaluation(
        model=model,
        measurements=measurements,
        estimates=estimates,
        findings=evaluation_findings(estimates, precision_check=facts.get("precision_check", {})),
        facts=facts,
        prompts=prompts,
        made={"date": today()},
    )
