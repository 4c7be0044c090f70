"""Statistics against SciPy and statsmodels, over ranges rather than at points; golden numbers are in the C++ suite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW
from twins.metrics_and_intervals import cluster_t, equivalence, korn_graubard

from sycophancy_core import _core
from sycophancy_core.errors import DataError
from sycophancy_core.metrics import stats

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.999]))
def test_intervals_of_a_rate_equal_statsmodels(count: tuple[int, int], confidence: float) -> None:
    successes, n = count
    for ours, method in ((stats.wilson, "wilson"), (stats.clopper_pearson, "beta")):
        low, high = proportion_confint(successes, n, alpha=1 - confidence, method=method)
        found = ours(successes, n, confidence=confidence)
        assert found.low == pytest.approx(low, rel=1e-9, abs=1e-12)
        assert found.high == pytest.approx(high, rel=1e-9, abs=1e-12)
        assert found.low < found.high


@given(st.floats(0.3, 2000), st.floats(0.3, 2000), st.floats(1e-6, 1 - 1e-6))
def test_incomplete_beta_and_its_inverse_equal_scipy(a: float, b: float, p: float) -> None:
    x = scipy.stats.beta.ppf(p, a, b)
    assert _core.incomplete_beta_inverse(a, b, p) == pytest.approx(x, rel=1e-8, abs=1e-12)
    assert _core.incomplete_beta(a, b, x) == pytest.approx(scipy.stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-14)


@given(st.floats(1, 1e6), st.floats(1e-8, 1 - 1e-8))
def test_t_quantiles_equal_scipy(df: float, p: float) -> None:
    assert _core.t_quantile(p, df) == pytest.approx(scipy.stats.t.ppf(p, df), rel=1e-7, abs=1e-9)


def test_clustered_mean_equals_statsmodels_and_the_slow_twin() -> None:
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 40, 300)
    values = rng.normal(size=300) + 0.5 * clusters
    fit = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    found = stats.clustered_mean(values, clusters)
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-10)
    assert stats.p_value(found) == pytest.approx(fit.pvalues[0], rel=1e-9)
    assert (found.value, found.standard_error, found.low, found.high) == pytest.approx(cluster_t(values, clusters))


@given(st.integers(2, 60), st.integers(1, 8), st.floats(0.01, 0.99), st.floats(0.5, 0.999), st.integers(0, 10**6))
def test_the_interval_of_a_rate_is_korn_and_graubards(
    num_clusters: int, size: int, rate: float, confidence: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(num_clusters), size)
    values = (rng.random(len(clusters)) < np.clip(rate + 0.3 * rng.normal(size=num_clusters)[clusters], 0, 1)).astype(
        float
    )
    totals = np.bincount(clusters, values)
    assume(totals.min() < totals.max())
    found = stats.clustered_mean(values, clusters, confidence=confidence, limits=(0, 1))
    assert found.method == "korn-graubard (CR1)"
    wanted = korn_graubard(*cluster_t(values, clusters)[:2], len(values), num_clusters, confidence)
    assert (found.low, found.high) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    assert 0 <= found.low < found.value < found.high <= 1


@pytest.mark.parametrize(("n", "rate"), [(20, 0.8), (34, 0.9), (40, 0.5), (100, 0.97), (400, 0.99)])
def test_the_interval_of_a_rate_holds_it_in_95_of_100_cases(n: int, rate: float) -> None:
    """Exactly: every number of successes with its binomial probability; the t interval holds 0.99 of 400 in 91."""
    holds = 0.0
    for successes, probability in enumerate(scipy.stats.binom.pmf(range(n + 1), n, rate)):
        found = stats.clustered_mean(np.arange(n) < successes, np.arange(n), limits=(0, 1))
        holds += probability * (found.low <= rate <= found.high)
    assert 0.95 <= holds <= 0.99


def test_a_rate_that_is_surer_than_a_million_rows_keeps_its_t_interval() -> None:
    clusters = np.repeat(np.arange(3000), 2)
    values = np.tile([0.0, 1.0], 3000)  # one order right, the other wrong
    values[1] = 0.0
    found = stats.clustered_mean(values, clusters, limits=(0, 1))
    assert found.method == "cluster-t (CR1)"
    assert (found.low, found.high) == pytest.approx(cluster_t(values, clusters)[2:], rel=1e-9)
    wanted = korn_graubard(*cluster_t(values, clusters)[:2], 6000, 3000)
    assert (found.low, found.high) == pytest.approx(wanted, abs=1e-6)


def test_cluster_names_may_be_strings() -> None:
    named = stats.clustered_mean([1, 0, 1, 1], ["x", "x", "y", "z"])
    assert named == stats.clustered_mean([1, 0, 1, 1], [5, 5, 0, 2])


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(-5, 5)), min_size=4, max_size=40))
def test_intervals_do_not_depend_on_row_order_or_cluster_names(rows: list[tuple[int, float]]) -> None:
    clusters, values = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    one = stats.clustered_mean(values, clusters.astype(int))
    other = stats.clustered_mean(values[::-1], 100 - clusters[::-1].astype(int))
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9, nan_ok=True)
    assert math.isnan(one.low) or one.low < one.high


def test_paired_difference_is_the_mean_of_differences() -> None:
    rng = np.random.default_rng(2)
    before, after, clusters = rng.normal(size=60), rng.normal(size=60), np.repeat(np.arange(20), 3)
    found = stats.paired_difference(before, after, clusters)
    expected = stats.clustered_mean(after - before, clusters)
    ends = (expected.value, expected.low, expected.high)
    assert (found.value, found.low, found.high) == pytest.approx(ends, rel=1e-12)
    assert found.method == "paired cluster-t (CR1)"


def statsmodels_change(changes: np.ndarray, size: float = 1.0, confidence: float = 0.95) -> tuple[float, float]:
    """T interval of the clusters' changes and two more, +size and -size."""
    found = DescrStatsW(np.append(changes, [size, -size])).tconfint_mean(alpha=1 - confidence)
    return float(found[0]), float(found[1])


@given(st.integers(2, 60), st.sampled_from([0.8, 0.95, 0.999]), st.integers(0, 10**6))
def test_a_change_has_the_t_interval_of_its_clusters_and_two_more(size: int, confidence: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 2, (2, size, 2)).astype(float)
    changes = (after - before).mean(axis=1)
    clusters = np.repeat(np.arange(size), 2)
    found = stats.paired_difference(before.ravel(), after.ravel(), clusters, confidence=confidence, limits=(0, 1))
    low, high = statsmodels_change(changes, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((max(low, -1), min(high, 1)), abs=1e-12)
    assert found.value == pytest.approx(changes.mean())
    assert (found.num_rose, found.num_fell) == ((changes > 0).sum(), (changes < 0).sum())
    p_value = DescrStatsW(np.append(changes, [1.0, -1.0])).ttest_mean(0)[1]
    assert stats.p_value(found) == pytest.approx(p_value, rel=1e-9)
    assert stats.tost(found, margin=0.3) == pytest.approx(equivalence(changes, 0.3), rel=1e-7)


def test_the_interval_of_a_change_has_no_cliff_at_constant_data() -> None:
    clusters = np.repeat(np.arange(40), 2)
    for cured, wanted in ((40, (-1.0485, -0.8562)), (39, (-1.0350, -0.8221))):
        after = np.repeat((np.arange(40) >= cured).astype(float), 2)
        effect = stats.paired_difference(np.ones(80), after, clusters, limits=(-1, 1))  # from -2 to 2
        rate = stats.paired_difference(np.ones(80), after, clusters, limits=(0, 1))
        assert (effect.low, effect.high) == pytest.approx(wanted, abs=5e-5)
        assert (rate.low, rate.high) == pytest.approx((-1, wanted[1]), abs=5e-5)
        assert (effect.value, effect.num_rose, effect.num_fell) == (-cured / 40, 0, cured)
        assert effect.method == "paired cluster-t, two pseudo-claims"


def test_a_difference_within_one_phase_has_the_same_interval() -> None:
    changes = np.array([1.0] * 38 + [0.0, -1.0])
    found = stats.clustered_mean(changes, np.arange(40), limits=(-1, 1))
    low, high = statsmodels_change(changes)
    assert (found.low, found.high) == pytest.approx((low, min(high, 1)))
    assert (found.num_rose, found.num_fell, found.method) == (38, 1, "cluster-t, two pseudo-claims")
    wide = stats.clustered_mean(5 * changes, np.arange(40), limits=(-5, 5))
    assert (wide.low, wide.high) == pytest.approx((5 * low, 5))  # the pseudo-claims are scaled to the limits


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_equivalence_where_claims_are_only_lost_is_the_score_of_their_number(lost: int) -> None:
    after = (np.arange(60) >= lost).astype(float)
    found = stats.paired_difference(np.ones(60), after, np.arange(60), limits=(0, 1))
    score = (60 * 0.05 - lost) / math.sqrt(60 * 0.05 * 0.95) * math.sqrt(59 / 60)
    none_lost = scipy.stats.binom.pmf(0, 60, 0.05)
    assert stats.tost(found, margin=0.05) == pytest.approx(max(scipy.stats.t.sf(score, 59), none_lost), rel=1e-9)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=200), st.data())
def test_losing_more_never_makes_equivalence_surer(changes: list[float], data: st.DataObject) -> None:
    assume(sum(changes) <= 0)
    worse = list(changes)
    worse[data.draw(st.integers(0, len(changes) - 1))] = -1.0
    clusters, margin = np.arange(len(changes)), data.draw(st.sampled_from([0.02, 0.05, 0.2]))
    p_values = [stats.tost(stats.clustered_mean(c, clusters, limits=(-1, 1)), margin=margin) for c in (changes, worse)]
    first, second = (min(p_value, 0.5) for p_value in p_values)  # above it, the loss itself lies beyond the margin
    assert 0 < first <= second * (1 + 1e-9)


def test_equivalence_is_the_same_in_points_and_needs_a_margin_of_less_than_one_answer() -> None:
    changes, clusters = np.array([0.0] * 70 + [-1.0, 0.5]), np.arange(72)
    share = stats.clustered_mean(changes, clusters, limits=(-1, 1))
    points = stats.clustered_mean(100 * changes, clusters, limits=(-100, 100))
    assert stats.tost(points, margin=5) == pytest.approx(stats.tost(share, margin=0.05), rel=1e-9)
    with pytest.raises(DataError, match=r"tost: margin must be less than one answer, 1\.0*, got 5"):
        stats.tost(share, margin=5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=80), st.sampled_from([0.9, 0.95]))
def test_one_pair_a_claim_has_the_interval_of_tango(pairs: list[tuple[bool, bool]], confidence: float) -> None:
    before, after = np.array(pairs, dtype=float).T
    found = stats.paired_difference(before, after, np.arange(len(pairs)), confidence=confidence, limits=(0, 1))
    both, rose = int((before * after).sum()), int(((1 - before) * after).sum())
    fell = int((before * (1 - after)).sum())
    exact = stats.tango(both, rose, fell, len(pairs) - both - rose - fell, confidence=confidence)
    assert (found.low, found.high, found.method) == (exact.low, exact.high, "tango")
    assert (found.num_rose, found.num_fell) == (rose, fell)
    changed = max(rose + fell, 1)
    assert stats.p_value(found) == pytest.approx(2 * scipy.stats.norm.sf(abs(rose - fell) / math.sqrt(changed)))
    assert (stats.p_value(found) < 1 - confidence) == (found.low > 0 or found.high < 0)
    low, high = statsmodels_change(after - before, confidence=confidence)
    half = scipy.stats.t.ppf(0.5 + confidence / 2, len(pairs) + 1)
    assert found.standard_error == pytest.approx((high - low) / 2 / half)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(min(b, c), b + c).pvalue if b + c else 1.0
    assert stats.mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [1e6, 1e8, 1e12, 1e15])
def test_what_does_not_converge_is_no_number(size: float) -> None:
    found = _core.incomplete_beta(size, size + 1e4, 0.5)
    assert math.isnan(found) or found == pytest.approx(scipy.stats.beta.cdf(0.5, size, size + 1e4), rel=1e-9)
    assert not (size < 1e7 and math.isnan(found))
    assert stats.mcnemar_exact(2**62, 2**31) == 0.0  # at once


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert stats.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-15)


def test_tost_equals_statsmodels_for_single_rows() -> None:
    values = np.random.default_rng(5).normal(0.01, 0.1, size=80)
    expected, _, _ = DescrStatsW(values).ttost_mean(-0.05, 0.05)
    assert stats.tost(stats.clustered_mean(values, np.arange(80)), margin=0.05) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_equals_scipy_by_enumeration_and_by_draws() -> None:
    rng = np.random.default_rng(6)
    few = rng.normal(0.4, 1, size=10)
    theirs = scipy.stats.permutation_test((few,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert stats.sign_flip(few, np.arange(10)) == pytest.approx(theirs.pvalue, rel=1e-12)
    many = rng.normal(0.2, 1, size=60)
    theirs = scipy.stats.permutation_test((many,), np.sum, permutation_type="samples", n_resamples=20_000, rng=rng)
    assert stats.sign_flip(many, np.arange(60), num_permutations=20_000) == pytest.approx(theirs.pvalue, abs=0.02)


@pytest.mark.parametrize("number", [0, 2**62])
def test_a_number_of_permutations_that_would_not_end_is_refused(number: int) -> None:
    with pytest.raises(DataError, match=f"num_permutations must be from 1 to 100000000, got {number}"):
        stats.sign_flip(np.ones(30), np.arange(30), num_permutations=number)


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda t: sum(t) > 0))
def test_paired_intervals_hold_the_difference_and_stay_inside(table: tuple[int, int, int, int]) -> None:
    for interval in (stats.tango(*table), stats.newcombe(*table)):
        assert -1 - 1e-12 <= interval.low <= interval.value + 1e-12
        assert interval.value - 1e-12 <= interval.high <= 1 + 1e-12
        assert interval.low < interval.high


def test_power_agrees_with_simulation() -> None:
    rng = np.random.default_rng(7)
    n = math.ceil(stats.mcnemar_sample_size(0.25, 0.1))
    draws = rng.multinomial(n, [0.25, 0.1, 0.65], size=2000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(draws[:, 0] + draws[:, 1])
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)
    size = math.ceil(stats.clusters_needed(0.3, 1.0))
    samples = rng.normal(0.3, 1, size=(3000, size))
    assert np.mean(scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.03)


def test_numbers_out_of_range_are_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match=r"holm: p values must be between 0 and 1, got 1.2\d* at 1"):
        stats.holm([0.5, 1.2])
    with pytest.raises(DataError, match=r"cohens_h: rates must be between 0 and 1, got 0\.2"):
        stats.cohens_h(0.2, -0.1)
    with pytest.raises(DataError, match=r"clustered_mean: values must be within the limits 0 and 1, got 5\.0"):
        stats.clustered_mean([0.5, 5.0], [0, 1], limits=(0, 1))
    with pytest.raises(DataError, match=r"clustered_mean: limits must be \(least, greatest\), got 1 and 0"):
        stats.clustered_mean([0.5, 0.5], [0, 1], limits=(1, 0))
    with pytest.raises(DataError, match=r"paired_difference: values must be within the limits 0 and 1, got -1\.0"):
        stats.paired_difference([0.5, 1.0], [0.5, -1.0], [0, 1], limits=(0, 1))
