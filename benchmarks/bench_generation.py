"""Speed and memory of generation next to a plain-Python twin and a copy of the same bytes, in one run.

python benchmarks/bench_generation.py [--folder DIR] [--n 1000000] [--largest 10000000] [--parquet 0]

Columns: what was made, threads, prompts a second, bytes of text a second, ratio to the twin. The copies fill as many
bytes as the table has: into memory that was never touched, and into memory that was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core import _core, load_examples
from sycophancy_core.prompts.examples import labels_of
from sycophancy_core.prompts.generation import stream_prompts
from sycophancy_core.prompts.prompt_table import write_prompts
from sycophancy_core.prompts.protocols import load_protocol, read_protocol


def seconds_of(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the time of a call and what it gave."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def twin_prompts(examples: pa.Table, n: int) -> Iterator[str]:
    """Make prompts as a plain-Python program does: one format a prompt."""
    wording = read_protocol("wei2023")
    template = next(entry for entry in wording["templates"] if entry["id"] == "claim")
    text = template["text"]
    schools = wording["schools"]
    labels = labels_of(examples)
    rows = examples.select(["input", "source", "label"]).to_pylist()
    draw = random.Random(0)
    for _ in range(n):
        row = draw.choice(rows)
        claim = f"{row['input']} {draw.choice(('is', 'is not'))} {labels[row['source']][row['label']]}"
        opinion = template["arms"][draw.choice(("agree", "disagree"))].format(
            name="Ana Li",
            age=draw.randint(30, 90),
            school1=draw.choice(schools),
            school2=draw.choice(schools),
            claim=claim,
        )
        order = draw.choice(("agree_first", "disagree_first"))
        yield text.format(opinion=opinion, claim=claim, choices=wording["choices"][order])


def job_of(examples: pa.Table, n: int) -> _core.Generation:
    """Return the plan of n prompts by the recipe balanced, in the published wording."""
    protocol = load_protocol("wei2023")
    return _core.Generation(examples, protocol, n=n, recipe="balanced", split="", repeat_claims=True, seed=0)


def line(what: str, threads: int, n: int, num_bytes: int, seconds: float, base: float) -> None:
    """Print one row of the table."""
    rate = n / seconds
    ratio = f"{rate / base:8.1f}" if base else ""
    print(f"{what:<34} {threads:>2} {rate:>12,.0f} {num_bytes / seconds / 1e9:>8.2f} {ratio:>8}", flush=True)


def bench_twin(examples: pa.Table, n: int) -> float:
    """Measure the twin; prompts a second."""
    seconds, num_bytes = seconds_of(lambda: sum(len(prompt.encode()) for prompt in twin_prompts(examples, n)))
    line("plain-Python twin", 1, n, num_bytes, seconds, 0.0)
    return n / seconds


def bench_copies(num_bytes: int, n: int) -> None:
    """Measure copies of as many bytes as a table has."""
    source = np.ones(min(num_bytes, 1 << 26), np.uint8)

    def fill(target: np.ndarray) -> None:
        for begin in range(0, num_bytes, len(source)):
            part = target[begin : begin + len(source)]
            part[:] = source[: len(part)]

    target = np.empty(num_bytes, np.uint8)
    for what in ("memcpy into fresh memory", "memcpy into reused memory"):
        seconds, _ = seconds_of(lambda: fill(target))
        line(what, 1, n, num_bytes, seconds, 0.0)


def bench_core(examples: pa.Table, n: int, base: float) -> int:
    """Measure streamed and kept generation with 1 and 2 threads; the table's bytes."""
    table_bytes = 0
    job = job_of(examples, n)
    for threads in (1, 2):
        seconds, (_, num_bytes, _) = seconds_of(lambda threads=threads: job.tally(0, n, threads))
        line("streamed, recycled memory, hashed", threads, n, num_bytes, seconds, base)
    for threads in (1, 2):
        seconds, table = seconds_of(lambda threads=threads: pa.table(job.table(0, n, threads)))
        table_bytes = table.nbytes
        line("one Arrow table", threads, n, table_bytes, seconds, base)
        del table
    return table_bytes


def most_memory() -> float:
    """Return the largest memory of this process so far, in bytes; getrusage would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * float(status.split("VmHWM:")[1].split()[0])


def make_table(folder: str | None, n: int) -> tuple[float, float, float, float]:
    """Make one table; seconds, its bytes, and the process's largest memory before and after."""
    examples = load_examples(folder=folder)
    job = job_of(examples, n)
    pa.table(job.table(0, 1000, 2))  # what the first call loads
    before = most_memory()
    seconds, table = seconds_of(lambda: pa.table(job.table(0, n, 2)))
    return seconds, table.nbytes, before, most_memory()


def make_parquet(folder: str | None, n: int) -> tuple[float, float, float, float]:
    """Stream to a Parquet file; seconds, its bytes, and the process's largest memory before and after."""
    reader = stream_prompts(load_examples(folder=folder), n=n, repeat_claims=True)
    before = most_memory()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "prompts.parquet"
        seconds, _ = seconds_of(lambda: write_prompts(reader, path))
        return seconds, path.stat().st_size, before, most_memory()


def bench_memory(folder: str | None, n: int, num_parquet: int, base: float) -> None:
    """Measure memory, each job in a process of its own."""
    jobs = [("one Arrow table, own process", make_table, n), ("streamed to Parquet", make_parquet, num_parquet)]
    for what, job, size in jobs:
        if not size:
            continue
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, num_bytes, before, after = pool.submit(job, folder, size).result()
        line(what, 2, size, num_bytes, seconds, base)
        beyond = (after - before - num_bytes) / 1e6
        print(
            f"  largest memory {after / 1e6:,.0f} MB, {before / 1e6:,.0f} before; output {num_bytes / 1e6:,.0f} MB",
            end="",
        )
        print(f", {beyond:,.0f} MB beyond it" if job is make_table else "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="folder of the 17 sets; default: the packaged sample")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--largest", type=int, default=10_000_000)
    parser.add_argument("--parquet", type=int, default=0, help="rows to stream to a Parquet file")
    options = parser.parse_args()
    examples = load_examples(folder=options.folder)
    print(f"{len(examples):,} examples, {options.n:,} prompts, Python {sys.version.split()[0]}")
    print(f"{'what':<34} {'th':>2} {'prompts/s':>12} {'GB/s':>8} {'x twin':>8}")
    base = bench_twin(examples, min(options.n, 100_000))
    table_bytes = bench_core(examples, options.n, base)
    bench_copies(table_bytes, options.n)
    n = 10_000
    while n <= options.largest:
        seconds, (_, num_bytes, _) = seconds_of(lambda n=n: job_of(examples, n).tally(0, n, 2))
        line(f"streamed, {n:,} prompts", 2, n, num_bytes, seconds, base)
        n *= 10
    bench_memory(options.folder, options.n, options.parquet, base)


if __name__ == "__main__":
    main()
