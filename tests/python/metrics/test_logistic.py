"""Logistic regression against statsmodels, and the ingredients of answers that it tells apart."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from makers.simulated_answers import measurements

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.logistic import fit_opinion_model, logit


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
