"""Statistics against SciPy and statsmodels, over ranges rather than at points; golden numbers are in the C++ suite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from makers.simulated_answers import measurements
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW
from twins.metrics_and_intervals import cluster_t, korn_graubard, resample_counts

from sycophancy_core import _core
from sycophancy_core.errors import DataError
from sycophancy_core.metrics import stats
from sycophancy_core.metrics.logistic import fit_opinion_model, logit

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
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.method == "paired cluster-t (CR1)"


def test_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), 4)
    values = rng.exponential(size=240) + np.repeat(rng.normal(size=60), 4)
    sums = values.reshape(60, 4).sum(axis=1)
    for method, name in (("bca", "BCa"), ("percentile", "percentile")):
        theirs = scipy.stats.bootstrap((sums / 4,), np.mean, n_resamples=50_000, method=name, rng=rng)
        ours = stats.bootstrap_mean(values, clusters, method=method, num_resamples=50_000)  # type: ignore[arg-type]
        spread = theirs.standard_error
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * spread)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * spread)
        assert ours.standard_error == pytest.approx(spread, rel=0.04)


def test_bootstrap_distribution_has_the_mean_and_error_of_theory() -> None:
    values = np.arange(50.0)
    found = _core.bootstrap_distribution(values, np.arange(50), num_resamples=40_000, seed=4)
    assert found.mean() == pytest.approx(values.mean(), abs=4 * found.std() / 200)
    assert found.std() == pytest.approx(values.std() / math.sqrt(50), rel=0.02)


@pytest.mark.parametrize("num_clusters", [1, 5, 15, 16, 33, 512, 700])
def test_a_resample_is_that_of_the_slow_twin(num_clusters: int) -> None:
    rng = np.random.default_rng(num_clusters)
    clusters = np.concatenate([np.arange(num_clusters), rng.integers(0, num_clusters, num_clusters)])
    values = rng.normal(size=2 * num_clusters)
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)
    found = _core.bootstrap_distribution(values, clusters, num_resamples=5, seed=2**64 - 1)
    for resample, mean in enumerate(found):
        counts, _, _ = resample_counts(num_clusters, 2**64 - 1, resample)
        assert mean == pytest.approx(np.dot(counts, sums) / np.dot(counts, sizes), rel=1e-12)


def test_a_resample_is_that_of_the_slow_twin_where_counts_are_rare_or_drawn_anew() -> None:
    values = np.random.default_rng(10).normal(size=3000)
    found = _core.bootstrap_distribution(values, np.arange(3000), num_resamples=40, seed=1)
    twins = [resample_counts(3000, 1, resample) for resample in range(40)]
    assert found == pytest.approx([np.dot(counts, values) / 3000 for counts, _, _ in twins], abs=1e-12)
    assert max(passes for _, passes, _ in twins) > 1
    assert sum(num_rest for _, _, num_rest in twins) > 1


def test_two_clusters_of_a_resample_are_drawn_as_in_a_multinomial_distribution() -> None:
    values = np.zeros(20)
    values[[3, 19]] = 1, 100
    found = np.rint(20 * _core.bootstrap_distribution(values, np.arange(20), num_resamples=50_000, seed=11)).astype(int)
    first, last = np.minimum(found % 100, 3), np.minimum(found // 100, 3)
    pairs = np.array([(a, b, 20 - a - b) for a in range(21) for b in range(21 - a)])
    wanted = np.zeros((4, 4))
    chances = scipy.stats.multinomial.pmf(pairs, 20, [0.05, 0.05, 0.9])
    np.add.at(wanted, tuple(np.minimum(pairs[:, :2], 3).T), chances)
    table = np.zeros((4, 4))
    np.add.at(table, (first, last), 1)
    assert scipy.stats.chisquare(table.ravel(), 50_000 * wanted.ravel()).pvalue > 0.001


def test_bootstrap_refuses_an_unknown_method() -> None:
    with pytest.raises(DataError, match="method must be bca or percentile, got 'basic'"):
        stats.bootstrap_mean([1, 2], [0, 1], method="basic")  # type: ignore[arg-type]


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(min(b, c), b + c).pvalue if b + c else 1.0
    assert stats.mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


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


def test_cohens_h_and_brier_equal_their_formulas() -> None:
    assert stats.cohens_h(0.8, 0.5) == pytest.approx(2 * math.asin(math.sqrt(0.8)) - math.pi / 2)
    p, y = np.array([0.2, 0.9, 0.5]), np.array([0, 1, 1])
    assert stats.brier(p, y) == pytest.approx(np.mean((p - y) ** 2))
    with pytest.raises(DataError, match="bins must be width or mass"):
        stats.expected_calibration_error(p, y, bins="size")  # type: ignore[arg-type]


def test_logit_equals_statsmodels() -> None:
    rng = np.random.default_rng(8)
    design = np.column_stack([np.ones(400), rng.normal(size=(400, 2))])
    clusters = np.repeat(np.arange(50), 8)
    y = (rng.random(400) < 1 / (1 + np.exp(-design @ [0.2, 1.0, -0.5] - rng.normal(size=50)[clusters]))).astype(float)
    fit = sm.Logit(y, design).fit(disp=0, cov_type="cluster", cov_kwds={"groups": clusters})
    found = logit(design, y, clusters, names=("one", "x", "z"))
    assert [term.coefficient for term in found] == pytest.approx(fit.params, rel=1e-7)
    assert [term.standard_error for term in found] == pytest.approx(fit.bse, rel=1e-6)
    half = scipy.stats.t.ppf(0.975, 49) * fit.bse
    assert [term.low for term in found] == pytest.approx(fit.params - half, rel=1e-5)


def test_logit_says_why_it_cannot_fit() -> None:
    x = np.linspace(-1, 1, 40)
    design = np.column_stack([np.ones(40), x])
    assert "separate" in str(logit(design, x > 0, np.arange(40), names=("a", "b"))[0].reason)
    twice = np.column_stack([x, x])
    assert "depend on each other" in str(logit(twice, np.arange(40) % 2, np.arange(40), names=("a", "b"))[0].reason)
    assert "one cluster" in str(logit(design, np.arange(40) % 2, np.zeros(40, int), names=("a", "b"))[0].reason)
    with pytest.raises(DataError, match="wanted a design with 3 columns"):
        logit(design, x > 0, np.arange(40), names=("a", "b", "c"))


def test_opinion_model_finds_the_ingredients() -> None:
    table = measurements(
        lambda rng, row: rng.logistic() + 0.3 + 0.8 * row["side"] + 1.2 * row["user"] - 0.6 * row["first"],
        num_claims=2500,
    )
    found = {term.name: term for term in fit_opinion_model(table)}
    expected = {"acquiescence": 0.3, "knowledge": 0.8, "sycophancy": 1.2, "position": -0.6, "knowledge_x_sycophancy": 0}
    for name, value in expected.items():
        term = found[name]
        assert abs(term.coefficient - value) < 4 * term.standard_error, name


def coverage(*, num_studies: int, num_claims: int, prompts: int, seed: int) -> float:
    """Share of simulated studies whose clustered t interval holds the true rate."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(num_claims), prompts)
    hits = 0
    for _ in range(num_studies):
        # A claim's own rate is Beta(2, 3), mean 0.4: prompts of one claim depend on each other.
        rate = np.repeat(rng.beta(2, 3, size=num_claims), prompts)
        found = stats.clustered_mean((rng.random(rate.size) < rate).astype(float), clusters, limits=(0, 1))
        hits += found.low <= 0.4 <= found.high
    return hits / num_studies


def test_clustered_interval_covers() -> None:
    assert 0.93 <= coverage(num_studies=2000, num_claims=60, prompts=5, seed=9) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("num_claims", "prompts"), [(20, 10), (60, 8), (200, 4), (1000, 16)])
def test_clustered_interval_covers_in_long_simulations(num_claims: int, prompts: int) -> None:
    assert 0.93 <= coverage(num_studies=10_000, num_claims=num_claims, prompts=prompts, seed=num_claims) <= 0.97


@pytest.mark.parametrize("num_clusters", [2, 7, 40, 90])
def test_constant_data_are_tested_by_the_chance_to_see_no_other(num_clusters: int) -> None:
    never = scipy.stats.binom(num_clusters, [0.05, 0.5, 1 / 3]).pmf(0)  # none of G differs, where a share does
    ones, clusters = np.ones(num_clusters), np.arange(num_clusters)
    same = stats.paired_difference(ones, ones, clusters, limits=(0.0, 1.0))
    assert stats.tost(same, margin=0.05) == pytest.approx(never[0], rel=1e-9)
    assert stats.tost(same, margin=1.5) == 0
    assert stats.p_value(same) == 1
    risen = stats.paired_difference(0 * ones, ones, clusters, limits=(0.0, 1.0))
    assert stats.p_value(risen) == pytest.approx(2 * never[1], rel=1e-9)
    assert stats.tost(risen, margin=0.05) == 1
    fallen = stats.paired_difference(ones, 0 * ones, clusters, limits=(-1.0, 1.0))
    assert stats.p_value(fallen) == pytest.approx(min(1, 2 * never[2]), rel=1e-9)


@pytest.mark.parametrize("num_clusters", range(2, 15))
def test_p_values_of_constant_data_agree_with_their_bound(num_clusters: int) -> None:
    ones, clusters = np.ones(num_clusters), np.arange(num_clusters)
    for after in (0 * ones, -ones):
        found = stats.paired_difference(ones, after, clusters, limits=(-1.0, 1.0))
        assert (stats.p_value(found) < 0.05) == (found.high < 0)
        ninety = stats.paired_difference(ones, ones + after / 9, clusters, limits=(-1.0, 2.0), confidence=0.9)
        assert (stats.tost(ninety, margin=0.5) < 0.05) == (ninety.low > -0.5 and ninety.high < 0.5)


def test_numbers_out_of_range_are_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match=r"holm: p values must lie between 0 and 1, got 1.2\d* at 1"):
        stats.holm([0.5, 1.2])
    with pytest.raises(DataError, match=r"cohens_h: rates must lie between 0 and 1, got 0\.2"):
        stats.cohens_h(0.2, -0.1)
    with pytest.raises(DataError, match=r"clustered_mean: values must lie within the limits 0 and 1, got 5\.0"):
        stats.clustered_mean([0.5, 5.0], [0, 1], limits=(0, 1))
    with pytest.raises(DataError, match=r"clustered_mean: limits must be \(least, greatest\), got 1 and 0"):
        stats.clustered_mean([0.5, 0.5], [0, 1], limits=(1, 0))
    with pytest.raises(DataError, match=r"paired_difference: values must lie within the limits 0 and 1, got -1\.0"):
        stats.paired_difference([0.5, 1.0], [0.5, -1.0], [0, 1], limits=(0, 1))
