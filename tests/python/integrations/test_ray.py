"""Shards by a pool of Ray's workers: the bytes of one process, also where a worker is killed."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.shards import shard_file

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray's own options
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model, prompts, and the scores of one process."""
    folder = tmp_path_factory.mktemp("ray")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    write_table(folder / "prompts.parquet", sc.make_prompts(sc.make_additions(n=40)))
    words = ["score", folder / "model", "--prompts", folder / "prompts.parquet", "-o", folder / "whole.parquet"]
    assert main([*map(str, words), "--quiet"]) == 0
    return folder


def prompts_of(world: Path) -> pa.Table:
    return sc.make_prompts(sc.make_additions(n=40))


def test_two_workers_one_of_them_killed_make_the_bytes_of_one_process(
    cluster: None, world: Path, tmp_path: Path
) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    killed: list[int] = []

    def kill_a_worker() -> None:
        while not list(tmp_path.glob("scores-*.parquet")):
            time.sleep(0.05)
        for process in psutil.process_iter(["pid", "cmdline"]):
            if "ray::MapWorker" in " ".join(process.info["cmdline"] or []):
                os.kill(process.info["pid"], 9)
                killed.append(process.info["pid"])
                return

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    score_with_ray(str(world / "model"), prompts_of(world), out=tmp_path / "scores.parquet", shards=40, workers=2)
    killer.join(10)
    assert killed
    assert digest_file(tmp_path / "scores.parquet") == digest_file(world / "whole.parquet")


def test_only_missing_shards_are_scored_and_those_of_other_prompts_are_refused(
    cluster: None, world: Path, tmp_path: Path
) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    asked = {"out": tmp_path / "scores.parquet", "shards": 2, "workers": 1}
    score_with_ray(str(world / "model"), prompts_of(world), **asked)
    kept, lost = sorted(tmp_path.glob("scores-*.parquet"))
    made, wanted = kept.stat().st_mtime_ns, digest_file(lost)
    lost.unlink()
    score_with_ray(str(world / "model"), prompts_of(world), **asked)
    assert kept.stat().st_mtime_ns == made
    assert digest_file(lost) == wanted
    with pytest.raises(sc.DataError, match="is a shard of other prompts than these"):
        score_with_ray(str(world / "model"), prompts_of(world).slice(8), **asked)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with other weights."""
    folder = tmp_path_factory.mktemp("other") / "model"
    tiny_llama(seed=7).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def keep_shard(model: Path, world: Path, out: Path, part: int) -> None:
    """Keep one of three shards, as a call that was stopped leaves it."""
    shard = sc.score_shard(sc.load_model(str(model)), prompts_of(world), shard=(part, 3), progress=False)
    shard.save(shard_file(out, (part, 3)))


def test_kept_shards_of_two_models_are_refused_before_a_worker_starts(world: Path, other: Path, tmp_path: Path) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    out = tmp_path / "scores.parquet"
    keep_shard(world / "model", world, out, 0)
    keep_shard(other, world, out, 1)
    with pytest.raises(sc.DataError, match="score_with_ray: shard 1 is of another job than shard 0: weights is"):
        score_with_ray("no worker loads it", prompts_of(world), out=out, shards=3, workers=1)


def test_a_worker_with_another_model_than_the_kept_shards_writes_nothing(
    cluster: None, world: Path, other: Path, tmp_path: Path
) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    out = tmp_path / "scores.parquet"
    keep_shard(other, world, out, 1)
    with pytest.raises(sc.DataError, match=r"are of another model than .*: weights is") as refused:
        score_with_ray(str(world / "model"), prompts_of(world), out=out, shards=3, workers=1)
    assert "\n" not in str(refused.value)
    assert len(list(tmp_path.iterdir())) == 1


def test_shards_that_are_all_there_are_not_taken_for_those_of_another_model(
    cluster: None, world: Path, other: Path, tmp_path: Path
) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    asked = {"out": tmp_path / "scores.parquet", "shards": 3, "workers": 2}
    for part in range(3):
        keep_shard(other, world, tmp_path / "scores.parquet", part)
    with pytest.raises(sc.DataError, match=r"the shards there are of another model than .*: weights is"):
        score_with_ray(str(world / "model"), prompts_of(world), **asked)
    assert not (tmp_path / "scores.parquet").exists()
    score_with_ray(str(other), prompts_of(world), **asked)
    assert (tmp_path / "scores.parquet").exists()


def test_a_model_that_no_worker_can_load_is_refused_in_one_sentence(cluster: None, world: Path, tmp_path: Path) -> None:
    from sycophancy_core.integrations.ray import score_with_ray

    missing = str(tmp_path / "no-such-model")
    with pytest.raises(sc.ModelError, match="no-such-model") as here:
        sc.load_model(missing)
    with pytest.raises(sc.ModelError) as there:
        score_with_ray(missing, prompts_of(world), out=tmp_path / "scores.parquet", shards=2, workers=1)
    assert str(there.value) == f"score_with_ray: a worker failed: {here.value}"
