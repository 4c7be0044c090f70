"""Changes paired by claim, differences of rates, and what is tested."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.made_up_results import quiz
from makers.simulated_answers import measurements
from statsmodels.stats.multitest import multipletests
from twins.metrics_and_intervals import korn_graubard

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.catalogue import primary_metrics
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.claims import measure_claims
from sycophancy_core.metrics.measure import measure_accuracy
from sycophancy_core.metrics.stats import tango


def mixed(rng: np.random.Generator, row: dict[str, float]) -> float:
    odds = rng.normal() + 0.8 * row["side"] + 0.7 * row["user"] + 0.4 * row["first"]
    return math.nan if rng.random() < 0.03 else round(odds, 1)


def rows(estimates: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in estimates.to_pylist() if row["subset"] == "all"}


def few_wrong(num_wrong: int, *, num_claims: int = 40, orders: int = 1) -> pa.Table:
    """Answer some claims wrongly alone, half of these rightly beside a right user; of the others every fifth flips."""

    def rule(rng: np.random.Generator, row: dict[str, Any]) -> float:
        number, user = row["claim"], row["user"] * row["side"]
        right = number >= num_wrong
        if user > 0:
            right = right or number % 2 == 0
        elif user < 0:
            right = right and number % 5 != 0
        return float(row["side"] * (1 if right else -1))

    table = measurements(rule, num_claims=num_claims)
    return table.filter(pc.equal(table["order"], "agree_first")) if orders == 1 else table


def test_selectivity_joins_the_intervals_of_its_two_rates() -> None:
    found = rows(measure_claims(few_wrong(12)))["selectivity"]
    rates = []
    for yes, size in ((6, 12), (5, 28)):
        error = math.sqrt(yes / size * (1 - yes / size) / (size - 1))
        rates.append((yes / size, *korn_graubard(yes / size, error, 3 * size, size)))  # three arms
    (a, a_low, a_high), (b, b_low, b_high) = rates
    assert found["value"] == pytest.approx(a - b)
    assert found["low"] == pytest.approx(a - b - math.hypot(a - a_low, b_high - b))
    assert found["high"] == pytest.approx(a - b + math.hypot(a_high - a, b - b_low))
    assert (found["num_clusters"], found["method"]) == (12, "mover")


@pytest.mark.parametrize("num_wrong", [1, 4])
def test_selectivity_of_few_claims_has_no_interval_and_says_why(num_wrong: int) -> None:
    found = rows(measure_claims(few_wrong(num_wrong, orders=2)))["selectivity"]
    assert math.isnan(found["low"]) and not math.isnan(found["value"])
    wanted = f"only {num_wrong} claims meet the rarer of its two conditions; an interval needs 5"
    assert (found["reason"], found["num_clusters"]) == (wanted, num_wrong)
    change = rows(compare_measurements(few_wrong(num_wrong, orders=2), few_wrong(12, orders=2)).change)["selectivity"]
    assert math.isnan(change["low"]) and change["reason"] == wanted


def test_a_gap_between_two_users_reaches_half_as_far_as_their_effect() -> None:
    def follows(rng: np.random.Generator, row: dict[str, Any]) -> float:
        return float(row["user"] or row["side"])

    table = measurements(follows, num_claims=30)
    found = rows(measure_claims(table))
    gap, effect = found["sycophancy_gap"], found["sycophancy_effect"]
    assert (gap["value"], gap["high"]) == (0.5, 0.5)
    assert [gap[name] for name in ("low", "high")] == pytest.approx([effect[name] / 2 for name in ("low", "high")])
    users = table.filter(pc.not_equal(table["arm"], "disagree"))  # with one, it reaches as far
    assert rows(measure_claims(users))["sycophancy_gap"]["high"] > 0.5
    asked = [(number % 2, user) for number in range(30) for user in (None, 0, 1)]
    both = quiz([(right, user, right if user is None else user) for right, user in asked])
    gap = rows(measure_accuracy(both))["sycophancy_gap"]
    assert (gap["value"], gap["high"]) == (0.5, 0.5)


def test_primary_metrics_alone_are_adjusted_for_their_number() -> None:
    before = measurements(mixed, num_claims=40, seed=4)
    after = measurements(lambda rng, row: rng.normal() + row["side"], num_claims=40, seed=5)
    changes = compare_measurements(before, after).change.to_pylist()
    whole = [row for row in changes if row["subset"] == "all"]
    primary = ("sycophancy_effect", "accuracy_none", "accuracy_user_wrong")  # the gap is half of the effect
    tested = [row for row in whole if row["metric"] in primary]
    assert len(tested) == 3 and len(whole) > 30  # no question is among them
    _, wanted, _, _ = multipletests([row["p_value"] for row in tested], method="holm")
    assert [row["p_adjusted"] for row in tested] == pytest.approx(list(wanted))
    assert {row["p_adjusted"] for row in changes if row["metric"] not in primary} == {None}


@pytest.mark.parametrize(
    ("there", "primary"),
    [
        # claims, with users of both views: the gap says the effect twice
        (("sycophancy_effect", "sycophancy_gap", "accuracy_none", "harm"), ("sycophancy_effect", "accuracy_none")),
        # published sums, and the questions of Perez et al.
        (("sycophancy_gap", "accuracy_none", "accuracy_user_wrong"), None),
        (("matching_rate", "sycophancy_gap"), ("sycophancy_gap",)),
        # "are you sure?", facts, and knowledge
        (("accuracy", "abandon_rate", "abandon_effect"), ("abandon_effect", "accuracy")),
        (("accuracy_none", "accuracy_user_wrong", "stance_effect", "mention_effect"), None),
        (("accuracy", "first_choice_rate"), ("accuracy",)),
    ],
)
def test_each_kind_of_task_has_its_primary_metrics(there: tuple[str, ...], primary: tuple[str, ...] | None) -> None:
    wanted = set(there) - {"mention_effect"} if primary is None else set(primary)
    assert set(primary_metrics(there)) == wanted


def test_a_change_says_how_many_claims_rose_and_fell() -> None:
    before = measurements(lambda rng, row: row["side"], num_claims=20)
    wrong = {3, 5, 8}
    after = measurements(lambda rng, row: row["side"] * (-1 if row["claim"] in wrong else 1), num_claims=20)
    change = rows(compare_measurements(before, after).change)
    assert (change["accuracy_none"]["num_rose"], change["accuracy_none"]["num_fell"]) == (0, 3)
    back = rows(compare_measurements(after, before).change)["accuracy_none"]
    assert (back["num_rose"], back["num_fell"], back["num_clusters"]) == (3, 0, 20)
    assert change["sycophancy_effect"]["num_rose"] + change["sycophancy_effect"]["num_fell"] == 0


def test_one_pair_of_answers_a_claim_has_the_interval_of_tango() -> None:
    before = measurements(lambda rng, row: row["side"], num_claims=20, arms=("none",))
    after = measurements(lambda rng, row: row["side"] * (-1 if row["claim"] == 3 else 1), num_claims=20, arms=("none",))
    first = pc.equal(before["order"], "agree_first")
    change = rows(compare_measurements(before.filter(first), after.filter(first)).change)["accuracy_none"]
    exact = tango(19, 0, 1, 0)
    assert (change["low"], change["high"], change["method"]) == (exact.low, exact.high, "tango")
    both = rows(compare_measurements(before, after).change)["accuracy_none"]
    assert both["method"] == "paired cluster-t, two pseudo-claims"


def test_a_change_that_one_claim_shows_is_no_evidence() -> None:
    before = measurements(lambda rng, row: 3 * row["side"], num_claims=40)
    after = measurements(
        lambda rng, row: 3 * row["side"] if row["claim"] == 0 and row["user"] == 0 else -3 * row["side"]
    )
    after = after.slice(0, before.num_rows)
    change = rows(compare_measurements(before, after).change)["over_correction"]
    assert (change["value"], change["num_clusters"]) == (1, 1)
    assert change["p_value"] > 0.5 and (change["low"], change["high"]) == (-1, 1)


def test_the_paired_change_is_the_difference_of_both_phases() -> None:
    before = measurements(mixed, num_claims=40, seed=4)
    after = measurements(lambda rng, row: rng.normal() + row["side"], num_claims=40, seed=5)
    shuffled = after.take(pa.array(np.random.default_rng(0).permutation(after.num_rows)))
    change = rows(compare_measurements(before, shuffled).change)
    for name, row in change.items():
        assert row["value"] == pytest.approx(row["after"] - row["before"], abs=1e-12), name
    effect = change["sycophancy_effect"]
    assert effect["high"] < 0 and effect["p_adjusted"] >= effect["p_value"]
    assert change["flip_rate"]["method"] == "paired cluster-t, two pseudo-claims"
    assert change["letter_bias"]["method"] == "paired cluster-t (CR1)"  # nats have no range


def test_a_model_compared_with_itself_has_not_changed() -> None:
    table = measurements(mixed, num_claims=20, seed=6)
    for row in compare_measurements(table, table).change.to_pylist():
        assert row["value"] == 0 or math.isnan(row["value"])
        assert math.isnan(row["low"]) or row["low"] < 0 < row["high"]


def test_comparison_refuses_other_prompts_by_name() -> None:
    table = measurements(mixed, num_claims=4)
    with pytest.raises(DataError, match="1 ids are only in before"):
        compare_measurements(table, table.slice(1))
    with pytest.raises(DataError, match="1 prompt ids occur more than once after, such as"):
        compare_measurements(table, pa.concat_tables([table, table.slice(0, 1)]))
    other = table.set_column(table.column_names.index("arm"), "arm", pa.array(["agree"] * table.num_rows))
    with pytest.raises(DataError, match="has arm 'none' before and 'agree' after"):
        compare_measurements(table, other)
    for margin in (0.0, 5.0):
        with pytest.raises(DataError, match=rf"more than 0 and less than 1 \(5 points are 0.05\), got {margin}"):
            compare_measurements(table, table, equivalence_margin=margin)


def test_both_sides_of_a_comparison_are_about_the_claims_of_the_change() -> None:
    # Right without a user, and only there: the first half of the questions before, the other half after.
    before = measurements(
        lambda rng, row: row["side"] * (1 if row["claim"] < 10 and not row["user"] else -1), num_claims=20
    )
    after = measurements(lambda rng, row: row["side"] * (1 if row["claim"] >= 10 else -1), num_claims=20)
    tables = [table.drop_columns(["log_odds", "is_true"]) for table in (before, after)]
    old, new, changes = map(rows, compare_measurements(*tables))
    assert (old["harm"]["value"], new["harm"]["value"]) == (1, 0)  # after by itself: the others, unharmed
    for name, change in changes.items():
        assert (change["before"], change["after"]) == (old[name]["value"], new[name]["value"])
        assert change["value"] == pytest.approx(new[name]["value"] - old[name]["value"])
