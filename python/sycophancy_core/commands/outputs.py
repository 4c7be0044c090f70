"""Where a verb's result goes: asked before the work, held while it lasts, and never in the place of another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import clear_scratch, final_place, previous_name, table_writer, write_table
from sycophancy_core.runs.interrupts import keeps
from sycophancy_core.runs.journal import read_journal
from sycophancy_core.runs.locks import is_first_process, one_writer
from sycophancy_core.runs.outputs import check_output_file, check_output_folder
from sycophancy_core.runs.run_folder import MANIFEST
from sycophancy_core.runs.seals import SEAL, previous_folder, read_seal

if TYPE_CHECKING:
    import pyarrow as pa


def check_table(path: Path) -> None:
    """Refuse a name for a table whose ending says no form, or under which no file can be written."""
    table_writer(path)
    check_output_file(path)


def write_rows(path: Path, table: pa.Table, what: str) -> dict[str, Any]:
    """Write a table in the form that its name's ending says; another one of that name is kept; say what was written."""
    kept = previous_name(path)
    write_table(path, table, keep=True)
    print(f"{table.num_rows:,} {what} in {path}")
    if kept.exists():
        print(f"what {path} held before is in {kept}")
    return {"file": path, "num_rows": table.num_rows}


@contextmanager
def result_folder(folder: Path, kind: str, *, shared: bool = False) -> Iterator[Path]:
    """Hold a folder for one result; say after an interrupt whether there is something to go on from.

    Parameters
    ----------
    kind
        What its seal is to say.
    shared
        Whether the processes of a launcher work on it together, of which one writes.

    Raises
    ------
    DataError
        If the folder cannot be written, is another writer's, or holds a result of another kind.
    """
    check_output_folder(folder)
    with nullcontext() if shared and not is_first_process() else one_writer(folder):
        clear_scratch(folder)
        _refuse_other_kinds(folder, kind)
        try:
            yield folder
        except KeyboardInterrupt as error:
            if _is_begun(folder) or _journals(folder):  # one without a batch is left too
                keeps(error, folder)
            raise


def say_what_is_there(folder: Path) -> None:
    """Say what becomes of the whole result that a folder holds, once the inputs of the next one are checked."""
    if (folder / SEAL).is_file() and not _is_begun(folder):
        aside = previous_folder(folder)
        print(
            f"{folder} already has a result; if the new one differs, the old one is moved to {aside}", file=sys.stderr
        )


def _refuse_other_kinds(folder: Path, kind: str) -> None:
    """Refuse to put a result among the files of another kind."""
    other = "run" if (folder / MANIFEST).is_file() else None
    if (folder / SEAL).is_file():
        try:
            other = read_seal(folder)["kind"]
        except DataError:  # what is damaged is made once more
            return
    if other is None or _is_begun(folder):
        return
    if other != kind:
        raise DataError(f"{folder}: wanted a folder for a result ({kind}), got one that has another ({other})")


def _is_begun(folder: Path) -> bool:
    """Tell whether a folder holds work to go on from."""
    if any(folder.glob("*.checkpoint.*")):
        return True
    try:
        return any(len(read_journal(path).records) > 1 for path in _journals(folder))
    except DataError:
        return False


@contextmanager
def journal_folder(out: Path, run: Path | None) -> Iterator[Path | None]:
    """Give the folder for the journal of a verb that writes one file: ``run``, or one next to the file.

    It goes once the file is written. What goes into a pipe or a device has no such folder.
    """
    if run is None and final_place(out) is None:
        yield None
        return
    folder = out.with_name(f"{out.name}.unfinished") if run is None else run
    with result_folder(folder, "journal"):
        yield folder
        remove_journals(folder)


def remove_journals(folder: Path) -> None:
    """Remove the journals of a result that is written."""
    for path in _journals(folder):
        path.unlink()
        if path.parent != folder:
            with suppress(OSError):  # it holds another one
                path.parent.rmdir()


def _journals(folder: Path) -> list[Path]:
    """Return the journals of a folder, and those of the models in it that are measured one after the other."""
    return [*folder.glob("*.journal"), *folder.glob("*.unfinished/*.journal")]
