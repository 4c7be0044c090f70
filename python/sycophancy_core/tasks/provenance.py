"""What an evaluation keeps of where its numbers come from: the model, how it was asked, and what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from sycophancy_core.runs.surroundings import versions
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.precision import SAMPLED_SHARE
from sycophancy_core.scoring.sampled.sampling import sampler_facts
from sycophancy_core.scoring.sampled.thoughts import thinking_facts
from sycophancy_core.tasks.about import about_task


def model_facts(model: LanguageModel) -> dict[str, Any]:
    """Return digests of weights and tokenizer, the chat template, the engine, its precision, and the server."""
    return {
        "weights": model.digest,
        "tokenizer": model.tokenizer_digest,
        **model.template_facts,
        "engine": model.engine,
        "precision": model.precision,
        **({"server": model.server_facts} if model.server_facts else {}),
    }


def evaluation_facts(
    model: LanguageModel,
    prompts: Mapping[str, pa.Table],
    *,
    seed: int,
    limit: int | None,
    think: int | None = None,
) -> dict[str, Any]:
    """Return the ``facts`` of an evaluation but for its precision check.

    Parameters
    ----------
    think
        For how many tokens the model thought about these prompts, at most; None where it did not, or elsewhere.
    """
    thinking = thinking_facts(prompts)
    if thinking and think is not None:
        thinking["thinking"] |= {"max_tokens": think, "seed": seed, **sampler_facts(model)}
    return {
        **model_facts(model),
        "seed": seed,
        "limit": limit,
        **thinking,
        "versions": versions(),
        "tasks": {name: about_task(model, name, table) for name, table in prompts.items()},
    }


def precision_checks(model: LanguageModel, prompts: Mapping[str, pa.Table]) -> dict[str, dict[str, Any]]:
    """Compare answers with those of float32 products on a sample of each task; empty where that is not a choice."""
    if not model.precision.endswith(("/high", "/medium")):
        return {}
    return {name: asdict(model.precision_check(table, share=SAMPLED_SHARE)) for name, table in prompts.items()}
