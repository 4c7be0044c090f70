"""Statistics for answers that come in clusters, each with the source of its formula and an oracle in the tests.

The unit is the claim (or question), never the prompt: naive intervals on many prompts a claim cover far less than they
say. Every interval is an `Estimate` with value, interval, standard error, method and counts. Where no honest interval
exists (one cluster, constant data) it is NaN with the reason, never of zero width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

import sycophancy_core._core as _core
from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError

__all__ = [
    "Estimate",
    "clopper_pearson",
    "clustered_mean",
    "clusters_needed",
    "cohens_h",
    "detectable",
    "holm",
    "mcnemar_exact",
    "mcnemar_power",
    "mcnemar_sample_size",
    "newcombe",
    "p_value",
    "paired_difference",
    "sign_flip",
    "tango",
    "tost",
    "wilson",
]

NO_LIMITS = (float("-inf"), float("inf"))


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Wilson's score interval of one rate from independent outcomes.

    References
    ----------
    Wilson 1927; Newcombe 1998, method 3. Oracle: statsmodels ``proportion_confint(method="wilson")``.
    """
    return _core.wilson(successes, n, confidence=confidence)


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Exact interval of one rate: covers at least `confidence` whatever the rate; for guarantees, and for 0 or n.

    References
    ----------
    Clopper and Pearson 1934. Oracle: ``scipy.stats.binomtest(...).proportion_ci("exact")``.
    """
    return _core.clopper_pearson(successes, n, confidence=confidence)


def clustered_mean(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    confidence: float = 0.95,
    limits: tuple[float, float] = NO_LIMITS,
) -> Estimate:
    """Mean of rows in clusters, with CR1 standard error and t interval of G - 1 degrees of freedom, or that of a rate.

    Parameters
    ----------
    values
        One number a row; NaN and infinity are unscored.
    clusters
        The cluster of every row: integers or strings.
    confidence
        Level of the interval.
    limits
        Least and greatest value that a row can have. Intervals are cut to them, and constant data have one. With
        (0, 1), the mean is a rate: its interval is that of Korn and Graubard, since a t interval is too narrow near 0
        and 1. With (-1, 1), it is a difference: its interval has two pseudo-claims, as that of `paired_difference`.

    Raises
    ------
    DataError
        If values and clusters differ in length, a value lies outside the limits, or these are in the wrong order.

    References
    ----------
    Liang and Zeger 1986; Cameron and Miller 2015. Oracle: statsmodels OLS on a constant with ``cov_type="cluster"``.
    Korn and Graubard 1998, *Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data*. Oracle: ``svyciprop(method="beta")`` of R's package survey, by ``scipy.stats.beta``.
    """
    rows = as_floats(values)
    _require_within(rows, limits, who="clustered_mean")
    return _core.clustered_mean(
        rows, as_codes(clusters), confidence=confidence, range_low=limits[0], range_high=limits[1]
    )


def paired_difference(
    before: ArrayLike,
    after: ArrayLike,
    clusters: ArrayLike,
    *,
    confidence: float = 0.95,
    limits: tuple[float, float] = NO_LIMITS,
) -> Estimate:
    """Mean of after - before over rows scored in both; rows are paired by position.

    Parameters
    ----------
    before, after, clusters, confidence
        As in `clustered_mean`.
    limits
        Least and greatest value of one row. With them, the t interval is made of the G clusters and two pseudo-claims
        whose changes are +1 and -1 answers, and cut to what a change can be; with (0, 1) and one pair of 0 and 1 a
        cluster, it is Tango's. Without them it is the clustered t interval.

    References
    ----------
    Agresti and Min 2005; Bonett and Price 2012. Tango 1998.
    """
    sides = as_floats(before), as_floats(after)
    for rows in sides:
        _require_within(rows, limits, who="paired_difference")
    return _core.paired_difference(
        *sides,
        as_codes(clusters),
        confidence=confidence,
        range_low=limits[0],
        range_high=limits[1],
    )


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p value that changes one way (b) and the other (c) are equally likely; any size.

    References
    ----------
    McNemar 1947. Oracle: ``scipy.stats.binomtest(min(b, c), b + c)``.
    """
    return _core.mcnemar_exact(b, c)


def tango(a: int, b: int, c: int, d: int, *, confidence: float = 0.95) -> Estimate:
    """Score interval of (b - c) / n in a paired table: a both yes, b only the first, c only the second, d neither.

    References
    ----------
    Tango 1998.
    """
    return _core.tango(a, b, c, d, confidence=confidence)


def newcombe(a: int, b: int, c: int, d: int, *, confidence: float = 0.95) -> Estimate:
    """Hybrid score interval of (b - c) / n in a paired table, as `tango`.

    References
    ----------
    Newcombe 1998 (paired), method 10.
    """
    return _core.newcombe(a, b, c, d, confidence=confidence)


def sign_flip(
    differences: ArrayLike,
    clusters: ArrayLike,
    *,
    num_permutations: int = 10_000,
    seed: int = 0,
    num_threads: int = 0,
) -> float:
    """Permutation p value that paired differences are symmetric about zero; whole clusters flip their sign.

    This is more than a mean of zero: many small gains and few large losses can have the mean 0 and are not symmetric.
    All flips for at most 20 clusters, else random ones.

    References
    ----------
    Phipson and Smyth 2010. Oracle: ``scipy.stats.permutation_test(permutation_type="samples")``.
    """
    return _core.sign_flip(
        as_floats(differences),
        as_codes(clusters),
        num_permutations=num_permutations,
        seed=seed,
        num_threads=num_threads,
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values, in the order given; NaN stays NaN and counts for nothing.

    Raises
    ------
    DataError
        If a p value lies outside 0 and 1.

    References
    ----------
    Holm 1979. Oracle: statsmodels ``multipletests(method="holm")``.
    """
    return _core.holm(as_floats(p_values))


def cohens_h(p1: float, p2: float) -> float:
    """Cohen's effect size between two rates: 2 asin(sqrt(p1)) - 2 asin(sqrt(p2)); DataError outside 0 and 1."""
    return _core.cohens_h(p1, p2)


def p_value(estimate: Estimate) -> float:
    """Two-sided p value that the estimated quantity is zero; NaN where there is no interval.

    Small where the interval excludes zero: by t, with the pseudo-claims of a change, or by the score that Tango's
    interval inverts, which at zero is McNemar's. Rates are never tested against 0.
    """
    return _core.p_value(estimate)


def tost(estimate: Estimate, *, margin: float) -> float:
    """P value of equivalence: small if the quantity lies within -margin and margin; NaN without a standard error.

    By t; but of differences and changes of answers (those with limits) by Tango's score at each margin, with the
    variance that the data would have where the change is the margin, on t of G - 1 degrees of freedom. The p value is
    never less than the chance (1 - margin)^G that no claim of G is lost. Of 60 claims of which 0, 1 or 2 are lost, it
    is .046, .12 and .28 for a margin of 0.05.

    Raises
    ------
    DataError
        Unless the margin is more than 0, and less than one answer for differences and changes of answers.

    References
    ----------
    Schuirmann 1987; Tango 1998. Oracles: statsmodels ``DescrStatsW.ttost_mean``; the binomial distribution.
    """
    return _core.tost(estimate, margin)


def detectable(estimate: Estimate, *, power: float = 0.8) -> float:
    """Smallest true value that a test of this estimate finds with probability `power`."""
    return _core.detectable(estimate, power=power)


def mcnemar_sample_size(p10: float, p01: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Pairs that the McNemar test needs if shares p10 and p01 of them change one way and the other; round up.

    References
    ----------
    Connor 1987.
    """
    return _core.mcnemar_sample_size(p10, p01, alpha=alpha, power=power)


def mcnemar_power(n: float, p10: float, p01: float, *, alpha: float = 0.05) -> float:
    """Power of the McNemar test with n pairs; the inverse of `mcnemar_sample_size`."""
    return _core.mcnemar_power(n, p10, p01, alpha=alpha)


def clusters_needed(effect: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Claims that a t test needs to find `effect` where the claims' means vary with standard deviation `sd`."""
    return _core.clusters_needed(effect, sd, alpha=alpha, power=power)


def _require_within(values: NDArray[np.float64], limits: tuple[float, float], *, who: str) -> None:
    low, high = limits
    if not low < high:
        raise DataError(f"{who}: limits must be (least, greatest), got {low} and {high}")
    outside = values[np.isfinite(values) & ((values < low) | (values > high))]
    if outside.size:
        raise DataError(
            f"{who}: values must be within the limits {low} and {high}, got {outside[0]}; give the limits of one row"
        )


def as_floats(values: ArrayLike) -> NDArray[np.float64]:
    """Contiguous float64."""
    return np.ascontiguousarray(values, dtype=np.float64)


def as_codes(clusters: ArrayLike) -> NDArray[np.int64]:
    """Integer codes of clusters, whatever they are named by."""
    found = np.asarray(clusters)
    if found.dtype.kind in "iu":
        return found.astype(np.int64)
    return np.asarray(np.unique(found, return_inverse=True)[1], dtype=np.int64)
