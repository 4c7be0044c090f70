"""Warnings of the package as lines of a log: what is wrong, without the line of source code that said so."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def warnings_logged(level: str) -> Iterator[None]:
    """Write warnings to the log ``sycophancy_core``, and messages from ``level`` on to standard error."""
    log = logging.getLogger("sycophancy_core")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lower("%(levelname)s: %(message)s"))
    before, shown, passes = log.level, warnings.showwarning, log.propagate
    log.addHandler(handler)
    log.setLevel(level.upper())
    log.propagate = False
    warnings.showwarning = _log_warning
    try:
        yield
    except Exception:
        log.debug("where it arose:", exc_info=True)
        raise
    finally:
        warnings.showwarning = shown
        log.removeHandler(handler)
        log.setLevel(before)
        log.propagate = passes


class _Lower(logging.Formatter):
    """Writes the level in small letters, as the rest of the output."""

    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)


def _log_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    logging.getLogger("sycophancy_core").warning("%s", message)
