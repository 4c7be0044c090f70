"""Scoring by the package's own engine, on the weights of the caller's transformers model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sycophancy_core._core import ModelError
from sycophancy_core.engine_loader import load_engine
from sycophancy_core.tokens import TokenScores

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from sycophancy_core.scoring import Progress
    from sycophancy_core.tokens import TokenBatch


class NativeScorer:
    """Scores token sequences with the engine: every shared token once.

    A model in float32 on the CPU is run on panels, where every bit is independent of the rest of the job; a decoder on
    CUDA, or in bfloat16 or float16, on torch's own operators.

    Raises
    ------
    ModelError
        If the engine does not know the model's architecture, a value of its config, one of its weights or
        ``matmul_precision``, or that is not ``"highest"`` and the weights are not float32 on the CPU.
    """

    def __init__(self, model: Any, *, matmul_precision: str = "highest") -> None:
        # The module's own weights: what fine-tuning changes, the next job sees.
        tensors = dict(model.named_parameters())
        self._weights, self._kinds = list(tensors.values()), _kinds(tensors.values())
        module = load_engine()
        on_panels = model.config.is_encoder_decoder or self._kinds == {"float32 on cpu"}
        if not on_panels and matmul_precision != "highest":
            raise ModelError(
                f"engine: matmul_precision={matmul_precision!r} needs weights in float32 on the CPU, got "
                f"{' and '.join(sorted(self._kinds))}; use 'highest'"
            )
        self.is_fast: bool = module.is_fast(matmul_precision)
        """Whether this processor has instructions that make such products faster than those of ``"highest"``."""
        panels = module.EncoderDecoderEngine if model.config.is_encoder_decoder else module.Engine
        engine = panels if on_panels else module.TensorEngine
        self._engine = engine(json.dumps(model.config.to_dict()), tensors)
        self._options = {"matmul_precision": matmul_precision} if on_panels else {}
        kind = next(iter(self._kinds)).partition(" ")[0]
        self.precision = f"{kind}/{matmul_precision}" if kind == "float32" else kind
        """The weights' number type and, for float32, how operands enter a matrix product."""

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens."""
        if (now := _kinds(self._weights)) != self._kinds:
            raise ModelError(
                f"score: the weights were {' and '.join(self._kinds)} when the engine was made and are now "
                f"{' and '.join(sorted(now))}; make the language model anew from the pair (model, tokenizer)"
            )
        result = self._engine.score(batch.tokens, batch.offsets, batch.num_context, progress=progress, **self._options)
        return TokenScores(*result)


def _kinds(weights: Iterable[torch.Tensor]) -> set[str]:
    """Name the number types of the weights and where they are."""
    return {f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}" for weight in weights}
