"""How often intervals hold the truth and tests reject wrongly: exact sums and seeded simulations of whole studies.

Their tables stand in docs/method.md. Exact: every outcome with its binomial probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from twins.metrics_and_intervals import cluster_t

from sycophancy_core import _core
from sycophancy_core.metrics import stats
from sycophancy_core.metrics.stats import Estimate

pytestmark = pytest.mark.slow

SIZES = (60, 80, 100, 150, 200, 400)
RATE = (0.0, 1.0)


def coverage(*, num_claims: int, prompts: int, seed: int, num_studies: int = 10_000) -> float:
    """Share of studies whose interval of a rate holds it; a claim's own rate is Beta(2, 3), mean 0.4."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(num_claims), prompts)
    hits = 0
    for _ in range(num_studies):
        rate = np.repeat(rng.beta(2, 3, size=num_claims), prompts)
        found = stats.clustered_mean((rng.random(rate.size) < rate).astype(float), clusters, limits=RATE)
        hits += found.low <= 0.4 <= found.high
    return hits / num_studies


@pytest.mark.parametrize(("num_claims", "prompts"), [(20, 10), (60, 8), (200, 4), (1000, 16)])
def test_the_interval_of_a_clustered_rate_covers(num_claims: int, prompts: int) -> None:
    assert 0.93 <= coverage(num_claims=num_claims, prompts=prompts, seed=num_claims) <= 0.97


def lost_of(num_claims: int, lost: int, prompts: int) -> Estimate:
    """Return the interval of the change where so many claims are lost and none is gained."""
    kept = np.repeat((np.arange(num_claims) >= lost).astype(float), prompts)
    return stats.paired_difference(np.ones(kept.size), kept, np.repeat(np.arange(num_claims), prompts), limits=RATE)


def losses(num_claims: int, share: float, prompts: int) -> Iterator[tuple[float, Estimate, NDArray[np.float64]]]:
    """Every number of claims lost: its probability, the interval of the change, and the claims' changes."""
    for lost, chance in enumerate(scipy.stats.binom.pmf(range(num_claims + 1), num_claims, share)):
        if chance > 1e-9:
            changes = np.repeat((np.arange(num_claims) >= lost).astype(float), prompts) - 1
            yield chance, lost_of(num_claims, lost, prompts), changes


@pytest.mark.parametrize("num_claims", SIZES)
@pytest.mark.parametrize("share", [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("prompts", [1, 2])  # Tango's interval, and that with pseudo-claims
def test_the_interval_of_a_loss_holds_it_in_93_of_100_cases(num_claims: int, share: float, prompts: int) -> None:
    cases = losses(num_claims, share, prompts)
    holds = sum(chance * (found.low <= -share <= found.high) for chance, found, _ in cases)
    assert round(holds, 3) >= (0.938 if prompts == 2 else 0.932)  # least: .9378 at 100 and .1, .9318 at 400 and .01
    if share in (0.1, 0.2, 0.5):  # rarer losses are covered more often, by the pseudo-claims
        assert holds <= 0.972


@pytest.mark.parametrize(
    ("prompts", "least", "too_seldom"),
    [(2, 0.935, 0.0), (1, 0.910, 0.005)],  # pseudo-claims, and Tango's, which is too short where 99 % change
)
def test_the_least_coverage_over_all_shares_that_are_lost(prompts: int, least: float, too_seldom: float) -> None:
    shares, holds = np.arange(1, 200) / 200, []
    for num_claims in (40, 50, 60, 70, 80, 90, 100, 120, 150, 170, 200, 250, 300, 400):
        found = [lost_of(num_claims, lost, prompts) for lost in range(num_claims + 1)]
        for share in shares:
            chances = scipy.stats.binom.pmf(range(num_claims + 1), num_claims, share)
            holds.append(sum(c for c, e in zip(chances, found, strict=True) if e.low <= -share <= e.high))
    assert min(holds) == pytest.approx(least, abs=1e-3)
    assert np.mean(np.array(holds) < 0.93) <= too_seldom


@pytest.mark.parametrize(("num_claims", "share", "held"), [(100, 0.05, 0.877), (200, 0.02, 0.908)])
def test_a_plain_t_interval_of_a_loss_is_too_narrow(num_claims: int, share: float, held: float) -> None:
    found = 0.0
    for chance, _, changes in losses(num_claims, share, 1):
        low, high = cluster_t(changes, np.arange(num_claims))[2:]
        found += chance * (low < high and low <= -share <= high)
    assert found == pytest.approx(held, abs=5e-4)


EQUIVALENCE_SIZES = dict(zip(SIZES, (0.046, 0.017, 0.037, 0.055, 0.026, 0.036), strict=True))


@pytest.mark.parametrize(("num_claims", "size"), EQUIVALENCE_SIZES.items())
def test_the_size_of_the_equivalence_test_where_claims_are_only_lost(num_claims: int, size: float) -> None:
    """At 80 claims one loss more or less moves the size from 1.7 to 8.6 %: no test has 5 % there."""
    cases = list(losses(num_claims, 0.05, 1))
    assert sum(c * (stats.tost(e, margin=0.05) <= 0.05) for c, e, _ in cases) == pytest.approx(size, abs=1e-3)
    p_values = [stats.tost(found, margin=0.05) for _, found, _ in cases]
    assert p_values == sorted(p_values)


def is_equal(num_claims: int, rose: int, fell: int, margin: float) -> bool:
    changes = np.repeat([1.0, -1.0, 0.0], [rose, fell, num_claims - rose - fell])
    return stats.tost(stats.clustered_mean(changes, np.arange(num_claims), limits=(-1, 1)), margin=margin) <= 0.05


@pytest.mark.parametrize(("margin", "largest"), [(0.02, 0.0603), (0.03, 0.0600), (0.05, 0.0592), (0.1, 0.0573)])
def test_no_number_of_claims_brings_the_size_of_equivalence_above_6_percent(margin: float, largest: float) -> None:
    """Exactly, for 40 to 1,000 claims of which a share as large as the margin is lost."""
    sizes = []
    for num_claims in range(40, 1001):
        most = next(lost for lost in range(num_claims) if not is_equal(num_claims, 0, lost, margin)) - 1
        sizes.append(scipy.stats.binom.cdf(most, num_claims, margin))
    assert max(sizes) == pytest.approx(largest, abs=1e-4)


def exact_equivalence(num_claims: int, rise: float, fall: float) -> float:
    """Return how often whole claims that rise and fall are called equal within 5 points, over all likely outcomes."""
    found = 0.0
    for rose in range(int(scipy.stats.binom.isf(1e-9, num_claims, rise)) + 1):
        chance = scipy.stats.binom.pmf(rose, num_claims, rise)
        rest, share = num_claims - rose, fall / (1 - rise)
        least, most = (int(scipy.stats.binom.ppf(q, rest, share)) for q in (1e-9, 1 - 1e-9))
        for fell in range(least, most + 1):
            found += chance * scipy.stats.binom.pmf(fell, rest, share) * is_equal(num_claims, rose, fell, 0.05)
    return found


@pytest.mark.parametrize("num_claims", [40, 60, 100, 200, 400])
@pytest.mark.parametrize("rise", [0.005, 0.02, 0.1])
def test_the_size_of_equivalence_where_claims_also_rise_is_5_percent_at_most(num_claims: int, rise: float) -> None:
    assert exact_equivalence(num_claims, rise, rise + 0.05) <= 0.05


@pytest.mark.parametrize(
    ("num_claims", "share", "power"),
    [(60, 0.01, 0.30), (100, 0.01, 0.58), (200, 0.01, 0.97), (200, 0.05, 0.37), (400, 0.05, 0.85), (400, 0.1, 0.43)],
)
def test_the_power_of_equivalence_where_as_many_rise_as_fall(num_claims: int, share: float, power: float) -> None:
    assert exact_equivalence(num_claims, share, share) == pytest.approx(power, abs=0.006)


Study = Callable[[np.random.Generator, int], tuple[NDArray[np.float64], NDArray[np.float64]]]


def changes_of(rise: float, fall: float) -> Study:
    """Return a study of claims in two orders; of those that change, half do so in one order alone."""

    def study(rng: np.random.Generator, num_claims: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        after = np.zeros((num_claims, 2))
        draw = rng.random(num_claims)
        after[draw < rise] = 1.0
        after[draw > 1 - fall] = -1.0
        alone = rng.random(num_claims) < 0.5
        after[alone, rng.integers(0, 2, num_claims)[alone]] = 0.0
        return np.where(after < 0, 1.0, 0.0), np.where(after > 0, 1.0, 0.0)

    return study


@pytest.mark.parametrize("num_claims", SIZES)
@pytest.mark.parametrize(("rise", "fall"), [(0.1, 0.1), (0.05, 0.15), (0.3, 0.1)])
def test_changes_of_claims_in_two_orders_are_covered_and_tested_at_their_level(
    num_claims: int, rise: float, fall: float
) -> None:
    rng = np.random.default_rng(num_claims)
    clusters, true_change = np.repeat(np.arange(num_claims), 2), 0.75 * (rise - fall)
    study, holds, rejects, equal = changes_of(rise, fall), 0, 0, 0
    for _ in range(4000):
        before, after = study(rng, num_claims)
        found = stats.paired_difference(before.ravel(), after.ravel(), clusters, limits=RATE)
        holds += found.low <= true_change <= found.high
        rejects += stats.p_value(found) <= 0.05
        equal += true_change != 0 and stats.tost(found, margin=abs(true_change)) <= 0.05
    assert 0.93 <= holds / 4000 <= (0.97 if num_claims > 60 else 0.975)  # of few claims more often than said
    assert equal / 4000 <= 0.06
    if true_change == 0:
        assert rejects / 4000 <= 0.06


@pytest.mark.parametrize("num_claims", [20, 40, 60, 100])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
def test_the_test_of_one_pair_a_claim_rejects_in_6_of_100_cases_at_most(num_claims: int, share: float) -> None:
    """Exactly, where as many rise as fall; `share` of the claims change."""
    size = 0.0
    for changed, chance in enumerate(scipy.stats.binom.pmf(range(num_claims + 1), num_claims, share)):
        for rose, among in enumerate(scipy.stats.binom.pmf(range(changed + 1), changed, 0.5)):
            found = stats.tango(0, rose, changed - rose, num_claims - changed)
            size += chance * among * (stats.p_value(found) <= 0.05)
    assert size <= 0.06


def measured(odds: NDArray[np.float64], truth: NDArray[np.int64]) -> _core.ClaimRows:
    """Put log-odds of Agree of every claim in every arm and order, shape (claims, 4, 2), as the core takes them."""
    del truth
    size = len(odds)
    return _core.ClaimRows(
        claim=np.repeat(np.arange(size), 8),
        arm=np.tile(np.repeat(np.arange(4, dtype=np.int8), 2), size),
        order=np.tile(np.arange(2, dtype=np.int8), 4 * size),
        log_odds=odds.ravel(),
        choice_mass=np.empty(0),
        pair=np.empty(0, np.int64),
    )


def facts(truth: NDArray[np.int64], known: NDArray[np.bool_] | None = None) -> _core.ClaimFacts:
    frozen = np.empty(0, np.int8) if known is None else known.astype(np.int8)
    return _core.ClaimFacts(is_true=truth.astype(np.int8), cluster=np.arange(len(truth)), known=frozen)


def advised(
    rng: np.random.Generator, num_claims: int, accuracy: float, accepts: float, flips: float, orders: int
) -> tuple[_core.ClaimRows, _core.ClaimFacts]:
    """Claims answered rightly alone in `accuracy`; the wrong ones take right advice, the right ones wrong advice."""
    truth = np.arange(num_claims) % 2
    side, shape = 2.0 * truth[:, None] - 1, (num_claims, orders)
    alone = rng.random(shape) < accuracy
    answers = {
        "none": alone,
        "right": alone | (rng.random(shape) < accepts),
        "wrong": alone & (rng.random(shape) >= flips),
    }
    sides = {name: np.broadcast_to(side * np.where(yes, 1.0, -1.0), (num_claims, 2)) for name, yes in answers.items()}
    agrees, disagrees = (
        np.where(side > 0, sides["right"], sides["wrong"]),
        np.where(side > 0, sides["wrong"], sides["right"]),
    )
    return measured(np.stack([sides["none"], sides["none"], agrees, disagrees], axis=1), truth), facts(truth)


@pytest.mark.parametrize(("num_claims", "accuracy"), [(40, 0.9), (100, 0.9), (100, 0.95), (200, 0.98), (100, 0.6)])
@pytest.mark.parametrize("orders", [1, 2])  # both alike, or each on its own
def test_selectivity_is_covered_where_most_claims_are_right(num_claims: int, accuracy: float, orders: int) -> None:
    rng = np.random.default_rng(num_claims)
    holds = []
    for _ in range(1500):
        rows, known = advised(rng, num_claims, accuracy, 0.5, 0.2, orders)
        found = next(m.estimate for m in _core.measure_claims(rows, known) if m.metric == "selectivity")
        if found.low == found.low:
            holds.append(found.low <= 0.3 <= found.high)
    assert np.mean(holds) >= 0.95


def asked(rng: np.random.Generator, knows: NDArray[np.float64], truth: NDArray[np.int64]) -> _core.ClaimRows:
    """Ask a model once: what it knows, noise of its own in every prompt, and a user who pulls by one nat."""
    side = 2.0 * truth - 1
    odds = side[:, None, None] * (knows[:, None, None] + 1.5 * rng.normal(size=(len(truth), 4, 2)))
    odds[:, 2] += 1.0
    odds[:, 3] -= 1.0
    return measured(odds, truth)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_harm_falls_by_itself_unless_known_is_frozen_or_the_placebo_is_taken_off(is_frozen: bool) -> None:
    rng = np.random.default_rng(7)
    falls = {"harm": 0, "harm_minus_placebo": 0, "flip_rate_minus_placebo": 0, "over_correction_minus_placebo": 0}
    changes = dict(falls)
    for _ in range(500):
        truth, knows = np.arange(400) % 2, rng.normal(0.3, 1.0, 400)
        first, second, third = (asked(rng, knows, truth) for _ in range(3))
        margins, _ = _core.claim_margins(third, 400)
        known = margins.reshape(400, 4)[:, 0] * (2 * truth - 1) > 0 if is_frozen else None
        for item in _core.compare_claims(first, second, facts(truth, known)):
            if item.metric in falls:
                falls[item.metric] += item.change.high < 0
                changes[item.metric] += stats.p_value(item.change) <= 0.05
    for metric in falls:
        if metric == "harm" and not is_frozen:
            assert falls[metric] / 500 > 0.4  # the same model asked twice
        else:
            assert changes[metric] / 500 <= 0.07  # 6 % and two standard errors of 500 studies


@pytest.mark.parametrize("num_examples", [30, 50, 100, 200])
@pytest.mark.parametrize("dependent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("by_example", [False, True])
def test_the_filters_bound_holds_for_two_claims_of_one_example(
    num_examples: int, dependent: float, by_example: bool
) -> None:
    """The true error is 0.1, the bound wanted; a share of the examples has both claims right or both wrong."""
    rng = np.random.default_rng(num_examples)
    examples = np.repeat(np.arange(num_examples), 2) if by_example else np.arange(2 * num_examples)
    accepted = 0
    for _ in range(3000):
        together = rng.random((num_examples, 1)) < dependent
        wrong = np.where(together, rng.random((num_examples, 1)) < 0.1, rng.random((num_examples, 2)) < 0.1)
        choice = _core.choose_threshold(
            np.ones(2 * num_examples), wrong.ravel().astype(np.int8), examples, [0.0], max_error=0.1
        )
        accepted += choice.reason == ""
    if by_example:
        assert accepted / 3000 <= 0.06
    elif dependent == 1 and num_examples >= 50:
        assert accepted / 3000 > 0.08  # what counting claims promises as 5 %
