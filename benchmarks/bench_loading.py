"""From the start of a process to the first score, and its memory: a model on its mapped files, and as a module.

    python benchmarks/bench_loading.py [--model FOLDER] [--rounds 5]

Each run is a process of its own; the ways take turns. The files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

_ONE = """
import json, sys, time
from pathlib import Path
import sycophancy_core as sc
model = sc.load_model({model!r}, chat_template=False)
loaded = time.time()
if {as_module}:
    model.model
model.log_probs(["The capital of France is"], [[" Paris", " Rome"]])
scored = time.time()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
memory = {{name: int(status[name].split()[0]) * 1024 for name in ("VmHWM", "RssAnon")}}
print(json.dumps({{"loaded": loaded, "scored": scored, "torch": "torch" in sys.modules, **memory}}))
"""


def measure(model: str | None, *, as_module: bool) -> dict[str, float]:
    """Run one process; return its seconds, from its start, and its memory, in GB."""
    code = _ONE.format(model=model, as_module=as_module)
    begin = time.time()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["torch"] and not as_module:
        raise RuntimeError("the model is not scored on its files: the process has imported torch")
    return {
        "loaded": found["loaded"] - begin,
        "scored": found["scored"] - begin,
        "peak": found["VmHWM"] / 1e9,
        "own": found["RssAnon"] / 1e9,
    }


def main() -> None:
    """Print a row for each way: medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model's folder or GGUF file; the embedded model by default")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ways: dict[str, list[dict[str, float]]] = {"on its files": [], "as a module": []}
    for found in ways.values():
        measure(given.model, as_module=found is ways["as a module"])  # which fills the caches
    for _ in range(given.rounds):
        for way, found in ways.items():
            found.append(measure(given.model, as_module=way == "as a module"))
    print("| scored | loaded after, s | first score after, s | peak memory, GB | at the end, without files, GB |")
    print("|---|---|---|---|---|")
    for way, found in ways.items():
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        print(
            f"| {way} | {middle['loaded']:.2f} | {middle['scored']:.2f} | {middle['peak']:.2f} | {middle['own']:.2f} |"
        )


if __name__ == "__main__":
    main()
