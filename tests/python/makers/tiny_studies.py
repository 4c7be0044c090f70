"""A study of a tiny model, the content of its folder, and a printer that kills its process."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.runs.progress import Progress, ProgressPrinter


def tiny_study(folder: Path) -> sc.StudyOptions:
    """Save a tiny model, and return a study of it with two variants."""
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    sweep = sc.Sweep(filter=("margin", "none"), steps=(2,))
    return sc.StudyOptions(
        model=str(folder),
        families=("addition", "sample_number"),
        candidate_families=("sample_number",),
        claims=3,
        candidates=8,
        batch_size=6,
        lora_rank=2,
        sweep=sweep,
    )


def run_quietly(options: sc.StudyOptions, folder: Path, printer: ProgressPrinter | None = None) -> sc.StudyResult:
    """Run a study that prints nothing."""
    return sc.study(options, folder, printer=printer or ProgressPrinter(quiet=True), out=io.StringIO())


class KillingPrinter(ProgressPrinter):
    """Kills its own process at a stage's first sign of progress."""

    def __init__(self, stage: str) -> None:
        super().__init__(quiet=True)
        self._fatal = stage

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Kill at the chosen stage."""
        with super().stage(name) as show:

            def kill(done: int, total: int) -> None:
                if name == self._fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
                show(done, total)

            yield kill


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "timings.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def stages(folder: Path) -> list[str]:
    return sorted(read_json(folder / "manifest.json")["stages"])


def kinds(names: list[str]) -> list[str]:
    return sorted(name.rpartition("-")[0] for name in names)
