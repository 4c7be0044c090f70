"""How sure a filter is: errors among its most confident claims, and the threshold that bounds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import sycophancy_core._core as _core
from sycophancy_core.metrics.arrays import floats, truths
from sycophancy_core.results.knowledge_filter import FilterResult, confidence_and_error, examples_of

_RISK = ("threshold", "coverage", "error", "upper_bound", "n", "num_examples")


def risk_coverage(result: FilterResult, thresholds: list[float]) -> list[dict[str, Any]]:
    """Return the risk-coverage curve: for each threshold the share of claims covered, and of those wrong.

    A claim counts as covered if its margin is at least the threshold on either side. ``upper_bound`` is the one-sided
    95% Clopper-Pearson bound on the error. Error and bound count examples: the claims of one are not independent.
    """
    curve = _core.risk_coverage(*_answers(result), thresholds)
    return [{name: getattr(point, name) for name in _RISK} for point in curve]


def choose_threshold(
    result: FilterResult, thresholds: list[float], *, max_error: float, delta: float = 0.05
) -> dict[str, Any]:
    """Find the laxest threshold whose error is at most `max_error` with probability 1 - delta.

    Thresholds are tested from strict to lax until the first fails (fixed-sequence testing), each with the
    Clopper-Pearson bound at level delta, which needs no correction for their number. The bound counts examples: claims
    of one example are not independent.

    Returns
    -------
    dict
        ``threshold, coverage, error, upper_bound, n, num_examples``, and ``reason``: null, or why no threshold passes
        (then the threshold is NaN).

    References
    ----------
    Bauer 1991; Angelopoulos et al. 2021, "Learn then test".
    """
    choice = _core.choose_threshold(*_answers(result), thresholds, max_error=max_error, delta=delta)
    return {name: getattr(choice.point, name) for name in _RISK} | {"reason": choice.reason or None}


def _answers(result: FilterResult) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64]]:
    confidence, is_wrong = confidence_and_error(floats(result.table["margin"]), truths(result.table["is_true"]))
    return confidence, is_wrong, examples_of(result.table)
