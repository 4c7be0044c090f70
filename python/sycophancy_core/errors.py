"""The two errors that users see, and the checks of options that raise them."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

from sycophancy_core._core import DataError, ModelError

__all__ = ["DataError", "ModelError", "require_counts"]


def require_counts(owner: str, record: object, names: Iterable[str], *, least: int = 1, none: str = "") -> None:
    """Refuse fields that are no whole numbers, or are below ``least``.

    Parameters
    ----------
    owner
        With what the message begins.
    none
        The word for None where a field may be None; empty where it may not.

    Raises
    ------
    DataError
        If a field is refused; True and 3.0 are no whole numbers, and a NumPy integer is one.
    """
    ending = f" or {none}" if none else ""
    for name in names:
        value = getattr(record, name)
        if none and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise DataError(f"{owner}: {name} must be a whole number{ending}, got {value!r}")
        if int(value) < least:
            raise DataError(f"{owner}: {name} must be at least {least}{ending}, got {value}")
