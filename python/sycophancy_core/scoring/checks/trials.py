"""Short trials of a module's own forward: what is believed of a model is tried once, on a few tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.foreign import first_line
from sycophancy_core.scoring.checks.limits import context_length, vocabulary_size
from sycophancy_core.scoring.tokens import TokenBatch
from sycophancy_core.scoring.transformers_scorer import (
    EncoderDecoderScorer,
    TransformersScorer,
    forward,
    in_evaluation,
)

_NUM_TOKENS = 16
# How far a token's log-probability may be off, in nats and as a share of itself. Rounding does a third of that: in
# bfloat16 it moves the median token of SmolLM2 by 0.04 nats, and another activation in one of its 30 layers by 0.31.
_ROUNDING = {"float32": (1e-3, 1e-4), "float16": (0.03, 0.002), "bfloat16": (0.12, 0.005)}
_PRODUCTS = {"highest": "float32", "high": "float16", "medium": "bfloat16"}  # torch's words for products of float32


def check_engine(model: Any, log_probs: Callable[[TokenBatch], NDArray[np.float64]]) -> None:
    """Compare an engine's scores of a few tokens with those of the module that it stands for.

    Parameters
    ----------
    log_probs
        The engine's log-probability of each sequence's scored tokens, in nats.

    Raises
    ------
    ModelError
        If they differ by more than rounding does, or the module's own forward fails.
    """
    import torch

    batch = _trial_batch(model)
    own = EncoderDecoderScorer(model) if model.config.is_encoder_decoder else TransformersScorer(model)
    try:
        wanted = own.log_probs(batch, None).log_prob
    except Exception as error:
        raise ModelError(f"engine: the model's own forward, which it stands for, fails: {first_line(error)}") from error
    got = log_probs(batch)
    kind = own.precision
    if kind == "float32":
        kind = _PRODUCTS[torch.get_float32_matmul_precision()]
    absolute, relative = _ROUNDING.get(kind, _ROUNDING["bfloat16"])
    with np.errstate(invalid="ignore"):
        off = np.abs(got - wanted) - relative * np.abs(wanted)
    off[~np.isfinite(wanted) & ~np.isfinite(got)] = 0
    off = np.nan_to_num(off, nan=np.inf)
    # Half precision rounds single tokens further than that, but not most of them.
    if (off.max() if kind == "float32" else np.median(off)) > absolute:
        raise ModelError(
            f"engine: in a trial on {len(got)} tokens its scores are up to {np.abs(got - wanted).max():.3g} nats from "
            "the model's own forward, which computes something else than its config and weights say"
        )


def check_causal(model: Any) -> None:
    """Refuse a model whose tokens see those to come.

    Raises
    ------
    ModelError
        If another last token changes the logits before it. A model that cannot be tried is left to the first job.
    """
    ids = _trial_tokens(model, 6)
    rows = np.stack([ids, ids])
    rows[1, -1] = ids[0]
    try:
        with in_evaluation(model):
            logits = _logits(model, rows)[:, :-1].float()
    except Exception:
        return
    change, size = float((logits[0] - logits[1]).abs().max()), float(logits.abs().max())
    if change > (1e-4 if model.dtype.itemsize == 4 else 0.02) * size:
        raise ModelError(
            f"{type(model).__name__} is not a causal language model: its tokens see those to come, so what it says of "
            "a choice depends on what follows it; wanted a decoder (of a BERT-like model that was trained as one, "
            "set is_decoder=True in its config)"
        )


def _logits(model: Any, rows: NDArray[np.int32]) -> Any:
    if not model.config.is_encoder_decoder:
        return forward(model, rows, use_cache=False).logits
    encoded = forward(model, rows[[0, 0]], part=model.get_encoder())
    return forward(model, rows, name="decoder_input_ids", encoder_outputs=encoded, use_cache=False).logits


def _trial_tokens(model: Any, count: int) -> NDArray[np.int32]:
    """Draw as many token ids as asked for, or as the model has positions for; the first and the last differ."""
    size, limit = vocabulary_size(model) or 2, context_length(model) or count
    drawn = np.random.Generator(np.random.Philox(key=[1, 0])).random(max(2, min(count, limit)))
    ids = (drawn * size).astype(np.int32)
    ids[-1] = (ids[0] + 1 + int(drawn[-1] * (size - 1))) % size
    return ids


def _trial_batch(model: Any) -> TokenBatch:
    """Make a sequence for each token of a text: it is scored after those before it, or after an encoder's context."""
    ids = _trial_tokens(model, _NUM_TOKENS)
    ends = range(2, len(ids) + 1)
    two_parts = bool(model.config.is_encoder_decoder)
    before = len(ids) // 2
    sequences = [ids[:end] for end in ends if not two_parts or end > before]
    lengths = np.array([len(sequence) for sequence in sequences])
    return TokenBatch(
        tokens=np.concatenate(sequences),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        num_context=(np.full(len(lengths), before) if two_parts else lengths - 1).astype(np.int32),
        prompt_index=np.zeros(len(lengths), np.int64),
        choice_index=np.arange(len(lengths)),
        num_moved_borders=0,
        is_encoder_decoder=two_parts,
    )
