"""One job in four ways, three shards by hand, two workers of Ray, two jobs of submitit, one process: one digest."""

import os
from pathlib import Path

import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import write_table

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray's own options
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_shards_by_hand_ray_and_slurm_write_the_file_of_one_process(tmp_path: Path) -> None:
    from sycophancy_core.integrations.ray import score_with_ray
    from sycophancy_core.integrations.slurm import submit_shards

    tiny_llama().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    prompts = sc.make_prompts(sc.make_additions(n=12))
    write_table(tmp_path / "prompts.parquet", prompts)
    asked = ["score", str(tmp_path / "model"), "--prompts", str(tmp_path / "prompts.parquet"), "--quiet"]
    files = {name: tmp_path / name / "scores.parquet" for name in ("whole", "by hand", "ray", "slurm")}
    for path in files.values():
        path.parent.mkdir()

    def run(*words: object) -> None:
        assert main([str(word) for word in words]) == 0

    run(*asked, "-o", files["whole"])
    for part in range(3):
        run(*asked, "--shard", f"{part}/3", "-o", files["by hand"])
    settings = {"log_folder": tmp_path / "logs", "cluster": "local", "timeout_min": 10}
    jobs = submit_shards(asked, shards=2, out=files["slurm"], **settings)
    assert len([job.result() for job in jobs]) == 2
    for name in ("by hand", "slurm"):
        run("merge", *files[name].parent.glob("scores-*-of-*.parquet"), "-o", files[name])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    try:
        score_with_ray(str(tmp_path / "model"), prompts, out=files["ray"], shards=4, workers=2)
    finally:
        ray.shutdown()
    assert len({digest_file(path) for path in files.values()}) == 1
