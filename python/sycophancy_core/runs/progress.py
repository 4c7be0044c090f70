"""Progress of long stages: bars in terminals and notebooks, a line every half minute in files."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

Progress = Callable[[int, int], None]
"""Called with (done, total), in any unit, from the calling thread."""

LINE_SECONDS = 30.0  # from one line to the next where there is no bar
_LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"
_UNCOUNTED = "{desc}: {elapsed}"


class Stage:
    """What shows one stage: called with done and total, in any unit; ``note`` is shown next to them.

    Parameters
    ----------
    show
        Called with done, total and the note.
    """

    def __init__(self, show: Callable[[int, int, str], None]) -> None:
        self._show = show
        self.note = ""

    def __call__(self, done: int, total: int) -> None:
        """Show how far the stage is."""
        self._show(done, total, self.note)


def note(progress: Progress, text: str) -> None:
    """Let what shows a stage say ``text`` next to its next count; a caller's own callback is not told."""
    if isinstance(progress, Stage):
        progress.note = text


class ProgressPrinter:
    """Shows stages: name, done/total, rate and time left.

    In a terminal or a notebook a stage is a bar, as ``tqdm.auto`` draws it. Elsewhere, as in a log file, it is a line
    every :data:`LINE_SECONDS`. Either way its last line stays.

    Parameters
    ----------
    stream
        Where to print; standard error by default.
    quiet
        Print nothing.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet or self._stream is None
        self._clock = clock

    @contextmanager
    def stage(self, name: str, unit: str = "", *, brief: bool = False) -> Iterator[Progress]:
        """Announce a stage and give its callback, which counts in ``unit``; its last line stays when it ends.

        With ``brief``, a stage that takes less than :data:`LINE_SECONDS` says nothing where there is no bar.
        """
        if self._quiet:
            yield Stage(lambda done, total, note: None)
        elif in_notebook() or self._stream.isatty():
            with _bar(name, self._stream, unit) as show:
                yield show
        else:
            yield from self._lines(name, unit, brief=brief)

    def _lines(self, name: str, unit: str, *, brief: bool) -> Iterator[Progress]:
        start = shown_at = self._clock()
        latest: tuple[int, int] | None = None

        def show(done: int, total: int, note: str) -> None:
            nonlocal latest, shown_at
            latest = done, total
            if self._clock() - shown_at >= LINE_SECONDS:
                shown_at = self._clock()
                self._print(progress_line(name, done, total, shown_at - start, unit, note))

        try:
            yield Stage(show)
        finally:
            seconds = self._clock() - start
            counted = f" {latest[0]:,}/{latest[1]:,} {unit}".rstrip() if latest else ""
            if not brief or seconds >= LINE_SECONDS:
                self._print(f"{name:<34}{counted:>16}  {seconds:7.1f} s")

    def _print(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


@contextmanager
def shown_progress(progress: Progress | bool | None, name: str, unit: str) -> Iterator[Progress | None]:
    """Give what shows the progress of one call.

    Parameters
    ----------
    progress
        A callback, which is taken as it is; False for none; True for a bar in a terminal or a notebook, and lines
        elsewhere; None for the same, but no line of what takes less than :data:`LINE_SECONDS`.
    name, unit
        Of the stage, and what it counts.
    """
    if callable(progress):
        yield progress
    elif progress is False:
        yield None
    else:
        with ProgressPrinter().stage(name, unit, brief=progress is None) as show:
            yield show


def progress_line(name: str, done: int, total: int, seconds: float, unit: str = "", note: str = "") -> str:
    """Return one line of progress: name, share, done and total, time taken and left, rate, and a note."""
    from tqdm.std import tqdm

    counted = f" {unit}" if unit else "it"
    line = str(tqdm.format_meter(done, total, seconds, prefix=name, unit=counted, bar_format=_LINE))
    return f"{line} {note}".rstrip()


def in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this, whose output shows bars though it is no terminal."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and "IPKernelApp" in running.config


@contextmanager
def _bar(name: str, stream: TextIO, unit: str) -> Iterator[Progress]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a notebook without widgets, which gets a bar of text
        from tqdm.auto import tqdm

    settings = {"unit": f" {unit}"} if unit else {}
    bar: Any = tqdm(desc=name, file=stream, dynamic_ncols=True, mininterval=0.2, bar_format=_UNCOUNTED, **settings)

    def show(done: int, total: int, note: str) -> None:
        if bar.total is None:
            bar.bar_format = None
        bar.total = total
        bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)

    try:
        yield Stage(show)
    finally:
        bar.close()
