"""A pool of Ray's workers with one thread each, against one process with as many threads; start-up apart.

    python benchmarks/bench_ray.py [--model SOURCE] [--prompts 480] [--workers 2] [--rounds 3]

Goal: two workers of one thread make at least 0.95 of the prompts a second of one process of two threads. The workers'
rate counts from the moment when each has finished a shard, so that imports, loading and the first touch of memory are
left out; the process scores a few prompts before it is timed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import pyarrow as pa

import sycophancy_core as sc
from sycophancy_core.integrations.ray import score_with_ray


def process_rate(model: sc.LanguageModel, prompts: pa.Table) -> float:
    """Return prompts a second of this process."""
    start = time.perf_counter()
    model.score(prompts)
    return prompts.num_rows / (time.perf_counter() - start)


def pool_rate(source: str, prompts: pa.Table, *, workers: int) -> float:
    """Return prompts a second of a pool, once every worker is under way."""
    shards = 4 * workers
    with tempfile.TemporaryDirectory() as folder:
        score_with_ray(source, prompts, out=Path(folder) / "scores.parquet", shards=shards, workers=workers)
        ends = sorted(path.stat().st_mtime for path in Path(folder).glob("scores-*.parquet"))
    warm, rest = ends[workers - 1], ends[workers:]
    return prompts.num_rows / shards * len(rest) / (rest[-1] - warm)


def main() -> None:
    """Print the rates of both in turn, their medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--prompts", type=int, default=480)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    model = sc.load_model(given.model, chat_template=False)
    prompts = sc.generate(sc.load_examples(), n=given.prompts)
    model.score(prompts.slice(0, 8))
    pools, processes = [], []
    for _ in range(given.rounds):
        processes.append(process_rate(model, prompts))
        pools.append(pool_rate(given.model, prompts, workers=given.workers))
        print(f"process {processes[-1]:.2f}/s, pool {pools[-1]:.2f}/s", flush=True)
    ratio = statistics.median(pools) / statistics.median(processes)
    print(f"medians: {statistics.median(processes):.2f}/s, {statistics.median(pools):.2f}/s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
