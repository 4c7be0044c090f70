"""Standard output and error that never end the work: cleaned text, and silence where nobody reads."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from sycophancy_core.reporting.text import clean_text


class SafeStream:
    """A text stream for names from data, on whatever terminal, file or pipe.

    Escape sequences and control characters are taken out, line by line. What the stream's encoding lacks is written as
    an escape of Python's. Once a stream is closed, or its reader has gone, what is written is dropped; of a full disk
    it says so once on standard error.

    Parameters
    ----------
    stream
        Where the text goes; None, as of a closed standard output, drops it.
    clean
        Whether to clean the text; a progress bar is drawn with control characters.
    """

    def __init__(self, stream: TextIO | None, *, clean: bool = True) -> None:
        self._stream = stream
        self._clean = clean
        if stream is not None and hasattr(stream, "reconfigure"):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")

    def bare(self) -> SafeStream:
        """Return the same stream for text that needs no cleaning."""
        return SafeStream(self._stream, clean=False)

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        shown = "\n".join(clean_text(line) for line in text.split("\n")) if self._clean else text
        self._try("write", shown)
        return len(text)

    def flush(self) -> None:
        """Let all that is written reach the reader, if there is one."""
        self._try("flush")

    def isatty(self) -> bool:
        """Tell whether this is a terminal."""
        with contextlib.suppress(ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, method: str, *arguments: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except ValueError:  # it was closed
            self._stream = None
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let what is still in the stream's buffer, and all that follows, go nowhere."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Exception):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
        if error.errno not in (errno.EPIPE, errno.EBADF) and stream is not sys.__stderr__:
            with contextlib.suppress(Exception):
                print(f"standard output could not be written: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Print through :class:`SafeStream` on standard output and error while the context lasts."""
    _fill_gaps()
    earlier = sys.stdout, sys.stderr
    safe: tuple[Any, Any] = (SafeStream(sys.stdout), SafeStream(sys.stderr))
    sys.stdout, sys.stderr = safe
    try:
        yield
    finally:
        for stream in safe:
            stream.flush()
        sys.stdout, sys.stderr = earlier


def _fill_gaps() -> None:
    """Open standard streams that are closed on nothing, so that no file of the work gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
