"""Trained cures: what their rows ask and teach, that the given model stays, and what is saved."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cures.methods import NULLS
from sycophancy_core.cures.other_text import training_instructions
from sycophancy_core.cures.trainings.asked import ask_alone, cure_prompts
from sycophancy_core.pipeline import filter_prompts

SMALL = {"steps": 2, "batch_size": 6, "lora_rank": 2}
METHODS = (sc.Synthetic(**SMALL), sc.Consistent(**SMALL))
IDS = ("synthetic", "consistent")

pytestmark = pytest.mark.filterwarnings("ignore:.*from chance:UserWarning")


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def facts() -> pa.Table:
    return sc.load_facts(["plurals", "past_tenses"]).slice(0, 60)


def own_answers(model: sc.LanguageModel, prompts: pa.Table) -> list[int]:
    """Score each choice of each prompt alone."""
    found = [model.log_probs([row["prompt"]], [row["choices"]])[0] for row in prompts.to_pylist()]
    return [int(log_probs.argmax()) for log_probs in found]


def test_consistent_teaches_with_users_what_the_model_answers_alone(model: sc.LanguageModel, facts: pa.Table) -> None:
    asked = ask_alone(model, METHODS[1], facts, seed=3)
    taught, num_tokens = cure_prompts(METHODS[1], asked, seed=3), asked.num_tokens
    null = cure_prompts(METHODS[1], ask_alone(model, METHODS[1], facts, seed=3), null="no_users", seed=3)
    assert taught.num_rows == null.num_rows == 10  # 2 steps of 6 rows, of which each sixth is an instruction
    assert set(taught["arm"].to_pylist()) <= {"endorse", "third_person"}
    assert set(null["arm"].to_pylist()) == {"none"}
    for name in ("claim_id", "choices", "target"):
        assert taught[name].to_pylist() == null[name].to_pylist()
    assert taught["target"].to_pylist() == own_answers(model, null)
    right = sc.fact_prompts(facts, options=sc.FactOptions(split="train", arms=("none",)), seed=3).to_pylist()
    target = {row["claim_id"]: row["target"] for row in right}
    rows = taught.to_pylist()
    assert any(row["target"] != target[row["claim_id"]] for row in rows)  # wrong answers are taught as well
    assert num_tokens > 0


def test_synthetic_teaches_the_truth_about_known_facts(model: sc.LanguageModel, facts: pa.Table) -> None:
    asked = ask_alone(model, METHODS[0], facts, seed=3)
    taught, num_tokens = cure_prompts(METHODS[0], asked, seed=3), asked.num_tokens
    asked = filter_prompts(facts, sc.FilterOptions(), seed=3)
    assert num_tokens == model.score(asked).num_tokens > 0
    known = sc.filter_known(model, facts, seed=3, progress=False)
    wanted = sc.training_prompts(known.kept, n=10, seed=3)
    assert taught.equals(wanted)
    assert set(taught["claim_id"].to_pylist()) <= known.known
    null = cure_prompts(METHODS[0], ask_alone(model, METHODS[0], facts, seed=3), null="no_users", seed=3)
    assert null["claim_id"].to_pylist() == taught["claim_id"].to_pylist()
    shuffled = cure_prompts(METHODS[0], ask_alone(model, METHODS[0], facts, seed=3), null="shuffled_targets", seed=3)
    assert sorted(shuffled["target"].to_pylist()) == sorted(taught["target"].to_pylist())
    assert shuffled["prompt"].to_pylist() == taught["prompt"].to_pylist()


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_given_model_stays_and_the_cured_one_is_trained_as_finetune_trains(
    model: sc.LanguageModel, facts: pa.Table, method: sc.Synthetic | sc.Consistent
) -> None:
    before = model.digest
    cured = sc.mitigate(model, method, facts=facts, seed=1, progress=False)
    assert model.digest == before != cured.model.digest
    asked = ask_alone(model, method, facts, seed=1)
    prompts, num_scored = cure_prompts(method, asked, seed=1), asked.num_tokens
    same = sc.load_model((tiny_llama(), tiny_tokenizer()))
    rows = sc.mix(prompts, training_instructions(), ratio=5.0, seed=1)
    options = sc.FinetuneOptions(steps=2, batch_size=6, learning_rate=1e-3, lora_rank=2, seed=1)
    result = sc.finetune(same, rows, options=options, progress=False)
    assert cured.model.digest == same.digest
    assert cured.cost.tokens == num_scored + sum(result.log["tokens"].to_pylist())
    assert cured.name == cured.model.name.partition(" + ")[2]


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_nulls_have_the_same_budget(
    model: sc.LanguageModel, facts: pa.Table, method: sc.Synthetic | sc.Consistent
) -> None:
    cured = sc.mitigate(model, method, facts=facts, progress=False)
    nulls = [cured.make_null(null, seed=2) for null in NULLS[type(method)]]
    assert {null.about["num_rows"] for null in nulls} == {cured.about["num_rows"]}
    assert len({one.model.digest for one in (cured, *nulls)}) == 1 + len(nulls)
    assert all(null.base == cured.base for null in nulls)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_saved_training_is_loaded_again(
    model: sc.LanguageModel, facts: pa.Table, method: sc.Synthetic | sc.Consistent, tmp_path: Path
) -> None:
    cured = sc.mitigate(model, method, facts=facts, progress=False)
    cured.save(tmp_path)
    again = sc.load_cure(tmp_path, model)
    choices = [[" mice", " mouses"]]
    wanted = cured.model.log_probs(["The plural of mouse is"], choices)
    assert again.model.log_probs(["The plural of mouse is"], choices) == pytest.approx(wanted, abs=1e-4)
    assert (again.name, again.method, again.cost, again.about) == (cured.name, method, cured.cost, cured.about)


def test_wrong_options_of_a_training_are_refused() -> None:
    with pytest.raises(sc.DataError, match="Synthetic: steps must be at least 1"):
        sc.Synthetic(steps=0)
    with pytest.raises(sc.DataError, match="Consistent: ratio must be > 0"):
        sc.Consistent(ratio=0.0)
