"""A study of cures from a YAML file: what it reads, what it writes, and that a kill changes nothing in the end."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pyarrow.compute as pc
import pytest
from makers.killable import exit_of_fresh_process
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.cures.study import CureStudy, read_cure_study, study_cures
from sycophancy_core.runs.run_folder import read_manifest

DOCS = Path(__file__).parents[3] / "docs"
TEXT = """\
model: {model}
families: [capitals]
candidate_families: [plurals]
validation_families: [currencies]
claims: 8
candidates: 12
seeds: [0, 1]
num_random: 2
other_prompts: 2
tasks: [addition, mmlu]
task_folder: published
limit: 4
cures:
  told: {{method: prompted, text: Be true.}}
  vector: {{method: steered, layers: [1], strengths: [8]}}
  tuned: {{method: synthetic, steps: 2, batch_size: 4, lora_rank: 2, learning_rate: 1e-2}}
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*from chance:UserWarning")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cures")
    tiny_llama().save_pretrained(folder / "tiny")
    tiny_tokenizer().save_pretrained(folder / "tiny")
    (folder / "cures.yaml").write_text(TEXT.format(model=folder / "tiny"))
    questions = folder / "published/mmlu/test/arithmetic_test.csv"
    questions.parent.mkdir(parents=True)
    questions.write_text("".join(f"What is {n} and {n}?,{n},{2 * n},{3 * n},{4 * n},B\n" for n in range(1, 7)))
    return folder / "cures.yaml"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in (".lock", "timings.json", "made.json")
    }


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    study_cures(read_cure_study(config), config.parent / "whole", progress=False, out=io.StringIO())
    return config.parent / "whole"


def test_the_file_gives_the_options_of_every_method(config: Path) -> None:
    found = read_cure_study(config)
    assert found == CureStudy(
        model=str(config.parent / "tiny"),
        families=("capitals",),
        candidate_families=("plurals",),
        validation_families=("currencies",),
        claims=8,
        candidates=12,
        seeds=(0, 1),
        num_random=2,
        other_prompts=2,
        tasks=("addition", "mmlu"),
        task_folder=str(config.parent / "published"),
        limit=4,
        cures={
            "told": sc.Prompted(text="Be true."),
            "vector": sc.Steered(layers=(1,), strengths=(8.0,)),
            "tuned": sc.Synthetic(steps=2, batch_size=4, lora_rank=2, learning_rate=0.01),
        },
    )


def test_the_files_of_the_documentation_are_studies() -> None:
    found = read_cure_study(DOCS / "cures.yaml")
    assert {type(method) for method in found.cures.values()} == {
        *(sc.Prompted, sc.Steered, sc.Synthetic, sc.Consistent),
    }
    families = [*found.families, *found.candidate_families, *found.validation_families]
    assert len(set(families)) == len(families)
    assert sc.load_facts(families).num_rows > 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cures: {}", "the file must hold cures: names with a method and its options"),
        ("cures: {a: told}", "cure a: method must be one of prompted, steered, synthetic, .*, got 'told'"),
        ("cures: {a: {method: magic}}", "cure a: method must be one of .*, got 'magic'"),
        ("cures: {a: {method: synthetic, step: 3}}", "cure a has the unknown key 'step'"),
        ("cures: {a: {method: synthetic, steps: 0}}", "Synthetic: steps must be at least 1"),
        ("cures: {a: {method: steered, strengths: 2}}", "strengths must be a list, got 2"),
        ("cures: {a: {method: prompted}}\nclaim: 3", "the file has the unknown key 'claim'"),
        ("cures: {a: {method: prompted}}\nseeds: []", "seeds wants at least one"),
        ("cures: {a: {method: prompted}}\nseeds: [-1]", "seed must be a whole number"),
        ("cures: {a: {method: prompted}}\nclaims: 0", "claims must be at least 1"),
        ("cures: {a: {method: prompted}}\ntasks: [bbh]\nlimit: 0", "limit must be at least 1 or null"),
        ("cures: {a: {method: prompted}}\nlimit: 9", "limit is for further tasks, got no tasks"),
        ("cures: {a: {method: prompted}}\ntask_folder: x", "task_folder is for further tasks, got no tasks"),
    ],
)
def test_a_fault_of_the_file_is_a_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cures.yaml"
    path.write_text(text)
    with pytest.raises(sc.DataError, match=f"cures.yaml: .*{message}"):
        read_cure_study(path)


def test_the_folder_holds_result_report_and_every_finished_cure(whole: Path, config: Path) -> None:
    found = sc.CureEffects.load(whole)
    assert found.prices["seconds"].null_count == 0
    assert {(row["cure"], row["seed"]) for row in found.prices.to_pylist() if row["null"] is None} == {
        *(("told", 0), ("vector", 0), ("tuned", 0), ("tuned", 1)),
    }
    manifest = read_manifest(whole)
    kinds = [name.partition("-")[0] for name in manifest["stages"]]
    assert sorted(kinds) == ["other_text", "prompted", "steered", "synthetic", "synthetic", "untreated"]
    assert {*manifest["results"]} >= {"report.html", "effects.parquet", "cures.json"}
    assert sc.verify(whole) == []
    rows = found.measurements.filter(pc.field("task") == "mmlu").to_pandas()
    assert rows.groupby(["cure", "null", "seed"], dropna=False).size().unique().tolist() == [4]
    asked = sc.task_prompts("mmlu", options=sc.TaskOptions(folder=config.parent / "published"), limit=4)["mmlu"]
    assert set(rows["id"]) == set(asked["id"].to_pylist())
    page = (whole / "report.html").read_text()
    for words in ("told less equal_length", "less shuffled", "rank p", "Effect and price", "same over seeds", "mmlu"):
        assert words in page
    assert "second" not in page.lower()


def test_the_command_prints_the_table_and_does_nothing_twice(
    whole: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*-*/*")}
    assert main(["study", str(config), "--out", str(whole), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert repr(sc.CureEffects.load(whole)) in told
    assert f"report:       {whole / 'report.html'}" in told
    assert {path: path.stat().st_mtime_ns for path in whole.glob("*-*/*")} == before


def test_a_study_of_cures_has_no_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cures.yaml").write_text(TEXT.format(model="nowhere"))
    assert main(["study", str(tmp_path / "cures.yaml"), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert capsys.readouterr().err == "sycophancy-core study: a study of cures has no --dry-run; leave it out\n"


class Kill:
    """A callback that ends its process at the first sign of the stage after so many."""

    def __init__(self, stage: int) -> None:
        self.left = stage

    def __call__(self, done: int, total: int) -> None:
        if done == total:
            self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run_and_kill(config: Path, folder: Path, stage: int) -> None:
    study_cures(read_cure_study(config), folder, progress=Kill(stage), out=io.StringIO())


@pytest.mark.parametrize("stage", [1, 4, pytest.param(9, marks=pytest.mark.slow)])
def test_p1_a_kill_in_any_cure_changes_nothing_in_the_end(
    stage: int, whole: Path, config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    assert exit_of_fresh_process(run_and_kill, config, folder, stage) == -signal.SIGKILL
    done = read_manifest(folder)["stages"]
    kept = {path: path.stat().st_mtime_ns for name in done for path in (folder / name).iterdir()}
    assert len(done) < 5
    study_cures(read_cure_study(config), folder, progress=False, out=io.StringIO())
    assert content(folder) == content(whole)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
