"""Scoring next to other work on the same cores: two jobs together, and one next to busy loops.

    python benchmarks/bench_neighbours.py [--model SOURCE] [--prompts 64] [--rounds 3]

Goals: two jobs together take at most 1.15 times as long as one after the other, and one next to busy loops, one per
core, at most 2.2 times as long as alone. Medians of interleaved rounds; models are loaded before any time is taken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


def serve(source: str | None, num_prompts: int, pipe: Connection) -> None:
    """Load a model, say so, and score as often as asked."""
    import sycophancy_core as sc

    warnings.simplefilter("ignore")
    model = sc.load_model(source, matmul_precision="highest")
    prompts = sc.generate(sc.load_examples(), n=num_prompts)
    model.score(prompts.slice(0, 2))
    pipe.send("ready")
    while pipe.recv():
        model.score(prompts)
        pipe.send("done")


def spin() -> None:
    """Use one core for ever."""
    while True:
        pass


def seconds(pipes: list[Connection]) -> float:
    """Let jobs score at once, and return how long the last one took."""
    start = time.perf_counter()
    for pipe in pipes:
        pipe.send(True)
    for pipe in pipes:
        pipe.recv()
    return time.perf_counter() - start


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep cores busy meanwhile."""
    loops = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(number)]
    for loop in loops:
        loop.start()
    time.sleep(2)
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="what load_model takes; the embedded model by default")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(arguments.model, arguments.prompts, theirs), daemon=True).start()
        ours.recv()
        pipes.append(ours)
    alone, together, disturbed = [], [], []
    for _ in range(arguments.rounds):
        alone += [seconds(pipes[:1]), seconds(pipes[1:])]
        together.append(seconds(pipes))
        with busy_loops(len(os.sched_getaffinity(0))):
            disturbed.append(seconds(pipes[:1]))
    once = statistics.median(alone)
    print(f"two jobs together / one after the other: {statistics.median(together) / (2 * once):.2f}")
    print(f"one job next to busy loops, one per core / alone: {statistics.median(disturbed) / once:.2f}")
    print(f"alone: {once:.2f} s for {arguments.prompts} prompts")


if __name__ == "__main__":
    main()
