"""Prompts of tasks to measurements: scored, sampled or thought about first, with journals where there is a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import TEXTS
from sycophancy_core.runs.locks import one_writer
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.runs.progress import Progress, note, shown_progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.resumable import score_resumable
from sycophancy_core.scoring.sampled.sampling import SamplingOptions, sample_answers
from sycophancy_core.scoring.sampled.thoughts import think
from sycophancy_core.scoring.scores import Scores, join_scores
from sycophancy_core.tasks.second_turn import is_first_turn, measure_turns, refuse_second_turns


def thought_prompts(
    model: LanguageModel,
    prompts: Mapping[str, pa.Table],
    max_tokens: int,
    seed: int,
    *,
    run: str | Path | None,
    progress: Progress | bool | None,
) -> dict[str, pa.Table]:
    """Let a model think about the prompts of each task, with a journal for each where there is a folder.

    Raises
    ------
    DataError
        If a task has a second turn.
    """
    for table in prompts.values():
        refuse_second_turns(table)
    found = {}
    with writing(run):
        for place, (name, table) in enumerate(prompts.items()):
            journal = None if run is None else Path(run) / _think_journal(place)
            with shown_progress(progress, f"think: {name}", "prompts") as show:
                _say(show, f"(prompts of {name} thought about)")
                found[name] = think(
                    model, table, max_tokens=max_tokens, seed=seed, journal=journal, progress=show or False
                )
                _say(show, "")
    return found


def evaluation_journals(tasks: Collection[str]) -> list[str]:
    """Name the journals that an evaluation of tasks by scores may leave in its folder."""
    return ["evaluate.journal", *map(_think_journal, range(len(tasks)))]


def sampled_prompts(
    model: LanguageModel,
    prompts: pa.Table,
    sampling: SamplingOptions,
    seed: int,
    *,
    run: str | Path | None,
    progress: Progress | bool | None,
) -> pa.Table:
    """Sample answers to prompts of tasks: measurements, with the texts that were asked.

    Raises
    ------
    DataError
        If a task has a second turn.
    """
    if pc.any(is_first_turn(prompts)).as_py():
        raise DataError("evaluate: a task with a second turn is scored, not sampled; leave sampling out")
    journal = None if run is None else Path(run) / "sample.journal"
    with writing(run), shown_progress(progress, "sample", "prompts") as show:
        return sample_answers(model, prompts, options=sampling, seed=seed, journal=journal, progress=show)


def measured_turns(
    model: LanguageModel, prompts: pa.Table, *, run: str | Path | None, progress: Progress | bool | None
) -> pa.Table:
    """Score prompts of tasks, and second turns where a task has them: measurements, with the texts that were asked."""
    texts: list[pa.Table] = []

    def score(table: pa.Table, turn: str) -> Scores:
        texts.append(table.select([name for name in TEXTS if name in table.column_names]))
        return _score(model, table, f"{turn}.journal", run, show)

    with writing(run), shown_progress(progress, "evaluate", _unit(run)) as show:
        measured = measure_turns(prompts, score)
    for name, column in zip(texts[0].column_names, pa.concat_tables(texts).columns, strict=True):
        measured = measured.append_column(name, column)
    return measured


def measured_prompts(
    model: LanguageModel, prompts: pa.Table, stage: str, *, run: str | Path | None, progress: Progress | bool | None
) -> pa.Table:
    """Score prompts, with a journal of the stage's name where there is a folder for it: measurements."""
    with writing(run), shown_progress(progress, stage, _unit(run)) as show:
        return join_scores(prompts, _score(model, prompts, f"{stage}.journal", run, show))


def writing(run: str | Path | None) -> AbstractContextManager[None]:
    """Hold the folder of the journals, if there is one."""
    if run is None:
        return nullcontext()
    check_output_folder(run)
    return one_writer(run)


def _score(
    model: LanguageModel, prompts: pa.Table, journal: str, run: str | Path | None, progress: Progress | None
) -> Scores:
    if run is None:
        return model.score(prompts, progress=progress)
    return score_resumable(model, prompts, journal=Path(run) / journal, progress=progress)


def _think_journal(place: int) -> str:
    return f"think-{place}.journal"


def _say(progress: Progress | None, text: str) -> None:
    if progress is not None:
        note(progress, text)


def _unit(run: str | Path | None) -> str:
    """Name what the progress of scoring counts: with a journal, whole prompts."""
    return "tokens" if run is None else "prompts"
