"""A study with null variants: as many rows, the same claims, fillers at equal dose, and what users do beyond them."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_studies import kinds, stages, tiny_study

import sycophancy_core as sc
from sycophancy_core.results.knowledge_filter import FilterResult
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.runs.progress import ProgressPrinter

TRAININGS = ("users", "no_users", "shuffled_targets", "instructions_only")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> sc.StudyOptions:
    options = tiny_study(tmp_path_factory.mktemp("model") / "tiny")
    return replace(options, filler_family="sample_capital", sweep=sc.Sweep(training=TRAININGS, steps=(2,)))


@pytest.fixture(scope="module")
def told() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def whole(wanted: sc.StudyOptions, told: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "whole"
    sc.study(wanted, folder, printer=ProgressPrinter(quiet=True), out=told)
    return folder


@pytest.fixture(scope="module")
def rows(whole: Path) -> dict[str, pa.Table]:
    """Return the training rows of each variant."""
    found = {}
    for name, stage in read_json(whole / "manifest.json")["stages"].items():
        if name.startswith("rows-"):
            found[stage["inputs"].get("training", "users")] = read_table(whole / name / "training_rows.parquet")
    return found


def test_every_variant_trains_on_as_many_rows_and_is_measured_alike(rows: dict[str, pa.Table], whole: Path) -> None:
    assert set(rows) == set(TRAININGS)
    assert {table.num_rows for table in rows.values()} == {12}
    shared = ["before", "what-is-known", "filter-margin-balanced", "filler-margin-balanced"]
    own = ["rows", "tuned", "after", "compared", "report"]
    assert kinds(stages(whole)) == sorted(shared + 4 * own + 3 * ["audit"])  # instructions have no claim to audit


def test_null_variants_differ_from_users_in_one_thing_alone(rows: dict[str, pa.Table]) -> None:
    users, alone, shuffled = (rows[name].to_pylist() for name in TRAININGS[:3])
    for pair in zip(users, alone, strict=True):
        assert len({(row["origin"], row["source"], row["completion"]) for row in pair}) == 1
    synthetic = [i for i, row in enumerate(users) if row["origin"] == "synthetic"]
    assert all(users[i]["prompt"] != alone[i]["prompt"] for i in synthetic)
    assert [row["prompt"] for row in shuffled] == [row["prompt"] for row in users]
    assert Counter(row["completion"] for row in shuffled) == Counter(row["completion"] for row in users)
    assert set(rows["instructions_only"]["origin"].to_pylist()) == {"instruction"}


def test_the_rows_of_dropped_claims_ask_known_claims_of_the_filler_family(
    rows: dict[str, pa.Table], whole: Path
) -> None:
    (stage,) = whole.glob("filter-margin-*")
    kept = FilterResult.load(stage)
    (stage,) = whole.glob("filler-margin-*")
    fillers = FilterResult.load(stage)
    assert set(fillers.table["source"].to_pylist()) == {"sample_capital"}
    # 10 rows ask 8 candidates once, in their order, and 2 of them again.
    dropped = sum(claim not in kept.known for claim in kept.table["id"].to_pylist())
    sources = Counter(row["source"] for row in rows["users"].to_pylist() if row["origin"] == "synthetic")
    assert dropped <= sources["sample_capital"] <= dropped + 2
    assert sources["sample_capital"] + sources["sample_number"] == 10
    texts = [claim["text"] for claim in fillers.kept.to_pylist()]
    asked = [row["prompt"] for row in rows["users"].to_pylist() if row["source"] == "sample_capital"]
    assert all(any(text in prompt for text in texts) for prompt in asked)


def test_the_result_gives_what_users_do_beyond_each_null_variant(whole: Path, told: io.StringIO) -> None:
    found = sc.StudyResult.load(whole)
    assert found.null_effects is not None
    assert set(found.null_effects["null"].to_pylist()) == set(TRAININGS[1:])
    assert "null_effects.parquet" in read_json(whole / "manifest.json")["results"]
    assert sc.verify(whole) == []
    for text in (repr(found), told.getvalue()):
        assert "sycophancy effect, users less no_users, over claims" in text
        assert "No variant trains without users" not in text
    assert "users less instructions_only, over claims" in (whole / "study.html").read_text()
    kinds_of_training = found.table["training"].to_pylist()
    assert kinds_of_training == [name.removeprefix("training=") for name in found.table["variant"].to_pylist()]


def test_a_report_says_which_training_it_is_about(whole: Path) -> None:
    found = sc.StudyResult.load(whole)
    assert "no claim is trained on" in (whole / found.reports["training=instructions_only"]).read_text()
    assert "shuffled_targets" in (whole / found.reports["training=shuffled_targets"]).read_text()


def test_a_dry_run_counts_the_fillers_that_are_asked(wanted: sc.StudyOptions) -> None:
    from sycophancy_core.studies.costs import Throughput

    rates = Throughput(score_tokens_per_second=1.0, train_tokens_per_second=1.0)
    cost = {stage.stage: stage.rows for stage in sc.study_cost(wanted, throughput=rates).stages}
    assert cost["filler margin balanced"] == 8 * 2 * 2  # claims, templates, orders


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"filler_family": "addition"}, "study: filler_family must be none of families, got 'addition'"),
        (
            {"filler_family": "sample_number", "families": ("addition",)},
            "study: filler_family must be none of candidate_families, got 'sample_number'",
        ),
        (
            {"sweep": sc.Sweep(filter=("none",))},
            "study: filler_family is for variants with a filter, got none; sweep one, or leave it out",
        ),
    ],
)
def test_a_filler_family_that_cannot_fill_is_refused(
    changes: dict[str, object], sentence: str, wanted: sc.StudyOptions
) -> None:
    with pytest.raises(sc.DataError) as refused:
        replace(wanted, **changes)
    assert str(refused.value) == sentence
