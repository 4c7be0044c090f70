"""A study of facts: trains on some families, asks others, and tells users in the training from any training."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from makers.tiny_studies import content, tiny_study
from scipy import stats

import sycophancy_core as sc
from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.studies.costs import Throughput
from sycophancy_core.studies.options import read_study
from sycophancy_core.studies.stages import KNOWN_FACTS, load
from sycophancy_core.studies.study import StudyRun, run_study

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> sc.StudyOptions:
    return sc.StudyOptions(
        model=tiny_study(tmp_path_factory.mktemp("model") / "tiny").model,
        families=("capitals", "plurals", "successors"),
        candidate_families=("successors",),
        filler_family="sums",
        claims=6,
        candidates=12,
        batch_size=6,
        lora_rank=2,
        learning_rate=3e-2,
        sweep=sc.Sweep(training=("users", "no_users", "shuffled_targets", "instructions_only"), steps=(3,), seed=SEEDS),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def told() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def whole(options: sc.StudyOptions, folder: Path, told: io.StringIO) -> StudyRun:
    return run_study(options, folder, printer=ProgressPrinter(quiet=True), out=told)


@pytest.fixture(scope="module")
def known(whole: StudyRun, folder: Path) -> frozenset[str]:
    """Claim ids of the held-out facts that are right in both wordings, from the saved table alone."""
    (path,) = folder.glob(f"{KNOWN_FACTS.replace(' ', '-')}-*/claims.parquet")
    asked = read_table(path).to_pandas()
    assert set(asked["family"]) == {"capitals", "plurals", "successors"}
    return frozenset(asked.loc[asked["margin"] > 0, "claim_id"])


def right_by_fact(comparison: sc.Comparison, known: frozenset[str], arm: str, stated: str | None) -> pd.Series:
    """Return for each known fact of the task ``facts`` whether it is answered rightly in an arm."""
    rows = comparison.after.measurements.to_pandas()
    mine = rows[rows["task"].eq("facts") & rows["claim_id"].isin(known) & rows["arm"].eq(arm)]
    mine = mine[mine["stated"].isna() if stated is None else mine["stated"].eq(stated)]
    odds = [row.log_prob[row.target] - row.log_prob[1 - row.target] for row in mine.itertuples()]
    return pd.Series(0.5 + 0.5 * np.sign(odds), index=mine["claim_id"].to_list())


def effect(table: pa.Table, metric: str, unit: str, null: str) -> dict[str, Any]:
    (found,) = (
        row
        for row in table.to_pylist()
        if (row["task"], row["metric"], row["unit"], row["null"]) == ("facts", metric, unit, null)
    )
    return dict(found)


@pytest.mark.parametrize("null", ["no_users", "shuffled_targets", "instructions_only"])
def test_the_effect_of_users_is_pandas_difference_on_known_facts(
    whole: StudyRun, known: frozenset[str], null: str
) -> None:
    assert whole.result.null_effects is not None

    def gaps(arm: str, stated: str | None) -> pd.DataFrame:
        return pd.DataFrame(
            {
                seed: right_by_fact(whole.comparisons[f"training=users seed={seed}"], known, arm, stated)
                - right_by_fact(whole.comparisons[f"training={null} seed={seed}"], known, arm, stated)
                for seed in SEEDS
            }
        )

    wrong = gaps("endorse", "wrong")
    found = effect(whole.result.null_effects, "accuracy_user_wrong", "claim", null)
    assert (found["value"], found["num_clusters"]) == (pytest.approx(wrong.to_numpy().mean()), len(wrong))
    seeds = effect(whole.result.null_effects, "accuracy_user_wrong", "seed", null)
    interval = stats.ttest_1samp(wrong.mean(axis=0), 0).confidence_interval(0.95)
    if wrong.mean(axis=0).nunique() > 1:
        assert [seeds["low"], seeds["high"]] == pytest.approx([interval.low, interval.high])
    stance = gaps("deny", "wrong") - wrong
    found = effect(whole.result.null_effects, "stance_effect", "claim", null)
    assert found["value"] == pytest.approx(stance.to_numpy().mean())


def test_accuracy_with_a_wrong_user_differs_between_the_trainings(whole: StudyRun, known: frozenset[str]) -> None:
    """Guards the test above: differences of nothing would be zero in any recomputation."""
    assert whole.result.null_effects is not None
    rows = whole.result.null_effects.to_pylist()
    assert any(row["value"] not in (0, None) for row in rows if row["metric"] == "accuracy_user_wrong")


def test_each_variant_trains_on_as_many_rows_and_never_on_a_held_out_fact(whole: StudyRun, folder: Path) -> None:
    asked = {text.split("\n")[-1] for text in _prompts(whole)}
    tables = [read_table(path).to_pandas() for path in folder.glob("rows-*/training_rows.parquet")]
    assert [len(table) for table in tables] == [18] * 8
    assert not asked & {text for table in tables for text in table["prompt"]}
    synthetic = pd.concat([table[table["origin"].eq("synthetic")] for table in tables])
    assert set(synthetic["source"]) <= {"successors", "sums"}


def _prompts(whole: StudyRun) -> list[str]:
    prompts = next(iter(whole.comparisons.values())).before.prompts
    assert prompts is not None
    return list(prompts["prompt"].to_pylist())


def test_it_can_be_read_again_and_verified(options: sc.StudyOptions, whole: StudyRun, folder: Path) -> None:
    before = content(folder)
    sc.study(options, folder, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    assert content(folder) == before
    assert sc.verify(folder) == []


def test_tasks_tell_new_families_from_trained_ones(whole: StudyRun) -> None:
    assert set(whole.result.table["task"].to_pylist()) == {"facts", "facts_trained"}


def test_a_dry_run_counts_what_is_asked(options: sc.StudyOptions, whole: StudyRun) -> None:
    cost = sc.study_cost(options, throughput=Throughput(score_tokens_per_second=1.0, train_tokens_per_second=1.0))
    asked = {stage.stage: stage.rows for stage in cost.stages if stage.variant == "all variants"}
    measured = next(iter(whole.comparisons.values())).before.measurements
    assert asked["before"] == measured.num_rows
    assert asked[KNOWN_FACTS] == 2 * measured["claim_id"].to_pandas().nunique()


def test_a_yaml_file_gives_the_same_study(options: sc.StudyOptions, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        f"model: {options.model}\nfamilies: [capitals, plurals, successors]\ncandidate_families: [successors]\n"
        "filler_family: sums\nclaims: 6\ncandidates: 12\nbatch_size: 6\nlora_rank: 2\nlearning_rate: 3e-2\n"
        "sweep:\n  training: [users, no_users, shuffled_targets, instructions_only]\n  steps: [3]\n  seed: [0, 1]\n"
    )
    assert read_study(tmp_path / "study.yaml") == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": sc.Sweep(filter=("wei2023",))}, "filter wei2023 is for claims"),
        ({"sweep": sc.Sweep(recipe=("wei2023",))}, "recipe wei2023 is for claims"),
        ({"filler_family": "sample_number"}, "filler_family must be of facts"),
    ],
)
def test_what_is_for_claims_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sc.StudyOptions(families=("capitals",), candidate_families=("successors",), **changes)


@pytest.mark.model
def test_what_was_trained_on_the_embedded_model_is_merged_into_it(tmp_path: Path) -> None:
    model = sc.load_model(chat_template=False)
    facts = sc.load_facts("capitals").slice(0, 3)
    rows = sc.mix(sc.training_prompts(facts, n=3), sc.load_instructions(), ratio=3.0)
    sc.finetune(model, rows, options=sc.FinetuneOptions(steps=1, batch_size=4, lora_rank=1)).save(tmp_path)
    again = load(sc.StudyOptions(model=None, lora_rank=1, chat_template=False), tmp_path)
    asked = (["The capital of France is"], [[" Paris", " Rome"]])
    assert np.allclose(again.log_probs(*asked), model.log_probs(*asked), atol=1e-4)
    assert not np.allclose(sc.load_model(chat_template=False).log_probs(*asked), model.log_probs(*asked), atol=1e-4)
