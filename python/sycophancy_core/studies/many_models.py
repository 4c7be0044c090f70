"""Many models asked the same prompts: one table, and how a metric goes with size and instruction tuning."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.estimates import EQUIVALENCE_MARGIN
from sycophancy_core.pipeline import compare, evaluate
from sycophancy_core.results.evaluation import Evaluation
from sycophancy_core.results.evaluations import Evaluations
from sycophancy_core.results.model_changes import ModelChanges
from sycophancy_core.runs.progress import Progress, note
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.tasks.named_tasks import DEFAULT_TASKS, TaskOptions, Tasks, task_prompts

Source: TypeAlias = "LanguageModel | str | os.PathLike[str] | tuple[Any, Any] | Callable[[], LanguageModel]"


@checked_arguments
def evaluate_many(
    models: Sequence[Source] | Mapping[str, Source],
    *,
    instruction_tuned: Sequence[bool] | None = None,
    families: Sequence[str] | None = None,
    tasks: Tasks = DEFAULT_TASKS,
    options: TaskOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
    think: int | None = None,
    run: str | os.PathLike[str] | None = None,
    progress: Progress | bool | None = None,
) -> Evaluations:
    """Measure several models on the same prompts, one after the other.

    Parameters
    ----------
    models
        Models, or what ``load_model`` takes, or functions without arguments that load one (for other options); by name
        or in order. What is loaded here is freed before the next model is loaded.
    instruction_tuned
        Whether each model is tuned on instructions; by default, whether its tokenizer has a chat template.
    families
        Family of each model; models of one family and tuning are joined by a line in the figure.
    tasks, options, limit, seed, think
        As for ``evaluate``; every model thinks for itself.
    run
        Folder for a folder ``model-i.unfinished`` of each model, which holds its journals; an interrupted call goes on
        from these. The command line removes them when the result is written.

    Raises
    ------
    DataError
        If there is no model, two have one name, or there is not one flag or family a model.
    ModelError
        If a model is to think that cannot; see ``evaluate``.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> found = sc.evaluate_many(["base", "other"], tasks="facts", limit=4, progress=False)
    >>> [one.model for one in found.evaluations]
    ['base', 'other']
    """
    items: list[tuple[str | None, Source]]
    items = list(models.items()) if isinstance(models, Mapping) else [(None, source) for source in models]
    if not items:
        raise DataError("evaluate_many: wanted at least one model, got none")
    for what, given in (("instruction_tuned", instruction_tuned), ("families", families)):
        if given is not None and len(given) != len(items):
            raise DataError(f"evaluate_many: wanted one of {what} for each of {len(items)} models, got {len(given)}")
    prompts = task_prompts(tasks, options=options, limit=limit, seed=seed)
    found: list[Evaluation] = []
    for i, (name, source) in enumerate(items):
        about: dict[str, Any] = {"family": families[i] if families else ""}
        if instruction_tuned is not None:
            about["instruction_tuned"] = bool(instruction_tuned[i])
        taken = {one.model for one in found}
        wanted = {
            "tasks": prompts,
            "seed": seed,
            "think": think,
            "run": None if run is None else Path(run) / f"model-{i}.unfinished",
            "progress": _part_of(progress, i, len(items)),
        }
        if callable(progress):
            note(progress, f"model {i + 1} of {len(items)}")
        found.append(_evaluate_one(source, name, taken, {**about, "limit": limit}, wanted))
        gc.collect()  # a model's tensors may hang in reference cycles
    return Evaluations(evaluations=tuple(found))


def _part_of(progress: Progress | bool | None, place: int, number: int) -> Progress | bool | None:
    """Return what shows the progress of one model as a part of that of all."""
    if not callable(progress):
        return progress
    whole: Progress = progress
    return lambda done, total: whole(place * total + done, number * total)


def _evaluate_one(
    source: Source,
    name: str | None,
    taken: set[str],
    about: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> Evaluation:
    model = source if isinstance(source, LanguageModel) else source() if callable(source) else load_model(source)
    name = name or model.name
    if name in taken:
        raise DataError(f"evaluate_many: two models are named {name!r}; give the models by name, as a mapping")
    facts = {
        "num_parameters": model.num_parameters,
        "instruction_tuned": bool(model.scoring_tokenizer.chat_template),
        **about,
    }
    found = evaluate(model, **wanted)
    return replace(found, model=name, facts={**found.facts, **facts})


@checked_arguments
def compare_models(
    evaluations: Evaluations | Sequence[Evaluation] | Mapping[str, Evaluation],
    *,
    baseline: str | None = None,
    equivalence_margin: float = EQUIVALENCE_MARGIN,
) -> ModelChanges:
    """Compare several models with one, prompt by prompt.

    Parameters
    ----------
    evaluations
        Evaluations of the same prompts, of models with different names; or by names of your own.
    baseline
        The name of the model that the others are compared with; by default the first.
    equivalence_margin
        As for ``compare``.

    Raises
    ------
    DataError
        If there are fewer than two, two have one name, the baseline is none of them, or they answered other prompts.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> found = sc.evaluate_many(["base", "other"], tasks="facts", limit=4, progress=False)
    >>> change = sc.compare_models(found, baseline="base")
    >>> set(change.to_arrow()["model"].to_pylist())
    {'other'}
    """
    if isinstance(evaluations, Mapping):
        items = list(evaluations.items())
    else:
        several = evaluations.evaluations if isinstance(evaluations, Evaluations) else evaluations
        items = [(one.model, one) for one in several]
    names = [name for name, _ in items]
    if len(items) < 2:
        raise DataError(f"compare_models: wanted at least two evaluations, got {len(items)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"compare_models: two evaluations are named {twice!r}; give them by name, as a mapping")
    first = names[0] if baseline is None else baseline
    if first not in names:
        raise DataError(f"compare_models: the baseline {first!r} is none of {', '.join(names)}")
    of_baseline = replace(dict(items)[first], model=first)
    comparisons = {
        name: compare(of_baseline, replace(one, model=name), equivalence_margin=equivalence_margin)
        for name, one in items
        if name != first
    }
    return ModelChanges(baseline=first, comparisons=comparisons)
