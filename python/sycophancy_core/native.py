"""Scoring by the package's own engine, on the weights of the caller's transformers model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sycophancy_core.engine_loader import load_engine
from sycophancy_core.errors import ModelError
from sycophancy_core.module_checks import hidden_change, own_weights
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
        self._model = model
        self._kinds = _kinds(model.parameters())
        self._module = load_engine()
        self._on_panels = model.config.is_encoder_decoder or self._kinds == {"float32 on cpu"}
        if not self._on_panels and matmul_precision != "highest":
            raise ModelError(
                f"engine: matmul_precision={matmul_precision!r} needs weights in float32 on the CPU, got "
                f"{' and '.join(sorted(self._kinds))}; use 'highest'"
            )
        self.is_fast: bool = self._module.is_fast(matmul_precision)
        """Whether this processor has instructions that make such products faster than those of ``"highest"``."""
        self._options = {"matmul_precision": matmul_precision} if self._on_panels else {}
        kind = next(iter(self._kinds)).partition(" ")[0]
        self.precision = f"{kind}/{matmul_precision}" if kind == "float32" else kind
        """The weights' number type and, for float32, how operands enter a matrix product."""
        self._engine: Any = None
        self._made_of: tuple[str, list[tuple[str, int, int]]] | None = None
        self._follow_model()

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens.

        Raises
        ------
        ModelError
            If the model was changed meanwhile into one that the engine cannot run.
        """
        try:
            self._follow_model()
        except ModelError as error:
            raise ModelError(
                f"score: the model was changed since the language model was made: {error}; make it anew from the pair "
                "(model, tokenizer)"
            ) from error
        result = self._engine.score(batch.tokens, batch.offsets, batch.num_context, progress=progress, **self._options)
        return TokenScores(*result)

    def _follow_model(self) -> None:
        """Make the engine anew where the model has another config or other tensors than it was made of.

        The engine works on the model's own weights, so that it sees what is written into them.
        """
        if change := hidden_change(self._model):
            raise ModelError(f"engine: it knows a model by config and weights alone, but {change}")
        if (now := _kinds(self._model.parameters())) != self._kinds:
            raise ModelError(
                f"the weights were {' and '.join(sorted(self._kinds))} and are now {' and '.join(sorted(now))}"
            )
        config, weights = json.dumps(self._model.config.to_dict()), own_weights(self._model)
        made_of = config, [(name, id(weight), weight.data_ptr()) for name, weight in weights.items()]
        if made_of == self._made_of:
            return
        panels = self._module.EncoderDecoderEngine if self._model.config.is_encoder_decoder else self._module.Engine
        self._engine = (panels if self._on_panels else self._module.TensorEngine)(config, weights)
        self._made_of = made_of


def _kinds(weights: Iterable[torch.Tensor]) -> set[str]:
    """Name the number types of the weights and where they are."""
    return {f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}" for weight in weights}
