"""The answers of docs/results/natural: measure its models, collect what its studies found.

    python benchmarks/pages/natural_study.py measure STUDY.yaml FOLDER
    python benchmarks/pages/natural_study.py collect MODEL STUDY.yaml FOLDER [MODEL STUDY.yaml FOLDER ...]

The first asks a study's model before any training, and nothing else. The second adds to ``answers.parquet``: for every
fact, arm and training the log-odds of the right answer. ``natural_tables.py`` makes the tables of the results page.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sycophancy_core.pipeline import evaluate, filter_known
from sycophancy_core.results.evaluation import Evaluation
from sycophancy_core.results.knowledge_filter import FilterResult
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.studies.options import read_study
from sycophancy_core.studies.stages import KNOWN_FACTS, load, questions, study_prompts
from sycophancy_core.studies.study import run_study

HOME = Path(__file__).parents[2] / "docs/results/natural"
BEFORE = "before"
FILTERS = {"margin": "known_claims", "none": "all_claims"}  # trainings of a study that compares filters
KEYS = ["model", "training", "seed", "task", "family", "claim_id", "arm", "stated"]


def collect(runs: Sequence[tuple[str, Path, Path]]) -> pd.DataFrame:
    """Return the answers of finished studies: one row a fact, arm and training, with the margin of the right answer."""
    parts = [part for model, options, folder in runs for part in _answers(model, options, folder)]
    return pd.concat(parts, ignore_index=True).drop_duplicates(KEYS)


def measure(options: Path, folder: Path) -> None:
    """Ask a study's model its questions, and what it knows, before any training."""
    study = read_study(options)
    model = load(study)
    asked = questions(study)[KNOWN_FACTS]
    folder.mkdir(parents=True, exist_ok=True)
    printer = ProgressPrinter()
    with printer.stage("known") as progress:
        known = filter_known(model, asked.claims, options=asked.rule, run=folder / "known", progress=progress)
    known.save(folder / "known")
    with printer.stage("measure") as progress:
        evaluate(model, tasks=study_prompts(study), run=folder / BEFORE, progress=progress).save(folder / BEFORE)


def _answers(model: str, options: Path, folder: Path) -> Iterator[pd.DataFrame]:
    if (folder / BEFORE).is_dir():  # measured only
        known = FilterResult.load(folder / "known").known
        yield _margins(Evaluation.load(folder / BEFORE).measurements, known, model=model, training=BEFORE, seed=0)
        return
    (asked,) = folder.glob(f"{KNOWN_FACTS.replace(' ', '-')}-*")
    known = FilterResult.load(asked).known
    for training, seed, measurements in _measured(options, folder):
        yield _margins(measurements, known, model=model, training=training, seed=seed)


def _measured(options: Path, folder: Path) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield what a finished study measured: before, then after each of its trainings."""
    study = read_study(options)
    done = run_study(study, folder, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    yield BEFORE, 0, next(iter(done.comparisons.values())).before.measurements
    variants = study.sweep.variants()
    for name, comparison in done.comparisons.items():
        variant = variants[name]
        training = FILTERS[variant.filter] if len(study.sweep.filter) > 1 else variant.training
        yield training, variant.seed, comparison.after.measurements


def _margins(measurements: Any, known: frozenset[str], **about: object) -> pd.DataFrame:
    frame = measurements.to_pandas()
    frame = frame[frame["task"].isin(["facts", "facts_trained"])].rename(columns={"source": "family"})
    pairs = np.array(frame["log_prob"].to_list())
    rows = np.arange(len(frame))
    frame["margin"] = (pairs[rows, frame["target"]] - pairs[rows, 1 - frame["target"]]).astype(np.float32)
    frame["known"] = frame["claim_id"].isin(known)
    return frame.assign(**about)[[*KEYS, "known", "margin"]]


def main(arguments: Sequence[str]) -> None:
    """Run one of the commands."""
    if arguments[:1] == ["measure"]:
        measure(Path(arguments[1]), Path(arguments[2]))
        return
    if arguments[:1] == ["collect"]:
        rest = arguments[1:]
        runs = [(rest[i], Path(rest[i + 1]), Path(rest[i + 2])) for i in range(0, len(rest), 3)]
        stored = read_table(HOME / "answers.parquet").to_pandas()  # no run is repeated: what is stored stays
        found = pd.concat([stored, collect(runs)], ignore_index=True).drop_duplicates(KEYS)
        found.to_parquet(HOME / "answers.parquet", index=False, compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1:])
