"""Scores answer choices with this package and its peers: same token ids, same threads, interleaved rounds, medians.

    python benchmarks/bench_scoring.py --threads 2 --prompts 64 --rounds 3 --data FOLDER
    python benchmarks/bench_scoring.py --sweep --data FOLDER --only "tuned" "ours medium"
    python benchmarks/bench_scoring.py --memory
    python benchmarks/bench_scoring.py --model flan-t5
    python benchmarks/bench_scoring.py --model FOLDER

prints Markdown tables. Peers: ``pip install lm-eval ctranslate2 llama-cpp-python``; those that are not installed are
left out and named. Every scorer first scores one prompt outside the timing, and a compiled one the whole work, which
compiles it.

All scorers run in one process whose allocator keeps freed memory (``MALLOC_MMAP_THRESHOLD_`` and
``MALLOC_TRIM_THRESHOLD_``; the benchmark restarts itself with them), since otherwise transformers spends up to a
quarter of its time on fresh pages; ``--usual-allocator`` measures without, as ``--memory`` always does.

Errors are against transformers in float32, in a process of its own before the others are loaded. FOLDER is a model's
folder with weights in bfloat16, from ``bfloat16_folder.py``: there float32 is the reference only, and llama.cpp runs
the GGUF files in it.

GFLOP/s count what the work needs, whoever does it: layers for distinct tokens, head for rows that predict a scored
token. The share is of the ceiling of the products that a scorer makes: what GEMM keeps up for a quarter of a second in
every round, by torch or NumPy, at 2048 or 256 rows, whichever is most, the median of the rounds; float32, bfloat16, or
a third of the latter for ``high``, which makes three bfloat16 products of one.

To see where a native job spends its time: ``perf record -g python benchmarks/bench_scoring.py --only "ours highest"``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scoring_peers as peers
import torch
from numpy.typing import NDArray
from scoring_memory import ALLOCATOR, in_own_process, print_memory
from scoring_subjects import REFERENCE, SUBJECTS, SmolLM2, Subject, subject_of
from scoring_work import CLAIMS, Work, first_prompts, make_work, padded_prompts, prompts_of
from threadpoolctl import threadpool_limits

from sycophancy_core.scoring.tokens import TokenBatch

Scorers = dict[str, peers.Score]


class Row(NamedTuple):
    """Median seconds of a scorer on a work, and its log-probabilities."""

    wall: float
    processor: float
    values: NDArray[np.float64]


def keep_freed_memory() -> None:
    """Restart the benchmark with an allocator that returns no memory to the system."""
    if not all(name in os.environ for name in ALLOCATOR):
        wanted = os.environ | dict.fromkeys(ALLOCATOR, str(1 << 33))
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def gemm_rates(product: tuple[int, int]) -> dict[str, float]:
    """GFLOP/s of one of the model's own products, kept up for a quarter of a second, by type, library and rows."""
    rates = {}
    inner, columns = product
    for rows in (2048, 256):
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        rates[f"float32, torch, {rows} rows"] = gemm_rate(torch.matmul, a, b, torch.empty(rows, columns))
        with threadpool_limits(torch.get_num_threads()):
            out = np.empty((rows, columns), dtype=np.float32)
            rates[f"float32, NumPy, {rows} rows"] = gemm_rate(np.matmul, a.numpy(), b.numpy(), out)
        a, b = a.bfloat16(), b.bfloat16()
        rates[f"bfloat16, torch, {rows} rows"] = gemm_rate(torch.matmul, a, b, torch.empty(rows, columns).bfloat16())
    return rates


def gemm_rate(matmul: Callable[..., object], a: Any, b: Any, out: Any) -> float:
    """GFLOP/s of a x b."""
    matmul(a, b, out=out)
    begin, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < 0.25:
        matmul(a, b, out=out)
        calls += 1
    return 2e-9 * calls * a.shape[0] * a.shape[1] * b.shape[1] / passed


def ceilings_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Print the median rates of the rounds; the ceilings are the higher ones of a type."""
    medians = {name: float(np.median([rates[name] for rates in rounds])) for name in rounds[0]}
    print("GEMM in the same rounds, GFLOP/s: " + "; ".join(f"{rate:.0f} ({name})" for name, rate in medians.items()))
    ceilings: dict[str, float] = {}
    for name, rate in medians.items():
        dtype = name.split(",")[0]
        ceilings[dtype] = max(rate, ceilings.get(dtype, 0.0))
    return ceilings | {"three bfloat16": ceilings["bfloat16"] / 3}


def made(subject: Subject, threads: int, names: list[str]) -> Scorers:
    """Make every contender that can be made; name those that cannot."""
    scorers = {}
    for name in names:
        try:
            scorers[name] = subject.contenders(threads)[name].make()
        except Exception as error:  # a peer that is absent or fails is no reason to stop
            say_left_out(name, error)
    return scorers


def wanted(names: list[str], parts: list[str]) -> list[str]:
    """Return the contenders that ``--only`` means: those of a whole name, or all whose names hold a part."""
    return [name for name in names if any(name == part or (part not in names and part in name) for part in parts)]


def say_left_out(name: str, error: Exception) -> None:
    """Print why a contender is not in the table."""
    print(f"left out: {name} ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:90]})")


def warmed(scorers: Scorers, batch: TokenBatch) -> Scorers:
    """Run every scorer once; those that work."""
    working = {}
    for name, score in scorers.items():
        is_compiled = "compiled" in name
        begin = time.perf_counter()
        try:
            score(batch if is_compiled else first_prompts(batch, 1))
            working[name] = score
        except Exception as error:  # as above
            say_left_out(name, error)
        if is_compiled:
            print(f"{name}: compiled outside the timing; the first run took {time.perf_counter() - begin:.0f} s")
    return working


def measure(
    scorers: Scorers, batches: dict[str, TokenBatch], rounds: int, product: tuple[int, int]
) -> tuple[dict[str, Row], list[dict[str, float]]]:
    """Median wall and processor seconds of each scorer on its batch over interleaved rounds; GEMM's rates in each."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in scorers}
    values, rates = {}, []
    for _ in range(rounds):
        rates.append(gemm_rates(product))
        for name, score in scorers.items():
            wall, used = time.perf_counter(), time.process_time()
            values[name] = score(batches[name])
            taken[name].append((time.perf_counter() - wall, time.process_time() - used))
    return {name: Row(*np.median(taken[name], axis=0).tolist(), values[name]) for name in scorers}, rates


def errors(values: NDArray[np.float64], exact: NDArray[np.float64]) -> str:
    """Largest |d log p|, mean |d margin| and flipped answers, as cells of a table."""
    ours, wanted = values.reshape(-1, 2), exact.reshape(-1, 2)
    margin, exact_margin = ours[:, 0] - ours[:, 1], wanted[:, 0] - wanted[:, 1]
    flipped = np.sign(margin) != np.sign(exact_margin)
    widest = float(np.abs(exact_margin[flipped]).max()) if flipped.any() else 0.0
    return (
        f"{np.abs(values - exact).max():.1e} | {np.abs(margin - exact_margin).mean():.4f} "
        f"| {flipped.mean():.1%} ({widest:.4f})"
    )


def rate_cells(work: Work, seconds: float, products: str, ceilings: dict[str, float]) -> str:
    """Distinct tokens a second, GFLOP/s and their share of the ceiling, as cells of a table."""
    gflops = work.flops / seconds / 1e9
    share = f" ({gflops / ceilings[products]:.0%})" if products else ""
    return f"{work.num_tokens / seconds:.0f} | {gflops:.0f}{share}"


def print_table(
    subject: Subject, rows: dict[str, Row], work: Work, ceilings: dict[str, float], exact: NDArray[np.float64]
) -> None:
    """Print one work's table; ratios are to the first row."""
    contenders = subject.contenders(0)
    first = next(iter(rows.values()))
    print(
        "| scorer | prompts/s | ratio | processor ratio | unique tokens/s | GFLOP/s (share of its ceiling) "
        "| max d log p | mean d margin | flips (widest margin) |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, row in rows.items():
        print(
            f"| {name} | {work.num_prompts / row.wall:.2f} | {first.wall / row.wall:.2f} "
            f"| {first.processor / row.processor:.2f} "
            f"| {rate_cells(work, row.wall, contenders[name].products, ceilings)} | {errors(row.values, exact)} |"
        )


def print_tables(
    subject: Subject, scorers: Scorers, works: list[Work], exact: list[NDArray[np.float64]], rounds: int
) -> None:
    """Print a table for each work, with errors against its exact log-probabilities."""
    for work, wanted_values in zip(works, exact, strict=True):
        print(f"\n{work}\n", flush=True)
        working = warmed(scorers, work.batch)
        rows, rates = measure(working, dict.fromkeys(working, work.batch), rounds, subject.product())
        print_table(subject, rows, work, ceilings_of(rates), wanted_values)


def print_sweep(subject: Subject, scorers: Scorers, works: list[Work], rounds: int, peer_prompts: int) -> None:
    """Print one table over all works; peers run the first ``peer_prompts`` of each, since rates are per prompt."""
    ceilings = ceilings_of([gemm_rates(subject.product()) for _ in range(3)])
    print(
        "\n| work | tokens | scorer | prompts run | prompts/s | ratio | unique tokens/s "
        "| GFLOP/s (share of its ceiling) |\n|---|---|---|---|---|---|---|---|"
    )
    contenders = subject.contenders(0)
    for work in works:
        small = make_work(work.name, first_prompts(work.batch, peer_prompts), subject.cost)
        own = {name: work if name.startswith("ours") else small for name in scorers}
        batches = {name: own[name].batch for name in scorers}
        rows, _ = measure(warmed(scorers, small.batch), batches, rounds, subject.product())
        first = own[next(iter(rows))].num_prompts / next(iter(rows.values())).wall
        for name, row in rows.items():
            rate = own[name].num_prompts / row.wall
            print(
                f"| {work.name} | {np.diff(work.batch.offsets).mean():.0f} | {name} | {own[name].num_prompts} "
                f"| {rate:.2f} | {rate / first:.2f} "
                f"| {rate_cells(own[name], row.wall, contenders[name].products, ceilings)} |",
                flush=True,
            )


def sweep_works(subject: Subject, options: argparse.Namespace) -> list[Work]:
    """Make works of several sizes, and of several lengths at the size of the peers."""
    works = []
    for size in options.sizes:
        batch = subject.batch_of(prompts_of("both orders", size, options.data))
        works.append(make_work(f"{size} prompts asked for", batch, subject.cost))
    for length in options.lengths:
        prompts = padded_prompts(length, options.prompts, options.data, SmolLM2().model.tokenizer)
        works.append(make_work(f"length {length}", subject.batch_of(prompts), subject.cost))
    return works


def parsed() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(sorted(SUBJECTS))
    parser.add_argument("--model", default="smollm2", help=f"{names}, or a model's folder; default: smollm2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=16, help="of each work; in a sweep: of peers, and of lengths")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--work", nargs="+", choices=[*CLAIMS, "perez"], default=["both orders", "one order", "four arms"]
    )
    parser.add_argument(
        "--data", type=Path, help="folder with nlp17/*.jsonl and perez/*.jsonl; default: packaged sample"
    )
    parser.add_argument("--only", nargs="+", default=[""], help="contenders' names, or parts of them")
    parser.add_argument("--sweep", action="store_true", help="sizes and lengths instead of works")
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--lengths", nargs="*", type=int, default=[60, 200, 400])
    parser.add_argument("--memory", action="store_true", help="loading and memory, each scorer in its own process")
    parser.add_argument("--usual-allocator", action="store_true", help="let the allocator return freed memory")
    options = parser.parse_args()
    if options.model not in SUBJECTS and not Path(options.model).is_dir():
        parser.error(f"--model: wanted {names} or a folder, got {options.model!r}")
    return options


def main() -> None:
    """Run the benchmark."""
    options = parsed()
    if not (options.usual_allocator or options.memory):
        keep_freed_memory()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    subject = subject_of(options.model)
    contenders = subject.contenders(options.threads)
    names = wanted(list(contenders), options.only)
    if options.sweep:
        works = sweep_works(subject, options)
    else:
        prompts = {kind: prompts_of(kind, options.prompts, options.data) for kind in options.work}
        works = [make_work(kind, subject.batch_of(table), subject.cost) for kind, table in prompts.items()]
    if options.memory:
        for work in works:
            print_memory(options.model, names, work, options.threads)
        return
    timed = [name for name in names if contenders[name].is_timed]
    allocator = "the usual allocator" if options.usual_allocator else "an allocator that keeps freed memory"
    print(f"{options.model}; {options.threads} threads; {allocator}; torch {torch.__version__}")
    if options.sweep:
        scorers = made(subject, options.threads, timed)
        print_sweep(subject, scorers, works, options.rounds, options.prompts)
    else:
        found = [in_own_process(options.model, REFERENCE, work.batch, options.threads) for work in works]
        scorers = made(subject, options.threads, timed)
        print_tables(subject, scorers, works, [np.array(one["values"]) for one in found], options.rounds)


if __name__ == "__main__":
    main()
