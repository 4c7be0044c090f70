"""The cluster bootstrap beside scipy.stats.bootstrap, in one run.

python benchmarks/bench_statistics.py [--rows 30000] [--resamples 10000] [--rounds 3]

Work: percentile bootstrap of the mean of `rows` values in clusters of 10 and in clusters of one. SciPy draws clusters
by index and gathers their rows ("rows"), or resamples means of clusters made beforehand ("totals", the fastest form
that it has; right only where clusters are equally large). Columns: program, clusters, seconds (median of the rounds),
ratios to "rows" of SciPy. CPU seconds stand beside wall seconds, since other work may share the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.stats

from sycophancy_core.metrics.stats import bootstrap_mean


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def contenders(values: np.ndarray, per_cluster: int, resamples: int, seed: int) -> dict[str, Callable[[], object]]:
    """Return the same bootstrap by several programs."""
    table = values.reshape(-1, per_cluster)
    means = table.mean(axis=1)
    clusters = np.repeat(np.arange(len(table)), per_cluster)

    def scipy_bootstrap(sample: np.ndarray, statistic: Callable[..., np.ndarray]) -> object:
        return scipy.stats.bootstrap(
            (sample,),
            statistic,
            n_resamples=resamples,
            batch=max(1, 20_000_000 // len(values)),
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        )

    def gather(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(table[index].mean(axis=(-1, -2)) if axis in (-1, index.ndim - 1) else np.nan)

    def ours(threads: int) -> Callable[[], object]:
        return lambda: bootstrap_mean(
            values, clusters, method="percentile", num_resamples=resamples, seed=seed, num_threads=threads
        )

    return {
        "scipy, rows": lambda: scipy_bootstrap(np.arange(len(table)), gather),
        "scipy, totals": lambda: scipy_bootstrap(means, np.mean),
        "sycophancy_core, 1 thread": ours(1),
        "sycophancy_core, 2 threads": ours(2),
    }


def main() -> None:
    """Run the rounds interleaved and print one table a cluster size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    values = np.random.default_rng(0).normal(size=options.rows)
    print("| program | clusters | wall s | CPU s | ratio (wall) | ratio (CPU) |\n|---|---|---|---|---|---|")
    for per_cluster in (10, 1):
        programs = contenders(values, per_cluster, options.resamples, seed=0)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(options.rounds):
            for name, call in programs.items():
                taken[name].append(timed(call))
        median = {
            name: [statistics.median(column) for column in zip(*times, strict=True)] for name, times in taken.items()
        }
        wall_base, cpu_base = median["scipy, rows"]
        for name, (wall, cpu) in median.items():
            clusters = options.rows // per_cluster
            print(f"| {name} | {clusters} | {wall:.3f} | {cpu:.3f} | {wall_base / wall:.1f} | {cpu_base / cpu:.1f} |")


if __name__ == "__main__":
    main()
