"""Scores answer choices with this package and its peers: same token ids, same threads, interleaved rounds, medians.

    python benchmarks/bench_scoring.py --threads 2 --prompts 64 --rounds 3

prints a Markdown table. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import scoring_peers as peers
import torch
from numpy.typing import NDArray

import sycophancy_core as sc
from sycophancy_core._core import make_plan
from sycophancy_core.checkpoints import resolve_source
from sycophancy_core.tokens import TokenBatch, tokenize

# Floating-point operations of one token in the matrix products of SmolLM2-135M, without its head.
FLOPS_PER_TOKEN = 2 * 30 * (576 * (576 + 2 * 192) + 576 * 576 + 3 * 576 * 1536)
FLOPS_PER_HEAD = 2 * 576 * 49152


def work(kind: str, num_prompts: int) -> pa.Table:
    """Make the prompts of a kind: both orders, and one or all arms."""
    claims = sc.make_claims(sc.load_examples(), options=sc.ClaimOptions(recipe="balanced"), seed=0)
    protocol, templates, arms = {
        "both orders": ("wei2023", None, ("agree",)),
        "four arms": ("factorial", ("after_first_3",), ("none", "placebo", "agree", "disagree")),
    }[kind]
    options = sc.PromptOptions(protocol=protocol, templates=templates, arms=arms)
    claims = claims.slice(0, max(1, num_prompts // (2 * len(arms))))
    return sc.make_prompts(claims, options=options, seed=0)


def one_order(batch: TokenBatch) -> TokenBatch:
    """Keep every other prompt."""
    return peers._part(batch, np.flatnonzero(batch.prompt_index % 2 == 0))


def gemm_ceiling(dtype: torch.dtype) -> float:
    """GFLOP/s of one of the model's own products at 2048 rows; the best of several, since it is a ceiling."""
    a, b = torch.randn(2048, 576).to(dtype), torch.randn(576, 1536).to(dtype)
    best = 0.0
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        best = max(best, 2 * 2048 * 576 * 1536 / (time.perf_counter() - started) / 1e9)
    return best


def contenders(model: sc.LanguageModel, threads: int, wanted: list[str]) -> dict[str, peers.Score]:
    """Make every contender that can be made; name those that cannot."""
    import copy

    half = copy.deepcopy(model.model).bfloat16()
    folder, _ = resolve_source(None)
    makers: dict[str, Callable[[], peers.Score]] = {
        "lm-eval float32": lambda: peers.lm_eval(model.model, model.tokenizer),
        "lm-eval bfloat16": lambda: peers.lm_eval(half, model.tokenizer),
        "transformers float32": lambda: peers.plain_transformers(model.model),
        "transformers bfloat16": lambda: peers.plain_transformers(half),
        "transformers tuned float32": lambda: peers.tuned_transformers(model.model),
        "transformers tuned bfloat16": lambda: peers.tuned_transformers(half),
        "ctranslate2 float32": lambda: peers.ctranslate2(folder, model.tokenizer, "float32", threads),
        "ctranslate2 int8": lambda: peers.ctranslate2(folder, model.tokenizer, "int8", threads),
        "ours highest": lambda: peers.ours(model, "highest"),
        "ours highest, orders unshared": lambda: peers.ours_unshared(model, "highest", by="prompt"),
        "ours highest, nothing shared": lambda: peers.ours_unshared(model, "highest", by="sequence"),
        "ours high": lambda: peers.ours(model, "high"),
        "ours medium": lambda: peers.ours(model, "medium"),
    }
    made = {}
    for name, make in makers.items():
        if any(part in name for part in wanted):
            try:
                made[name] = make()
            except Exception as error:  # a peer that is absent or fails is no reason to stop
                print(f"left out: {name} ({type(error).__name__}: {str(error).splitlines()[0][:90]})")
    return made


def measure(scorers: dict[str, peers.Score], batch: TokenBatch, rounds: int) -> dict[str, dict[str, float]]:
    """Median wall and processor seconds of each scorer over interleaved rounds."""
    walls: dict[str, list[float]] = {name: [] for name in scorers}
    processor: dict[str, list[float]] = {name: [] for name in scorers}
    values: dict[str, NDArray[np.float64]] = {}
    for _ in range(rounds):
        for name, score in scorers.items():
            wall, used = time.perf_counter(), time.process_time()
            values[name] = score(batch)
            walls[name].append(time.perf_counter() - wall)
            processor[name].append(time.process_time() - used)
    exact = values.get("transformers float32", next(iter(values.values())))
    result = {}
    for name in scorers:
        result[name] = {"wall": float(np.median(walls[name])), "processor": float(np.median(processor[name]))}
        result[name] |= errors(values[name], exact, batch)
    return result


def errors(values: NDArray[np.float64], exact: NDArray[np.float64], batch: TokenBatch) -> dict[str, float]:
    """Largest |d log p|, mean |d margin| and flipped answers against transformers in float32."""
    ours, wanted = values.reshape(-1, 2), exact.reshape(-1, 2)
    margin, exact_margin = ours[:, 0] - ours[:, 1], wanted[:, 0] - wanted[:, 1]
    flipped = np.sign(margin) != np.sign(exact_margin)
    return {
        "log_prob": float(np.abs(values - exact).max()),
        "margin": float(np.abs(margin - exact_margin).mean()),
        "flips": float(flipped.mean()),
        "widest": float(np.abs(exact_margin[flipped]).max()) if flipped.any() else 0.0,
    }


def print_table(rows: dict[str, dict[str, float]], batch: TokenBatch, unique_tokens: int, ceiling: float) -> None:
    """Print one work's table; ratios are to the first row."""
    prompts = len(np.unique(batch.prompt_index))
    first = next(iter(rows.values()))
    print(
        "| scorer | prompts/s | ratio | processor ratio | unique tokens/s | GFLOP/s (share of float32 ceiling) "
        "| max d log p | mean d margin | flips (widest margin) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        rate = unique_tokens / row["wall"]
        gflops = rate * FLOPS_PER_TOKEN / 1e9
        print(
            f"| {name} | {prompts / row['wall']:.2f} | {first['wall'] / row['wall']:.2f} "
            f"| {first['processor'] / row['processor']:.2f} | {rate:.0f} | {gflops:.0f} ({gflops / ceiling:.0%}) "
            f"| {row['log_prob']:.1e} | {row['margin']:.4f} | {row['flips']:.1%} ({row['widest']:.4f}) |"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", nargs="+", default=["both orders", "one order", "four arms"])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of contenders' names")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    model = sc.load_model()
    scorers = contenders(model, options.threads, options.only)
    single, half = gemm_ceiling(torch.float32), gemm_ceiling(torch.bfloat16)
    print(f"threads {options.threads}; GEMM ceilings {single:.0f} (float32) and {half:.0f} (bfloat16) GFLOP/s")
    for kind in options.work:
        prompts = work("both orders" if kind == "one order" else kind, options.prompts)
        batch = tokenize(model, prompts["prompt"].to_pylist(), prompts["choices"].to_pylist())
        batch = one_order(batch) if kind == "one order" else batch
        plan = make_plan(batch.tokens, batch.offsets, batch.num_context)
        print(
            f"\n{kind}: {len(np.unique(batch.prompt_index))} prompts of {np.mean(np.diff(batch.offsets)):.0f} tokens, "
            f"{plan.num_tokens} of {plan.num_tokens_unshared} tokens distinct\n"
        )
        print_table(measure(scorers, batch, options.rounds), batch, plan.num_tokens, single)
    print(f"\npeak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
