"""Reasoning models where several evaluations are made: many models, studies and cures think first, as one does."""

from __future__ import annotations

import io
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from makers.killable import exit_of_fresh_process
from makers.tiny_llama import THINKING_TEMPLATE, thinking_model, tiny_llama, tiny_tokenizer
from makers.tiny_studies import KillingPrinter, content, run_quietly, tiny_study

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.cures.study import read_cure_study, study_cures
from sycophancy_core.prompts.fact_families import candidate_facts
from sycophancy_core.runs.json_files import read_json

TASKS = ("addition_factorial",)
CUT = "ended by themselves, the others were cut"

pytestmark = pytest.mark.filterwarnings("ignore:.*from chance:UserWarning")


def save_thinking(folder: Path, *, seed: int = 0) -> Path:
    """Save the tiny Llama with a template that has a thinking block."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINKING_TEMPLATE
    tiny_llama(seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stop_at(number: int) -> Any:
    def stop(done: int, _: int) -> None:
        if done == number:
            signal.raise_signal(signal.SIGTERM)

    return stop


def test_each_of_many_models_thinks_for_itself(tmp_path: Path) -> None:
    models = {"one": thinking_model(), "two": thinking_model(seed=1)}
    asked: dict[str, Any] = {"tasks": TASKS, "limit": 1, "seed": 3, "think": 4}
    found = sc.evaluate_many(models, **asked, progress=False)
    for one in found.evaluations:
        alone = sc.evaluate(models[one.model], **asked, progress=False)
        assert one.measurements.equals(alone.measurements)
        assert one.prompts == alone.prompts
        assert one.facts["thinking"] == alone.facts["thinking"]
    first, second = (one.prompts["thought"].to_pylist() for one in found.evaluations if one.prompts is not None)
    assert first != second
    assert found.report_html().count(CUT) == 2
    assert "Thought before each reply" not in sc.evaluate_many([models["one"]], tasks=TASKS, limit=1).report_html()
    with pytest.raises(KeyboardInterrupt, match="thinking stopped"):
        sc.evaluate_many(models, **asked, run=tmp_path / "run", progress=stop_at(3))
    assert list((tmp_path / "run").rglob("think-0.journal"))
    again = sc.evaluate_many(models, **asked, run=tmp_path / "run", progress=False)
    for one, other in zip(found.evaluations, again.evaluations, strict=True):
        assert one.measurements.equals(other.measurements)
        assert one.prompts == other.prompts


def test_a_model_among_many_that_cannot_think_is_named() -> None:
    plain = sc.load_model((tiny_llama(), tiny_tokenizer()))
    with pytest.raises(sc.ModelError, match="is asked as plain text, in which it cannot think"):
        sc.evaluate_many({"plain": plain}, tasks=TASKS, limit=1, think=4, progress=False)


def test_the_command_line_lets_many_models_think(tmp_path: Path) -> None:
    folders = [str(save_thinking(tmp_path / name, seed=seed)) for seed, name in enumerate(("one", "two"))]
    asked = ["evaluate-many", *folders, "--tasks", *TASKS, "--limit", "1", "--think", "3", "--quiet"]
    assert main([*asked, "-o", str(tmp_path / "out")]) == 0
    found = sc.Evaluations.load(tmp_path / "out")
    assert [one.facts["thinking"]["max_tokens"] for one in found.evaluations] == [3, 3]
    assert not list((tmp_path / "out").rglob("*.journal"))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> sc.StudyOptions:
    made = tiny_study(tmp_path_factory.mktemp("model") / "tiny")
    save_thinking(Path(str(made.model)))
    return replace(made, claims=1, think=3, sweep=sc.Sweep(filter=("none",), steps=(1,)))


@pytest.fixture(scope="module")
def whole(options: sc.StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "whole"
    run_quietly(options, folder)
    return folder


def test_a_study_thinks_before_and_after(options: sc.StudyOptions, whole: Path) -> None:
    (compared,) = whole.glob("compared-*")
    found = sc.Comparison.load(compared)
    assert found.before.prompts is not None
    assert found.before.tasks == ("addition", "sample_number")
    assert found.before.prompts["thought"].null_count == 0
    for side in (found.before, found.after):
        assert {name: side.facts["thinking"][name] for name in ("max_tokens", "seed")} == {"max_tokens": 3, "seed": 0}
    (report,) = whole.glob("report-*/report.html")
    assert report.read_text().count(CUT) == 2
    assert not list(whole.rglob("*.journal"))
    stages = read_json(whole / "manifest.json")["stages"]
    assert [stage["inputs"]["think"] for name, stage in stages.items() if name.startswith(("before", "after"))] == [
        3
    ] * 2


def run_and_kill(options: sc.StudyOptions, folder: Path, stage: str) -> None:
    run_quietly(options, folder, KillingPrinter(stage))


@pytest.mark.parametrize("stage", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_p1_a_study_that_is_killed_while_it_thinks_ends_with_the_same_bytes(
    stage: str, options: sc.StudyOptions, whole: Path, tmp_path: Path
) -> None:
    assert exit_of_fresh_process(run_and_kill, options, tmp_path / "study", stage) == -signal.SIGKILL
    assert list((tmp_path / "study").rglob("think-0.journal"))
    run_quietly(options, tmp_path / "study")
    assert content(tmp_path / "study") == content(whole)


def test_what_a_study_that_thinks_costs_is_not_known_before(options: sc.StudyOptions) -> None:
    with pytest.raises(sc.DataError, match="how long a model thinks is known when it has thought; leave think out"):
        sc.study_cost(options)
    with pytest.raises(sc.DataError, match="study: think must be at least 1 or null, got 0"):
        replace(options, think=0)


CURES = """\
model: {model}
families: [capitals]
candidate_families: [plurals]
validation_families: [currencies]
claims: 2
candidates: 6
num_random: 1
other_prompts: 0
seed: 3
think: 3
cures:
  told: {{method: prompted, text: Be true.}}
  vector: {{method: steered, layers: [1], strengths: [8]}}
"""


@pytest.fixture(scope="module")
def cures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cures")
    save_thinking(folder / "tiny")
    (folder / "cures.yaml").write_text(CURES.format(model=folder / "tiny"))
    study_cures(read_cure_study(folder / "cures.yaml"), folder / "whole", progress=False, out=io.StringIO())
    return folder


def test_cures_and_their_nulls_think_as_in_an_evaluation_of_their_own(cures: Path) -> None:
    found = sc.CureEffects.load(cures / "whole")
    options = read_cure_study(cures / "cures.yaml")
    model = sc.load_model(str(cures / "tiny"), dtype="float32", chat_template=True)
    rows = found.measurements.to_pylist()
    asked = {row["id"] for row in rows}
    facts = sc.load_facts("capitals")
    every = sc.fact_prompts(
        facts, options=sc.FactOptions(arms=("none", "persona", "endorse", "deny")), seed=options.seed
    )
    prompts = every.filter([one in asked for one in every["id"].to_pylist()])
    assert prompts.num_rows == len(asked)
    candidates = candidate_facts(options.candidate_families, n=options.candidates, seed=options.seed)
    made = {"facts": candidates, "validation": sc.load_facts("currencies"), "progress": False}
    cured = {name: sc.mitigate(model, method, **made).model for name, method in options.cures.items()}
    for name, one in {"untreated": model, **cured}.items():
        alone = sc.evaluate(one, tasks={"facts": prompts}, seed=3, think=3, progress=False).measurements.to_pylist()
        mine = {row["id"]: row["log_prob"] for row in rows if row["cure"] == name and row["null"] is None}
        assert mine == {row["id"]: row["log_prob"] for row in alone}


def test_results_of_cures_say_how_it_was_thought(cures: Path) -> None:
    found = sc.CureEffects.load(cures / "whole")
    number = found.measurements.num_rows
    ended = sum(found.measurements["thought_ended"].to_pylist())
    assert found.thinking == {"max_tokens": 3, "seed": 3, "num_thoughts": number, "num_ended": ended}
    words = f"{number} thoughts; at most 3 tokens each, seed 3; {ended} ("
    assert words in repr(found)
    assert words in (cures / "whole/report.html").read_text()
    manifest = read_json(cures / "whole/manifest.json")
    inputs = [stage["inputs"].get("think") for stage in manifest["stages"].values()]
    assert inputs == [[3, 3]] * 3


def test_a_steered_model_thinks_with_its_vector() -> None:
    model = thinking_model()
    facts = sc.load_facts("plurals").slice(0, 6)
    prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 2))
    steered = sc.mitigate(model, sc.Steered(layers=(1,), strengths=(40.0,)), facts=facts, progress=False).model
    before, after = (sc.think(one, prompts, max_tokens=4, progress=False)["thought"] for one in (model, steered))
    assert before.to_pylist() != after.to_pylist()
