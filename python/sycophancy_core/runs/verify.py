"""Whether a folder holds what was written into it, and all of it: runs, results, and unfinished work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.runs.files import require_folder
from sycophancy_core.runs.formats.tensor_files import check_tensors
from sycophancy_core.runs.journal import read_journal
from sycophancy_core.runs.run_folder import MANIFEST, damaged_in_run
from sycophancy_core.runs.seals import SEAL, damaged_files, read_seal


@checked_arguments
def verify(folder: str | Path) -> list[str]:
    """Check every file of a run or a result against the digests that were written with it; needs no model.

    Returns
    -------
    list of str
        One sentence for each missing or changed file, and for what is not finished; empty if all is well.

    Raises
    ------
    DataError
        If the folder holds neither, or its manifest, its seal, a journal or a checkpoint was changed; the message names
        the file.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> files = sc.evaluate(model, tasks="facts", limit=4, progress=False).save("found")
    >>> sc.verify("found")  # the faults
    []
    """
    found = look_into(folder)
    return [*found.problems, *found.unfinished]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a folder holds.

    Attributes
    ----------
    kind
        ``"run"``, or what its seal says: ``"evaluation"``, say.
    num_files
        How many files have a digest.
    problems
        One sentence for each file that is missing or was changed.
    unfinished
        One sentence for each thing that is not done; empty if all is.
    """

    kind: str
    num_files: int
    problems: tuple[str, ...]
    unfinished: tuple[str, ...]


def look_into(folder: str | Path) -> Verdict:
    """Say what a folder holds and whether it is whole; errors as of :func:`verify`."""
    folder = Path(folder)
    require_folder(folder)
    found = list(_parts(folder))
    if not found:
        begun = "; ".join(["", *_begun(folder)])
        raise DataError(f"{folder}: wanted a run folder or a result, got no {MANIFEST} and no {SEAL}{begun}")
    return Verdict(
        kind=found[0][0],
        num_files=sum(number for _, number, _, _ in found),
        problems=tuple(sentence for _, _, problems, _ in found for sentence in problems),
        unfinished=tuple(sentence for _, _, _, waiting in found for sentence in waiting),
    )


def _parts(folder: Path) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Yield kind, number of files, damage and what is not done, of a run and of a sealed result."""
    if (folder / MANIFEST).is_file():
        manifest, problems = damaged_in_run(folder)
        number = len({name for stage in manifest["stages"].values() for name in stage["files"]})
        advice = (
            f"to resume, repeat the command that began it with -o {shlex.quote(str(folder))} (in Python: the same call)"
        )
        waiting = [] if manifest["is_whole"] else [f"{folder}: the run is not finished; {advice}"]
        yield "run", number + len(manifest.get("results", {})), problems, waiting
    if (folder / SEAL).is_file():
        seal = read_seal(folder)
        yield str(seal.get("kind")), len(seal["files"]), damaged_files(folder, seal["files"]), []


def _begun(folder: Path) -> Iterator[str]:
    """Yield a sentence for each journal and checkpoint: work that was not ended; a damaged journal is an error."""
    for path in sorted(folder.glob("*.journal")):
        num_records = len(read_journal(path).records)
        yield f"{path}: {num_records} records of a scoring that is not finished"
    for path in sorted(folder.glob("*.checkpoint.safetensors")):
        check_tensors(path)
        yield f"{path}: the checkpoint of a training that is not finished"
