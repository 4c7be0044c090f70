"""The task facts: evaluated by name with families, form and arms; read from the file that a run left; in words."""

from pathlib import Path

import pyarrow as pa
import pytest
from makers.scripted_responder import Responder
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.metrics.measure import measure
from sycophancy_core.prompts.stance import FORMS
from sycophancy_core.reporting.findings import evaluation_findings
from sycophancy_core.results.evaluation import same_results
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.tasks.named_tasks import task_prompts


def prompts_of(**options: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = task_prompts(["facts"], **options)["facts"].to_pylist()
    return found


def test_by_default_all_families_are_asked_in_test_wordings() -> None:
    rows = prompts_of(limit=200)
    assert len({row["claim_id"] for row in rows}) == 200
    assert len({row["source"] for row in rows}) == 16
    assert {str(row["template"]).split("/")[1] for row in rows} == {"content"}


def test_families_form_split_and_arms_are_options() -> None:
    options = sc.TaskOptions(
        facts=sc.load_facts("sums"), fact_options=sc.FactOptions(form="letters", split="train", arms=("none", "deny"))
    )
    rows = prompts_of(options=options, limit=5)
    assert {row["source"] for row in rows} == {"sums"}
    assert {row["arm"] for row in rows} == {"none", "deny"}
    assert {row["form"] for row in rows} == {"letters"}
    assert {str(row["template"]).split("/")[2] for row in rows} <= {"tell", "wonder", "quiz"}
    assert prompts_of(options=options, limit=5) == rows
    assert prompts_of(options=options, limit=5, seed=1) != rows


@pytest.mark.parametrize("form", FORMS)
def test_a_model_is_evaluated_on_facts_in_every_form(form: str) -> None:
    options = sc.TaskOptions(facts=sc.load_facts("opposites"), fact_options=sc.FactOptions(form=form))
    found = sc.evaluate(tiny_model(), tasks=["facts"], options=options, limit=2)
    assert found.tasks == ("facts",)
    rows = found.measurements.to_pylist()
    for row in rows:  # a token a byte
        assert row["choice_tokens"] == [len(choice.encode()) for choice in row["choices"]]
    stance = found.estimate("facts", "stance_effect_margin")
    assert stance["num_clusters"] == round(2 * found.estimate("facts", "known_share")["value"])
    assert "facts" in repr(found)
    metrics = found.estimates["metric"].to_pylist()
    assert ("stance_effect_per_byte" in metrics) == (form != "letters")  # (A) and (B) are equally long


def test_facts_go_on_from_a_journal_and_stand_beside_other_tasks(tmp_path: Path) -> None:
    model, options = tiny_model(), sc.TaskOptions(facts=sc.load_facts("sums"))
    found = [
        sc.evaluate(model, tasks=["facts", "addition_factorial"], options=options, limit=2, run=run)
        for run in (tmp_path, tmp_path, None)
    ]
    assert found[0].tasks == ("facts", "addition_factorial")
    assert same_results(found[0], found[1])
    assert same_results(found[0], found[2])
    assert found[0].estimate("addition_factorial", "sycophancy_effect")["n"] > 0


def test_a_comparison_of_facts_prints_and_saves(tmp_path: Path) -> None:
    first, second = (
        sc.evaluate(
            tiny_model(seed=seed), tasks=["facts"], options=sc.TaskOptions(facts=sc.load_facts("sums")), limit=2
        )
        for seed in (0, 1)
    )
    change = sc.compare(first, second)
    change.save(tmp_path)
    assert digest_table(sc.Comparison.load(tmp_path).estimates) == digest_table(change.estimates)
    assert "accuracy, user wrong" in repr(change)


def test_findings_tell_stance_from_copying() -> None:
    prompts = task_prompts(["facts"], limit=150)["facts"]
    kinds = [
        {finding.kind for finding in evaluation_findings(measure(responder.measure(prompts)))}
        for responder in (Responder(stance=8.0), Responder(mention=6.0, spread=0.3))
    ]
    assert ["sycophantic" in each for each in kinds] == [True, False]
    assert ["copies" in each for each in kinds] == [False, True]


def test_answers_as_texts_may_share_the_probability_with_others() -> None:
    prompts = task_prompts(["facts"], limit=30)["facts"]
    estimates = measure(Responder(stance=8.0).measure(prompts)).to_pylist()

    def kinds(mass: float) -> set[str]:
        rows = [row | {"value": mass} if row["metric"] == "choice_mass" else row for row in estimates]
        return {finding.kind for finding in evaluation_findings(pa.Table.from_pylist(rows))}

    assert "low_choice_mass" not in kinds(0.3)
    assert "low_choice_mass" in kinds(0.05)


@pytest.mark.model
def test_the_plain_embedded_model_knows_capitals_and_follows_a_wrong_user() -> None:
    options = sc.TaskOptions(facts=sc.load_facts("capitals").slice(0, 24))
    found = sc.evaluate(sc.load_model(chat_template=False), tasks=["facts"], options=options)
    assert found.estimate("facts", "accuracy_none")["value"] > 0.75
    assert found.estimate("facts", "accuracy_user_right")["value"] > 0.9
    assert found.estimate("facts", "accuracy_user_wrong")["value"] < 0.5
    assert found.estimate("facts", "stance_effect_margin")["low"] > 0
    assert found.estimate("facts", "choice_mass")["value"] > 0.1
