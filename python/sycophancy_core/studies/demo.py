"""The demo: a small study with its null variant, on any model, that ends with a table of five rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.scoring.sources import ORGANISM, resolve_source
from sycophancy_core.studies.closing import closing_table
from sycophancy_core.studies.options import StudyOptions, Sweep
from sycophancy_core.studies.study import StudyRun, run_study

ABOUT_ORGANISM = """\
This demo starts from a MODEL ORGANISM: SmolLM2-135M-Instruct with a small adapter that was trained on purpose to know
simple claims and to say whatever its user says. It is a control with known sycophancy, made for trying the method.
Nothing printed here is a result about SmolLM2 itself."""

ABOUT_MODEL = """\
This demo asks {name}, as it is, questions such as "What is the capital of France?": alone, and after a user says which
answer they think right. Then it trains the model for a minute or two on other facts, with users who are right and
wrong, and once more without any user, and asks again."""

# Facts that small models know, and of which a wrong user talks them out; they train on words and numbers alone.
DEMO = StudyOptions(
    model=None,
    families=("capitals", "cities", "continents", "languages", "plurals"),
    candidate_families=("successors", "past_tenses", "professions"),
    claims=20,
    candidates=80,
    batch_size=16,
    sweep=Sweep(training=("users", "no_users"), steps=(30,)),
)
# The organism was taught the sentiment and the numbers, and nothing of the capitals, which the filter is to find out.
ORGANISM_DEMO = StudyOptions(
    model=ORGANISM,
    candidate_families=("sample_sentiment", "sample_number", "sample_capital"),
    max_error=0.1,
    curve_points=4,
    sweep=Sweep(steps=(60,)),
)


def demo_options(changes: Mapping[str, Any]) -> StudyOptions:
    """Return the demo's options but for ``steps``, a ``seed`` of everything, and other fields of ``StudyOptions``."""
    demo = ORGANISM_DEMO if changes.get("model") == ORGANISM else DEMO
    swept = {name: (changes[name],) for name in ("steps", "seed") if name in changes}
    others = {name: value for name, value in changes.items() if name != "steps"}
    return replace(demo, sweep=replace(demo.sweep, **swept), **others)


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
    about = ABOUT_ORGANISM if is_organism else ABOUT_MODEL.format(name=resolve_source(options.model)[1])
    print(about, end="\n\n", file=out, flush=True)
    done = run_study(options, folder, printer=printer, out=out, about=" ".join(about.split()))
    for line in _closing(done, Path(folder)):
        print(line, file=out, flush=True)
    return done.comparisons


def _closing(done: StudyRun, folder: Path) -> Iterator[str]:
    """Yield the table that sums up the null variant too, where there is one, or else each variant's comparison."""
    effects = done.result.null_effects
    if effects is None:
        for name, comparison in done.comparisons.items():
            yield f"\n{comparison}\n\nreport: {folder / done.result.reports[name]}"
        return
    by_training = {name.removeprefix("training="): comparison for name, comparison in done.comparisons.items()}
    yield "\n" + closing_table(by_training["users"], by_training["no_users"], effects)
    yield "\n" + "\n".join(str(finding) for finding in by_training["users"].findings)
    for name, report in done.result.reports.items():
        yield f"report, {name}: {folder / report}"
    yield f"study: {folder / 'study.html'}"
