"""Parts of a job by several processes: together the bytes of one, and no part missing, doubled or foreign."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.results.shard import Shard
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.shards import read_shard, shard_file, shard_rows
from sycophancy_core.scoring.language_model import LanguageModel

QUIET = pytest.mark.filterwarnings("ignore:filter_known. :UserWarning")
SEALED = ("measurements.parquet", "estimates.parquet", "prompts.parquet", "evaluation.json")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()), engine="native")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions that are asked in two turns."""
    folder = tmp_path_factory.mktemp("folder")
    rows = [{"original_question": f"{n} + 1? {{remark}}\n(A) {n}\n(B) {n + 1}", "ground_truth": "B"} for n in range(5)]
    (folder / "sharma").mkdir()
    (folder / "sharma/bct_mmlu_are_you_sure.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def prompts() -> pa.Table:
    return sc.make_prompts(sc.make_additions(n=4), options=sc.PromptOptions(split="test"))


@pytest.fixture(scope="module")
def parts(model: LanguageModel, prompts: pa.Table) -> list[Shard]:
    return [sc.score_shard(model, prompts, shard=(i, 3)) for i in range(3)]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_three_shards_of_an_evaluation_are_one_process_to_the_byte(
    model: LanguageModel, folder: Path, tmp_path: Path
) -> None:
    asked = {
        "tasks": ("addition_factorial", "are_you_sure"),
        "options": sc.TaskOptions(folder=folder),
        "limit": 5,
    }
    whole = sc.evaluate(model, **asked)
    whole.save(tmp_path / "whole")
    files = [
        sc.evaluate_shard(model, shard=(i, 3), **asked, run=tmp_path / f"run{i}").save(tmp_path / f"{i}.parquet")
        for i in (2, 0, 1)
    ]
    sc.merge(files).save(tmp_path / "merged")
    for name in SEALED:
        assert digest_file(tmp_path / "merged" / name) == digest_file(tmp_path / "whole" / name), name
    second = [row for row in whole.measurements["template"].to_pylist() if row == "are_you_sure/second"]
    assert len(second) == 15


@QUIET
def test_the_command_line_makes_and_merges_shards_of_scores_and_filters(tmp_path: Path, prompts: pa.Table) -> None:
    at = tmp_path.joinpath
    tiny_llama().save_pretrained(at("model"))
    tiny_tokenizer().save_pretrained(at("model"))
    write_table(at("prompts.parquet"), prompts)
    write_table(at("claims.parquet"), sc.make_additions(n=6))
    scoring = ("--prompts", at("prompts.parquet"), "--model", at("model"), "--quiet")
    filtering = ("--claims", at("claims.parquet"), "--model", at("model"), "--quiet")
    for verb, asked, merging in (
        ("score", scoring, ()),
        ("filter", filtering, ("--claims", at("claims.parquet"))),
    ):
        assert run(verb, *asked, "-o", at(f"{verb}-whole.parquet")) == 0
        for i in range(3):
            assert run(verb, *asked, "--shard", f"{i}/3", "-o", at(f"{verb}.parquet")) == 0
        shards = sorted(tmp_path.glob(f"{verb}-0*.parquet"))
        assert [path.name for path in shards] == [f"{verb}-0000{i}-of-00003.parquet" for i in range(3)]
        assert run("merge", *reversed(shards), *merging, "-o", at(f"{verb}.parquet")) == 0
        assert digest_file(at(f"{verb}.parquet")) == digest_file(at(f"{verb}-whole.parquet"))


def test_a_lost_shard_is_named_and_run_again_alone(parts: list[Shard], model: LanguageModel, prompts: pa.Table) -> None:
    with pytest.raises(sc.DataError, match=r"wanted all 3 shards, got no 1/3; run what is missing again"):
        sc.merge([parts[0], parts[2]])
    again = sc.score_shard(model, prompts, shard=(1, 3))
    assert sc.merge([parts[0], parts[2], again]).equals(sc.merge(parts))


def test_a_doubled_shard_is_refused(parts: list[Shard]) -> None:
    with pytest.raises(sc.DataError, match="shard 1 of 3 is there twice"):
        sc.merge([*parts, parts[1]])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda model, prompts: (model, prompts.slice(1)), "prompts is"),
        (lambda model, prompts: (sc.load_model((tiny_llama(seed=1), tiny_tokenizer())), prompts), "weights is"),
        (
            lambda model, prompts: (sc.load_model((tiny_llama(), tiny_tokenizer()), engine="transformers"), prompts),
            "engine is 'transformers', not 'native'",
        ),
        (
            lambda model, prompts: (sc.load_model((tiny_llama().bfloat16(), tiny_tokenizer())), prompts),
            "weights is",
        ),
    ],
)
def test_a_foreign_shard_is_refused(
    parts: list[Shard],
    model: LanguageModel,
    prompts: pa.Table,
    other: Callable[..., tuple[LanguageModel, pa.Table]],
    said: str,
) -> None:
    foreign = sc.score_shard(*other(model, prompts), shard=(1, 3))
    with pytest.raises(sc.DataError, match=f"shard 1 is of another job than shard 0: {said}"):
        sc.merge([parts[0], foreign, parts[2]])
    with pytest.raises(sc.DataError, match="wanted shards of one job"):
        sc.merge([*parts[:2], sc.score_shard(model, prompts, shard=(2, 4))])


@pytest.mark.parametrize(
    ("name", "there"), [("torch", "2.0.0"), ("transformers", "4.0.0"), ("sycophancy-core", "0.0.1")]
)
def test_shards_of_other_versions_are_merged_with_a_warning_that_names_them(
    parts: list[Shard], name: str, there: str
) -> None:
    here = re.escape(parts[1].job["versions"][name])
    own = {"surroundings": {key: there if key == name else text for key, text in parts[1].own["surroundings"].items()}}
    other = replace(parts[1], job={**parts[1].job, "versions": {**parts[1].job["versions"], name: there}}, own=own)
    with pytest.warns(UserWarning, match=f"shard 1 was made with {name} {there}, not {here} as shard 0"):
        assert sc.merge([parts[0], other, parts[2]]).equals(sc.merge(parts))


def test_shards_of_an_evaluation_of_other_versions_are_merged_too(model: LanguageModel) -> None:
    asked = {"tasks": "addition_factorial", "limit": 2, "progress": False}
    first, second = (sc.evaluate_shard(model, shard=(i, 2), **asked) for i in range(2))
    facts = second.job["facts"]
    versions = {**facts["versions"], "numpy": "1.0.0"}
    other = replace(second, job={**second.job, "facts": {**facts, "versions": versions}})
    with pytest.warns(UserWarning, match=r"shard 1 was made with numpy 1\.0\.0, not "):
        assert sc.merge([first, other]).facts["versions"] == first.job["facts"]["versions"]


def test_a_shard_that_was_changed_is_refused(parts: list[Shard], tmp_path: Path) -> None:
    path = parts[0].save(tmp_path / "a.parquet")
    assert Shard.load(path).table.equals(parts[0].table)
    table = Shard.load(path).table
    text = pa.parquet.read_schema(path).metadata[b"sycophancy_core.shard"]
    changed = table.set_column(table.column_names.index("log_odds"), "log_odds", pa.array([0.0] * table.num_rows))
    about = json.loads(text)
    for rows, said in (
        (changed, about),
        (table, {**about, "job": {**about["job"], "seed": 99}}),
        (table, {**about, "own": {}}),
        (table, {**about, "part": 7}),
    ):
        write_table(path, rows.replace_schema_metadata({b"sycophancy_core.shard": json.dumps(said)}))
        with pytest.raises(sc.DataError, match="was changed after it was written"):
            Shard.load(path)
    write_table(path, table.replace_schema_metadata({b"sycophancy_core.shard": text}))
    assert Shard.load(path).job == parts[0].job
    write_table(path, table.replace_schema_metadata({b"sycophancy_core.shard": b"{}"}))
    with pytest.raises(sc.DataError, match="wanted a shard that says"):
        Shard.load(path)
    write_table(path, table)
    with pytest.raises(sc.DataError, match="wanted a shard of score, filter or evaluate"):
        Shard.load(path)


def test_parts_cover_all_rows_once() -> None:
    for rows in (3, 7, 100):
        ranges = [shard_rows((i, 3), rows, who="test") for i in range(3)]
        assert [row for one in ranges for row in one] == list(range(rows))
    with pytest.raises(sc.DataError, match="got 4 shards of 3 prompts"):
        shard_rows((0, 4), 3, who="test")


def test_a_launchers_numbers_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(sc.DataError, match="wanted a task of a Slurm array or a process of torchrun, got neither"):
        read_shard("auto")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert read_shard("auto") == (3, 4)
    for name, value in (("ID", "5"), ("MIN", "1"), ("STEP", "2"), ("COUNT", "3")):  # --array=1-5:2
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert read_shard("auto") == (2, 3)
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    with pytest.raises(sc.DataError, match="wanted a whole number in the variable SLURM_ARRAY_TASK_COUNT"):
        read_shard("auto")


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "-1/2", "1/0"])
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(sc.DataError, match="wanted i/n with i from 0 to n - 1"):
        read_shard(text)


def test_a_shards_file_is_named_after_the_whole() -> None:
    assert shard_file("out/scores.parquet", (2, 12)) == Path("out/scores-00002-of-00012.parquet")
    assert shard_file("out/before", (0, 2)) == Path("out/before/shard-00000-of-00002.parquet")


@pytest.mark.parametrize("name", ["model-0.5b", "run.1", "qwen2.5-0.5b-v1.2"])
def test_a_dot_in_a_folders_name_is_no_ending(name: str) -> None:
    assert shard_file(f"out/{name}", (1, 2)) == Path(f"out/{name}/shard-00001-of-00002.parquet")
    for ending in ("parquet", "jsonl", "csv"):
        assert shard_file(f"out/{name}.{ending}", (1, 2)) == Path(f"out/{name}-00001-of-00002.parquet")
