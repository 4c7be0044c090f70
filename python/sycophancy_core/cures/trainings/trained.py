"""The cures by training: rows with the truth, or with the model's own answer, as targets; and their nulls."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.cured import Cost, Cured, base_of
from sycophancy_core.cures.methods import Consistent, Mixed, Trained, check_null, title_of
from sycophancy_core.cures.other_text import training_instructions
from sycophancy_core.cures.saved import SavedCure
from sycophancy_core.errors import DataError
from sycophancy_core.pipeline import filter_prompts, training_prompts
from sycophancy_core.results.fact_filter import judge_facts
from sycophancy_core.results.knowledge_filter import FilterOptions
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.checkpoints.peft_layers import is_float32
from sycophancy_core.scoring.checkpoints.saved_adapter import attach_saved_adapter, merge_saved_adapter
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.scores import join_scores
from sycophancy_core.training.finetune import finetune
from sycophancy_core.training.mixing import mix
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.synthetic import shuffle_targets

FOLDER = "training"  # of the adapter in a saved cure


def trained(
    model: LanguageModel,
    method: Mixed,
    facts: pa.Table,
    *,
    null: str | None = None,
    seed: int = 0,
    asked: Asked | None = None,
    progress: Progress | bool | None = None,
) -> Cured:
    """Train a copy of the model on rows about facts, mixed with instructions.

    Parameters
    ----------
    asked
        What the model answered alone, where that is known: a cure's nulls of the same seed are made from it too.
    """
    check_null(method, null)
    started = time.perf_counter()
    asked = asked or ask_alone(model, method, facts, seed=seed)
    prompts = cure_prompts(method, asked, null=null, seed=seed)
    rows = mix(prompts, training_instructions(), ratio=method.ratio, seed=seed)
    tuned = copy.deepcopy(model)
    result = finetune(tuned, rows, options=finetune_options(method, seed=seed), progress=progress)
    tuned.name = f"{model.name} + {title_of(method, null)}"
    loss = result.log["loss"].to_pylist()
    num_trained = pc.sum(result.log["tokens"]).as_py()
    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=tuned,
        base=base_of(model),
        cost=Cost(tokens=asked.num_tokens + num_trained, seconds=time.perf_counter() - started),
        about={
            "num_prompts": prompts.num_rows,
            "num_rows": rows.num_rows,
            "first_loss": loss[0],
            "last_loss": loss[-1],
        },
        _write=lambda folder: result.save(folder / FOLDER),
        _make_null=None
        if null
        else lambda kind, at: trained(
            model, method, facts, null=kind, seed=at, asked=asked if at == seed else None, progress=progress
        ),
    )


def finetune_options(method: Trained, *, seed: int) -> FinetuneOptions:
    """Return how a cure's adapter is trained."""
    return FinetuneOptions(
        steps=method.steps,
        batch_size=method.batch_size,
        learning_rate=method.learning_rate,
        lora_rank=method.lora_rank,
        seed=seed,
    )


class Asked(NamedTuple):
    """What a model answered alone: it decides what a training is about.

    Attributes
    ----------
    facts
        Those that are asked in the training.
    prompts, answers
        Of :class:`Consistent`: the training's prompts without a user, and the model's own answers.
    num_tokens
        How many tokens were run for it.
    """

    facts: pa.Table
    prompts: pa.Table | None
    answers: pa.ChunkedArray | None
    num_tokens: int


def ask_alone(model: LanguageModel, method: Trained, facts: pa.Table, *, seed: int) -> Asked:
    """Ask the model without a user: what it knows, or what it answers to the training's own prompts.

    Raises
    ------
    DataError
        If it knows none of the facts.
    """
    if isinstance(method, Consistent):
        prompts = training_prompts(facts, n=_num_prompts(method), users=False, seed=seed)
        scores = model.score(prompts)
        return Asked(facts, prompts, join_scores(prompts, scores)["answer"], scores.num_tokens)
    options = FilterOptions()
    prompts = filter_prompts(facts, options, seed=seed)
    scores = model.score(prompts)
    known = judge_facts(facts, join_scores(prompts, scores), options).kept
    if known.num_rows == 0:
        raise DataError(f"mitigate: model {model.name} knows none of {facts.num_rows} facts; give facts that it knows")
    return Asked(known, None, None, scores.num_tokens)


def cure_prompts(method: Trained, asked: Asked, *, null: str | None = None, seed: int = 0) -> pa.Table:
    """Return the prompts about facts; ``target`` is what is taught."""
    has_users = null != "no_users"
    if asked.answers is not None:
        prompts = training_prompts(asked.facts, n=_num_prompts(method), seed=seed) if has_users else asked.prompts
        return _with_targets(prompts, asked.answers).filter(pc.is_valid(asked.answers))
    prompts = training_prompts(asked.facts, n=_num_prompts(method), users=has_users, seed=seed)
    if null == "shuffled_targets":
        return shuffle_targets(prompts, seed=seed)
    return _draw_targets(prompts, seed=seed) if null == "shuffled_preferences" else prompts


def _num_prompts(method: Trained) -> int:
    share = method.ratio / (method.ratio + 1) if isinstance(method, Mixed) else 1.0
    return max(1, round(method.steps * method.batch_size * share))


def _draw_targets(prompts: pa.Table, *, seed: int) -> pa.Table:
    """Draw for each fact whether its right or its wrong answer is the target, wherever it is asked."""
    random = np.random.Generator(np.random.Philox(key=[seed, 10]))
    facts = sorted(set(prompts["claim_id"].to_pylist()))
    is_kept = dict(zip(facts, random.random(len(facts)) < 0.5, strict=True))
    rows = zip(prompts["claim_id"].to_pylist(), prompts["target"].to_pylist(), strict=True)
    return _with_targets(prompts, pa.array([t if is_kept[fact] else 1 - t for fact, t in rows]))


def _with_targets(prompts: pa.Table, targets: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = prompts.column_names.index("target")
    field = prompts.schema.field(place)
    return prompts.set_column(place, field, targets.cast(field.type))


def load_trained(model: LanguageModel, saved: SavedCure) -> Cured:
    """Read the adapter of a saved cure, and put it on a copy of a model."""
    tuned = with_adapter(model, saved.folder / FOLDER, name=f"{model.name} + {title_of(saved.method, saved.null)}")
    return Cured(method=saved.method, null=saved.null, seed=saved.seed, model=tuned, base=saved.base, cost=saved.cost)


def with_adapter(model: LanguageModel, folder: Path, *, name: str) -> LanguageModel:
    """Return a copy of a model with an adapter: merged into float32, and next to weights that would round it away."""
    tuned = copy.deepcopy(model)
    if is_float32(tuned.model):
        merge_saved_adapter(tuned.model, folder, name=model.name)
    else:
        attach_saved_adapter(tuned.model, folder, name=model.name)
        tuned.choose_engine("transformers")
    tuned.name = name
    return tuned
