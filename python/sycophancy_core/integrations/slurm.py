"""Shards, and a study's variants, on a cluster: each a job of Slurm, or a process here, through submitit.

::

    jobs = submit_shards(["score", "my-model", "--prompts", "prompts.parquet"], shards=64, out="scores.parquet",
                         log_folder="logs", timeout_min=60, slurm_partition="gpu", gpus_per_node=1)
    [job.result() for job in jobs]

Then ``sycophancy-core merge`` puts the parts together. Shards whose file is there are not run again, so the same call
repeats what was lost, and only that. What was asked is noted next to the shards; another job with the same ``out`` is
refused. :func:`study_with_slurm` waits for its jobs itself.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError, ModelError, require_whole
from sycophancy_core.runs.digests import digest_file, digest_json
from sycophancy_core.runs.files import is_table_name
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.shards import shard_file
from sycophancy_core.studies.options import StudyOptions
from sycophancy_core.studies.parts import missing_parts, put_together, run_part
from sycophancy_core.studies.result import StudyResult

try:
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError
except ImportError as error:
    raise ImportError(
        f"sycophancy_core.integrations.slurm: needs submitit, which cannot be imported ({error}); "
        "pip install 'sycophancy-core[slurm]'"
    ) from error

VERBS = ("score", "filter", "evaluate")
_NOTE = "shards.json"


def submit_shards(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    shards: int,
    out: str | Path,
    log_folder: str | Path,
    cluster: str | None = None,
    **settings: Any,
) -> list[Any]:
    """Submit a job for each shard whose file is not there.

    Parameters
    ----------
    arguments
        The verb (``score``, ``filter`` or ``evaluate``) and its options, as on the command line, without ``--shard``
        and ``-o``.
    out
        What ``-o`` would be for one process.
    log_folder
        Where submitit writes scripts, logs and results; jobs must see it.
    cluster
        ``"slurm"``, or ``"local"`` for processes here; by default whichever there is.
    settings
        For submitit: ``timeout_min``, ``gpus_per_node``, ``slurm_partition``, ...

    Returns
    -------
    list of submitit.Job
        ``result()`` waits for a job, and returns its shard's file.

    Raises
    ------
    DataError
        If the verb takes no shards, or the shards there are of other arguments, another number, or files or models
        that have changed since.
    """
    require_whole("submit_shards", "shards", shards, least=1)
    words = [os.fspath(word) for word in arguments]
    if not words or words[0] not in VERBS:
        raise DataError(
            f"submit_shards: wanted one of {', '.join(VERBS)} first, got {' '.join(words[:1]) or 'nothing'}"
        )
    _check_same_job(Path(out), words, shards)
    executor = submitit.AutoExecutor(folder=log_folder, cluster=cluster)
    executor.update_parameters(**settings)
    missing = [part for part in range(shards) if not shard_file(out, (part, shards)).exists()]
    if not missing:
        return []
    with executor.batch():
        jobs = [executor.submit(run_shard, words, (part, shards), Path(out).absolute()) for part in missing]
    return list(jobs)


def study_with_slurm(
    options: StudyOptions,
    folder: str | Path,
    *,
    log_folder: str | Path,
    cluster: str | None = None,
    **settings: Any,
) -> StudyResult:
    """Run a study with a job for each variant, and wait for it: the bytes of one process.

    A first job measures the unmodified model, then all variants run at once, and a last job puts the parts together.
    If a job is lost, the same call goes on with what is not finished.

    Parameters
    ----------
    folder
        The study's folder, as of :func:`study`. All jobs must see it, and the folder ``NAME.parts`` next to it.
    log_folder, cluster, settings
        As of :func:`submit_shards`.

    Raises
    ------
    ModelError
        If jobs fail or are killed. The message names the first, and what it said.
    """
    folder = Path(folder).absolute()
    executor = submitit.AutoExecutor(folder=log_folder, cluster=cluster)
    executor.update_parameters(**settings)
    missing = missing_parts(options, folder)
    if missing:
        _wait({"what all variants share": executor.submit(run_part, options, folder)})
        with executor.batch():
            jobs = {f"variant {name}": executor.submit(run_part, options, folder, name) for name in missing}
        _wait(jobs)
    _wait({"the last job": executor.submit(put_together, options, folder)})
    return StudyResult.load(folder)


def _wait(jobs: Mapping[str, Any]) -> None:
    """Wait for all jobs; raise the first failure."""
    failed = {}
    for name, job in jobs.items():
        try:
            job.result()
        except FailedJobError as error:
            failed[name] = str(error).strip().splitlines()[-1]
        except UncompletedJobError as error:
            failed[name] = str(error).strip().splitlines()[0]
    for name, said in failed.items():
        raise ModelError(
            f"study_with_slurm: {len(failed)} of {len(jobs)} jobs failed, first {name}: {said}; the same call goes on "
            "with what is not finished"
        )


def _check_same_job(out: Path, words: Sequence[str], shards: int) -> None:
    """Note next to the shards what was asked; refuse another job than the noted one."""
    folder, stem, name = (out.parent, out.stem, f"{out.stem}-{_NOTE}") if is_table_name(out) else (out, "shard", _NOTE)
    note = folder / name
    job = {"arguments": list(words), "shards": shards, "inputs": _inputs(words)}
    if not note.is_file():
        if any(folder.glob(f"{glob.escape(stem)}-*-of-*.parquet")):
            raise DataError(
                f"submit_shards: {folder}: there are shards, and no {name} that says of what; give another out, or "
                "remove them"
            )
        write_json(note, job)
        return
    noted = read_json(note)
    for key, now in job.items():
        then = noted.get(key) if isinstance(noted, dict) else None
        if then != now:
            raise DataError(
                f"submit_shards: {note}: the shards there are of another job: {key} was {then} then, and is {now} now; "
                "give another out, or remove the shards and the note"
            )


def _inputs(words: Sequence[str]) -> dict[str, str]:
    """Return the digests of the files and folders that the arguments name, such as prompts and a model."""
    paths = {word: Path(word.partition("=")[2] if word.startswith("--") else word) for word in words}
    return {word: _digest(path) for word, path in paths.items() if path.name and path.exists()}


def _digest(path: Path) -> str:
    if path.is_file():
        return digest_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest_json({file.relative_to(path).as_posix(): digest_file(file) for file in files})


def run_shard(words: Sequence[str], shard: tuple[int, int], out: Path) -> Path:
    """Run one shard in a process of its own, and return its file.

    Raises
    ------
    ModelError
        With what the command said, if it failed.
    """
    command = [sys.executable, "-m", "sycophancy_core", *words, "--shard", f"{shard[0]}/{shard[1]}", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ModelError(f"shard {shard[0]} of {shard[1]} failed: {said[-1]}")
    return shard_file(out, shard)
