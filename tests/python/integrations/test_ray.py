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
