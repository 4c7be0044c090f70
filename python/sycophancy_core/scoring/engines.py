"""Which engine scores a model."""

from __future__ import annotations

from typing import Any

from sycophancy_core.errors import ModelError, warn
from sycophancy_core.scoring.checks.module_checks import is_multimodal
from sycophancy_core.scoring.checks.trials import check_causal
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.transformers_scorer import EncoderDecoderScorer, TransformersScorer

_INSTRUCTIONS = {"high": "bfloat16 tiles (AMX)", "medium": "bfloat16 instructions (AVX-512 BF16 or AMX)"}


def make_scorer(model: Any, name: str, engine: str, matmul_precision: str) -> Any:
    """Make the scorer of a model: native where it can be, or where asked for, otherwise transformers' own forward.

    Raises
    ------
    ModelError
        If the engine that was asked for cannot run the model, or no engine can: its tokens see those to come.

    Warns
    -----
    UserWarning
        If transformers stands in for the native engine, with the reason; if the precision takes longer here; or if
        the model also reads images.
    """
    if is_multimodal(model):
        warn(f"model {name}: it also reads images, which prompts here do not have; it is scored by its text part")
    if engine == "transformers":
        if matmul_precision != "highest":
            raise ModelError(
                f"model {name}: matmul_precision={matmul_precision!r} is the native engine's; wanted 'highest' with "
                "engine='transformers', whose precision is dtype"
            )
        return _fallback(model, name)
    try:
        scorer = NativeScorer(model, matmul_precision=matmul_precision)
    except ModelError as error:
        if engine == "native" or matmul_precision != "highest":
            raise
        fallback = _fallback(model, name)
        warn(f"model {name}: scored by transformers instead of the native engine, because {error}")
        return fallback
    warn_if_slow(scorer, name, matmul_precision)
    return scorer


def warn_if_slow(scorer: Any, name: str, matmul_precision: str) -> None:
    """Warn where a precision takes longer than ``highest`` on this processor."""
    if not scorer.is_fast:
        warn(
            f"model {name}: matmul_precision={matmul_precision!r} takes longer than 'highest' here, because this "
            f"processor has no {_INSTRUCTIONS[matmul_precision]}"
        )


def check_encoder_decoder(config: Any, name: str, *, chat_template: bool) -> None:
    """Refuse to score an encoder-decoder in turns, or one whose choices have no first token to be predicted from.

    Raises
    ------
    ModelError
        Saying which.
    """
    if chat_template:
        raise ModelError(f"model {name}: an encoder-decoder has no turns; use chat_template=False")
    if getattr(config, "decoder_start_token_id", None) is None:
        raise ModelError(
            f"model {name}: its config says no decoder_start_token_id, from which the first token of a choice is "
            "predicted; set it (T5: the padding token)"
        )


def _fallback(model: Any, name: str) -> Any:
    try:
        check_causal(model)
    except ModelError as error:
        raise ModelError(f"model {name}: {error}") from None
    return EncoderDecoderScorer(model) if model.config.is_encoder_decoder else TransformersScorer(model)
