"""The cures by training: rows with the truth, or with the model's own answer, as targets; and their nulls."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.cured import Cost, Cured, base_of
from sycophancy_core.cures.methods import Consistent, Mixed, Trained, check_null, title_of
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
from sycophancy_core.training.instructions import load_instructions
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
    progress: Progress | bool | None = None,
) -> Cured:
    """Train a copy of the model on rows about facts, mixed with instructions."""
    check_null(method, null)
    started = time.perf_counter()
    prompts, num_scored = cure_prompts(model, method, facts, null=null, seed=seed)
    rows = mix(prompts, load_instructions(), ratio=method.ratio, seed=seed)
    tuned = copy.deepcopy(model)
    options = FinetuneOptions(
        steps=method.steps,
        batch_size=method.batch_size,
        learning_rate=method.learning_rate,
        lora_rank=method.lora_rank,
        seed=seed,
    )
    result = finetune(tuned, rows, options=options, progress=progress)
    tuned.name = f"{model.name} + {title_of(method, null)}"
    loss = result.log["loss"].to_pylist()
    num_trained = pc.sum(result.log["tokens"]).as_py()
    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=tuned,
        base=base_of(model),
        cost=Cost(tokens=num_scored + num_trained, seconds=time.perf_counter() - started),
        about={
            "num_prompts": prompts.num_rows,
            "num_rows": rows.num_rows,
            "first_loss": loss[0],
            "last_loss": loss[-1],
        },
        _write=lambda folder: result.save(folder / FOLDER),
        _make_null=None
        if null
        else lambda kind, seed: trained(model, method, facts, null=kind, seed=seed, progress=progress),
    )


def cure_prompts(
    model: LanguageModel, method: Trained, facts: pa.Table, *, null: str | None = None, seed: int = 0
) -> tuple[pa.Table, int]:
    """Return the prompts about facts (``target`` is what is taught), and how many tokens were run for them."""
    share = method.ratio / (method.ratio + 1) if isinstance(method, Mixed) else 1.0
    n = max(1, round(method.steps * method.batch_size * share))
    has_users = null != "no_users"
    if isinstance(method, Consistent):
        alone = training_prompts(facts, n=n, users=False, seed=seed)
        scores = model.score(alone)
        answers = join_scores(alone, scores)["answer"]
        asked = training_prompts(facts, n=n, seed=seed) if has_users else alone
        place = asked.column_names.index("target")
        taught = asked.set_column(place, "target", answers.cast(asked.schema.field(place).type))
        return taught.filter(pc.is_valid(answers)), scores.num_tokens
    options = FilterOptions()
    alone = filter_prompts(facts, options, seed=seed)
    scores = model.score(alone)
    known = judge_facts(facts, join_scores(alone, scores), options).kept
    if known.num_rows == 0:
        raise DataError(f"mitigate: model {model.name} knows none of {facts.num_rows} facts; give facts that it knows")
    prompts = training_prompts(known, n=n, users=has_users, seed=seed)
    if null == "shuffled_targets":
        prompts = shuffle_targets(prompts, seed=seed)
    elif null == "shuffled_preferences":
        prompts = _draw_targets(prompts, seed=seed)
    return prompts, scores.num_tokens


def _draw_targets(prompts: pa.Table, *, seed: int) -> pa.Table:
    """Draw for each fact whether its right or its wrong answer is the target, wherever it is asked."""
    random = np.random.Generator(np.random.Philox(key=[seed, 10]))
    facts = sorted(set(prompts["claim_id"].to_pylist()))
    is_kept = dict(zip(facts, random.random(len(facts)) < 0.5, strict=True))
    rows = zip(prompts["claim_id"].to_pylist(), prompts["target"].to_pylist(), strict=True)
    place = prompts.column_names.index("target")
    field = prompts.schema.field(place)
    return prompts.set_column(place, field, pa.array([t if is_kept[fact] else 1 - t for fact, t in rows], field.type))


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
