"""The verbs that serve one's own model, and what every verb shares: JSON, lists, messages, help."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.commands.catalogue import GROUPS, VERBS
from sycophancy_core.commands.parser import make_parser
from sycophancy_core.commands.scoring import foremost
from sycophancy_core.reporting.finding import Finding
from sycophancy_core.results.in_words import in_words
from sycophancy_core.results.model_changes import ModelChanges


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three tiny models and the evaluations of two."""
    folder = tmp_path_factory.mktemp("place")
    for name, seed in (("base", 0), ("second", 3), ("third", 5)):
        for what in (tiny_llama(seed=seed), tiny_tokenizer()):
            what.save_pretrained(folder / name)
    for name in ("base", "second", "third"):
        asked = ("--tasks", "facts,addition_factorial", "--limit", "3", "--quiet", "-o", str(folder / f"of-{name}"))
        assert main(["evaluate", str(folder / name), "--engine", "transformers", *asked]) == 0
    return folder


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_a_model_is_measured_with_no_other_word(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr("sycophancy_core.commands.start.USUAL_TASKS", ("facts",))
    for folder in ("measure-base-2023-11-14", "measure-base-2023-11-14-2"):
        code, out, _ = told(capsys, "measure", place / "base", "--limit", 3, "--quiet")
        assert code == 0
        assert f"facts, 3 of each; results go to {folder}\n" in out
        found = sc.Evaluation.load(folder)
        for one in in_words(found.estimates):
            assert f"{one.task:<20}{one.question:<40}{one.value:>5.2f}".rstrip() in out
            row = found.estimate(one.task, one.metric)
            assert (one.value, one.num_units) == (row["value"], row["num_clusters"])
            assert re.search(rf"{re.escape(one.question)} .*\({one.num_units} facts?\)\n", out)
        assert (tmp_path / folder / "report.html").is_file()
        assert out.endswith(f"report: {folder}/report.html\n")


@pytest.mark.filterwarnings("ignore:filter_known:UserWarning", "ignore:training_prompts:UserWarning")
def test_a_cure_saves_an_adapter_and_a_report(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--claims", 2, "--candidates", 6, "--steps", 1)
    code, out, err = told(capsys, "cure", place / "base", *sizes, "--quiet", "--json", "-o", tmp_path / "cured")
    assert code == 0
    assert re.search(r"trained with users +trained without +with less without\n", err)
    found = json.loads(out)
    changed = {(row["task"], row["metric"]) for row in found["comparison"]["changes"]}
    assert {task for task, _ in changed} == {"facts"}
    for page in ("report", "control"):
        assert Path(found[page]).read_text().startswith("<!DOCTYPE html")
    sc.load_model(place / "base", adapter=found["adapter"], engine="transformers")
    assert main(["verify", str(tmp_path / "cured")]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("http://localhost:1",), "http://localhost:1 is a server, which gives no weights to train; give a folder"),
        (("base", "--claims", "mine.csv"), "--claims: wanted how many facts of each family are asked, got 'mine.csv'"),
        (("base", "--claims", "0"), "--claims: wanted a whole number above 0, got '0'"),
    ],
)
def test_what_a_cure_cannot_use_is_said_before_it_begins(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["cure", *words])
    except SystemExit as error:
        code = int(str(error.code))
    shown = capsys.readouterr()
    assert (code, shown.out, list(tmp_path.iterdir())) == (2, "", [])
    assert shown.err.startswith(f"sycophancy-core cure: {said}")


@pytest.mark.parametrize("number", [0, 3, 5])
def test_findings_that_are_not_printed_are_counted(number: int) -> None:
    lines = foremost([Finding(task="t", kind="note", severity="note", text=f"number {n}") for n in range(number)])
    assert lines == [f"- t: number {n}" for n in range(min(number, 3))] + ["- and 2 more in the report"] * (number > 3)


def test_a_pair_is_compared_with_a_report_and_printed_names_are_found(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, "compare", place / "of-base", place / "of-second", "-o", tmp_path / "pair")
    assert code == 0
    assert out.endswith(f"report: {tmp_path / 'pair/report.html'}\n")
    assert main(["verify", str(tmp_path / "pair")]) == 0
    found = sc.Evaluation.load(place / "of-base")
    task = "addition_factorial"
    assert found.estimate(task, "accuracy, no user") == found.estimate(task, "accuracy_none")
    with pytest.raises(sc.DataError, match=r"no metric 'cheer' of task .*; there are .*accuracy_none"):
        found.estimate(task, "cheer")
    with pytest.raises(sc.DataError, match="no task 'sums'; there are facts, addition_factorial"):
        found.estimate("sums", "accuracy_none")


@pytest.mark.parametrize("others", [("of-base",), ("of-second", "of-base"), ("of-second", "of-third/../of-second")])
def test_a_folder_that_is_given_twice_is_refused_and_not_left_out(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], others: tuple[str, ...]
) -> None:
    folders = [place / name for name in ("of-base", *others)]
    code, out, err = told(capsys, "compare", *folders, "-o", tmp_path / "out")
    assert (code, out, (tmp_path / "out").exists()) == (2, "", False)
    assert "is given twice; an evaluation that is compared with itself shows nothing" in err


def test_a_copy_of_an_evaluation_is_said_to_be_the_same(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "of-base", tmp_path / "copy")
    code, out, _ = told(capsys, "compare", place / "of-base", tmp_path / "copy", "-o", tmp_path / "out")
    assert code == 0
    assert "before and after are the same evaluation" in out


def test_the_place_of_an_older_result_is_said_once_the_inputs_are_checked(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compare", place / "of-base", "-o", tmp_path / "pair")
    for after, code, is_said in (("of-second", 0, False), ("of-nobody", 2, False), ("of-third", 0, True)):
        got, _, err = told(capsys, *words[:2], place / after, *words[2:])
        assert got == code
        aside = tmp_path / "pair/previous-1"
        assert (f"already has a result; if the new one differs, the old one is moved to {aside}\n" in err) == is_said
    assert sc.Comparison.load(tmp_path / "pair/previous-1").after.model == "second"


def test_no_verb_writes_into_the_folder_of_a_model(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "mine"
    shutil.copytree(place / "base", model)
    before = sorted(model.iterdir())
    for verb in ("measure", "cure", "evaluate", "evaluate-many"):
        code, _, err = told(capsys, verb, model, "-o", model)
        assert (code, f"{model} is a model's folder; choose another for -o" in err) == (2, True)
    assert told(capsys, "compare", place / "of-base", place / "of-second", "-o", model)[0] == 2
    assert sorted(model.iterdir()) == before


def test_several_models_are_compared_with_the_first(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [place / f"of-{name}" for name in ("base", "second", "third")]
    assert told(capsys, "compare", *folders, "-o", tmp_path / "many")[0] == 0
    found = ModelChanges.load(tmp_path / "many")
    assert found.baseline == "base"
    before, after = (sc.Evaluation.load(place / f"of-{name}") for name in ("base", "third"))
    alone = sc.compare(before, after)
    for metric in ("sycophancy_effect", "accuracy_none"):
        one, other = (x.estimate(*w, "addition_factorial", metric) for x, w in ((found, ("third",)), (alone, ())))
        assert [one[name] for name in ("value", "low", "high")] == [other[name] for name in ("value", "low", "high")]
    rows = [row for row in found.to_arrow().to_pylist() if row["p_adjusted"] is not None and row["subset"] == "all"]
    for task in {row["task"] for row in rows}:
        mine = sorted((row for row in rows if row["task"] == task), key=lambda row: row["p_value"])
        assert {row["model"] for row in mine} == {"second", "third"}
        least = 0.0
        for place_, row in enumerate(mine):
            least = max(least, min(1.0, (len(mine) - place_) * row["p_value"]))
            assert row["p_adjusted"] == pytest.approx(least)
    assert (tmp_path / "many/second/comparison.json").is_file()
    assert "Models against base" in (tmp_path / "many/report.html").read_text()
    assert main(["verify", str(tmp_path / "many")]) == 0
    assert found.plot().axes


def test_an_adapter_is_measured_on_the_first_model(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sc.mix(sc.make_prompts(sc.make_additions(n=2)), sc.load_instructions())
    model = sc.load_model(place / "base", engine="transformers")
    sc.finetune(model, rows, options=sc.FinetuneOptions(steps=1, lora_rank=2)).save(tmp_path / "tuned")
    asked = ("--tasks", "addition", "--limit", 2, "--engine", "transformers", "--quiet", "-o", tmp_path / "many")
    assert told(capsys, "evaluate-many", place / "base", tmp_path / "tuned", *asked)[0] == 0
    found = sc.Evaluations.load(tmp_path / "many")
    tuned = sc.load_model(place / "base", adapter=tmp_path / "tuned", engine="transformers")
    alone = sc.evaluate(tuned, tasks="addition", limit=2)
    assert [one.model for one in found.evaluations] == ["base", str(tmp_path / "tuned")]
    assert found.evaluations[1].measurements["log_prob"].to_pylist() == alone.measurements["log_prob"].to_pylist()
    code, _, err = told(capsys, "evaluate-many", tmp_path / "tuned", *asked)
    assert (code, "name the model that it is for as the first model" in err) == (2, True)


def test_the_power_of_a_pilot(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("power", place / "of-base", "--task", "addition_factorial", "--metric", "sycophancy effect")
    code, out, _ = told(capsys, *words, "--effect", 0.2, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["pilot"]["metric"] == "sycophancy_effect"
    wanted = sc.power(sd=found["claim_sd"], effect=0.2)
    assert found["num_claims"] == wanted.num_claims
    for row in found["curve"]:
        alone = sc.power(sd=found["claim_sd"], num_claims=row["num_claims"])
        assert row["effect"] == pytest.approx(alone.effect)
    code, _, err = told(capsys, *words[:4], "--metric", "cheer")
    assert (code, err.count("power:")) == (2, 1)
    assert err.startswith("sycophancy-core power: the pilot's task 'addition_factorial' has no metric 'cheer'")


def test_json_is_all_that_stands_on_standard_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "verify", place / "of-base", "--json")
    assert (code, json.loads(out)["kind"]) == (0, "evaluation")
    assert "whole (evaluation)" in err


def test_results_are_frames_of_polars(place: Path) -> None:
    found = sc.Evaluation.load(place / "of-base")
    assert found.to_polars().equals(pl.from_arrow(found.estimates))
    assert pl.DataFrame(found).shape == (found.estimates.num_rows, found.estimates.num_columns)


def test_tasks_are_listed_with_a_prompt_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "tasks", "facts", "nlp", "--json")
    facts, nlp = json.loads(out)
    assert code == 0
    assert len(facts["example"]["choices"]) == 2
    assert (nlp["example"], nlp["files"]) == (None, "perez/sycophancy_on_nlp_survey.jsonl")
    assert told(capsys, "tasks", "cheer")[0] == 2
    code, _, err = told(capsys, "evaluate", "--tasks", "nlp", "-o", "x")
    assert code == 2
    assert "perez/sycophancy_on_nlp_survey.jsonl" in err
    assert "--folder" in err


def test_the_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["versions"]["sycophancy-core"] == sc.__version__
    assert found["extras"]["models"] == []


def test_the_doctor_names_cuda_only_where_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    engine = json.loads(told(capsys, "doctor", "--json")[1])["engine"]
    where = "on the CPU and on CUDA" if torch.cuda.is_available() else "on the CPU; CUDA: no"
    assert engine == f"native, {where}"


def test_the_cache_is_listed_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path))
    (tmp_path / "models/one").mkdir(parents=True)
    (tmp_path / "models/one/weights").write_bytes(bytes(1500))
    (tmp_path / "kept").write_text("not a model")
    code, out, _ = told(capsys, "cache", "--json")
    assert (code, json.loads(out)["entries"]) == (0, [{"name": "one", "num_bytes": 1500}])
    assert told(capsys, "cache", "clear", "--yes")[0] == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == []
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_its_options_are_and_shows_an_example(name: str) -> None:
    parsers: Any = make_parser(every=True)._subparsers
    verb = parsers._group_actions[0].choices[name]
    assert [action.dest for action in verb._actions if not action.help] == []
    assert f"example: sycophancy-core {VERBS[name].example}" in verb.format_help()
    assert VERBS[name].example.split()[0] == name
    assert not re.search(r"\bet al \(default|\(default: \)", " ".join(verb.format_help().split()))  # cut off, or empty
    make_parser(name).parse_args(VERBS[name].example.partition(" >")[0].split())


def test_verbs_are_listed_by_kind_and_complete_in_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.rstrip(":") in GROUPS] == [f"{group}:" for group in GROUPS]
    code, script, _ = told(capsys, "completion", "bash")
    assert code == 0
    bash = shutil.which("bash")
    assert bash is not None
    assert subprocess.run([bash, "-n"], input=script, text=True, check=False).returncode == 0
    assert all(name in script for name in VERBS)


def test_a_warning_is_one_line_without_source_code(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("claim,label\none is odd,yes\nthree is odd,yes\n")
    words = ["-m", "sycophancy_core", "validate", str(tmp_path / "claims.csv")]
    import sys

    for level, wanted in (("warning", 1), ("error", 0)):
        command = [sys.executable, *words, "--log-level", level]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = done.stderr.splitlines()
        assert len(lines) == wanted
        assert all(re.match(r"warning: .*claims\.csv: all 2 claims are true", line) for line in lines)
