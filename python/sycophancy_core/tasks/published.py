"""The files of published tasks: fetched once from where their authors publish them, kept, and never changed unseen."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import replace_file, write_csv
from sycophancy_core.runs.outputs import require_installed
from sycophancy_core.scoring.sources import cache_folder
from sycophancy_core.tasks.perez import FILES as PEREZ_FILES

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
_BBH = (
    "boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies "
    "geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects "
    "logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting "
    "penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "sports_understanding temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies word_sorting"
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A data set where its authors publish it.

    Attributes
    ----------
    address
        The folder of its files, with the slash that ends it.
    licence
        As its authors state it.
    page
        Where a person finds it.
    """

    address: str
    licence: str
    page: str


PUBLISHED = {
    "perez": Published(
        address="https://raw.githubusercontent.com/anthropics/evals/main/sycophancy/",
        licence="CC BY 4.0",
        page="github.com/anthropics/evals (folder sycophancy)",
    ),
    "sharma": Published(
        address="https://raw.githubusercontent.com/meg-tong/sycophancy-eval/main/datasets/",
        licence="MIT",
        page="github.com/meg-tong/sycophancy-eval (folder datasets)",
    ),
    "mmlu": Published(
        address="https://huggingface.co/datasets/cais/mmlu/resolve/main/all/",
        licence="MIT",
        page="github.com/hendrycks/test (data.tar), huggingface.co/datasets/cais/mmlu",
    ),
    "bbh": Published(
        address="https://raw.githubusercontent.com/suzgunmirac/BIG-Bench-Hard/main/bbh/",
        licence="MIT",
        page="github.com/suzgunmirac/BIG-Bench-Hard (folder bbh)",
    ),
}
FILES_OF = {
    **{name: f"perez/{file}" for name, file in PEREZ_FILES.items()},
    "answer": "sharma/answer.jsonl",
    "are_you_sure": "sharma/bct_mmlu_are_you_sure.jsonl",
    "mmlu": "mmlu/test/*.csv",
    "bbh": "bbh/*.json",
}
"""The files of each task that reads some, below the folder of ``TaskOptions``."""

_MMLU = "test-00000-of-00001.parquet"
# The names under which files are fetched; the later "Are you sure?" set has no folder to fetch from.
_FETCHED = {
    **{name: (file,) for name, file in PEREZ_FILES.items()},
    "answer": ("answer.jsonl",),
    "mmlu": (_MMLU,),
    "bbh": tuple(f"{name}.json" for name in _BBH.split()),
}


def set_of(task: str) -> str:
    """Name the data set that a task's files belong to."""
    return FILES_OF[task].split("/")[0]


def is_fetched(task: str) -> bool:
    """Tell whether a task's files are fetched where no folder is given."""
    return task in _FETCHED


def published_folder(task: str) -> Path:
    """Return the folder with a task's files in the cache, fetched where they are not there yet.

    The first download of a file notes its sha256 in a file next to it; one that differs from it later, here or where it
    is published, is refused. So are the files of MMLU, which are made of its one table.

    Raises
    ------
    DataError
        If a file cannot be fetched, or differs from its first download.
    """
    source, folder = PUBLISHED[set_of(task)], cache_folder() / "published" / set_of(task)
    if not is_fetched(task):
        raise DataError(f"task {task}: its files are not fetched; {_by_hand(task)}")
    for name in _FETCHED[task]:
        path = folder / name
        if not path.is_file():
            _fetch(task, source, path)
        _check_noted(task, path, f"fetched first from {source.address}{name}")
    return _unpacked_mmlu(folder) if task == "mmlu" else folder


def _check_noted(task: str, path: Path, how: str) -> None:
    """Note the sha256 of a file, next to it; refuse and remove one that differs from its note."""
    note, digest = path.with_name(f"{path.name}.sha256"), digest_file(path)
    if not note.is_file():
        replace_file(note, lambda file: file.write(f"{digest}\n".encode()))
    elif digest != (first := note.read_text(errors="replace").strip()):
        path.unlink()
        raise DataError(
            f"task {task}: {path.name} is not the file that was {how}: wanted sha256 {first}, got {digest}; call again "
            f"to get it once more; to take the new one, remove the folder {path.parent}; or {_by_hand(task)}"
        )


def _by_hand(task: str) -> str:
    """Say how to go on with files of one's own."""
    return (
        f"get {FILES_OF[task]} from {PUBLISHED[set_of(task)].page} "
        "and give the folder (--folder, or TaskOptions(folder=...))"
    )


def _fetch(task: str, source: Published, path: Path) -> None:
    """Fetch one file, whole or not at all."""
    require_installed("httpx", extra="served", what=f"task {task}: fetching its files")
    import httpx

    address = f"{source.address}{path.name}"
    print(f"fetching {address} ({source.licence})", file=sys.stderr, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=timeout) as answer:
            answer.raise_for_status()
            replace_file(path, lambda file: file.writelines(answer.iter_bytes()))
    except httpx.HTTPStatusError as error:
        got = f"the answer {error.response.status_code}"
        raise DataError(f"task {task}: wanted {address}, got {got}; {_by_hand(task)}") from error
    except httpx.HTTPError as error:
        raise DataError(f"task {task}: wanted {address}, got no file ({error}); {_by_hand(task)}") from error


def _unpacked_mmlu(folder: Path) -> Path:
    """Write the published table as its authors' files, one a subject: question, four choices, letter."""
    place = folder / "test"
    place.mkdir(exist_ok=True)
    table = pq.read_table(folder / _MMLU, columns=["question", "subject", "choices", "answer"])
    for subject in table["subject"].unique().to_pylist():
        path = place / f"{subject}_test.csv"
        if not path.is_file():
            rows = table.filter(pc.equal(table["subject"], subject)).to_pylist()
            replace_file(path, partial(_write_mmlu, rows))
        _check_noted("mmlu", path, f"made first of {folder / _MMLU}")
    return place


def _write_mmlu(rows: Iterable[dict[str, Any]], file: BinaryIO) -> None:
    made = [[row["question"], *row["choices"], "ABCD"[row["answer"]]] for row in rows]
    write_csv(pa.table(list(zip(*made, strict=True)), names=list("qabcdr")), file, header=False)
