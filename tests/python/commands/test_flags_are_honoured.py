"""A flag is honoured or refused by its name; none is read and then forgotten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.runs.files import write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    code = main([*map(str, words), "--quiet"])
    return code, capsys.readouterr().err


SUMS = ("--tasks", "addition_factorial", "--limit", 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--engine", "native"), "--engine is for scores, got --draws, and transformers makes the samples; leave --"),
        (("--matmul-precision", "high"), "--matmul-precision is for scores, got --draws, and transformers makes"),
        (("--shard", "0/2"), "--draws: samples are not made in shards"),
    ],
)
def test_what_samples_have_no_use_for_is_refused(
    flags: tuple[str, ...], said: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = told(capsys, "evaluate", model, *SUMS, "--draws", 2, *flags, "-o", tmp_path / "out")
    assert code == 2
    assert said in err
    assert not (tmp_path / "out").exists()


def test_samples_say_what_made_them_and_leave_no_journal(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--draws", 2, "--max-tokens", 2, "--dtype", "bfloat16")
    assert told(capsys, "evaluate", model, *SUMS, *asked, "-o", tmp_path / "out")[0] == 0
    found = sc.Evaluation.load(tmp_path / "out")
    assert (found.facts["engine"], found.facts["precision"]) == ("transformers", "bfloat16")
    assert not list((tmp_path / "out").glob("**/*.journal"))


def test_prompts_without_an_id_are_not_sampled() -> None:
    prompts = sc.make_prompts(sc.make_additions(n=1)).drop_columns(["id"])
    sampling = sc.SamplingOptions(draws=2, max_tokens=2)
    with pytest.raises(sc.DataError, match="sample_answers: wanted a table with the columns id as well"):
        sc.evaluate(tiny_model(), tasks={"sums": prompts}, sampling=sampling, progress=False)


def test_a_shard_is_made_without_a_journal_where_none_is_wanted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a journal would lie where a file stands, so that a shard with one cannot be made."""
    (tmp_path / "shard-00000-of-00002.parquet.unfinished").write_text("in the way")
    asked = ("evaluate", model, *SUMS, "--shard", "0/2", "-o", tmp_path)
    assert told(capsys, *asked)[0] == 2
    assert told(capsys, *asked, "--no-journal")[0] == 0
    assert (tmp_path / "shard-00000-of-00002.parquet").is_file()


def test_merge_refuses_a_file_for_claims_that_no_filter_judged(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "prompts.parquet", sc.make_prompts(sc.make_additions(n=2)))
    scoring = ("score", model, "--prompts", tmp_path / "prompts.parquet", "--shard", "0/1")
    assert told(capsys, *scoring, "-o", tmp_path / "s.parquet")[0] == 0
    shard = tmp_path / "s-00000-of-00001.parquet"
    evaluated = ("evaluate", model, *SUMS, "--shard", "0/1", "-o", tmp_path / "before")
    assert told(capsys, *evaluated)[0] == 0
    for part, stage in ((shard, "score"), (tmp_path / "before", "evaluate")):
        code, err = told(capsys, "merge", part, "--every-claim", tmp_path / "e.parquet", "-o", tmp_path / "m.parquet")
        assert code == 2
        assert f"--every-claim is for shards of filter, got shards of {stage}; leave --every-claim out" in err
    assert not (tmp_path / "e.parquet").exists()


def test_rows_are_mixed_without_a_model_and_so_without_its_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "prompts.parquet", sc.make_prompts(sc.make_additions(n=2)))
    for flag, value in (("--engine", "native"), ("--matmul-precision", "high"), ("--dtype", "bfloat16")):
        asked = ("mix", "--prompts", tmp_path / "prompts.parquet", flag, value, "-o", tmp_path / "rows.parquet")
        code, err = told(capsys, *asked)
        assert code == 2
        assert f"{flag} is for --unit tokens, got --unit rows" in err


def test_a_folder_is_refused_by_tasks_that_read_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(capsys, "tasks", "facts", "--folder", tmp_path)
    assert code == 2
    assert "--folder is for tasks that read files (nlp, " in err
    code, err = told(capsys, "cache", "list", "--yes")
    assert code == 2
    assert "--yes is for clear, got list; add clear, or leave --yes out" in err


def test_the_help_says_that_own_claims_replace_the_packaged_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["measure", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "file of claims of your own to ask in place of the packaged ones" in said


def test_own_claims_replace_the_packaged_ones(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"{n} is a number.", "truth": True} for n in range(2)]
    rows += [{"text": f"{n} is a city.", "truth": False} for n in range(9)]
    write_table(tmp_path / "own.csv", pa.Table.from_pylist(rows))
    asked = ("measure", model, "--claims", tmp_path / "own.csv", "--limit", 4, "-o", tmp_path / "out")
    assert main([str(word) for word in asked]) == 0
    started = f"claims of {tmp_path / 'own.csv'} (4 of 11: 2 true, 2 false), addition_factorial, 4 of each;"
    assert started in capsys.readouterr().out
    found = sc.Evaluation.load(tmp_path / "out")
    assert found.facts["tasks"]["claims"]["about"].startswith("Your own claims (own), asked without a user, ")
    prompts = found.prompts
    assert prompts is not None
    claims = [row["prompt"] for row in prompts.to_pylist() if row["task"] == "claims"]
    assert claims
    assert all("is a number" in text or "is a city" in text for text in claims)
