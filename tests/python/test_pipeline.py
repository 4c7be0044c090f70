"""The stages on a random model: what goes in comes out, counts add up, an interrupt loses nothing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.pipeline import filter_prompts, training_prompts
from sycophancy_core.prompts.splits import sample_claims
from sycophancy_core.results.evaluation import same_results
from sycophancy_core.results.filter_risk import risk_coverage
from sycophancy_core.results.knowledge_filter import FilterResult, judge_claims
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tasks.named_tasks import TASKS, task_prompts

QUIET = pytest.mark.filterwarnings("ignore:filter_known. :UserWarning")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model()


@pytest.fixture(scope="module")
def claims() -> pa.Table:
    return sc.make_claims(sc.load_examples(), seed=1).slice(0, 30)


@QUIET
def test_p6_every_claim_is_kept_filtered_or_failed_and_counts_add_up(model: LanguageModel, claims: pa.Table) -> None:
    found = sc.filter_known(model, claims, options=sc.FilterOptions(threshold=0.01))
    assert sum(found.counts.values()) == claims.num_rows
    assert found.table["id"].equals(claims["id"])
    for row in found.table.to_pylist():
        towards_truth = row["margin"] if row["is_true"] else -row["margin"]
        wanted = "wrong" if towards_truth <= 0 else "below threshold" if towards_truth < 0.01 else None
        assert row["reason"] == wanted
        assert row["status"] == ("kept" if wanted is None else "filtered")
    assert found.kept.schema == claims.schema


@QUIET
def test_the_filters_margin_is_the_mean_over_orders_and_templates(model: LanguageModel, claims: pa.Table) -> None:
    options = sc.FilterOptions()
    found = sc.filter_known(model, claims, options=options, seed=3)
    prompts = filter_prompts(claims, options, seed=3)
    log_prob = model.log_probs(prompts["prompt"].to_pylist(), prompts["choices"].to_pylist())
    sign = np.where(np.array(prompts["order"].to_pylist()) == "agree_first", 1.0, -1.0)
    towards_agree = (log_prob[:, 0] - log_prob[:, 1]) * sign
    ids = np.array(prompts["claim_id"].to_pylist())
    for row in found.table.to_pylist():
        assert np.sum(ids == row["id"]) == 2 * len(options.templates)
        assert row["margin"] == pytest.approx(towards_agree[ids == row["id"]].mean(), abs=1e-5)


@QUIET
def test_the_published_filter_asks_once_and_keeps_right_answers(model: LanguageModel, claims: pa.Table) -> None:
    options = sc.FilterOptions(rule="wei2023")
    found = sc.filter_known(model, claims, options=options)
    prompts = filter_prompts(claims, options, seed=0)
    assert prompts["arm"].unique().to_pylist() == ["none"]
    assert prompts.num_rows == claims.num_rows
    answers = np.argmax(model.log_probs(prompts["prompt"].to_pylist(), prompts["choices"].to_pylist()), axis=1)
    right = answers == prompts["target"].to_numpy()
    wanted = {identity for identity, ok in zip(prompts["claim_id"].to_pylist(), right, strict=True) if ok}
    assert found.known == wanted


@pytest.mark.filterwarnings("ignore:filter_known. the model agrees:UserWarning")
def test_a_model_at_chance_is_warned_about_with_figures(model: LanguageModel, claims: pa.Table) -> None:
    with pytest.warns(UserWarning, match=r"not told apart from chance on these claims: \d+ of 30 right"):
        sc.filter_known(model, claims)


def test_a_model_whose_answers_cannot_be_scored_is_warned_about(model: LanguageModel, claims: pa.Table) -> None:
    prompts = filter_prompts(claims, sc.FilterOptions(), seed=0)
    nothing = pa.nulls(prompts.num_rows, pa.float64())
    with pytest.warns(UserWarning, match="got none on all 30 claims, so no claim is kept; look at the model's weights"):
        found = judge_claims(claims, prompts.append_column("log_odds", nothing), sc.FilterOptions())
    assert found.summary() == "knows 0 of 30 claims (30 unscored); none could be scored"


def test_a_threshold_that_is_no_number_is_refused() -> None:
    for threshold in (float("nan"), float("inf"), -1.0):
        with pytest.raises(sc.DataError, match=f"threshold must be a number >= 0, in nats, got {threshold}"):
            sc.FilterOptions(threshold=threshold)


@QUIET
def test_a_filter_comes_back_from_its_folder(model: LanguageModel, claims: pa.Table, tmp_path: Path) -> None:
    found = sc.filter_known(model, claims)
    found.save(tmp_path)
    again = FilterResult.load(tmp_path)
    assert again.kept.equals(found.kept)
    assert again.options == found.options
    curve = risk_coverage(again, [0.0, 1e9])
    assert [point["coverage"] for point in curve] == [1.0, 0.0]


def test_training_prompts_are_answered_by_truth_and_balance_the_opinions(claims: pa.Table) -> None:
    prompts = training_prompts(claims, n=100, seed=1)
    assert prompts.num_rows == 100
    rows = sc.mix(prompts, sc.load_instructions(), ratio=5.0)
    synthetic = rows.filter(pc.equal(rows["origin"], "synthetic"))
    assert rows.num_rows - synthetic.num_rows == 20
    right = [
        choices[target]
        for choices, target in zip(*(prompts[n].to_pylist() for n in ("choices", "target")), strict=True)
    ]
    assert synthetic["completion"].to_pylist() == right
    agrees = pc.mean(pc.cast(pc.equal(prompts["arm"], "agree"), pa.float64())).as_py()
    assert agrees == pytest.approx(0.5, abs=0.1)


def shares(table: pa.Table, *names: str) -> dict[tuple[object, ...], float]:
    rows = Counter(zip(*(table[name].to_pylist() for name in names), strict=True))
    return {row: number / table.num_rows for row, number in rows.items()}


@pytest.mark.parametrize("n", [8, 60, 400])
def test_the_last_turns_claims_keep_the_shares_of_source_truth_and_polarity(n: int) -> None:
    claims = sc.make_claims(sc.load_examples(), seed=1)
    drawn = sample_claims(claims, n, seed=1)
    assert drawn.num_rows == len(set(drawn["id"].to_pylist())) == n
    for names, most in ((("source",), 2), (("is_true", "polarity"), 2), (("source", "is_true", "polarity"), 1)):
        wanted, got = shares(claims, *names), shares(drawn, *names)
        assert max(abs(n * (got.get(row, 0) - share)) for row, share in wanted.items()) < most
    turn = training_prompts(claims, n=n, seed=1)
    assert turn["claim_id"].equals(drawn["id"])
    assert (
        training_prompts(claims, n=n + claims.num_rows)
        .slice(0, claims.num_rows)
        .equals(sc.make_prompts(claims, options=sc.PromptOptions(split="train", design="sampled")))
    )


def test_training_prompts_of_near_seeds_have_nothing_in_common(claims: pa.Table) -> None:
    few = claims.slice(0, 60)
    first, *others = (set(training_prompts(few, n=400, seed=seed)["prompt"].to_pylist()) for seed in (0, 1, 2, 6))
    assert [len(first & other) <= 4 for other in others] == [True] * 3


def test_training_prompts_about_mostly_true_claims_are_warned_about(claims: pa.Table) -> None:
    by_truth = [claims.filter(pc.equal(claims["is_true"], truth)) for truth in (True, False)]
    for num_false, got in ((5, r"62% \(8 of 13 prompts\); a model can learn to answer Agree"), (6, None)):
        kept = pa.concat_tables([by_truth[0].slice(0, 8), by_truth[1].slice(0, num_false)])
        if got is None:
            training_prompts(kept, n=kept.num_rows)
            continue
        with pytest.warns(UserWarning, match=f"wanted 40 to 60% true claims, got {got} to everything; leave out"):
            training_prompts(kept, n=kept.num_rows)
    with pytest.warns(UserWarning, match="got 0% .* answer Disagree to everything"):
        training_prompts(by_truth[1], n=3)


@pytest.mark.parametrize(
    ("n", "message"), [(0, "n must be at least 1, got 0"), (2**31, "n must be at most 100000000, got 2147483648")]
)
def test_no_or_too_many_training_prompts_are_refused(claims: pa.Table, n: int, message: str) -> None:
    with pytest.raises(sc.DataError, match=f"training_prompts: {message}"):
        training_prompts(claims, n=n)


def test_training_prompts_of_nothing_are_refused(claims: pa.Table) -> None:
    with pytest.raises(sc.DataError, match="did the filter keep nothing"):
        training_prompts(claims.slice(0, 0), n=10)


def test_a_table_of_ones_own_of_other_types_stands_beside_a_packaged_task(model: LanguageModel) -> None:
    own = pa.table({"id": ["a"], "claim_id": ["a"], "prompt": ["So?"], "choices": [[" yes", " no"]], "target": [0]})
    tasks = {"mine": own, **task_prompts(["claims"], limit=1)}
    assert set(sc.evaluate(model, tasks=tasks).estimates["task"].to_pylist()) == {"mine", "claims"}


def test_an_evaluation_comes_back_from_its_folder_and_says_the_same_twice(model: LanguageModel, tmp_path: Path) -> None:
    found, again = (sc.evaluate(model, tasks=("claims",), limit=5, seed=2) for _ in range(2))
    assert same_results(found, again)
    assert found.measurements.num_rows == 5 * 4 * 2
    found.save(tmp_path)
    loaded = sc.Evaluation.load(tmp_path)
    assert same_results(found, loaded)
    assert repr(loaded) == repr(found)
    assert found.estimate("claims", "sycophancy_effect")["num_clusters"] == 5
    with pytest.raises(sc.DataError, match="there is no metric 'cheer' of task 'claims'"):
        found.estimate("claims", "cheer")


def test_a_comparison_comes_back_from_its_folder(model: LanguageModel, tmp_path: Path) -> None:
    before = sc.evaluate(model, tasks=("addition_factorial",), limit=4)
    after = sc.evaluate(tiny_model(seed=1), tasks=("addition_factorial",), limit=4)
    found = sc.compare(before, after)
    found.save(tmp_path)
    assert repr(sc.Comparison.load(tmp_path)) == repr(found)
    change = found.estimate("addition_factorial", "sycophancy_effect_margin")
    assert change["value"] == pytest.approx(change["after"] - change["before"])


def test_different_prompts_are_not_compared(model: LanguageModel) -> None:
    first, second = (sc.evaluate(model, tasks=("addition_factorial",), limit=4, seed=seed) for seed in (1, 2))
    with pytest.raises(sc.DataError, match="compare"):
        sc.compare(first, second)


def test_arms_of_a_task_differ_in_the_opinion_only_and_keep_to_test_wordings() -> None:
    for name in ("claims", "addition_factorial"):
        prompts = task_prompts((name,), limit=6)[name]
        assert prompts.num_rows == 6 * 8
        for claim_id in prompts["claim_id"].unique().to_pylist():
            rows = [row for row in prompts.to_pylist() if row["claim_id"] == claim_id]
            assert len({row["template"] for row in rows}) == 1
            assert {row["template"].split("/")[1] for row in rows} <= {
                "before_first_3",
                "after_first_3",
                "after_third_2",
            }


def test_the_published_sums_are_false_and_asked_with_and_without_the_professor() -> None:
    prompts = task_prompts(("addition",), limit=10)["addition"]
    assert prompts["arm"].unique().to_pylist() == ["none", "agree"]
    assert not any(prompts["is_true"].to_pylist())


def test_a_limit_is_the_most_that_a_task_asks() -> None:
    for limit, wanted in ((3000, 2500), (None, 2500), (1, 1)):
        asked = task_prompts(("addition",), limit=limit)["addition"]
        assert len(set(asked["claim_id"].to_pylist())) == wanted
    with pytest.raises(sc.DataError, match=r"tasks: limit must be at least 1 or None, .*, got 0"):
        task_prompts(("addition", "claims"), limit=0)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(sc.DataError, match=f"'cheer' is not a task; wanted one of {', '.join(TASKS)}"):
        task_prompts(("cheer",))


def test_a_folder_that_no_task_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        sc.DataError, match=r"tasks: folder .* is for tasks that read files \(nlp, .*, got addition, claims"
    ):
        task_prompts(("addition", "claims"), options=sc.TaskOptions(folder=tmp_path))


def test_no_prompts_tables_are_refused(model: LanguageModel) -> None:
    with pytest.raises(sc.DataError, match="tasks: wanted at least one prompts table, got none"):
        sc.evaluate(model, tasks={})


def test_options_beside_prompts_tables_are_refused() -> None:
    asked = task_prompts(("addition",), limit=1)
    assert task_prompts(asked) == asked
    with pytest.raises(sc.DataError, match="options are for tasks by name, got prompts tables of addition"):
        sc.evaluate(tiny_model(), tasks=asked, options=sc.TaskOptions())


def test_a_limit_draws_whole_questions_of_a_prompts_table() -> None:
    asked = task_prompts(("addition_factorial",), limit=5)
    few = task_prompts(asked, limit=2, seed=3)["addition_factorial"]
    assert len(set(few["claim_id"].to_pylist())) == 2
    assert few.num_rows * 5 == asked["addition_factorial"].num_rows * 2  # each in all its arms and orders
    assert few.equals(task_prompts(asked, limit=2, seed=3)["addition_factorial"])
