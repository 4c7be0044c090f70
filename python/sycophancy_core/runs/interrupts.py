"""Ctrl-C at a good moment: the first asks, the second insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class InterruptFlag:
    """Whether Ctrl-C was pressed since :func:`deferred_interrupt` began."""

    raised: bool = False


@contextmanager
def deferred_interrupt() -> Iterator[InterruptFlag]:
    """Turn the first Ctrl-C into a flag, so that the work in hand ends in order; a second one interrupts at once.

    Outside the main thread, where Python allows no signal handler, the flag stays down and Ctrl-C acts as usual. Where
    it is ignored, as by what a script starts in the background, it stays so.
    """
    flag, earlier = InterruptFlag(), signal.getsignal(signal.SIGINT)
    if earlier is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if flag.raised:
            signal.default_int_handler(number, frame)
        flag.raised = True

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, earlier)
