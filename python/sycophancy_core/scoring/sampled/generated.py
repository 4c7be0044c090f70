"""Replies of a local model, made by transformers with the caller's settings alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.transformers_scorer import in_evaluation


def generated(
    model: LanguageModel,
    contexts: Sequence[NDArray[np.int32]],
    *,
    draws: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    progress: Progress | None = None,
) -> list[list[str]]:
    """Generate replies that go on from tokens, all draws of a prompt together; one list a prompt."""
    found = generated_tokens(
        model, contexts, draws=draws, temperature=temperature, max_tokens=max_tokens, seed=seed, progress=progress
    )
    return [[str(text) for text in model.tokenizer.batch_decode(some, skip_special_tokens=True)] for some in found]


def generated_tokens(
    model: LanguageModel,
    contexts: Sequence[NDArray[np.int32]],
    *,
    draws: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    until: Callable[[list[int]], bool] | None = None,
    progress: Progress | None = None,
) -> list[list[list[int]]]:
    """Generate replies as :func:`generated` does, and return their token ids, the one that ends a reply among them.

    Parameters
    ----------
    until
        Tells of a reply's tokens so far whether to stop there.
    """
    import torch

    device = next(model.model.parameters()).device
    found = []
    with in_evaluation(model.model), _only_asked(model, temperature, max_tokens) as settings:
        ends = settings.eos_token_id
        ends = set() if ends is None else set(ends) if isinstance(ends, list | tuple) else {ends}
        for row, context in enumerate(contexts):
            ids = torch.as_tensor(context, dtype=torch.long, device=device).expand(draws, -1)
            asked = {"attention_mask": torch.ones_like(ids), "generation_config": settings}
            if until is not None:
                asked["stopping_criteria"] = [_stop_of(until, len(context))]
            with torch.inference_mode(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_seed(seed, context.tobytes()))
                made = model.model.generate(ids, **asked)
            found.append([_until(ends, reply) for reply in made[:, ids.shape[1] :].tolist()])
            if progress is not None:
                progress(row + 1, len(contexts))
    return found


def _stop_of(until: Callable[[list[int]], bool], num_context: int) -> Callable[..., Any]:
    """Return what tells ``generate`` which of the sequences are complete."""
    import torch

    def stop(ids: Any, scores: Any, **_: Any) -> Any:
        return torch.tensor([until(row) for row in ids[:, num_context:].tolist()], device=ids.device)

    return stop


def _until(ends: set[int], reply: list[int]) -> list[int]:
    """Cut off the padding that follows the first token that ends a reply."""
    return next((reply[: i + 1] for i, token in enumerate(reply) if token in ends), reply)


@contextmanager
def _only_asked(model: LanguageModel, temperature: float, max_tokens: int) -> Iterator[Any]:
    """Put the checkpoint's own generation settings aside for a while, and give those that the options ask for.

    ``generate`` fills what a caller leaves open from the model's own settings (a penalty of repetitions, say), which
    would change the probabilities that are drawn from. Which tokens end a reply stays the checkpoint's word.
    """
    from transformers import GenerationConfig

    holders = [module for module in model.model.modules() if "generation_config" in vars(module)]
    kept = [(module, module.generation_config) for module in holders]
    tokenizer, own = model.tokenizer, model.model.generation_config
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ends: dict[str, Any] = {"eos_token_id": own.eos_token_id, "pad_token_id": pad}
    drawn: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        drawn = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    for module, _ in kept:
        module.generation_config = GenerationConfig(**ends)
    try:
        yield GenerationConfig(max_new_tokens=max_tokens, **drawn, **ends)
    finally:
        for module, config in kept:
            module.generation_config = config


def _seed(seed: int, prompt: bytes) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0".encode() + prompt).digest()[:6], "little")
