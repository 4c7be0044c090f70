"""The two errors that users see, the checks of options that raise them, and warnings."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral

from sycophancy_core._core import DataError, ModelError

__all__ = [
    "DataError",
    "FaultsError",
    "ModelError",
    "require_counts",
    "require_seed",
    "require_whole",
    "warn",
]

MAX_SEED = 2**63 - 1
MAX_ROWS = 10**8  # that are made or trained on; more is a slip, and would fill the memory before it is one
MOST_FAULTS = 20  # that a message lists; the others are counted


class FaultsError(DataError):
    """Everything that is wrong with one table or file.

    Parameters
    ----------
    owner
        With what the message begins.
    faults
        One sentence each, with its row. One alone is the message; of many the first 20 are listed.
    advice
        What to do about them.
    """

    def __init__(self, owner: str, faults: Sequence[str], advice: str) -> None:
        self.faults = tuple(faults)
        more = [f"and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
        self.lines = (f"{owner}: {len(faults):,} faults; {advice}:", *faults[:MOST_FAULTS], *more)
        if len(faults) == 1:
            self.lines = (f"{owner}: {faults[0]}; {advice}",)
        super().__init__("\n  ".join(self.lines))


def require_counts(owner: str, record: object, names: Iterable[str], *, least: int = 1, none: str = "") -> None:
    """Refuse fields that are not whole numbers, or are below ``least``.

    Parameters
    ----------
    owner
        With what the message begins.
    none
        The word for None where a field may be None; empty where it may not.

    Raises
    ------
    DataError
        If a field is refused; True and 3.0 are not whole numbers, and a NumPy integer is one.
    """
    for name in names:
        require_whole(owner, name, getattr(record, name), least=least, none=none)


def require_whole(
    owner: str, name: str, value: object, *, least: int = 0, most: int = MAX_SEED, none: str = ""
) -> None:
    """Refuse a value that is not a whole number from ``least`` to ``most``; parameters as of :func:`require_counts`."""
    ending = f" or {none}" if none else ""
    if none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise DataError(f"{owner}: {name} must be a whole number{ending}, got {value!r}")
    if int(value) < least:
        raise DataError(f"{owner}: {name} must be at least {least}{ending}, got {value}")
    if int(value) > most:
        raise DataError(f"{owner}: {name} must be at most {most}{ending}, got {value}")


def require_seed(owner: str, seed: object) -> None:
    """Refuse a seed that is not a whole number from 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) <= MAX_SEED:
        raise DataError(f"{owner}: seed must be a whole number from 0 to {MAX_SEED}, got {seed!r}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of a user's that called this package, however deep in it the reason was found."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module == "contextlib" or module.partition(".")[0] == __name__.partition(".")[0]
