"""The filter's verdicts, its warning at chance, and thresholds with a guarantee."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from makers.simulated_answers import measurements

from sycophancy_core.errors import DataError
from sycophancy_core.results.filter_risk import choose_threshold, risk_coverage
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult, judge_claims
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.seals import seal_more


def claims_of(table: pa.Table) -> pa.Table:
    rows = {row["claim_id"]: row for row in table.to_pylist()}.values()
    columns = {"id": "claim_id", "source": "source", "is_true": "is_true"}
    return pa.table({name: [row[column] for row in rows] for name, column in columns.items()})


def judged(
    margins: list[float], *, letter: float = 0.0, threshold: float = 0.0, max_error: float | None = None
) -> FilterResult:
    """Judge true (even) and false (odd) claims whose margins towards the truth are given."""
    table = measurements(
        lambda _, row: margins[row["claim"]] * row["side"] + letter * row["first"],
        num_claims=len(margins),
        arms=("none",),
    )
    return judge_claims(claims_of(table), table, FilterOptions(threshold=threshold, max_error=max_error))


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
def test_every_claim_ends_with_a_status_and_counts_add_up() -> None:
    found = judged([2.0, 1.0, -1.0, 0.2, 0.0, math.nan, 3.0, 2.5], letter=5.0, threshold=0.5)
    reasons = [None, None, "wrong", "below threshold", "tie", "unscored", None, None]
    assert found.table["reason"].to_pylist() == reasons
    assert found.table["status"].to_pylist()[5] == "failed"
    assert found.counts == {"below threshold": 1, "kept": 4, "tie": 1, "unscored": 1, "wrong": 1}
    assert found.table["letter_bias"].to_pylist()[0] == pytest.approx(5.0)
    assert found.table["margin"].to_pylist()[5] is None
    assert found.kept["id"].to_pylist() == [found.table["id"].to_pylist()[i] for i in (0, 1, 6, 7)]


def test_a_filter_at_chance_warns_with_figures() -> None:
    with pytest.warns(UserWarning, match="not told apart from chance on these claims: 10 of 20 right"):
        judged([1.0, 1.0, -1.0, -1.0] * 5)


def in_pairs(true_margins: list[float], false_margins: list[float], **options: Any) -> FilterResult:
    """Judge examples of a true and a false claim, whose margins towards Agree are given."""
    margins = [margin for pair in zip(true_margins, false_margins, strict=True) for margin in pair]
    table = measurements(lambda _, row: margins[row["claim"]], num_claims=len(margins), arms=("none",))
    claims = claims_of(table)
    examples = pa.array([f"example {i // 2}" for i in range(len(margins))])
    return judge_claims(claims.append_column("example_id", examples), table, FilterOptions(**options))


def test_a_model_that_agrees_with_everything_is_warned_about() -> None:
    with pytest.warns(UserWarning) as warned:
        found = in_pairs([8.0] * 30, [8.0 - 0.1 * (i % 2) for i in range(30)])
    texts = [str(one.message) for one in warned]
    assert "accuracy is not told apart from chance on these claims: 30 of 60 right" in texts[0]
    assert "agrees with nearly every claim: right on 100% of the true and on 0% of the false ones" in texts[1]
    assert found.is_at_chance
    assert found.by_truth["true"]["kept_share"] == 1 and found.by_truth["false"]["kept_share"] == 0
    assert found.by_truth["true"]["low"] > 0.8 and found.by_truth["false"]["high"] < 0.2
    assert found.auc[0] == pytest.approx(0.75)  # half of the false claims are agreed with a little less
    assert "(100% of true claims, 0% of false claims; AUC 0.75)" in found.summary()


@pytest.mark.filterwarnings("ignore:filter_known")
def test_the_contrast_keeps_what_is_known_beside_a_lean_to_agree() -> None:
    margins = [8.5] * 20 + [8.0] * 10, [8.0] * 20 + [8.5] * 10
    plain, contrast = in_pairs(*margins), in_pairs(*margins, rule="contrast")
    assert set(plain.kept["is_true"].to_pylist()) == {True}
    assert contrast.table["reason"].to_pylist() == [None] * 40 + ["wrong"] * 20
    assert contrast.table["margin"].to_pylist()[:2] == pytest.approx([0.25, -0.25])
    assert in_pairs(*margins, rule="contrast", threshold=0.3).kept.num_rows == 0
    table = measurements(lambda _, row: row["side"], num_claims=4, arms=("none",))  # no example has two claims
    alone = judge_claims(claims_of(table), table, FilterOptions(rule="contrast"))
    assert set(alone.table["reason"].to_pylist()) == {"no counterpart"}


@pytest.mark.filterwarnings("ignore:filter_known")
def test_the_bound_of_the_filter_counts_examples() -> None:
    found = in_pairs([3.0] * 40, [-3.0] * 40)
    point = risk_coverage(found, [0.0])[0]
    assert (point["n"], point["num_examples"]) == (80, 40)
    assert point["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / 40))
    assert found.accuracy[1] == pytest.approx(0.025 ** (1 / 40))


def test_prompts_of_other_claims_are_refused() -> None:
    table = measurements(lambda _, row: row["side"], num_claims=3, arms=("none",))
    with pytest.raises(DataError, match="2 prompts belong to no claim of the table, such as 0000000000000000"):
        judge_claims(claims_of(table).slice(1), table, FilterOptions())


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
def test_the_curve_counts_covered_and_wrong() -> None:
    curve = risk_coverage(judged([3.0, 2.0, -1.0, 0.5]), [0.0, 1.0, 9.0])
    assert [(point["n"], point["coverage"]) for point in curve] == [(4, 1.0), (3, 0.75), (0, 0.0)]
    assert [point["error"] for point in curve[:2]] == pytest.approx([0.25, 1 / 3])


def test_a_threshold_is_chosen_with_a_bound_or_refused_with_a_reason() -> None:
    margins = [2.0] * 60 + [1.0, -1.0] * 20
    choice = choose_threshold(judged(margins), [0.5, 1.5], max_error=0.06)
    assert (choice["threshold"], choice["n"], choice["reason"]) == (1.5, 60, None)
    assert choice["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / 60))
    assert "even without an error" in choose_threshold(judged(margins), [0.5, 1.5], max_error=0.001)["reason"]


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
def test_a_source_is_kept_only_where_few_of_its_answers_are_wrong() -> None:
    # Every other claim is of set0: sixty right by 3 nats, twenty by 1, of which ten are wrong. set1 is wrong half the
    # time, however sure.
    known = [3.0] * 60 + [1.0, -1.0] * 10
    guessed = [9.0, -9.0] * 40
    found = judged([margin for pair in zip(known, guessed, strict=True) for margin in pair], max_error=0.05)
    reasons = found.table["reason"].to_pylist()
    assert reasons[0::2] == [None] * 60 + ["below threshold", "wrong"] * 10
    assert reasons[1::2] == ["source not known", "wrong"] * 40
    assert found.kept_by_source == {"set0": 0.75, "set1": 0.0}


def test_a_bound_on_the_error_is_a_share_and_belongs_to_the_rule_margin() -> None:
    with pytest.raises(DataError, match=r"between 0 and 1, with the rule margin or contrast, got 1\.5"):
        FilterOptions(max_error=1.5)
    with pytest.raises(DataError, match=r"got 0\.1 with the rule wei2023"):
        FilterOptions(max_error=0.1, rule="wei2023")


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"protocol": "nowhere"}, "protocol 'nowhere'"),
        ({"split": "test"}, "split 'test'"),
        ({"templates": ("after_first_2",)}, r"templates \('after_first_2',\)"),
    ],
)
def test_a_wording_belongs_to_the_rule_margin(changes: dict[str, Any], got: str) -> None:
    with pytest.raises(DataError, match=f"are the rule margin's, got {got} with the rule wei2023; choose"):
        FilterOptions(rule="wei2023", **changes)


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
def test_the_record_says_what_was_asked(tmp_path: Path) -> None:
    found = judged([2.0, 1.0])
    for options, wording in (
        (FilterOptions(rule="wei2023"), ["wei2023", None, []]),
        (
            FilterOptions(protocol=tmp_path / "mine.json"),
            [str(tmp_path / "mine.json"), "train", ["before_first_1", "after_first_1"]],
        ),
    ):
        replace(found, options=options).save(tmp_path)
        written = json.loads((tmp_path / "filter.json").read_text())["options"]
        assert [written[name] for name in ("protocol", "split", "templates")] == wording
        assert FilterResult.load(tmp_path).options == options


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "wanted the options of a filter"),
        ({"options": 3}, "wanted the options of a filter"),
        ({"options": {"rule": "margin"}}, "wanted the options of a filter"),
        ({"options": {"templates": ["a"], "r,ule": 1}}, "wanted the options of a filter"),
        ({"options": {"templates": ["a"], "protocol": 7}}, "wanted the options of a filter"),
        ({"options": {"templates": ["a"], "threshold": "x"}}, "wanted the options of a filter"),
        ({"options": {"templates": ["a"], "threshold": -1.0}}, "threshold must be a number >= 0"),
    ],
)
def test_a_record_of_another_hand_is_one_sentence(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    judged([2.0, 1.0]).save(tmp_path)
    (tmp_path / "filter.json").write_text(json.dumps(record))
    seal_more(tmp_path, [tmp_path / "filter.json"])
    with pytest.raises(DataError, match=message):
        FilterResult.load(tmp_path)


@pytest.mark.filterwarnings("ignore:filter_known")  # few claims
def test_a_table_of_another_hand_is_one_sentence(tmp_path: Path) -> None:
    found = judged([2.0, 1.0])
    found.save(tmp_path)
    for name in ("status", "is_true", "source"):
        write_table(tmp_path / "claims.parquet", found.table.drop_columns([name]))
        seal_more(tmp_path, [tmp_path / "claims.parquet"])
        with pytest.raises(DataError, match=rf"claims\.parquet: wanted a table with the columns {name} as well"):
            FilterResult.load(tmp_path)


def test_a_threshold_belongs_to_the_rule_margin() -> None:
    with pytest.raises(
        DataError, match=r"threshold is for the rules margin and contrast, got 5\.0 with the rule wei2023; choose"
    ):
        FilterOptions(threshold=5.0, rule="wei2023")


@pytest.mark.filterwarnings("ignore:filter_known")
def test_a_single_claim_has_no_interval_and_says_why() -> None:
    assert repr(judged([2.0])).endswith(
        "100% [n/a: one cluster: its variation cannot be estimated] right without an opinion"
    )
