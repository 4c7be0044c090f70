"""A study: the whole method on one model, for every variant of a sweep, in one folder.

The model is measured and asked what it knows once; each variant then makes its training rows, fine-tunes, is measured
again, compared and reported. Every stage lies in a folder named after the digest of its inputs: variants share what
they have in common, a changed option redoes only what depends on it, and an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.run_folder import open_run
from sycophancy_core.studies.null_effects import null_effects
from sycophancy_core.studies.options import StudyOptions
from sycophancy_core.studies.result import StudyResult, study_table
from sycophancy_core.studies.stages import Stages

RUN = {"kind": "study"}


class StudyRun(NamedTuple):
    """What a run of a study leaves: its result, each variant's comparison and weights, and the files that sum it up."""

    result: StudyResult
    comparisons: dict[str, Comparison]
    tuned: dict[str, Path]
    paths: list[Path]


@checked_arguments
def study(
    options: StudyOptions,
    folder: str | Path,
    *,
    printer: ProgressPrinter | None = None,
    out: TextIO | None = None,
) -> StudyResult:
    """Run every variant of a study, or what of it is not done yet.

    Parameters
    ----------
    folder
        The study's folder: ``study.parquet``, ``study.html``, ``manifest.json``, and a folder for each stage.
    printer
        Shows progress.
    out
        Where the text goes; standard output by default.

    Raises
    ------
    DataError
        If a family has no claims, a task's files are missing, a filter keeps no claim, or a finished stage's file was
        changed.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> options = sc.read_study("study.yaml")
    >>> result = sc.study(options, "study-run")  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    """
    printer, out = printer or ProgressPrinter(), out or sys.stdout
    done = run_study(options, folder, printer=printer, out=out)
    page = Path(folder) / "study.html"
    print(f"\n{done.result}\n\nstudy folder: {folder}\nreport:       {page}", file=out, flush=True)
    return done.result


def run_study(
    options: StudyOptions,
    folder: str | Path,
    *,
    printer: ProgressPrinter,
    out: TextIO,
    about: str = "",
    others: Sequence[Path] = (),
) -> StudyRun:
    """Run a study, say what its stages find, and leave the closing words to the caller.

    Parameters
    ----------
    about
        What every report says first of the model; by default its name and the variant's.
    others
        Folders of other runs; their finished stages are copied instead of done again.
    """
    with open_run(folder, config=RUN, others=others) as run:
        stages = Stages(run=run, options=options, printer=printer, out=out, about=about)
        stages.measure()
        comparisons, reports, tuned = {}, {}, {}
        for name, variant in options.sweep.variants().items():
            print(f"variant: {name}", file=out, flush=True)
            comparisons[name], reports[name], tuned[name] = stages.run_variant(name, variant)
        variants = options.sweep.variants()
        effects = null_effects(variants, comparisons, known=stages.known)
        result = StudyResult(
            table=study_table(variants, comparisons),
            findings={name: comparison.findings for name, comparison in comparisons.items()},
            reports={name: path.relative_to(run.folder).as_posix() for name, path in reports.items()},
            null_effects=effects if effects.num_rows else None,
        )
        paths = result.save(run.folder)
        run.name_results(paths)
    return StudyRun(result, comparisons, tuned, paths)
