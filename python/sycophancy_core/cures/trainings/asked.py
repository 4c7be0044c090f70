"""What a training asks and teaches: prompts about facts that the model knows, or with its own answers as targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.cures.methods import Activations, Consistent, Mixed, Trained
from sycophancy_core.errors import DataError
from sycophancy_core.pipeline import filter_prompts, training_prompts
from sycophancy_core.results.fact_filter import judge_facts
from sycophancy_core.results.knowledge_filter import FilterOptions
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.scores import join_scores
from sycophancy_core.training.synthetic import shuffle_targets


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

    :class:`Activations` teaches no answer, so that nothing is asked for it.

    Raises
    ------
    DataError
        If it knows none of the facts.
    """
    if isinstance(method, Activations):
        return Asked(facts, None, None, 0)
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
