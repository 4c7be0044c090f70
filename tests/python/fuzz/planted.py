"""Faults on purpose, which the runner must find."""

from __future__ import annotations

import os
import random
import signal
import time

from fuzz.runner import Case, Target

from sycophancy_core import DataError


def _accept(rng: random.Random) -> None:
    """Do nothing."""


def _refuse(rng: random.Random) -> None:
    raise DataError("no")


def _key_error(rng: random.Random) -> None:
    raise KeyError(rng.random())


def _memory(rng: random.Random) -> None:
    bytearray(1 << 40)


def _wait(rng: random.Random) -> None:
    time.sleep(3600)


def _work(rng: random.Random) -> None:
    while True:
        pass


def _crash(rng: random.Random) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


CASES: dict[str, Case] = {
    "accept": _accept,
    "refuse": _refuse,
    "key error": _key_error,
    "memory": _memory,
    "wait": _wait,
    "work": _work,
    "crash": _crash,
}
TARGETS = tuple(Target(name, lambda _, case=case: case, 2, seconds=0.5) for name, case in CASES.items())
