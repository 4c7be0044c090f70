"""What the unmodified model knows is frozen: every number of a comparison is about the same claims."""

from __future__ import annotations

import numpy as np
from synthetic_results import measurements

from sycophancy_core.changes import compare_measurements
from sycophancy_core.metrics import known_claims, measure


def test_a_claim_is_known_if_its_margin_is_on_the_right_side() -> None:
    assert len(known_claims(measurements(knows=1.0, letter=5.0, num_claims=6))) == 12  # the letter cancels; two tasks
    assert known_claims(measurements(knows=-1.0, num_claims=6)) == frozenset()


def test_a_change_is_the_difference_of_the_two_sides_that_are_shown() -> None:
    before = measurements(knows=1.0, flatters=4.0, noise=2.0, num_claims=40)
    after = measurements(knows=1.0, flatters=-0.4, noise=2.0, num_claims=40, seed=1)
    known = known_claims(before)
    assert 0 < len(known) < 80
    sides = [measure(side, known=known) for side in (before, after)]
    changes = compare_measurements(before, after).change
    for name in ("task", "metric", "subset"):
        assert sides[0][name].to_pylist() == sides[1][name].to_pylist() == changes[name].to_pylist()
    low, high = (side["value"].to_numpy() for side in sides)
    np.testing.assert_allclose(changes["value"].to_numpy(), high - low, atol=1e-12)
