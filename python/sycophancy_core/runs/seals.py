"""Results that are whole: every file of a folder under one seal, which is written last and names their digests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import move_file, saving, scratch_folder
from sycophancy_core.runs.json_files import read_sealed_json, write_sealed_json

SEAL = "seal.json"
CARD = "README.md"
FORMAT = 1
_LAST = ("config.json", "adapter_config.json")  # without which other programs see no model in a folder
_SHA256 = re.compile("[0-9a-f]{64}")


def save_result(folder: str | Path, kind: str, write: Callable[[Path], object], *, keep: bool = True) -> list[Path]:
    """Write a result's files and seal them, so that a folder with a seal holds one whole result.

    The files are made in a scratch folder. An equal result that is there already is left alone. Another one loses its
    seal before the first of its files is replaced, and the new seal is written after the last.

    Parameters
    ----------
    kind
        What it is: ``"evaluation"``, say.
    write
        Called with the folder to write into.
    keep
        Keep another whole result that is there in the folder ``previous-1``, or the next number that is free.

    Returns
    -------
    list of Path
        The files in the folder, the seal last.
    """
    folder = Path(folder)
    with scratch_folder(folder, kind) as scratch:
        try:
            write(scratch)
        except OSError as error:  # which names where its file was to stay
            raise OSError(error.errno, str(error.strerror or error).replace(str(scratch), str(folder))) from error
        made = sorted(path for path in scratch.rglob("*") if path.is_file())
        files = {path.relative_to(scratch).as_posix(): digest_file(path) for path in made}
        old = _sealed_files(folder)
        if old.items() >= files.items() and not damaged_files(folder, files):
            return [*(folder / name for name in files), folder / SEAL]
        if old and keep:
            _set_aside(folder, old)
        for name in (SEAL, *(name for name in _LAST if name in files)):
            (folder / name).unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: (name in _LAST, name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            move_file(scratch / name, folder / name)
    return [*(folder / name for name in files), _write_seal(folder, kind, files)]


def seal_more(folder: str | Path, paths: Iterable[Path]) -> None:
    """Put further files of a sealed folder, such as its report, under its seal."""
    folder = Path(folder)
    seal = read_seal(folder)
    files = {path.relative_to(folder).as_posix(): digest_file(path) for path in paths}
    _write_seal(folder, seal["kind"], seal["files"] | files)


def _write_seal(folder: Path, kind: str, files: Mapping[str, str]) -> Path:
    return write_sealed_json(folder / SEAL, {"format": FORMAT, "kind": kind, "files": dict(files)})


def _sealed_files(folder: Path) -> dict[str, str]:
    """Return the digests under a folder's seal; none where there is no seal that can be read."""
    try:
        files: dict[str, str] = read_seal(folder)["files"]
    except DataError:
        return {}
    return files


def previous_folder(folder: Path) -> Path:
    """Return where in a folder its result is kept when another one takes its place: the first free ``previous-1``."""
    number = 1
    while (folder / f"previous-{number}").exists():
        number += 1
    return folder / f"previous-{number}"


def _set_aside(folder: Path, files: Iterable[str]) -> None:
    """Move a result into a folder of its own inside its folder; its seal first, so that no half of it counts."""
    aside = previous_folder(folder)
    for name in (SEAL, *files):
        if (folder / name).is_file():
            with saving(aside / name):
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).rename(aside / name)


def read_seal(folder: str | Path) -> dict[str, Any]:
    """Read a folder's seal: ``kind``, and the SHA-256 of each file by its name in ``files``.

    Raises
    ------
    DataError
        If there is none, or it was changed.
    """
    path = Path(folder) / SEAL
    if not path.is_file():
        raise DataError(
            f"{folder}: wanted a whole result, got no {SEAL}; saving it was interrupted, or it is of another version: "
            "make it once more"
        )
    seal = read_sealed_json(path)
    if seal.get("format") != FORMAT:
        raise DataError(f"{path}: format: wanted {FORMAT}, got {seal.get('format')!r}")
    check_digests(f"{path}: files", seal.get("files"))
    return seal


def check_seal(folder: str | Path, *names: str) -> dict[str, Any]:
    """Read a folder's seal, and these files under it, or all.

    Raises
    ------
    DataError
        If there is no seal, or a file is missing or was changed since.
    """
    seal = read_seal(folder)
    files = {name: seal["files"].get(name, "") for name in names} if names else seal["files"]
    for problem in damaged_files(Path(folder), files):
        raise DataError(f"{problem}; make the result once more, or take it from a copy")
    return seal


def check_if_sealed(folder: str | Path) -> None:
    """Check a folder that may be of another program, only if it has a seal; see :func:`check_seal`.

    Its card is left out: on the hub it may be edited, and no program reads it.
    """
    if (Path(folder) / SEAL).is_file():
        check_seal(folder, *(name for name in read_seal(folder)["files"] if name != CARD))


def damaged_files(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return one sentence for each file that is missing, or has another digest."""
    problems = []
    for name, digest in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif digest_file(path) != digest:
            problems.append(f"{path} was changed after it was written: its SHA-256 differs from the one kept of it")
    return problems


def check_digests(where: str, files: Any) -> None:
    """Refuse what is no mapping from names inside a folder to digests.

    Raises
    ------
    DataError
        If it is another thing; the message begins with ``where``.
    """
    if not isinstance(files, dict):
        raise DataError(f"{where}: wanted a JSON object, got {type(files).__name__}")
    for name, digest in files.items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise DataError(f"{where}: {name}: wanted a SHA-256 in hexadecimal, got {digest!r}")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"{where}: {name}: wanted a name inside the folder")
