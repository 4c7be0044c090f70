"""How many threads a job has, counted by the system while it runs, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS, CHECKOUT = Path(__file__).parents[2], Path(__file__).parents[4]
COUNT = """
import os
import torch
from makers.tiny_families import random_batch, tiny_model
from sycophancy_core.scoring.native_scorer import NativeScorer

torch.set_num_threads(1)  # of its own threads there are none
scorer, batch, seen = NativeScorer(tiny_model("llama")), random_batch(1), []
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
torch.set_num_threads(int(os.environ.get("TORCH_THREADS", "1")))
scorer.log_probs(batch, lambda done, total: seen.append(count()))
print(max(seen) - before, count() - before)
"""


def threads_of_job(processors: set[int], **environment: str) -> tuple[int, int]:
    """Return how many threads a job adds while it runs, and how many stay."""
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "SYCO_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", COUNT],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
        env={**clean, "PYTHONPATH": f"{TESTS}:{CHECKOUT / 'python'}"} | environment,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    during, after = run.stdout.split()
    return int(during), int(after)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux counts threads in /proc")
def test_threads_end_with_the_job_and_never_exceed_what_the_process_may_use() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert threads_of_job(set(usable[:1]), TORCH_THREADS="8", SYCO_NUM_THREADS="8") == (0, 0)
    if len(usable) > 1:
        two = set(usable[:2])
        assert threads_of_job(two, SYCO_NUM_THREADS="8") == (1, 0)
        assert threads_of_job(two, SYCO_NUM_THREADS="1", TORCH_THREADS="2") == (0, 0)
        assert threads_of_job(two, TORCH_THREADS="8") == (1, 0)
