"""Ctrl-C, SIGTERM and SIGHUP at a good moment: the first asks, the second, or a few seconds, insist."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 4.0  # for the work in hand to end in order


class Interrupt(KeyboardInterrupt):
    """A stop that was asked for.

    Attributes
    ----------
    kept
        What a later call goes on from; None if there is nothing.
    number
        The signal that asked.
    """

    def __init__(self, message: str, *, kept: Path | None = None, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.kept = kept
        self.number = number


@dataclass
class InterruptFlag:
    """Whether a stop was asked for since :func:`deferred_interrupt` began, and by which signal."""

    raised: bool = False
    number: int = signal.SIGINT
    _insisted: bool = field(default=False, init=False)
    _held: int = field(default=0, init=False)
    _is_over: bool = field(default=False, init=False)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let what must not be done by halves end first, even if a second signal comes."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._insisted and not self._held:
                self._insisted = False
                raise self._stop()

    def _stop(self) -> Interrupt:
        return Interrupt("stopped at once", number=self.number)


@contextmanager
def deferred_interrupt(doing: str = "finishing the current work", *, insist: bool = True) -> Iterator[InterruptFlag]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a flag, so that the work in hand ends in order.

    The first says at once what happens. A second, or the end of :data:`GRACE_SECONDS`, raises :class:`Interrupt` where
    the work stands. A stop that was asked for and that nobody heeded is raised at the end: none is lost. Outside the
    main thread, where Python allows no signal handler, the flag stays down and signals act as usual. One that is
    ignored, as by what a script starts in the background or under nohup, stays so.

    Parameters
    ----------
    doing
        What is done after the first signal.
    insist
        Whether a few seconds without an end count as a second signal.
    """
    flag = InterruptFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    earlier = _handlers(SIGNALS)
    me = threading.get_ident()
    timer = threading.Timer(GRACE_SECONDS, lambda: signal.pthread_kill(me, flag.number))
    timer.daemon = True

    def on_signal(number: int, frame: FrameType | None) -> None:
        if flag._is_over:
            return
        if not flag.raised:
            flag.raised, flag.number = True, number
            _say(doing, number, insist=insist)
            if insist:
                timer.start()
        elif flag._held:
            flag._insisted = True
        else:
            raise flag._stop()

    for number in earlier:
        signal.signal(number, on_signal)
    try:
        yield flag
        if flag.raised:
            raise flag._stop()
    finally:
        flag._is_over = True
        timer.cancel()
        if timer.ident is not None:
            timer.join()  # what it may have sent reaches the handler above, and not an earlier one
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _handlers(numbers: Iterable[signal.Signals]) -> dict[signal.Signals, Any]:
    """Return who handles signals now, without those that are ignored, or handled outside Python."""
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}


def _say(doing: str, number: int, *, insist: bool) -> None:
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    limit = f" ({GRACE_SECONDS:.0f} s at most)" if insist else ""
    with suppress(Exception):  # whatever is wrong with the stream, the work ends in order
        print(f"\n{name}: {doing}{limit}; repeat it to stop at once", file=sys.stderr, flush=True)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop the work as Ctrl-C does, wherever it stands; ignored ones stay so."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise Interrupt(f"stopped by {signal.Signals(number).name}", number=number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = _handlers((signal.SIGTERM, signal.SIGHUP))
    for number in earlier:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def keeps(error: KeyboardInterrupt, kept: Path) -> None:
    """Say on an interrupt that work is kept, from which the same call goes on."""
    error.__dict__.setdefault("kept", None)
    if error.__dict__["kept"] is None:
        error.__dict__["kept"] = kept


def kept_by(error: KeyboardInterrupt) -> Path | None:
    """Return what an interrupted call kept, from which the same call goes on; None if nothing."""
    return error.__dict__.get("kept")
