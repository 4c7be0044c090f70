"""The cure by activations: with a user the model is to compute what it computes alone; and its null."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sycophancy_core.cures.methods import Activations
from sycophancy_core.cures.trainings.asked import Asked
from sycophancy_core.cures.trainings.taught import Taught, finetune_options
from sycophancy_core.cures.vectors.steered_module import block_names, block_output
from sycophancy_core.prompts.stance import FactOptions, fact_prompts
from sycophancy_core.runs.progress import Progress, shown_progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import table_prompts
from sycophancy_core.scoring.transformers_scorer import in_evaluation
from sycophancy_core.training.finetune import adapted
from sycophancy_core.training.loop.finite import require_finite_step
from sycophancy_core.training.loop.steps import set_rate
from sycophancy_core.training.options import FinetuneOptions


class Pair(NamedTuple):
    """The same question with a user and alone, as tokens, and with how many tokens both end."""

    asked: list[int]
    alone: list[int]
    num_shared: int


def taught_activations(
    model: LanguageModel,
    method: Activations,
    asked: Asked,
    null: str | None,
    seed: int,
    progress: Progress | bool | None,
) -> Taught:
    """Train an adapter on a copy of the model, so that its residual stream with a user is the given model's alone."""
    pairs = user_pairs(model, asked.facts, arm="endorse" if null is None else "persona", seed=seed)
    options = finetune_options(method, seed=seed)
    drawn = [pairs[i] for i in _order(len(pairs), method.steps * method.batch_size, seed)]
    batches = [drawn[i : i + method.batch_size] for i in range(0, len(drawn), method.batch_size)]
    tuned = copy.deepcopy(model)
    with adapted(tuned, options) as take, shown_progress(progress, "activations", "steps") as show:
        losses = _train(tuned.model, model.model, batches, options, show)
        adapter = take()
    assert adapter is not None
    return Taught(
        model=tuned,
        save=adapter.save,
        num_tokens=sum(len(pair.asked) + len(pair.alone) for pair in drawn),
        losses=losses,
        about={"num_rows": 2 * len(drawn)},
    )


def user_pairs(model: LanguageModel, facts: pa.Table, *, arm: str, seed: int) -> list[Pair]:
    """Ask each fact alone, and in the same words with each user of an arm."""
    asked = fact_prompts(facts, options=FactOptions(split="train", arms=("none", arm)), seed=seed)
    prompts = table_prompts(asked, by_turns=model.chat_template)
    tokens = [alone for alone, _ in model.encoder.rows(prompts, [[] for _ in prompts])]
    rows = list(zip(asked["claim_id"].to_pylist(), asked["arm"].to_pylist(), tokens, strict=True))
    alone = {fact: ids for fact, who, ids in rows if who == "none"}
    return [Pair(ids, alone[fact], _num_shared(ids, alone[fact])) for fact, who, ids in rows if who != "none"]


def _num_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens with which both end."""
    pairs = enumerate(zip(reversed(first), reversed(second), strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(second)))


def _order(num_pairs: int, num_drawn: int, seed: int) -> list[int]:
    """Draw pairs in random order, each again only after all others came."""
    random = np.random.Generator(np.random.Philox(key=[seed, 11]))
    rounds = [random.permutation(num_pairs) for _ in range(math.ceil(num_drawn / num_pairs))]
    return [int(i) for i in np.concatenate(rounds)[:num_drawn]]


def _train(
    module: Any, given: Any, batches: Sequence[Sequence[Pair]], options: FinetuneOptions, progress: Progress | None
) -> list[float]:
    """Train a module's trainable parameters on pairs, one step a batch, and return the losses."""
    import torch

    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate, weight_decay=options.weight_decay)
    losses: list[float] = []
    with in_evaluation(given):
        for step, pairs in enumerate(batches):
            set_rate(optimizer, step, options)
            loss = activation_loss(module, given, pairs)
            loss.backward()
            losses.append(float(loss.detach()))
            norm = torch.nn.utils.clip_grad_norm_(trainable, options.max_grad_norm or math.inf)
            require_finite_step(losses[-1], float(norm), step + 1)
            optimizer.step()
            optimizer.zero_grad()
            if progress is not None:
                progress(step + 1, len(batches))
    return losses


def activation_loss(module: Any, given: Any, pairs: Sequence[Pair]) -> Any:
    """Return how far the residual streams are apart: the mean square over pairs, blocks, shared tokens and width.

    Parameters
    ----------
    module
        Reads the prompts with users, and learns.
    given
        Reads them alone, and does not.
    """
    import torch

    asked = _streams(module, [pair.asked for pair in pairs], [pair.num_shared for pair in pairs])
    with torch.no_grad():
        alone = _streams(given, [pair.alone for pair in pairs], [pair.num_shared for pair in pairs])
    return torch.stack([(one - other).square().mean() for one, other in zip(asked, alone, strict=True)]).mean()


def _streams(module: Any, rows: Sequence[Sequence[int]], ends: Sequence[int]) -> list[Any]:
    """Return the residual stream after all blocks at the last tokens of each row, shape (blocks, tokens, width)."""
    import torch

    longest = max(map(len, rows))
    device = next(module.parameters()).device
    ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows], device=device)
    with _kept_outputs(module) as kept:
        module.base_model(input_ids=ids, use_cache=False)  # what pads a row at its end is seen by none before it
    states = torch.stack(kept).float()
    return [states[:, i, len(row) - end : len(row)] for i, (row, end) in enumerate(zip(rows, ends, strict=True))]


@contextmanager
def _kept_outputs(module: Any) -> Iterator[list[Any]]:
    kept: list[Any] = []
    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, found: kept.append(block_output(found))
        )
        for name in block_names(module)
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
