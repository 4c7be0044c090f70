"""Evaluations of models that think first: what is asked, kept, said and gone on with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from makers.tiny_llama import THINKING_TEMPLATE, thinking_model, tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tasks.lm_eval_folder import write_lm_eval_tasks
from sycophancy_core.tasks.second_turn import FIRST_TURN

ROWS = [
    {
        "id": f"{arm}{claim}",
        "claim_id": claim,
        "arm": arm,
        "prompt": f"{said}Is {claim} so?",
        "target": 0,
        "user_choice": 1,
    }
    for claim in ("a", "b", "c")
    for arm, said in (("none", ""), ("disagree", "I think not. "))
]
QUESTIONS = pa.Table.from_pylist(
    [row | {"choices": [" (A)", " (B)"], "user_choice": None if row["arm"] == "none" else 1} for row in ROWS]
)
QUIET: dict[str, Any] = {"progress": False, "seed": 3}


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return thinking_model()


@pytest.fixture(scope="module")
def found(model: LanguageModel) -> sc.Evaluation:
    return sc.evaluate(model, tasks={"mine": QUESTIONS}, think=6, **QUIET)


def test_an_evaluation_thinks_first_and_scores_what_was_thought(model: LanguageModel, found: sc.Evaluation) -> None:
    thought = sc.think(model, QUESTIONS, max_tokens=6, seed=3, progress=False)
    assert found.prompts is not None
    assert found.prompts["thought"].to_pylist() == thought["thought"].to_pylist()
    assert [row["log_prob"] for row in found.measurements.to_pylist()] == model.score(thought).log_prob.tolist()
    assert "thought" not in found.measurements.column_names
    assert found.measurements["thought_ended"].to_pylist() == thought["thought_ended"].to_pylist()
    by_hand = sc.evaluate(model, tasks={"mine": thought}, **QUIET)
    assert by_hand.measurements.equals(found.measurements)
    assert by_hand.facts["thinking"] == {"num_thoughts": 6, "num_ended": 0}
    parts = [sc.evaluate_shard(model, shard=(part, 2), tasks={"mine": thought}, **QUIET) for part in (0, 1)]
    merged = sc.merge(parts)
    assert isinstance(merged, sc.Evaluation)
    assert merged.prompts == by_hand.prompts
    assert merged.measurements.equals(by_hand.measurements)


def test_results_say_how_it_was_thought(found: sc.Evaluation, tmp_path: Path) -> None:
    wanted = {"num_thoughts": 6, "num_ended": 0, "max_tokens": 6, "seed": 3}
    assert found.facts["thinking"] == wanted | {"engine": "transformers", "precision": "float32"}
    about = found.facts["tasks"]["mine"]
    assert about["digest"] == digest_table(QUESTIONS)
    assert found.prompts is not None
    assert f"<think>\n{found.prompts['thought'][0].as_py()}\n</think>\n\n" in about["examples"][0]
    found.save(tmp_path)
    loaded = sc.Evaluation.load(tmp_path)
    assert loaded.facts["thinking"] == found.facts["thinking"]
    assert loaded.prompts == found.prompts
    page = sc.report(loaded, tmp_path / "report.html").read_text()
    assert "6 thoughts; at most 6 tokens each, seed 3; 0 (0%) ended by themselves, the others were cut" in page
    assert page.count("[thought: ") >= 2


def test_a_model_that_thinks_is_compared_with_one_that_does_not(model: LanguageModel, found: sc.Evaluation) -> None:
    before = sc.evaluate(model, tasks={"mine": QUESTIONS}, **QUIET)
    assert "thinking" not in before.facts
    assert sc.compare(before, found).estimate("mine", "accuracy")["n"] == 3


def test_a_stopped_evaluation_goes_on_to_the_same_numbers(
    model: LanguageModel, found: sc.Evaluation, tmp_path: Path
) -> None:
    def stop(done: int, _: int) -> None:
        if done == 4:
            signal.raise_signal(signal.SIGTERM)

    asked: dict[str, Any] = {"tasks": {"mine": QUESTIONS}, "think": 6, "seed": 3, "run": tmp_path}
    with pytest.raises(KeyboardInterrupt, match="thinking stopped after 4 of 6 prompts"):
        sc.evaluate(model, **asked, progress=stop)
    shown: list[tuple[int, int]] = []
    again = sc.evaluate(model, **asked, progress=lambda done, total: shown.append((done, total)))
    assert shown[:2] == [(5, 6), (6, 6)]
    assert again.measurements.equals(found.measurements)
    assert again.prompts == found.prompts


def test_a_second_turn_is_asked_without_thoughts(model: LanguageModel) -> None:
    first = QUESTIONS.append_column("template", pa.array([FIRST_TURN] * 6))
    ids = pa.array([f"sure {identity}" for identity in first["id"].to_pylist()])
    first = first.set_column(first.column_names.index("id"), "id", ids)
    with pytest.raises(sc.DataError, match=r"second turn \(are_you_sure\) is asked without thoughts; leave either out"):
        sc.evaluate(model, tasks={"mine": QUESTIONS, "sure": first}, think=6, **QUIET)
    thought = first.append_column("thought", pa.array(["Hm."] * 6))
    with pytest.raises(sc.DataError, match="is asked without thoughts"):
        sc.evaluate(model, tasks={"sure": thought}, **QUIET)


def test_what_would_lose_thoughts_refuses_them(model: LanguageModel, tmp_path: Path) -> None:
    thought = QUESTIONS.append_column("thought", pa.array(["Hm."] * 6))
    with pytest.raises(sc.DataError, match="task mine: lm-eval asks it without thoughts"):
        write_lm_eval_tasks({"mine": thought}, tmp_path)
    begun = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "I say"}]
    with pytest.raises(sc.DataError, match="answers_under_pressure: prompts are asked without thoughts"):
        sc.answers_under_pressure(model, thought.append_column("turns", pa.array([begun] * 6)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINKING_TEMPLATE
    tiny_llama().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
def test_the_command_line_thinks(folder: Path, tmp_path: Path) -> None:
    asked = ["evaluate", str(folder), "--tasks", "addition_factorial", "--limit", "1", "--think", "3", "--quiet"]
    assert main([*asked, "-o", str(tmp_path / "out")]) == 0
    found = sc.Evaluation.load(tmp_path / "out")
    assert found.prompts is not None
    assert found.prompts["thought"].null_count == 0
    assert (found.facts["engine"], found.facts["thinking"]["max_tokens"]) == ("native", 3)
    assert not list((tmp_path / "out").glob("*.journal"))


def test_thoughts_are_not_made_in_shards(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["evaluate", "no-model", "--tasks", "addition_factorial", "--limit", "1", "--think", "3", "--shard", "0/2"]
    assert main([*asked, "-o", str(tmp_path / "part")]) != 0
    assert "--think: thoughts are not made in shards; leave --think or --shard out" in capfd.readouterr().err
