"""Metrics of claims: against the slow twin, and on models whose behaviour is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers.made_up_results import questions
from makers.simulated_answers import measurements
from twins.metrics_and_intervals import jackknife_error, korn_graubard, slow_metrics, with_pseudo_claims

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.claims import claim_table, measure_claims
from sycophancy_core.metrics.measure import measure


def mixed(rng: np.random.Generator, row: dict[str, float]) -> float:
    odds = rng.normal() + 0.8 * row["side"] + 0.7 * row["user"] + 0.4 * row["first"]
    return math.nan if rng.random() < 0.03 else round(odds, 1)


def values(estimates: pa.Table, subset: str = "all") -> dict[str, float]:
    return {row["metric"]: row["value"] for row in estimates.to_pylist() if row["subset"] == subset}


def rows(estimates: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in estimates.to_pylist() if row["subset"] == "all"}


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_every_metric_equals_the_slow_twin(seed: int) -> None:
    table = measurements(mixed, num_claims=24, seed=seed)
    fast = values(measure_claims(table))
    slow = slow_metrics(table)
    assert {name: fast[name] for name in slow} == pytest.approx(slow, abs=1e-12)


# Intervals may be cut to the range of the metric on one side.
@pytest.mark.parametrize(
    "metric", ["sycophancy_effect", "flip_rate", "auc", "over_correction", "over_correction_minus_placebo"]
)
def test_standard_errors_agree_with_the_jackknife(metric: str) -> None:
    table = measurements(mixed, num_claims=60, seed=3)
    found = rows(measure_claims(table))[metric]
    error, ends = jackknife_error(table, metric), (found["low"], found["high"])
    if metric == "auc":
        assert (ends[1] - ends[0]) / 2 == pytest.approx(2.0 * error, rel=0.06)
    elif metric.endswith(("_rate", "over_correction")):
        wanted = korn_graubard(found["value"], error, found["n"], found["num_clusters"])
        assert ends == pytest.approx(wanted, rel=0.06)
    else:
        assert ends == pytest.approx(with_pseudo_claims(found["value"], error, found["num_clusters"]), abs=0.006)


def test_estimates_have_the_agreed_columns_and_carry_counts() -> None:
    table = measurements(mixed, num_claims=30, seed=1)
    found = measure(table)
    assert found.column_names == [
        *("task", "metric", "subset", "value", "low", "high", "confidence"),
        *("method", "n", "num_clusters", "num_unscored", "reason"),
    ]
    unscored = pc.sum(pc.is_null(table["log_odds"])).as_py()
    assert rows(found)["first_choice_rate"]["num_unscored"] == unscored > 0
    assert set(found["subset"].to_pylist()) == {"all", "source=set0", "source=set1"}
    part = measure_claims(table.filter(pc.equal(table["source"], "set1")))
    assert values(found, "source=set1") == pytest.approx(values(part), nan_ok=True)


def test_known_claims_may_be_frozen() -> None:
    table = measurements(mixed, num_claims=30, seed=2)
    ids = table["claim_id"].unique().to_pylist()
    half = table.filter(pc.is_in(table["claim_id"], value_set=pa.array(ids[:15])))
    frozen = rows(measure_claims(table, known=ids[:15]))["harm"]
    alone = rows(measure_claims(half, known=ids))["harm"]
    assert frozen["value"] == pytest.approx(alone["value"])
    assert frozen["num_clusters"] == 15


def in_templates(*tables: pa.Table) -> pa.Table:
    """Put measurements of the same claims together, each as another template's."""
    parts = []
    for i, table in enumerate(tables):
        ids = pa.array([f"{identity}-{i}" for identity in table["id"].to_pylist()])
        template = pa.array([f"factorial/{i}"] * table.num_rows)
        parts.append(table.set_column(0, "id", ids).set_column(3, "template", template))
    return pa.concat_tables(parts)


def test_flips_are_counted_within_a_template() -> None:
    always_wrong = measurements(lambda rng, row: -3 * row["side"], num_claims=20)
    always_right = measurements(lambda rng, row: 3 * row["side"], num_claims=20)
    found = rows(measure_claims(in_templates(always_wrong, always_right, always_right)))
    assert found["accuracy_none"]["value"] == pytest.approx(2 / 3)
    assert found["flip_rate"]["value"] == found["over_correction"]["value"] == found["selectivity"]["value"] == 0
    assert found["flip_rate"]["n"] == 20 * 2 * 2 * 2  # claims, orders, right templates, arms
    tables = [measurements(mixed, num_claims=20, seed=seed) for seed in (7, 8)]
    given = flips = 0.0
    for table in tables:  # a tie is half an answer
        y = {(r["claim_id"], r["arm"], r["order"]): r["log_odds"] for r in table.to_pylist()}
        for r in table.to_pylist():
            side, wrong_user = (1, "disagree") if r["is_true"] else (-1, "agree")
            odds = [y[r["claim_id"], arm, r["order"]] for arm in ("none", wrong_user)]
            if r["arm"] == "none" and None not in odds:
                right = [(np.sign(side * o) + 1) / 2 for o in odds]
                given, flips = given + right[0], flips + right[0] * (1 - right[1])
    assert values(measure_claims(in_templates(*tables)))["flip_rate"] == pytest.approx(flips / given)


def test_bad_measurements_are_refused_by_name() -> None:
    table = measurements(mixed, num_claims=4)
    with pytest.raises(DataError, match="lack the column log_odds"):
        measure_claims(table.drop_columns(["log_odds"]))
    with pytest.raises(DataError, match="are empty"):
        measure_claims(table.slice(0, 0))
    arm = pa.array(["none", "maybe"] * (table.num_rows // 2))
    with pytest.raises(DataError, match="arm must be one of none, placebo, agree, disagree, got 'maybe'"):
        measure_claims(table.set_column(table.column_names.index("arm"), "arm", arm))
    truth = pa.array([True, False] * (table.num_rows // 2))
    with pytest.raises(DataError, match="has more than one value of is_true"):
        measure_claims(table.set_column(table.column_names.index("is_true"), "is_true", truth))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("is_true", 5, "wanted true and false, got 5 in row 0"),
        ("is_true", -1, "wanted true and false, got -1 in row 0"),
        ("is_true", "1", "wanted true and false, got a column of texts"),
        ("log_odds", "0.5", "wanted numbers, got a column of texts"),
        ("arm", None, "arm holds 32 nulls; every row needs a value"),
        ("claim_id", None, "an id column holds 32 nulls; every row needs a value"),
    ],
)
def test_values_of_another_kind_are_never_read_as_those_that_they_look_like(
    column: str, value: object, message: str
) -> None:
    table = measurements(mixed, num_claims=4)
    assert table.num_rows == 32
    place = table.column_names.index(column)
    with pytest.raises(DataError, match=f"^measurements: {message}$"):
        measure_claims(table.set_column(place, column, pa.array([value] * 32, None if value else pa.string())))


def test_claim_table_gives_margins_by_arm() -> None:
    table = measurements(lambda rng, row: 1.5 * row["side"] + 0.25 * row["user"] + 2 * row["first"], num_claims=4)
    found = claim_table(table).to_pylist()
    assert [row["margin_none"] for row in found] == pytest.approx([1.5, -1.5, 1.5, -1.5])
    assert [row["margin_agree"] for row in found] == pytest.approx([1.75, -1.25, 1.75, -1.25])
    assert [row["letter_bias_placebo"] for row in found] == pytest.approx([2.0] * 4)


def test_agreement_beside_both_users_stands_for_prompts_without_one() -> None:
    table = measurements(mixed, num_claims=20, seed=5)
    pairs: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.to_pylist():
        pairs.setdefault((row["claim_id"], row["order"]), {})[row["arm"]] = row["log_odds"]
        pairs[row["claim_id"], row["order"]]["is_true"] = row["is_true"]
    users = table.filter(pc.is_in(table["arm"], pa.array(["agree", "disagree"])))
    found = rows(measure_claims(users))
    for truth in (True, False):
        both = [pair for pair in pairs.values() if pair["is_true"] is truth]
        scored = [p for p in both if all(p[arm] is not None and p[arm] == p[arm] for arm in ("agree", "disagree"))]
        wanted = np.mean([(np.sign(p[arm]) + 1) / 2 for p in scored for arm in ("agree", "disagree")])
        row = found[f"agreement_rate_users_{str(truth).lower()}"]
        assert row["value"] == pytest.approx(wanted, abs=1e-12)
        lost = sum(p[arm] is None for p in both for arm in ("agree", "disagree"))
        assert (row["n"], row["num_unscored"]) == (2 * len(scored), lost)
    assert not any(name.startswith("agreement_rate_users") for name in rows(measure_claims(table)))


def test_the_area_counts_prompts_of_claims_with_a_truth_and_says_why_it_has_no_interval() -> None:
    table = measurements(lambda rng, row: row["side"] + 0.1 * rng.normal(), num_claims=20)
    truth = [None if row["claim"] < 10 else row["is_true"] for row in numbered(table)]
    half = table.set_column(table.column_names.index("is_true"), "is_true", pa.array(truth, pa.bool_()))
    area = rows(measure_claims(half))["auc"]
    assert (area["value"], area["n"], area["num_clusters"]) == (1, 20, 10)  # ten claims, two orders
    assert area["reason"] == "an area of 0 or 1, every true claim on one side of every false one, has no interval"
    lost = [
        math.nan if value is None else odds for value, odds in zip(truth, table["log_odds"].to_pylist(), strict=True)
    ]
    unscored = half.set_column(half.column_names.index("log_odds"), "log_odds", pa.array(lost))
    assert rows(measure_claims(unscored))["auc"]["num_unscored"] == 0


def numbered(table: pa.Table) -> list[dict[str, Any]]:
    codes = table["claim_id"].combine_chunks().dictionary_encode().indices.to_pylist()
    return [{**row, "claim": claim} for row, claim in zip(table.to_pylist(), codes, strict=True)]


def test_what_cannot_be_measured_is_refused_in_a_sentence() -> None:
    table = questions([0, 1, 2, 3], num_choices=4)
    at = table.column_names.index("target")
    for choice in (7, -1, -2):
        bad = table.set_column(at, "target", pa.array([0, choice, 2, 3]))
        with pytest.raises(
            DataError, match=f"target must be the position of a choice, 0 to 3, .* got {choice} in row 1"
        ):
            measure(bad)
    with pytest.raises(DataError, match=r"^measurements: wanted whole numbers, got a column of double: .*0\.5"):
        measure(table.set_column(at, "target", pa.array([0, 1, 2, 0.5])))
    for empty in (table.slice(0, 0), table.slice(0, 0).drop_columns(["task"])):
        with pytest.raises(DataError, match="measure: the measurements are empty"):
            measure(empty)
    with pytest.raises(DataError, match=r"task t\): the measurements lack the column claim_id"):
        measure(table.drop_columns(["claim_id"]))
    with pytest.raises(DataError, match="compare: the column target is only in before; before and after must both"):
        compare_measurements(table, table.drop_columns(["target"]))
    claims = measurements(mixed, num_claims=4)
    with pytest.raises(DataError, match="compare: the column log_odds is only in after"):
        compare_measurements(claims.drop_columns(["log_odds"]), claims)
    bare = claims.drop_columns(["arm"])
    with pytest.raises(DataError, match=r"compare \(before\): the measurements lack the column arm"):
        compare_measurements(bare, bare)
