"""Scoring by the package's own engine, on the weights of the caller's transformers model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sycophancy_core.engine_loader import load_engine
from sycophancy_core.tokens import TokenScores

if TYPE_CHECKING:
    from sycophancy_core.scoring import Progress
    from sycophancy_core.tokens import TokenBatch


class NativeScorer:
    """Scores token sequences with the engine: every shared token once, every bit independent of the rest of the job.

    Raises
    ------
    ModelError
        If the engine does not know the model's architecture, a value of its config or one of its weights, or this
        processor cannot compute in ``matmul_precision``.
    """

    def __init__(self, model: Any, *, matmul_precision: str = "highest") -> None:
        config = model.config.to_dict()
        # The module's own weights: what fine-tuning changes, the next job sees.
        tensors = dict(model.named_parameters())
        module = load_engine()
        module.require_precision(matmul_precision)
        engine = module.EncoderDecoderEngine if model.config.is_encoder_decoder else module.Engine
        self._engine = engine(json.dumps(config), tensors)
        self._matmul_precision = matmul_precision

    @property
    def precision(self) -> str:
        """float32 tensors, and how operands enter a matrix product."""
        return f"float32/{self._matmul_precision}"

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens."""
        result = self._engine.score(
            batch.tokens, batch.offsets, batch.num_context, matmul_precision=self._matmul_precision, progress=progress
        )
        return TokenScores(*result)
