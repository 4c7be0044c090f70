"""Shards through submitit's local executor: the bytes of one process, and only what is missing is run again."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from makers.tiny_studies import content, tiny_study

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.integrations.slurm import study_with_slurm, submit_shards
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.studies.parts import part_folder


def test_two_jobs_make_the_bytes_of_one_process_and_a_lost_one_is_run_again_alone(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    write_table(tmp_path / "prompts.parquet", sc.make_prompts(sc.make_additions(n=4)))
    asked = ["score", tmp_path / "model", "--prompts", tmp_path / "prompts.parquet", "--quiet"]
    settings = {"shards": 2, "out": tmp_path / "scores.parquet", "log_folder": tmp_path / "logs", "cluster": "local"}
    jobs = submit_shards(asked, **settings, timeout_min=10)
    files = [job.result() for job in jobs]
    assert [path.name for path in files] == ["scores-00000-of-00002.parquet", "scores-00001-of-00002.parquet"]
    assert main([*map(str, asked), "-o", str(tmp_path / "whole.parquet")]) == 0
    assert main(["merge", *map(str, files), "-o", str(tmp_path / "scores.parquet")]) == 0
    assert digest_file(tmp_path / "scores.parquet") == digest_file(tmp_path / "whole.parquet")
    kept = digest_file(files[1])
    files[1].unlink()
    (again,) = submit_shards(asked, **settings, timeout_min=10)
    assert digest_file(again.result()) == kept
    assert submit_shards(asked, **settings) == []


def test_shards_of_another_job_are_not_taken_for_ones_of_this(tmp_path: Path) -> None:
    for seed, name in ((0, "model"), (1, "other")):
        tiny_llama(seed=seed).save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
    prompts = sc.make_prompts(sc.make_additions(n=4))
    write_table(tmp_path / "prompts.parquet", prompts)
    asked = ["score", tmp_path / "model", "--prompts", tmp_path / "prompts.parquet", "--quiet"]
    settings = {"shards": 1, "out": tmp_path / "scores.parquet", "log_folder": tmp_path / "logs", "cluster": "local"}
    for job in submit_shards(asked, **settings, timeout_min=10):
        job.result()
    changed = r"scores-shards\.json: the shards there are of another job: "
    other = [*asked[:1], tmp_path / "other", *asked[2:]]
    with pytest.raises(sc.DataError, match=rf"{changed}arguments .*model.* then, .*other.* now; give another out"):
        submit_shards(other, **settings)
    with pytest.raises(sc.DataError, match=rf"{changed}shards was 1 then, and is 2 now"):
        submit_shards(asked, **{**settings, "shards": 2})
    write_table(tmp_path / "prompts.parquet", prompts.slice(8))
    with pytest.raises(sc.DataError, match=rf"{changed}inputs was .*prompts\.parquet.* then"):
        submit_shards(asked, **settings)
    write_table(tmp_path / "prompts.parquet", prompts)
    assert submit_shards(asked, **settings) == []
    (tmp_path / "scores-shards.json").unlink()
    with pytest.raises(
        sc.DataError, match=r"there are shards, and no scores-shards\.json that says of what; give another"
    ):
        submit_shards(asked, **settings)


def test_a_model_that_changed_in_its_folder_is_another_job(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    asked = ["evaluate", tmp_path / "model", "--tasks", "addition_factorial", "--limit", "2", "--quiet"]
    settings = {"shards": 1, "out": tmp_path / "before", "log_folder": tmp_path / "logs", "cluster": "local"}
    for job in submit_shards(asked, **settings, timeout_min=10):
        job.result()
    assert submit_shards(asked, **settings) == []
    tiny_llama(seed=1).save_pretrained(tmp_path / "model")
    with pytest.raises(sc.DataError, match=r"shards\.json: the shards there are of another job: inputs was .*model"):
        submit_shards(asked, **settings)


def test_a_verb_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sc.DataError, match="wanted one of score, filter, evaluate first, got mix"):
        submit_shards(["mix"], shards=2, out="x.parquet", log_folder=tmp_path)


@pytest.mark.slow
def test_variants_in_jobs_one_of_them_killed_make_the_study_of_one_process(tmp_path: Path) -> None:
    options, whole, apart = tiny_study(tmp_path / "tiny"), tmp_path / "whole", tmp_path / "apart"
    sc.study(options, whole, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    asked = {"log_folder": tmp_path / "logs", "cluster": "local", "timeout_min": 10}
    killed: list[int] = []

    def kill_a_worker() -> None:
        """Kill the job that writes the second variant's part, once it has a stage."""
        part = part_folder(apart, "filter=none")
        while not list(part.glob("audit-*")):
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if any(Path(file.path).is_relative_to(part) for file in process.open_files()):
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    with pytest.raises(sc.ModelError, match=r"1 of 2 jobs failed, first variant filter=none: .*; the same call goes"):
        study_with_slurm(options, apart, **asked)
    killer.join(10)
    assert len(killed) == 1
    assert not apart.exists()
    found = study_with_slurm(options, apart, **asked)
    assert content(apart) == content(whole)
    assert repr(found) == repr(sc.StudyResult.load(whole))
    assert not part_folder(apart).parent.exists()
