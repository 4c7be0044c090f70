"""How many claims an effect needs, or which effect so many claims can show: to be asked before anything is run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.pilot import Pilot, require_reachable, spread

CURVE = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # claims
_FAR = 5  # standard deviations of single claims, which no real effect is
_MOST_SDS = 1e8  # of a claim, in effects: 10**17 claims


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """How many claims are asked, and what they can show.

    Attributes
    ----------
    effect
        Smallest true mean that the test finds with probability ``power``; in the units of ``sd``.
    num_claims
        Claims (or questions) that count for the metric: the independent units.
    num_asked
        Claims to ask so that so many count, by the share of the pilot's that did: of some metrics only claims count
        that the model knows.
    num_prompts
        Claims to ask times prompts a claim.
    claim_sd
        Standard deviation of one claim's mean over its prompts.
    alpha, power
        Two-sided level of the test, and probability that it finds the effect.
    pilot
        The pilot that gave the spread, or None.
    """

    effect: float
    num_claims: int
    num_asked: int
    num_prompts: int
    claim_sd: float
    alpha: float
    power: float
    pilot: Pilot | None = None

    @checked_arguments
    def curve(self, num_claims: Sequence[int] = CURVE) -> pa.Table:
        """Return the smallest effect that other numbers of claims show: columns ``num_claims`` and ``effect``."""
        sizes = sorted({*num_claims, self.num_claims} - {0, 1})
        effects = [_detectable(size, self.claim_sd, self.alpha, self.power) for size in sizes]
        return pa.table({"num_claims": sizes, "effect": effects})

    def plot(self) -> Any:
        """Draw the curve as a matplotlib figure: claims against the smallest effect that they show."""
        from matplotlib.figure import Figure

        table = self.curve()
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.loglog(table["num_claims"].to_pylist(), table["effect"].to_pylist(), marker="o")
        axes.set_xlabel(self.units)
        axes.set_ylabel(f"smallest effect found with probability {self.power:g}")
        return figure

    @property
    def units(self) -> str:
        """What the independent units are called: claims, or what the pilot asked."""
        return "claims" if self.pilot is None else self.pilot.units

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        counts = f" that count, of {self.num_asked:,} asked" if self.num_asked > self.num_claims else ""
        return self._of_pilot() + (
            f"{self.num_claims:,} {self.units}{counts} ({self.num_prompts:,} prompts) show a true mean of "
            f"{self.effect:.3g} or more with probability {self.power:g} at level {self.alpha:g}"
        )

    def _of_pilot(self) -> str:
        if self.pilot is None:
            return ""
        one = self.pilot
        orders = f" in one order of the choices, correlation of the orders {one.correlation:.2f}"
        pseudo = " and the two pseudo-claims of its interval" if one.num_pseudo else ""
        counts = f"of the pilot's {one.num_asked:,} {one.units}, {one.num_claims:,} count for this metric\n"
        return "".join(f"warning of the pilot: {warning}\n" for warning in one.warnings) + (
            f"{one.title} of task {one.task}: between {one.num_claims:,} {one.units}{pseudo} the standard deviation is "
            f"{one.sd:.3g}"
            f"{orders if one.num_orders == 2 else ''}\n{counts if one.num_claims < one.num_asked else ''}"
        )


StudyPlan = SampleSize  # deprecated: the name of 0.1, which read as the plan of a `study`


@checked_arguments
def power(
    *,
    sd: float | None = None,
    pilot: Any = None,
    task: str | None = None,
    metric: str | None = None,
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
    pilot
        An ``Evaluation`` or a ``Comparison`` from which to take ``sd``, ``correlation`` and ``prompts_per_claim`` (then
        the orders of the choices), in place of these. Without effect and number of claims: what the pilot itself shows.
    task, metric
        Of the pilot; by default its first task, and the task's first main metric. The metric by name, or as printed.
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
        If not exactly one of ``effect`` and ``num_claims`` is given, or a number is out of its range, such as an effect
        beyond the pilot's metric.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> print(sc.power(effect=0.1, sd=0.5))
    199 claims (199 prompts) show a true mean of 0.1 or more with probability 0.8 at level 0.05

    References
    ----------
    Kish 1965 for the design effect of clusters; the t test's sample size as in Julious 2004, section 3.
    """
    found = None
    if pilot is not None:
        if sd is not None:
            raise DataError("power: give either sd or a pilot, which has one; got both")
        found = spread(pilot, task=task, metric=metric)
        if effect is not None:
            require_reachable(effect, found.metric, is_change=hasattr(pilot, "before"))
        sd, correlation, prompts_per_claim = found.sd, found.correlation, found.num_orders
        num_claims = found.num_claims if effect is None and num_claims is None else num_claims
    elif task is not None or metric is not None:
        raise DataError("power: task and metric are for a pilot, got none; give pilot=evaluation")
    if sd is None:
        raise DataError("power: wanted sd, or a pilot to take it from; got neither")
    if (effect is None) == (num_claims is None):
        raise DataError("power: give either effect or num_claims, and the other is found")
    _check(sd, effect, prompts_per_claim, correlation, {"alpha": alpha, "power": power})
    if pilot is None and effect is not None and abs(effect) > _FAR * sd:
        warn(f"power: an effect of {effect:g} is far beyond the spread of {sd:g}; 10 points of a share are 0.1")
    claim_sd = sd * math.sqrt((1 + (prompts_per_claim - 1) * correlation) / prompts_per_claim)
    if num_claims is None:
        assert effect is not None
        num_claims = math.ceil(_core.clusters_needed(effect, claim_sd, alpha=alpha, power=power))
    else:
        effect = _detectable(num_claims, claim_sd, alpha, power)
    to_ask = (num_claims, num_claims * prompts_per_claim) if found is None else found.size_for(num_claims)
    return SampleSize(
        effect=abs(effect),
        num_claims=num_claims,
        num_asked=to_ask[0],
        num_prompts=to_ask[1],
        claim_sd=claim_sd,
        alpha=alpha,
        power=power,
        pilot=found,
    )


def _check(
    sd: float, effect: float | None, prompts_per_claim: int, correlation: float, shares: Mapping[str, float]
) -> None:
    """Refuse numbers that are out of their range."""
    if not (sd > 0 and math.isfinite(sd)):
        raise DataError(f"power: sd must be > 0, got {sd}")
    if effect is not None and not (effect != 0 and math.isfinite(effect)):
        raise DataError(f"power: wanted an effect that is not 0 and is finite, got {effect}")
    if effect is not None and sd > _MOST_SDS * abs(effect):
        raise DataError(f"power: no number of claims shows an effect of {effect} at an sd of {sd:g}")
    if prompts_per_claim < 1:
        raise DataError(f"power: prompts_per_claim must be at least 1, got {prompts_per_claim}")
    if not 0 <= correlation <= 1:
        raise DataError(f"power: correlation must be between 0 and 1, got {correlation}")
    for name, share in shares.items():
        if not 0 < share < 1:
            raise DataError(f"power: {name} must be between 0 and 1, got {share}")


def _detectable(num_claims: int, claim_sd: float, alpha: float, power: float) -> float:
    if num_claims < 2:
        raise DataError(f"power: num_claims must be at least 2, got {num_claims}")
    if not (0 < alpha < 1 and 0 < power < 1):
        raise DataError(f"power: alpha and power must be between 0 and 1, got {alpha} and {power}")
    error = claim_sd / math.sqrt(num_claims)
    return _core.detectable(Estimate(standard_error=error, num_clusters=num_claims, confidence=1 - alpha), power=power)
