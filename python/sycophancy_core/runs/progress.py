"""Progress of long stages: one callback type, and a printer for the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int], None]
"""Called with (done, total), in any unit, from the calling thread."""


class ProgressPrinter:
    """Shows stages on a terminal: name, bar, done/total, rate and time left.

    Where the stream is no terminal, each stage prints one line when it ends.

    Parameters
    ----------
    stream
        Where to print; standard error by default.
    quiet
        Print nothing.
    """

    def __init__(self, *, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Announce a stage and give its callback; prints the stage's time when it ends."""
        start = time.monotonic()
        last_shown = 0.0
        final = ""

        def show(done: int, total: int) -> None:
            nonlocal last_shown, final
            now = time.monotonic()
            final = f" {done:,}/{total:,}"
            if self._terminal and not self._quiet and (now - last_shown > 0.2 or done >= total):
                last_shown = now
                self._stream.write("\r\x1b[2K" + progress_line(name, done, total, now - start))
                self._stream.flush()

        show_name = self._terminal and not self._quiet
        if show_name:
            self._stream.write(f"{name} ...")
            self._stream.flush()
        try:
            yield show
        finally:
            if not self._quiet:
                lead = "\r\x1b[2K" if self._terminal else ""
                self._stream.write(f"{lead}{name:<34}{final:>16}  {time.monotonic() - start:7.1f} s\n")
                self._stream.flush()


def progress_line(name: str, done: int, total: int, seconds: float) -> str:
    """Return one line of progress: name, bar, done/total, rate and time left."""
    share = min(1.0, done / total) if total else 1.0
    filled = int(24 * share)
    rate = done / seconds if seconds > 0 else 0.0
    left = (total - done) / rate if rate > 0 else 0.0
    bar = "#" * filled + "." * (24 - filled)
    return f"{name:<34} [{bar}] {done:,}/{total:,}  {rate:,.1f}/s  {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
