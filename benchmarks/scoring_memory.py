"""Loading and memory of each scorer, each measured in a process of its own, with the system's usual allocator."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scoring_subjects import subject_of
from scoring_work import Work

import sycophancy_core as sc
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.sources import resolve_source
from sycophancy_core.scoring.tokens import TokenBatch

LOADING = "loading"
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_FIELDS = ("tokens", "offsets", "num_context", "prompt_index", "choice_index")


def memory(name: str) -> float:
    """Return VmRSS or VmHWM of this process in MB."""
    status = Path("/proc/self/status").read_text()
    return float(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def forget_peak() -> None:
    """Reset VmHWM to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def in_own_process(model: str, name: str, batch: TokenBatch, threads: int) -> dict[str, Any]:
    """Measure a contender, or ``LOADING``, on a batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batch.npz"
        np.savez(path, **{field: getattr(batch, field) for field in _FIELDS})
        task = {"model": model, "name": name, "path": str(path), "threads": threads, "two": batch.is_encoder_decoder}
        environment = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
        command = [sys.executable, __file__, json.dumps(task)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def touch(model: LanguageModel) -> None:
    """Read all weights: those mapped from a file become resident only then."""
    held = model.held
    for weight in held.weights if held.held_module is None else model.model.parameters():
        weight.sum()


def of_scorer(task: dict[str, Any]) -> dict[str, Any]:
    """Score once; the seconds to load, what is resident before, with all weights touched, the peak beyond, the values.

    Loading counts what a scorer imports beyond torch; files are in the page cache if they were read before.
    """
    arrays = np.load(task["path"])
    batch = TokenBatch(**{f: arrays[f] for f in _FIELDS}, num_moved_borders=0, is_encoder_decoder=task["two"])
    subject = subject_of(task["model"])
    begin = time.perf_counter()
    score = subject.contenders(task["threads"])[task["name"]].make()
    seconds = time.perf_counter() - begin
    for loaded in vars(subject).values():
        if isinstance(loaded, LanguageModel):
            touch(loaded)
    forget_peak()
    before = memory("VmRSS")
    values = score(batch)
    return {
        "seconds": seconds,
        "before": before,
        "beyond": memory("VmHWM") - before,
        "values": values.tolist(),
    }


def of_loading() -> dict[str, float]:
    """Load the embedded model once, and make engines from it."""
    # What is imported and made ready once is not measured.
    from transformers import AutoTokenizer, LlamaForCausalLM  # noqa: F401 - imported so that its memory is counted before

    AutoTokenizer.from_pretrained(resolve_source(None)[0])
    forget_peak()
    before = memory("VmRSS")
    model = sc.load_model(chat_template=False)
    _ = model.model  # from here on it is scored on its module
    touch(model)
    beyond = memory("VmHWM") - before
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        LanguageModel(model.model, model.tokenizer, name=model.name, engine="native")
        seconds.append(time.perf_counter() - begin)
    size = sum(weight.nbytes for weight in model.model.parameters()) / 1e6
    return {"beyond": beyond, "size": size, "engine": statistics.median(seconds)}


def print_memory(model: str, names: list[str], work: Work, threads: int) -> None:
    """Print the table of scorers and the line on loading."""
    print(f"\n{work}\n\n| scorer | loaded in, s | resident before, MB | peak beyond, MB |\n|---|---|---|---|")
    for name in names:
        try:
            found = in_own_process(model, name, work.batch, threads)
            print(f"| {name} | {found['seconds']:.1f} | {found['before']:.0f} | {found['beyond']:.0f} |", flush=True)
        except RuntimeError as error:  # a peer that is absent or fails is no reason to stop
            print(f"| {name} | left out: {str(error)[:90]} | | |")
    if model == "smollm2":
        found = in_own_process(model, LOADING, work.batch, threads)
        print(
            f"\nloading {found['size']:.0f} MB of weights takes {found['beyond']:.0f} MB at most "
            f"(x{found['beyond'] / found['size']:.2f}); an engine from the loaded model takes {found['engine']:.3f} s"
        )


def main() -> None:
    """Measure one task, given as JSON, and print what is found as JSON."""
    import torch

    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    print(json.dumps(of_loading() if task["name"] == LOADING else of_scorer(task)))


if __name__ == "__main__":
    main()
