"""Processes that were forked from one that has scored: its threads are not theirs."""

from __future__ import annotations

import os
import sys

from sycophancy_core.errors import warn

_first: int | None = None  # the process that was the first to prepare


def prepare_process() -> None:
    """Let a forked process run on one thread: more of them wait for ever for those that the fork left behind.

    Warns
    -----
    UserWarning
        Once in each forked process, with what to do.
    """
    global _first
    here = os.getpid()
    if _first is None:
        _first = here
    if _first == here:
        return
    _first = here
    torch = sys.modules.get("torch")
    if torch is None:  # the engine's own threads end with each job, so that a fork leaves none behind
        return
    torch.set_num_threads(1)
    warn(
        "this process was forked from one that has scored, so that it runs on one thread; for more, start processes by "
        "spawn: multiprocessing.get_context('spawn')"
    )


def engine_threads() -> int:
    """Return how many threads the engine on panels is to have: torch's, where torch is there; else 0, for its own rule.

    ``SYCO_NUM_THREADS``, where it is set, is part of that rule.
    """
    torch = sys.modules.get("torch")
    return 0 if torch is None or os.environ.get("SYCO_NUM_THREADS") else int(torch.get_num_threads())
