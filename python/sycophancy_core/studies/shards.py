"""Scoring, filtering and evaluating in parts, each by a process of its own; ``results.shard.merge`` joins them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import PROMPTS, checked_table
from sycophancy_core.pipeline import claims_or_facts, filter_prompts
from sycophancy_core.prompts.fact_families import is_facts
from sycophancy_core.results.knowledge_filter import FilterOptions
from sycophancy_core.results.shard import Shard, Stage
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.shards import Part, shard_rows
from sycophancy_core.runs.surroundings import surroundings, versions
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tasks.asking import measured_prompts, measured_turns
from sycophancy_core.tasks.named_tasks import DEFAULT_TASKS, TaskOptions, Tasks, task_prompts
from sycophancy_core.tasks.provenance import evaluation_facts, model_facts, precision_checks
from sycophancy_core.tasks.second_turn import named_prompts


@checked_arguments
def score_shard(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    shard: Part,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Shard:
    """Score the i-th of n contiguous parts of a table of prompts.

    Parameters
    ----------
    shard
        ``(i, n)``, counted from 0.
    run
        Folder for the journal, of this part alone; an interrupted call goes on from it.

    Raises
    ------
    DataError
        If there are more parts than prompts.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.make_prompts(sc.make_additions(n=2))
    >>> sc.score_shard(sc.load_model("my-model"), prompts, shard=(0, 2), progress=False)
    Shard('score', 0 of 2, 8 prompts)
    """
    prompts = checked_table(prompts, PROMPTS, who="score_shard")
    mine = _part_of(prompts, shard, who="score_shard")
    measured = measured_prompts(model, mine, "score", run=run, progress=progress)
    job = {"prompts": digest_table(prompts), **model_facts(model), "versions": versions()}
    return _shard("score", model, shard, measured, job, num_prompts=prompts.num_rows)


@checked_arguments
def filter_shard(
    model: LanguageModel,
    claims: pa.Table,
    *,
    shard: Part,
    options: FilterOptions | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Shard:
    """Ask the i-th of n parts of a filter's prompts; which claims are kept is decided when the parts are merged.

    Parameters as of :func:`filter_known` and :func:`score_shard`.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> sums = sc.make_additions(n=2)
    >>> sc.filter_shard(sc.load_model("my-model"), sums, shard=(1, 2), progress=False).part
    1
    """
    options = options or FilterOptions()
    claims = claims_or_facts(claims, who="filter_shard")
    prompts = filter_prompts(claims, options, seed=seed)
    mine = _part_of(prompts, shard, who="filter_shard")
    measured = measured_prompts(model, mine, "filter", run=run, progress=progress)
    job = {
        "claims": digest_table(claims),
        "is_facts": is_facts(claims),
        "options": {**asdict(options), "templates": list(options.templates)},
        "seed": seed,
        **model_facts(model),
        "versions": versions(),
    }
    return _shard("filter", model, shard, measured, job, num_prompts=prompts.num_rows)


@checked_arguments
def evaluate_shard(
    model: LanguageModel,
    *,
    shard: Part,
    tasks: Tasks = DEFAULT_TASKS,
    options: TaskOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
    known: Collection[str] | None = None,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Shard:
    """Measure a model on the i-th of n parts of the prompts of tasks; metrics are estimated when they are merged.

    Parameters as of :func:`evaluate` and :func:`score_shard`.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> asked = {"tasks": "addition_factorial", "limit": 2, "progress": False}
    >>> parts = [sc.evaluate_shard(model, shard=(i, 2), **asked) for i in range(2)]
    >>> sc.merge(parts).measurements.equals(sc.evaluate(model, **asked).measurements)
    True
    """
    prompts = task_prompts(tasks, options=options, limit=limit, seed=seed)
    every = named_prompts(prompts)
    mine = _part_of(every, shard, who="evaluate_shard")
    measured = measured_turns(model, mine, run=run, progress=progress)
    job = {
        "model": model.name,
        "facts": evaluation_facts(model, prompts, seed=seed, limit=limit),
        "known": None if known is None else sorted(known),
    }
    own = {"precision_check": precision_checks(model, prompts)} if shard[0] == 0 else {}
    return _shard("evaluate", model, shard, measured, job, num_prompts=every.num_rows, **own)


def _part_of(prompts: pa.Table, shard: Part, *, who: str) -> pa.Table:
    rows = shard_rows(shard, prompts.num_rows, who=who)
    return prompts.slice(rows.start, len(rows))


def _shard(
    stage: Stage,
    model: LanguageModel,
    shard: Part,
    measured: pa.Table,
    job: Mapping[str, Any],
    *,
    num_prompts: int,
    **own: Any,
) -> Shard:
    return Shard(
        stage=stage,
        part=int(shard[0]),
        parts=int(shard[1]),
        table=measured,
        job={**job, "device": model.device, "num_prompts": num_prompts},
        own={"surroundings": surroundings(model.device), **own},
    )
