"""What users in the training do beyond a null variant: against the slow metrics, pandas and SciPy's t intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from makers.made_up_results import measurements, questions
from scipy import stats
from statsmodels.stats.multitest import multipletests
from twins.metrics_and_intervals import margins, prompts_frame, slow_metrics

import sycophancy_core as sc
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import measure
from sycophancy_core.metrics.null_contrast import METRICS
from sycophancy_core.studies.null_effects import null_effects
from sycophancy_core.studies.options import Variant

SEEDS = (0, 1, 2)
KNOWN = frozenset(f"addition-{claim}" for claim in range(0, 30, 2))
LINEAR = (
    *("sycophancy_effect", "sycophancy_effect_margin", "accuracy_none", "accuracy_user_wrong", "accuracy_user_right"),
    *("matching_rate", "margin_truth"),
)


def comparison(after: pa.Table, known: frozenset[str] = KNOWN) -> sc.Comparison:
    """Make a comparison of which only the side after the fine-tuning is looked at."""
    found = sc.Evaluation(model="tiny", measurements=after, estimates=measure(after, known=known))
    return sc.Comparison(before=found, after=found, estimates=pa.table({}))


def after(seed: int, training: str) -> pa.Table:
    flatters = {"users": 0.2, "no_users": 1.0, "shuffled_targets": 1.4}[training]
    number = 10 * seed + len(training)
    rows = measurements(num_claims=30, noise=1.5, knows=1.0, flatters=flatters, tasks=("addition",), seed=number)
    return rows.append_column("template", pa.array(["factorial/x"] * rows.num_rows))


@pytest.fixture(scope="module")
def variants() -> dict[str, Variant]:
    trainings = ("users", "no_users", "shuffled_targets")
    made = [Variant(training=training, seed=seed) for training in trainings for seed in SEEDS]
    return {f"{variant.training} {variant.seed}": variant for variant in made}


@pytest.fixture(scope="module")
def sides(variants: dict[str, Variant]) -> dict[str, pa.Table]:
    return {name: after(variant.seed, variant.training) for name, variant in variants.items()}


@pytest.fixture(scope="module")
def found(variants: dict[str, Variant], sides: dict[str, pa.Table]) -> pd.DataFrame:
    comparisons = {name: comparison(table) for name, table in sides.items()}
    return null_effects(variants, comparisons, known=KNOWN).to_pandas()


def row(found: pd.DataFrame, metric: str, unit: str, null: str = "no_users") -> pd.Series:
    rows = found[found["metric"].eq(metric) & found["unit"].eq(unit) & found["null"].eq(null)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.mark.parametrize("null", ["no_users", "shuffled_targets"])
@pytest.mark.parametrize("metric", LINEAR)
def test_the_effect_is_the_mean_over_seeds_of_users_less_null(
    found: pd.DataFrame, sides: dict[str, pa.Table], metric: str, null: str
) -> None:
    slow = {name: slow_metrics(table)[metric] for name, table in sides.items()}
    by_seed = [slow[f"users {seed}"] - slow[f"{null} {seed}"] for seed in SEEDS]
    over_claims, over_seeds = (row(found, metric, unit, null) for unit in ("claim", "seed"))
    assert over_claims["value"] == pytest.approx(np.mean(by_seed))
    assert over_seeds["value"] == pytest.approx(np.mean(by_seed))
    assert [over_seeds["before"], over_seeds["after"]] == pytest.approx(
        [np.mean([slow[f"{side} {seed}"] for seed in SEEDS]) for side in (null, "users")]
    )
    interval = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    assert [over_seeds["low"], over_seeds["high"]] == pytest.approx([interval.low, interval.high])
    assert (over_claims["num_clusters"], over_seeds["num_clusters"]) == (30, 3)


def test_the_interval_over_claims_is_scipys_of_each_claims_mean_over_seeds(
    found: pd.DataFrame, sides: dict[str, pa.Table]
) -> None:
    def effects(name: str) -> pd.Series:
        by_claim = margins(prompts_frame(sides[name]))
        return by_claim["agree"] - by_claim["disagree"]

    differences = pd.concat([effects(f"users {seed}") - effects(f"no_users {seed}") for seed in SEEDS], axis=1)
    test = stats.ttest_1samp(differences.mean(axis=1), 0)
    interval = test.confidence_interval(0.95)
    mine = row(found, "sycophancy_effect_margin", "claim")
    assert [mine["low"], mine["high"], mine["p_value"]] == pytest.approx([interval.low, interval.high, test.pvalue])


def test_a_flip_is_a_pair_of_answers_of_one_seed(found: pd.DataFrame, sides: dict[str, pa.Table]) -> None:
    def flip_rate(training: str) -> float:
        right_alone = flipped = 0.0
        for seed in SEEDS:
            frame = prompts_frame(sides[f"{training} {seed}"])
            table = frame.pivot(index=["claim_id", "order"], columns="arm", values="correct")
            is_true = frame.groupby(["claim_id", "order"])["is_true"].first()
            wrong_user = table["disagree"].where(is_true, table["agree"])
            right_alone += table["none"].sum()
            flipped += (table["none"] * (1 - wrong_user)).sum()
        return flipped / right_alone

    mine = row(found, "flip_rate", "claim")
    assert [mine["before"], mine["after"]] == pytest.approx([flip_rate("no_users"), flip_rate("users")])


def test_with_one_seed_it_is_the_comparison_of_the_two_variants(
    variants: dict[str, Variant], sides: dict[str, pa.Table]
) -> None:
    first = {name: variant for name, variant in variants.items() if variant.seed == 0}
    found = null_effects(first, {name: comparison(sides[name]) for name in first}, known=KNOWN)
    assert set(found["unit"].to_pylist()) == {"claim"}
    rows = compare_measurements(sides["no_users 0"], sides["users 0"], known=KNOWN, subset_by=()).change.to_pylist()
    mine = [one for one in found.to_pylist() if one["null"] == "no_users"]
    kept = ("metric", "value", "low", "high", "n", "num_clusters", "before", "after")
    wanted = {r["metric"]: [r[name] for name in kept] for r in rows if r["metric"] in METRICS}
    assert {r["metric"]: [r[name] for name in kept] for r in mine} == wanted


def test_primary_metrics_are_adjusted_by_unit_and_task_and_others_are_not(found: pd.DataFrame) -> None:
    for unit in ("claim", "seed"):
        mine = found[found["unit"].eq(unit)]
        tested = mine["metric"].isin(["sycophancy_effect", "accuracy_none", "accuracy_user_wrong"])
        primary = mine[tested]
        assert len(primary) == 6  # three metrics, two null variants
        _, wanted, _, _ = multipletests(primary["p_value"], method="holm")
        assert primary["p_adjusted"].to_numpy() == pytest.approx(wanted)
        assert mine[~tested]["p_adjusted"].isna().all()


def test_null_variants_are_paired_with_variants_equal_but_for_the_training(variants: dict[str, Variant]) -> None:
    filters = {f"{name} none": replace(variant, filter="none") for name, variant in variants.items()}
    lonely = {name: variant for name, variant in filters.items() if variant.training == "users" or variant.seed == 1}
    every = variants | lonely
    flat = {name: comparison(after(variant.seed, variant.training)) for name, variant in every.items()}
    rows = null_effects(every, flat, known=KNOWN).to_pandas()
    mine = rows[rows["metric"].eq("accuracy_none") & rows["null"].eq("no_users")]
    assert mine["subset"].tolist() == [
        "users less no_users, filter=margin, over claims",
        "users less no_users, filter=margin, over seeds",
        "users less no_users, filter=none, over claims",
    ]


def test_without_a_null_variant_or_without_users_there_is_no_effect(
    variants: dict[str, Variant], sides: dict[str, pa.Table]
) -> None:
    for training in ("users", "no_users"):
        alone = {name: variant for name, variant in variants.items() if variant.training == training}
        found = null_effects(alone, {name: comparison(sides[name]) for name in alone}, known=KNOWN)
        assert found.num_rows == 0


def test_questions_have_no_share_of_the_top_choice_over_seeds() -> None:
    variants = {name: Variant(training=name) for name in ("users", "no_users")}
    answers = {"users": [0, 1, 2, 3, 0, 1], "no_users": [0, 0, 0, 0, 1, 1]}
    made = {name: comparison(questions(answers[name], num_choices=4), frozenset()) for name in variants}
    found = {r["metric"]: r["value"] for r in null_effects(variants, made, known=()).to_pylist()}
    assert "top_choice_rate" not in found
    assert found["accuracy"] == pytest.approx((4 + 2) / 6 - 2 / 6)
    assert found["first_choice_rate"] == pytest.approx(2 / 6 - 4 / 6)
