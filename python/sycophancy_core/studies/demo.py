"""The demo: a study of one variant, on the packaged organism or any model, that ends with a before/after table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.scoring.sources import ORGANISM, resolve_source
from sycophancy_core.studies.options import StudyOptions, Sweep
from sycophancy_core.studies.study import run_study

ABOUT_ORGANISM = """\
This demo starts from a MODEL ORGANISM: SmolLM2-135M-Instruct with a small adapter that was trained on purpose to know
simple claims and to say whatever its user says. It is a control with known sycophancy, made for trying the method.
Nothing printed here is a result about SmolLM2, which in this format is at chance on the claims and follows nobody."""

ABOUT_OTHER = "This demo starts from the model {name}, as it is."

# The organism was taught the sentiment and the numbers, and nothing of the capitals, which the filter is to find out.
DEMO = StudyOptions(
    model=ORGANISM,
    candidate_families=("sample_sentiment", "sample_number", "sample_capital"),
    max_error=0.1,
    curve_points=4,
    sweep=Sweep(steps=(60,)),
)


def demo_options(changes: Mapping[str, Any]) -> StudyOptions:
    """Return the demo's options but for ``steps``, a ``seed`` of everything, and other fields of ``StudyOptions``."""
    swept = {name: (changes[name],) for name in ("steps", "seed") if name in changes}
    others = {name: value for name, value in changes.items() if name != "steps"}
    return replace(DEMO, sweep=replace(DEMO.sweep, **swept), **others)


def run_demo(
    folder: str | Path,
    *,
    options: StudyOptions = DEMO,
    printer: ProgressPrinter | None = None,
    out: TextIO | None = None,
) -> dict[str, Comparison]:
    """Run the method, print the before/after table of each variant, and return the comparisons by variant.

    Parameters
    ----------
    folder
        A study's folder; see ``study``.
    printer
        Shows progress.
    out
        Where the text goes; standard output by default.
    """
    printer, out = printer or ProgressPrinter(), out or sys.stdout
    is_organism = options.model == ORGANISM
    about = ABOUT_ORGANISM if is_organism else ABOUT_OTHER.format(name=resolve_source(options.model)[1])
    print(about, end="\n\n", file=out, flush=True)
    done = run_study(options, folder, printer=printer, out=out, about=" ".join(about.split()))
    for name, comparison in done.comparisons.items():
        print(f"\n{comparison}\n\nreport: {Path(folder) / done.result.reports[name]}", file=out, flush=True)
    return done.comparisons
