"""Loads the scoring engine, or says in one sentence why it cannot be loaded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import sycophancy_core._build_info as _build_info
from sycophancy_core.errors import ModelError

if TYPE_CHECKING:
    from types import ModuleType

_REBUILD = "in the environment that holds torch, run `make build` in a checkout or `pip install --no-build-isolation .`"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def load_engine() -> ModuleType:
    """Import torch, then the engine that was built against it.

    Returns
    -------
    module
        ``sycophancy_core._engine``.

    Raises
    ------
    ModelError
        If the package was built without torch, torch is missing, or its major.minor differs from the one built with:
        the binary interface of torch changes with every minor version.
    """
    built = _build_info.TORCH_VERSION
    if not built:
        raise ModelError(f"engine: this build of sycophancy_core has none, as torch was absent; {_REBUILD}")
    try:
        import torch
    except ImportError as error:
        wanted = f"torch {_minor(built)}, the version it was built with"
        raise ModelError(f"engine: needs {wanted}, but torch cannot be imported ({error}); install it") from error
    if _minor(torch.__version__) != _minor(built):
        found = f"was built with torch {built}, but torch {torch.__version__} is installed"
        raise ModelError(f"engine: {found}; install torch {_minor(built)}, or {_REBUILD}")
    return importlib.import_module("sycophancy_core._engine")
