"""The demo: a study of one variant, with a curve, that says what the model is and ends with the before/after table."""

import io
from pathlib import Path

import pytest
from makers.tiny_studies import content, tiny_study

import sycophancy_core as sc
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.studies.costs import Throughput
from sycophancy_core.studies.demo import demo_options, run_demo

SMALL = {"max_error": None, "batch_size": 6, "lora_rank": 2}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> sc.StudyOptions:
    model = tiny_study(tmp_path_factory.mktemp("model") / "tiny").model
    return demo_options({"model": model, "steps": 4, "claims": 3, "candidates": 8} | SMALL)


def run(options: sc.StudyOptions, folder: Path) -> tuple[sc.Comparison, str]:
    """Run the demo; return its only comparison and what it printed."""
    out = io.StringIO()
    (comparison,) = run_demo(folder, options=options, printer=ProgressPrinter(quiet=True), out=out).values()
    return comparison, out.getvalue()


@pytest.fixture(scope="module")
def whole(options: sc.StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    run(options, folder)
    return folder


def test_a_finished_demo_is_only_read_again_and_ends_with_its_table(options: sc.StudyOptions, whole: Path) -> None:
    before = content(whole)
    comparison, told = run(options, whole)
    assert content(whole) == before
    assert sc.verify(whole) == []
    (compared,) = whole.glob("compared-*")
    assert repr(sc.Comparison.load(compared)) == repr(comparison)
    *_, table, last = told.rstrip().rpartition("\n\n")[0].partition(repr(comparison))
    assert (table, last) == (repr(comparison), "")


def test_the_demo_is_a_study(options: sc.StudyOptions, whole: Path, tmp_path: Path) -> None:
    found = sc.StudyResult.load(whole)
    assert found.table["variant"].unique().to_pylist() == ["the only variant"]
    sc.study(options, tmp_path, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    demo, study = (
        {name: made for name, made in content(folder).items() if name.endswith(".parquet")}
        for folder in (whole, tmp_path)
    )
    assert demo == study


def test_the_report_says_how_it_was_made(whole: Path) -> None:
    (path,) = whole.glob("report-*/report.html")
    report = path.read_text()
    assert "This demo starts from the model tiny, as it is." in report
    assert "shortcut audit: wanted at least 50 prompts" in report  # twenty are too few to judge


@pytest.mark.filterwarnings("ignore:training_prompts. wanted 40 to 60 % true claims:UserWarning")  # of so few
def test_the_curve_measures_the_untouched_model_and_four_points_more(options: sc.StudyOptions, whole: Path) -> None:
    (path,) = whole.glob("tuned-*/training_curve.parquet")
    steps = read_table(path)["step"].to_pylist()
    assert sorted(set(steps)) == [0, 1, 2, 3, 4]
    cost = sc.study_cost(options, throughput=Throughput(score_tokens_per_second=1.0, train_tokens_per_second=1.0))
    (curve,) = (stage for stage in cost.stages if stage.stage == "curve")
    assert curve.rows == 5 * 3 * 3 * 8  # points, families, claims, prompts of a claim


def test_it_says_first_what_the_model_is(options: sc.StudyOptions, whole: Path) -> None:
    assert run(options, whole)[1].startswith("This demo starts from the model tiny, as it is.")


def test_a_seed_of_the_demo_is_one_of_everything() -> None:
    changed = demo_options({"seed": 3, "steps": 5})
    (variant,) = changed.sweep.variants().values()
    assert (changed.seed, variant.seed, variant.steps) == (3, 3, 5)
