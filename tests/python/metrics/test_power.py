"""Sample sizes against statsmodels, the closed form of the design effect, and a simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import TTestPower

import sycophancy_core as sc


@pytest.mark.parametrize(("effect", "sd"), [(0.05, 0.5), (0.1, 0.4), (0.02, 0.3), (-0.05, 0.5)])
def test_the_number_of_claims_is_that_of_statsmodels(effect: float, sd: float) -> None:
    expected = TTestPower().solve_power(effect_size=abs(effect) / sd, alpha=0.05, power=0.8)
    found = sc.power(effect=effect, sd=sd)
    assert abs(found.num_claims - expected) <= 1.5  # theirs has the noncentral t, ours the sum of two quantiles
    assert found.effect == abs(effect)


@pytest.mark.parametrize(("num_claims", "target"), [(50, 0.8), (400, 0.9)])
def test_the_detectable_effect_is_that_of_statsmodels(num_claims: int, target: float) -> None:
    expected = TTestPower().solve_power(nobs=num_claims, alpha=0.05, power=target)
    assert sc.power(num_claims=num_claims, sd=0.25, power=target).effect == pytest.approx(0.25 * expected, rel=0.01)


@pytest.mark.parametrize(("prompts", "correlation", "variance"), [(1, 0.3, 1.0), (8, 1.0, 1.0), (8, 0.0, 1 / 8)])
def test_prompts_of_one_claim_count_as_far_as_they_are_independent(
    prompts: int, correlation: float, variance: float
) -> None:
    found = sc.power(num_claims=100, sd=0.5, prompts_per_claim=prompts, correlation=correlation)
    assert found.claim_sd == pytest.approx(0.5 * math.sqrt(variance))
    assert found.num_prompts == 100 * prompts


def test_a_planned_study_finds_its_effect_as_often_as_promised() -> None:
    plan = sc.power(effect=0.2, sd=1.0, prompts_per_claim=4, correlation=0.5)
    random = np.random.default_rng(0)
    shape = (4000, plan.num_claims, 4)
    values = 0.2 + math.sqrt(0.5) * (random.normal(size=(*shape[:2], 1)) + random.normal(size=shape))
    found = scipy_stats.ttest_1samp(values.mean(axis=2), 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)  # 4 standard errors of 4,000 studies


def test_size_and_effect_are_each_others_inverse_and_print_as_a_sentence() -> None:
    effect = sc.power(num_claims=120, sd=0.5).effect
    assert sc.power(effect=effect * (1 + 1e-6), sd=0.5).num_claims == 120
    assert str(sc.power(effect=0.1, sd=0.5, prompts_per_claim=8)).startswith("199 claims (1,592 prompts) show a true")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "give either effect or num_claims"),
        ({"effect": 0.1, "num_claims": 10}, "give either effect or num_claims"),
        ({"effect": 0.0}, "an effect that is not 0"),
        ({"effect": float("nan")}, "wanted an effect that is not 0 and is finite, got nan"),
        ({"num_claims": 1}, "num_claims must be at least 2, got 1"),
        ({"effect": 0.1, "sd": 0.0}, "sd must be > 0, got 0"),
        ({"effect": 0.1, "correlation": 2.0}, "correlation must be between 0 and 1, got 2"),
        ({"effect": 0.1, "prompts_per_claim": 0}, "prompts_per_claim must be at least 1, got 0"),
        ({"num_claims": 10, "power": 1.0}, "power: power must be between 0 and 1, got 1.0"),
        ({"num_claims": 10, "alpha": 5}, "power: alpha must be between 0 and 1, got 5"),
        ({"effect": 1e-9, "sd": 0.5}, "power: no number of claims shows an effect of 1e-09 at an sd of 0.5"),
    ],
)
def test_bad_plans_are_refused_in_a_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(sc.DataError, match=words):
        sc.power(**{"sd": 0.5, **changes})


def test_points_given_for_a_share_are_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"an effect of 10 is far beyond the spread of 0\.3; 10 points of a share are 0\.1"
    ):
        sc.power(sd=0.3, effect=10)
