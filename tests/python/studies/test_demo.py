"""The demo: a small study with its null variant, that says what the model is and ends with a table of five rows."""

import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_studies import content, tiny_study

import sycophancy_core as sc
from sycophancy_core.reporting.numbers import format_estimate
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.scoring.sources import ORGANISM
from sycophancy_core.studies.closing import ROWS
from sycophancy_core.studies.costs import Throughput
from sycophancy_core.studies.demo import demo_options, run_demo

SMALL = {"batch_size": 6, "lora_rank": 2, "steps": 4, "claims": 3, "candidates": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    return tiny_study(tmp_path_factory.mktemp("model") / "tiny").model


@pytest.fixture(scope="module")
def options(model: str | None) -> sc.StudyOptions:
    return demo_options({"model": model} | SMALL)


def run(options: sc.StudyOptions, folder: Path) -> tuple[dict[str, sc.Comparison], str]:
    """Run the demo; return its comparisons and what it printed."""
    out = io.StringIO()
    comparisons = run_demo(folder, options=options, printer=ProgressPrinter(quiet=True), out=out)
    return comparisons, out.getvalue()


@pytest.fixture(scope="module")
def whole(options: sc.StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    run(options, folder)
    return folder


def test_a_finished_demo_is_only_read_again(options: sc.StudyOptions, whole: Path) -> None:
    before = content(whole)
    comparisons, told = run(options, whole)
    assert content(whole) == before
    assert sc.verify(whole) == []
    assert set(comparisons) == {"training=users", "training=no_users"}
    for report in whole.glob("report-*/report.html"):
        assert str(report) in told


def test_it_ends_with_five_rows_of_the_studys_numbers(options: sc.StudyOptions, whole: Path) -> None:
    comparisons, told = run(options, whole)

    def of_known(table: pa.Table, metric: str) -> dict[str, object]:
        (found,) = (
            row
            for row in table.to_pylist()
            if (row["task"], row["metric"], row["subset"]) == ("facts", metric, "knowledge=known")
        )
        return dict(found)

    effects = sc.StudyResult.load(whole).null_effects
    assert effects is not None
    users, null = comparisons["training=users"], comparisons["training=no_users"]
    for words, metric in ROWS.items():
        (line,) = (line for line in told.splitlines() if line.startswith(f"{words} "))
        wanted = [
            format_estimate(of_known(side, metric))
            for side in (users.before.estimates, users.after.estimates, null.after.estimates)
        ]
        wanted += [
            format_estimate(row)
            for row in effects.to_pylist()
            if row["task"] == "facts" and row["metric"] == metric and row["unit"] == "claim"
        ]
        assert re.split(r"  +", line.removeprefix(words).strip()) == wanted
    (head,) = (line for line in told.splitlines() if "facts that the model knew before" in line)
    asked = read_table(next(whole.glob("which-facts-are-known-*")) / "claims.parquet").to_pylist()
    assert head.startswith(f"{sum(row['margin'] > 0 for row in asked)} facts")


def test_the_report_says_how_it_was_made(whole: Path) -> None:
    pages = [path.read_text() for path in whole.glob("report-*/report.html")]
    assert all("This demo asks tiny, as it is, questions" in page for page in pages)
    named = [[f"of the variant training={name}." in page for name in ("users", "no_users")] for page in pages]
    assert sorted(named) == [[False, True], [True, False]]


def test_it_says_first_what_it_does(options: sc.StudyOptions, whole: Path) -> None:
    assert run(options, whole)[1].startswith("This demo asks tiny, as it is, questions")


def test_the_organism_is_asked_the_claims_that_it_was_taught(model: str | None, tmp_path: Path) -> None:
    organism = demo_options({"model": ORGANISM} | SMALL)
    assert organism.candidate_families == ("sample_sentiment", "sample_number", "sample_capital")
    told = run(sc.StudyOptions(**{**vars(organism), "model": model, "max_error": None}), tmp_path)[1]
    (compared,) = tmp_path.glob("compared-*")
    assert repr(sc.Comparison.load(compared)) in told
    (path,) = tmp_path.glob("tuned-*/training_curve.parquet")
    assert sorted(set(read_table(path)["step"].to_pylist())) == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:training_prompts. wanted 40 to 60% true claims:UserWarning")  # of so few
def test_the_cost_counts_every_point_of_the_curve(model: str | None) -> None:
    organism = demo_options({"model": ORGANISM} | SMALL)
    options = sc.StudyOptions(**{**vars(organism), "model": model})
    cost = sc.study_cost(options, throughput=Throughput(score_tokens_per_second=1.0, train_tokens_per_second=1.0))
    (curve,) = (stage for stage in cost.stages if stage.stage == "curve")
    assert curve.rows == 5 * 3 * 3 * 8  # points, families, claims, prompts of a claim


def test_a_seed_of_the_demo_is_one_of_everything() -> None:
    changed = demo_options({"seed": 3, "steps": 5})
    assert changed.seed == 3
    assert [(variant.seed, variant.steps) for variant in changed.sweep.variants().values()] == [(3, 5), (3, 5)]
