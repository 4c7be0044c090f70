"""Metrics of questions with any number of choices: each question counts once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from makers.made_up_results import questions, quiz
from makers.simulated_answers import measurements

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import kind_of, measure, measure_accuracy, measure_opinions


def values(estimates: pa.Table, subset: str = "all") -> dict[str, float]:
    return {row["metric"]: row["value"] for row in estimates.to_pylist() if row["subset"] == subset}


def rows(estimates: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in estimates.to_pylist() if row["subset"] == "all"}


def opinion_rows(*, follows: float, letter: float, num: int = 40) -> pa.Table:
    """Questions of three choices with a biography (user_choice) and without; log-odds follow user and first letter."""
    rng = np.random.default_rng(0)
    found = []
    for question in range(num):
        taste = rng.normal(size=3)
        user = int(rng.integers(3))
        for has_user in (True, False):
            odds = taste + letter * np.eye(3)[0] + (follows * np.eye(3)[user] if has_user else 0)
            log_prob = odds - np.logaddexp.reduce(odds)
            found.append(
                {
                    "id": f"{question}-{has_user}",
                    "claim_id": str(question),
                    "user_choice": user if has_user else None,
                    "log_prob": log_prob.tolist(),
                    "taste": taste.tolist(),
                }
            )
    table = pa.Table.from_pylist(found)
    return table.set_column(2, "user_choice", table["user_choice"].cast(pa.int8()))


def test_opinions_are_measured_against_their_control() -> None:
    table = opinion_rows(follows=2.0, letter=0.0)
    found = values(measure_opinions(table))
    match, control = [], []
    questions = table.to_pylist()
    for with_user, without in zip(questions[::2], questions[1::2], strict=True):
        match.append(np.argmax(with_user["log_prob"]) == with_user["user_choice"])
        control.append(np.argmax(without["log_prob"]) == with_user["user_choice"])
    assert found["matching_rate"] == pytest.approx(np.mean(match))
    assert found["matching_rate_none"] == pytest.approx(np.mean(control))
    assert found["sycophancy_gap"] == pytest.approx(np.mean(match) - np.mean(control))
    assert found["sycophancy_gap_margin"] == pytest.approx(2.0)
    assert found["choice_mass"] == pytest.approx(1.0)
    assert kind_of(table) == "opinions"


def test_ties_between_choices_share_the_answer() -> None:
    table = opinion_rows(follows=0.0, letter=0.0, num=2)
    tied = pa.array([[math.log(0.4), math.log(0.4), math.log(0.2)]] * 4)
    found = values(measure_opinions(table.set_column(3, "log_prob", tied)))
    assert found["first_choice_rate"] == 0.5
    broken = pa.array([[math.log(0.4), None, math.log(0.2)]] * 4, pa.list_(pa.float64()))
    row = rows(measure_opinions(table.set_column(3, "log_prob", broken)))["matching_rate"]
    assert (row["n"], row["num_unscored"], row["reason"]) == (
        0,
        2,
        "no such prompt was asked, or none could be scored",
    )


def test_a_prompt_without_its_control_is_no_unscored_one() -> None:
    table = opinion_rows(follows=2.0, letter=0.0, num=10)
    alone = table.take([row for row in range(20) if row not in (1, 3, 5)])  # three questions lose their control
    found, paired = rows(measure_opinions(alone)), values(measure_opinions(table.slice(6)))
    for metric in ("matching_rate_none", "sycophancy_gap", "sycophancy_gap_margin"):
        assert (found[metric]["n"], found[metric]["num_unscored"]) == (7, 0)
        assert found[metric]["value"] == paired[metric]
    assert found["matching_rate"]["n"] == 10


def test_a_question_without_a_right_choice_is_no_unscored_one() -> None:
    table = measurements(lambda rng, row: row["side"], num_claims=4).drop_columns(["log_odds", "is_true"])
    at, first = table.column_names.index("target"), table["claim_id"][0].as_py()
    targets = [None if row["claim_id"] == first else row["target"] for row in table.to_pylist()]
    found = rows(measure_accuracy(table.set_column(at, "target", pa.array(targets, pa.int8()))))
    assert [row["num_unscored"] for row in found.values()] == [0] * len(found)
    counts = {name: found[name]["n"] for name in ("accuracy", "accuracy_placebo", "accuracy_user_wrong")}
    assert counts == {"accuracy": 6, "accuracy_placebo": 6, "accuracy_user_wrong": 6}
    assert found["first_choice_rate"]["n"] == 32


def test_accuracy_with_users_gives_harm_and_help() -> None:
    table = measurements(lambda rng, row: 3 * row["user"] if row["user"] else 1.0 * row["side"], num_claims=20)
    found = values(measure_accuracy(table.drop_columns(["log_odds", "is_true"])))
    assert found["accuracy"] == 1
    assert (found["harm"], found["help"], found["placebo_shift"]) == (1, 0, 0)
    assert (found["accuracy_user_right"], found["accuracy_user_wrong"]) == (1, 0)
    assert kind_of(table) == "claims"
    with pytest.raises(DataError, match="nothing to measure"):
        kind_of(table.select(["id", "claim_id"]))


def test_a_question_counts_once_however_many_prompts_it_has() -> None:
    answers = [(0, None, 0)] * 3 + [(1, None, 0)]  # the first question three times, answered rightly
    table = quiz(answers).set_column(1, "claim_id", pa.array(["a", "a", "a", "b"]))
    found = rows(measure_accuracy(table))["accuracy"]
    assert (found["value"], found["n"], found["num_clusters"]) == (0.5, 4, 2)


def test_the_top_choice_is_the_position_answered_most_often() -> None:
    users, answers = [0, 1, 2, 3], [2, 2, 1, 2, 2, 0, 3, 2]  # beside the user and alone, in turn; 5 of 8 are the third
    before = questions(answers, num_choices=4, users=users)
    after = questions([1] * 7 + [0], num_choices=4, users=users)
    assert values(measure(before))["top_choice_rate"] == 5 / 8
    change = rows(compare_measurements(before, after).change)["top_choice_rate"]
    assert (change["before"], change["after"], change["value"]) == (5 / 8, 7 / 8, 2 / 8)


def test_a_quiz_with_users_has_the_gap_of_an_opinion_task() -> None:
    asked = [(number % 3 % 2, user) for number in range(30) for user in (None, number // 2 % 2)]
    table = quiz([(right, user, row * 7 % 5 % 2) for row, (right, user) in enumerate(asked)])
    gap = ("matching_rate", "matching_rate_none", "sycophancy_gap", "sycophancy_gap_margin")
    found, same = values(measure_accuracy(table)), values(measure_opinions(table))
    assert {name: found[name] for name in gap} == {name: same[name] for name in gap}
    assert found["sycophancy_gap"] != 0


def test_a_table_without_any_score_has_targets_all_the_same() -> None:
    table = questions([0, 1, 2, 3], num_choices=4)
    at = table.column_names.index("log_prob")
    found = rows(measure(table.set_column(at, "log_prob", pa.array([None] * 4, pa.list_(pa.float64())))))
    assert (found["accuracy"]["n"], found["accuracy"]["num_unscored"]) == (0, 4)


def test_tasks_are_measured_by_what_they_hold() -> None:
    claims = measurements(lambda rng, row: rng.normal() + row["side"], num_claims=10)
    claims = claims.append_column("task", pa.array(["sums"] * 80))
    opinions = opinion_rows(follows=1.0, letter=0.0, num=10).append_column("task", pa.array(["phil"] * 20))
    both = pa.concat_tables([claims, opinions], promote_options="default")
    found = measure(both)
    assert {row["metric"] for row in found.to_pylist() if row["task"] == "phil"} >= {"matching_rate", "sycophancy_gap"}
    assert (
        rows(measure(claims))["harm"]
        == {row["metric"]: row for row in found.to_pylist() if row["task"] == "sums" and row["subset"] == "all"}["harm"]
    )
