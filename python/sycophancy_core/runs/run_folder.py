"""Run folders: one writer, a manifest that names every file and its digest, and stages that are not done twice.

A run folder holds ``manifest.json`` (configuration, versions, processor; for each finished stage the digest of its
inputs and of its files; whether all is done; its own digest), the files, and journals of unfinished stages. The
manifest holds no clock time and no path, so an interrupted and resumed run ends with the same bytes as an uninterrupted
one; ``timings.json`` holds the seconds.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.runs.digests import digest_file, digest_json
from sycophancy_core.runs.files import clear_scratch, replace_path
from sycophancy_core.runs.interrupts import keeps
from sycophancy_core.runs.json_files import read_sealed_json, write_sealed_json
from sycophancy_core.runs.locks import one_writer
from sycophancy_core.runs.seals import check_digests, damaged_files
from sycophancy_core.runs.surroundings import processor, versions, warn_of_changes

MANIFEST = "manifest.json"
TIMINGS = "timings.json"
FORMAT = 2

T = TypeVar("T")


@dataclass(kw_only=True)
class Run:
    """An open run folder; made by :func:`open_run`.

    Attributes
    ----------
    folder
        Where the files lie.
    manifest
        The content of ``manifest.json``.
    others
        Folders of other runs; their finished stages are copied instead of done again.
    """

    folder: Path
    manifest: dict[str, Any]
    others: Sequence[Path] = ()
    timings: dict[str, float] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return where a file of this run lies."""
        return self.folder / name

    def stage(
        self,
        name: str,
        *,
        inputs: Mapping[str, Any],
        make: Callable[[], T],
        save: Callable[[T], list[Path]],
        load: Callable[[], T],
        scratch: Sequence[Path] = (),
    ) -> T:
        """Do a stage, or load what an earlier process made from the same inputs.

        Parameters
        ----------
        name
            The stage's name in the manifest.
        inputs
            Everything on which the result depends: options, seeds and digests. JSON values only.
        make, save, load
            Compute the value; write it and return its files; read it back.
        scratch
            Files from which an interrupted ``make`` goes on, such as a journal; removed once the stage is finished.

        Raises
        ------
        DataError
            If the stage was finished with other inputs, or one of its files is missing or changed.
        """
        done = self.manifest["stages"].get(name)
        if done is not None:
            _check_done(self.folder, name, done, inputs)
        if done is not None or self._copy(name, inputs):
            _remove(scratch)
            return load()
        start = time.monotonic()
        value = make()
        files = {str(path.relative_to(self.folder)): digest_file(path) for path in save(value)}
        self._finish(name, {"inputs": dict(inputs), "files": files}, time.monotonic() - start)
        _remove(scratch)
        return value

    def _finish(self, name: str, stage: dict[str, Any], seconds: float) -> None:
        """Put a finished stage into the manifest."""
        self.manifest["stages"][name] = stage
        self.manifest["is_whole"] = False
        self.timings[name] = round(seconds, 3)
        write_sealed_json(self.path(TIMINGS), self.timings)
        write_sealed_json(self.path(MANIFEST), self.manifest)

    def _copy(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Copy a stage's files from the first of the other runs that has finished it; tell whether there is one."""
        start = time.monotonic()
        for other in self.others:
            stage = read_manifest(other)["stages"].get(name) if is_run(other) else None
            if stage is not None:
                _check_done(other, name, stage, inputs)
                for file in _with_neighbours(other, stage["files"]):
                    self.path(file).parent.mkdir(parents=True, exist_ok=True)
                    replace_path(self.path(file), partial(shutil.copyfile, other / file))
                self._finish(name, stage, time.monotonic() - start)
                return True
        return False

    def name_results(self, files: Iterable[Path]) -> None:
        """Name files that sum the stages up, and that every process makes again, under ``results`` of the manifest."""
        self.manifest["results"] = {str(path.relative_to(self.folder)): digest_file(path) for path in files}
        write_sealed_json(self.path(MANIFEST), self.manifest)

    def record(self, key: str, value: Any) -> None:
        """Put a value (a model's digest, the host's precision) under ``facts`` of the manifest.

        Raises
        ------
        DataError
            If the run already holds another value under that key.
        """
        facts = self.manifest["facts"]
        if key in facts:
            _same(f"{key} of {self.folder}", {key: facts[key]}, {key: value})
        facts[key] = value
        write_sealed_json(self.path(MANIFEST), self.manifest)

    def is_done(self, name: str) -> bool:
        """Tell whether a stage is finished."""
        return name in self.manifest["stages"]


@checked_arguments
@contextmanager
def open_run(folder: str | Path, *, config: Mapping[str, Any], others: Sequence[Path] = ()) -> Iterator[Run]:
    """Open a run folder for writing, new or begun before, and hold its lock; clear what a killed process left half.

    Parameters
    ----------
    folder
        The folder; made if it is missing.
    config
        What the run does: options and seeds, JSON values only. A folder that was begun with another configuration is
        refused.
    others
        Folders of other runs; their finished stages are copied instead of done again.

    Raises
    ------
    DataError
        If another process writes this run; if the configuration or the package's version differs from the one with
        which the run was begun (the message names what differs); if the folder holds other files and no manifest.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> from pathlib import Path
    >>> place = Path("my-run/answer.txt")
    >>> def save(value):
    ...     place.write_text(str(value))
    ...     return [place]
    >>> with sc.open_run("my-run", config={"seed": 1}) as run:  # a second time, the stage is loaded
    ...     run.stage("answer", inputs={}, make=lambda: 42, save=save, load=lambda: int(place.read_text()))
    42
    """
    folder = Path(folder)
    with one_writer(folder, again=False):
        run = replace(_opened(folder, _canonical(config)), others=others)
        try:
            yield run
        except KeyboardInterrupt as error:
            keeps(error, folder)
            raise
        if not run.manifest["is_whole"]:
            run.manifest["is_whole"] = True
            write_sealed_json(folder / MANIFEST, run.manifest)


def _opened(folder: Path, config: dict[str, Any]) -> Run:
    """Read a run's manifest, or make it, and clear what a killed process left."""
    path = folder / MANIFEST
    now = {"processor": processor()}
    if path.exists():
        manifest = read_manifest(folder)
        _same(f"configuration of {folder}", manifest["config"], config)
        _same(f"versions of {folder}", manifest["versions"], versions())
        warn_of_changes(folder, {key: manifest["facts"].get(key, now[key]) for key in now}, now)
    else:
        others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if others:
            raise DataError(f"{folder}: wanted an empty folder or a run, got {others[0]!r} and no {MANIFEST}")
        made = {"format": FORMAT, "config": config, "versions": versions(), "facts": now, "stages": {}}
        write_sealed_json(path, {**made, "is_whole": False})
        manifest = read_manifest(folder)  # in the file's order, as a run that goes on sees it
    clear_scratch(folder, below=True)
    timings = read_sealed_json(folder / TIMINGS) if (folder / TIMINGS).exists() else {}
    return Run(folder=folder, manifest=manifest, timings=timings)


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest.

    Raises
    ------
    DataError
        If it was changed, or is none that a run wrote; the message names file and key.
    """
    manifest = read_sealed_json(folder / MANIFEST)
    _check_manifest(str(folder / MANIFEST), manifest)
    return manifest


def damaged_in_run(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return a run's manifest, and one sentence for each of its files that is missing or was changed."""
    manifest = read_manifest(folder)
    if (folder / TIMINGS).exists():
        read_sealed_json(folder / TIMINGS)
    made = [*(stage["files"] for stage in manifest["stages"].values()), manifest.get("results", {})]
    return manifest, [problem for files in made for problem in damaged_files(folder, files)]


def _check_manifest(where: str, manifest: Any) -> None:
    """Refuse what no run wrote, so that all that is read of a manifest is there and of its type."""
    _check_object(where, manifest, ("format",))
    if manifest["format"] != FORMAT:
        raise DataError(f"{where}: format: wanted {FORMAT}, got {manifest['format']!r}")
    parts = ("config", "versions", "facts", "stages")
    _check_object(where, manifest, (*parts, "is_whole"))
    for key in parts:
        _check_object(f"{where}: {key}", manifest[key])
    for name, stage in manifest["stages"].items():
        _check_object(f"{where}: stages: {name}", stage, ("inputs", "files"))
        _check_object(f"{where}: stages: {name}: inputs", stage["inputs"])
        check_digests(f"{where}: stages: {name}: files", stage["files"])
    check_digests(f"{where}: results", manifest.get("results", {}))


def _check_object(where: str, value: Any, keys: Iterable[str] = ()) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{where}: wanted a JSON object, got {type(value).__name__}")
    for key in keys:
        if key not in value:
            raise DataError(f"{where}: wanted the key {key!r}, got no such key")


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def _remove(scratch: Sequence[Path]) -> None:
    for path in scratch:
        path.unlink(missing_ok=True)


def _check_done(folder: Path, name: str, stage: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Refuse a finished stage of other inputs, or of which a file is missing or changed."""
    _same(f"stage {name!r} of {folder}", stage["inputs"], dict(inputs))
    for problem in damaged_files(folder, stage["files"]):
        raise DataError(f"{problem}; delete the run folder's {MANIFEST} entry {name!r} or use a new folder")


def _with_neighbours(folder: Path, files: Iterable[str]) -> list[str]:
    """Return files of a run, and what lies next to and below them, such as the day on which a result was made."""
    inside = {Path(file).parts[0] for file in files if len(Path(file).parts) > 1}
    near = (path for name in sorted(inside) for path in (folder / name).rglob("*") if path.is_file())
    return sorted({*files, *(path.relative_to(folder).as_posix() for path in near)})


def _same(what: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    given = _canonical(given)
    if digest_json(stored) == digest_json(given):
        return
    for key in sorted(stored.keys() | given.keys()):
        old, new = stored.get(key), given.get(key)
        if old != new:
            raise DataError(
                f"{what}: it was begun with {key} = {old!r}, got {new!r}; use the first value or a new folder"
            )
