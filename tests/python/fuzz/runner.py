"""Runs cases in a process of their own, under limits of memory and time, and counts how each ends.

A case is known by seed, target and number: ``python tests/python/fuzz --only NAME --case NUMBER`` runs it again, and
lets its error through.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Case = Callable[[random.Random], object]
MEMORY = 4 << 30  # beyond what a process has once its target is prepared
WAIT = 6  # seconds on the clock for each of processor time, since the machine may be busy


@dataclass(frozen=True)
class Target:
    """What is fuzzed: ``prepare(folder)`` makes good input there and returns what runs one case.

    Attributes
    ----------
    share
        Cases of a round.
    also
        Errors that are answers here, beyond DataError, ModelError and OSError.
    seconds
        Of processor time that a case may take; on the clock, :data:`WAIT` times as much.
    """

    name: str
    prepare: Callable[[Path], Case]
    share: int
    also: tuple[type[Exception], ...] = ()
    seconds: float = 20.0


@dataclass
class Tally:
    """How the cases of one target ended."""

    accepted: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # number and message of each fault's first case

    def add(self, number: int, outcome: str) -> None:
        """Count one case."""
        if outcome in ("accepted", "refused"):
            setattr(self, outcome, getattr(self, outcome) + 1)
        else:
            kind, _, message = outcome.partition(": ")
            self.faults[kind] += 1
            self.first.setdefault(kind, f"case {number}{message and ': '}{message}")

    @property
    def cases(self) -> int:
        """Count all cases."""
        return self.accepted + self.refused + self.faults.total()


def draws_of(seed: int, name: str, number: int) -> random.Random:
    """Return the random numbers of one case."""
    return random.Random(f"{seed} {name} {number}")


def run_targets(
    targets: Sequence[Target], rounds: float, seed: int, *, module: str = "fuzz.targets"
) -> dict[str, Tally]:
    """Run all cases of a module's targets; a process that dies is followed by one that goes on behind its last case."""
    tallies = {target.name: Tally() for target in targets}
    left = {target.name: (0, max(1, round(rounds * target.share))) for target in targets}
    while left:
        current: tuple[str, int] | None = None
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).parent), "--child", json.dumps([module, left, seed])],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                name, number, outcome = json.loads(line)
                if outcome:
                    tallies[name].add(number, outcome)
                    current = None
                else:
                    current = name, number
                left[name] = number + 1, left[name][1]
        left = {name: (start, end) for name, (start, end) in left.items() if start < end}
        if current:
            tallies[current[0]].add(current[1], _end_of(child.returncode))
        elif left:
            raise RuntimeError(f"fuzz: a process ended with {child.returncode} before {min(left)}")
    return tallies


def _end_of(code: int) -> str:
    if -code in (signal.SIGALRM, signal.SIGPROF):
        return "HANG"
    return f"CRASH by signal {-code}" if code < 0 else f"EXIT with {code}"


def serve(targets: Sequence[Target], left: dict[str, tuple[int, int]], seed: int) -> None:
    """Run the cases that are left, and print a line before and after each."""
    pipe, errors, silence = os.dup(1), os.dup(2), os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(silence, number)
    faulthandler.disable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    home = Path(tempfile.mkdtemp(prefix="syco-fuzz-"))
    os.environ["SYCO_CACHE"] = str(home / "cache")
    try:
        for target in targets:
            if target.name in left:
                folder = home / target.name
                folder.mkdir()
                case = target.prepare(folder)
                limit_memory()
                for number in range(*left[target.name]):
                    os.write(pipe, f"{json.dumps([target.name, number, ''])}\n".encode())
                    outcome = _outcome(target, case, draws_of(seed, target.name, number))
                    os.write(pipe, f"{json.dumps([target.name, number, outcome])}\n".encode())
                shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        os.write(errors, traceback.format_exc().encode())
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


def limit_memory() -> None:
    """Let this process have no more memory than :data:`MEMORY` beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, most))


def _outcome(target: Target, case: Case, draws: random.Random) -> str:
    signal.setitimer(signal.ITIMER_PROF, target.seconds)
    signal.setitimer(signal.ITIMER_REAL, WAIT * target.seconds)
    try:
        case(draws)
    except BaseException as error:
        return "refused" if is_answer(target, error) else _named(error)
    else:
        return "accepted"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def is_answer(target: Target, error: BaseException) -> bool:
    """Tell whether an error is one that a user can read."""
    from sycophancy_core import DataError, ModelError

    return isinstance(error, (DataError, ModelError, OSError, *target.also))


def _named(error: BaseException) -> str:
    """Return an error's type and the last place of the package that it passed."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sycophancy_core/" in frame.filename]
    at = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "no file of the package"
    return f"{type(error).__name__} at {at}: {' '.join(str(error).split())[:90]}"
