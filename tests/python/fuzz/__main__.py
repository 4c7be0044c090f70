"""Fuzzing by hand and by `make fuzz`: counts of accepted and refused input, and faults, of which there must be none."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.runner import Tally, draws_of, limit_memory, run_targets, serve


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=float, default=1.0, help="how many times each target's share of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="a target, or the beginning of several")
    parser.add_argument("--case", type=int, help="run one case here, and let its error through")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        module, left, seed = json.loads(options.child)
        serve(importlib.import_module(module).TARGETS, left, seed)
        return 0
    from fuzz.targets import TARGETS

    targets = [one for one in TARGETS if not options.only or one.name.startswith(tuple(options.only))]
    if options.case is not None:
        (target,) = targets
        with tempfile.TemporaryDirectory() as folder:
            case = target.prepare(Path(folder))
            limit_memory()
            case(draws_of(options.seed, target.name, options.case))
        return 0
    start = time.monotonic()
    tallies = run_targets(targets, options.rounds, options.seed)
    print(summary(tallies, options.seed, time.monotonic() - start))
    return int(any(tally.faults for tally in tallies.values()))


def summary(tallies: dict[str, Tally], seed: int, seconds: float) -> str:
    """Return a table of all targets, with their faults below each."""
    lines = []
    for name, tally in tallies.items():
        counts = f"{tally.cases:7,} cases  {tally.accepted:7,} accepted  {tally.refused:7,} refused"
        lines.append(f"{name:<28}{counts}  {tally.faults.total():5,} faults")
        lines += [
            f"    {count:5,} x {fault} (first: {tally.first[fault]})" for fault, count in tally.faults.most_common()
        ]
    cases = sum(tally.cases for tally in tallies.values())
    faults = sum(tally.faults.total() for tally in tallies.values())
    return "\n".join([*lines, f"fuzz: {cases:,} cases, {faults:,} faults, seed {seed}, {seconds:.0f} s"])


if __name__ == "__main__":
    raise SystemExit(main())
