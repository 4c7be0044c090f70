"""How many claims an effect needs, or which effect so many claims can show: to be asked before anything is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import sycophancy_core._core as _core
from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """How many claims are asked, and what they can show.

    Attributes
    ----------
    effect
        Smallest true mean that the test finds with probability ``power``; in the units of ``sd``.
    num_claims
        Claims (or questions): the independent units.
    num_prompts
        Claims times prompts a claim.
    claim_sd
        Standard deviation of one claim's mean over its prompts.
    alpha, power
        Two-sided level of the test, and probability that it finds the effect.
    """

    effect: float
    num_claims: int
    num_prompts: int
    claim_sd: float
    alpha: float
    power: float

    def __str__(self) -> str:
        return (
            f"{self.num_claims:,} claims ({self.num_prompts:,} prompts) show a true mean of {self.effect:.3g} or more "
            f"with probability {self.power:g} at level {self.alpha:g}"
        )


StudyPlan = SampleSize  # deprecated: the name of 0.1, which read as the plan of a `study`


def power(
    *,
    sd: float,
    effect: float | None = None,
    num_claims: int | None = None,
    prompts_per_claim: int = 1,
    correlation: float = 1.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> SampleSize:
    """Size a measurement of a mean over claims, such as a paired change or an effect: give the effect or the size.

    Parameters
    ----------
    sd
        Standard deviation of one prompt's value. For the difference of two yes/no answers of which a share d differs
        and whose mean is m it is ``sqrt(d - m**2)``; 0.5 at most for one yes/no answer.
    effect
        True mean that is to be found; gives the number of claims.
    num_claims
        Claims at hand; gives the effect that they can show.
    prompts_per_claim
        Prompts of each claim that are averaged.
    correlation
        Correlation of two prompts of one claim, 0 to 1. At 1, the careful choice, more prompts a claim show no more.
    alpha
        Two-sided level of the test.
    power
        Probability that the effect is found.

    Raises
    ------
    DataError
        If not exactly one of ``effect`` and ``num_claims`` is given, or a number is out of its range.

    References
    ----------
    Kish 1965 for the design effect of clusters; the t test's sample size as in Julious 2004, section 3.
    """
    if (effect is None) == (num_claims is None):
        raise DataError("power: give either effect or num_claims, and the other is found")
    if not (sd > 0 and math.isfinite(sd)):
        raise DataError(f"power: sd must be > 0, got {sd}")
    if effect is not None and not (effect != 0 and math.isfinite(effect)):
        raise DataError(f"power: wanted an effect that is not 0 and is finite, got {effect}")
    if prompts_per_claim < 1:
        raise DataError(f"power: prompts_per_claim must be at least 1, got {prompts_per_claim}")
    if not 0 <= correlation <= 1:
        raise DataError(f"power: correlation must lie between 0 and 1, got {correlation}")
    claim_sd = sd * math.sqrt((1 + (prompts_per_claim - 1) * correlation) / prompts_per_claim)
    if num_claims is None:
        assert effect is not None
        num_claims = math.ceil(_core.clusters_needed(effect, claim_sd, alpha=alpha, power=power))
    else:
        effect = _detectable(num_claims, claim_sd, alpha, power)
    return SampleSize(
        effect=abs(effect),
        num_claims=num_claims,
        num_prompts=num_claims * prompts_per_claim,
        claim_sd=claim_sd,
        alpha=alpha,
        power=power,
    )


def _detectable(num_claims: int, claim_sd: float, alpha: float, power: float) -> float:
    if num_claims < 2:
        raise DataError(f"power: num_claims must be at least 2, got {num_claims}")
    if not (0 < alpha < 1 and 0 < power < 1):
        raise DataError(f"power: alpha and power must lie between 0 and 1, got {alpha} and {power}")
    error = claim_sd / math.sqrt(num_claims)
    return _core.detectable(Estimate(standard_error=error, num_clusters=num_claims, confidence=1 - alpha), power=power)
