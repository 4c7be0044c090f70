"""A study by several processes: each variant in a folder of its own, and all of them in the study's folder at the end.

Next to the study's folder ``NAME`` is the folder ``NAME.parts``, which goes once the study is whole. A part that was
stopped is resumed, and what one part has finished is copied by the next.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from sycophancy_core.runs.digests import short_id
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.run_folder import is_run, open_run, read_manifest
from sycophancy_core.studies.options import StudyOptions
from sycophancy_core.studies.stages import Stages
from sycophancy_core.studies.study import RUN, run_study


def run_part(options: StudyOptions, folder: Path, variant: str | None = None) -> None:
    """Do what a variant needs, or what all variants share, in the part's own folder.

    Parameters
    ----------
    folder
        The study's folder.
    variant
        A variant's name; None for what all share: the unmodified model's measurement, and what it knows.
    """
    shared = [] if variant is None else [part_folder(folder)]
    with open_run(part_folder(folder, variant), config=RUN, others=[folder, *shared]) as run:
        stages = Stages(run=run, options=options, printer=ProgressPrinter(quiet=True), out=sys.stdout)
        stages.measure()
        if variant is not None:
            stages.run_variant(variant, options.sweep.variants()[variant])


def missing_parts(options: StudyOptions, folder: Path) -> list[str]:
    """Return the names of the variants of which no part is finished."""
    return [name for name in options.sweep.variants() if not _is_whole(part_folder(folder, name))]


def put_together(options: StudyOptions, folder: Path) -> None:
    """Write the study's folder from its parts, as one process would have written it, and remove the parts."""
    names: Sequence[str | None] = [None, *options.sweep.variants()]
    others = [part_folder(folder, name) for name in names]
    run_study(options, folder, printer=ProgressPrinter(quiet=True), out=sys.stdout, others=others)
    shutil.rmtree(part_folder(folder).parent, ignore_errors=True)


def part_folder(folder: Path, variant: str | None = None) -> Path:
    """Return the folder of a variant's part, or of what all variants share."""
    parts = folder.with_name(f"{folder.name}.parts")
    return parts / ("shared" if variant is None else f"variant-{short_id(variant)}")


def _is_whole(folder: Path) -> bool:
    return is_run(folder) and bool(read_manifest(folder)["is_whole"])
