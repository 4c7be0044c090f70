"""How the adapter of every cure is trained, put on a copy of the model, and what a training returns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sycophancy_core.cures.methods import Trained
from sycophancy_core.scoring.checkpoints.peft_layers import is_float32
from sycophancy_core.scoring.checkpoints.saved_adapter import attach_saved_adapter, merge_saved_adapter
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.options import FinetuneOptions


class Taught(NamedTuple):
    """What a training returns.

    Attributes
    ----------
    model
        A copy of the given model with the adapter.
    save
        Writes the adapter into a folder.
    num_tokens
        Tokens that were trained on.
    losses
        Of every step.
    about
        How many prompts and rows it had.
    """

    model: LanguageModel
    save: Callable[[Path], object]
    num_tokens: int
    losses: Sequence[float]
    about: dict[str, int]


def finetune_options(method: Trained, *, seed: int) -> FinetuneOptions:
    """Return how a cure's adapter is trained."""
    return FinetuneOptions(
        steps=method.steps,
        batch_size=method.batch_size,
        learning_rate=method.learning_rate,
        lora_rank=method.lora_rank,
        seed=seed,
    )


def with_adapter(model: LanguageModel, folder: Path) -> LanguageModel:
    """Return a copy of a model with an adapter: merged into float32, and next to weights that would round it away."""
    tuned = copy.deepcopy(model)
    if is_float32(tuned.model):
        merge_saved_adapter(tuned.model, folder, name=model.name)
    else:
        attach_saved_adapter(tuned.model, folder, name=model.name)
        tuned.choose_engine("transformers")
    return tuned
