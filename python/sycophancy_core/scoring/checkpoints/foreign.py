"""The one boundary to what others wrote: whatever their readers raise becomes a sentence that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.outputs import how_to_install


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what a foreign reader raises into a ModelError that begins with ``what``; our own errors pass.

    A reader written in Rust may panic, which is no ``Exception``.
    """
    try:
        yield
    except (DataError, ModelError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{what}: {first_line(error)}") from error


@contextmanager
def transformers_needed(what: str) -> Iterator[None]:
    """Turn the failure of an import of torch, transformers or gguf into a ModelError that says what needs it."""
    try:
        yield
    except ImportError as error:
        missing = (
            f"{error.name}, which is not installed" if error.name in ("torch", "transformers", "gguf") else str(error)
        )
        how = how_to_install(error.name or "transformers")
        raise ModelError(f"load_model: {what} needs {missing}; {how}") from error


def first_line(error: BaseException) -> str:
    """Name another library's error by its type and the first lines of what it says."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said if len(said) <= 300 else said[:300].rpartition(' ')[0] + ' ...'}"
