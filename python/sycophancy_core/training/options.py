"""How to fine-tune: one frozen record, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from sycophancy_core.errors import DataError, require_counts, require_numbers, require_seed

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How to fine-tune. The default is light: a few minutes on two CPU cores for a model of 135 million parameters.

    Attributes
    ----------
    steps
        Optimizer steps.
    batch_size
        Rows a step, over all processes and accumulation parts.
    learning_rate
        Peak of the schedule: linear warm-up from zero, then linear decay.
    warmup_share
        Share of the steps that warm up, in [0, 1).
    final_rate_share
        Share of the peak rate to which it decays, in [0, 1].
    lora_rank
        Train a low-rank adapter of this rank, on every linear layer of the blocks, and merge it at the end; None trains
        the weights themselves.
    lora_alpha
        The adapter's update is scaled by ``lora_alpha / lora_rank``.
    train_embeddings
        In full fine-tuning, train the token embeddings and the output head too.
    weight_decay
        AdamW's decay (Loshchilov and Hutter 2019).
    max_grad_norm
        Norm to which gradients are clipped; 0 for never.
    accumulation
        Parts in which a step's rows are run one after the other, to save memory.
    precision
        ``"bfloat16"`` runs matrix products in bfloat16 and keeps weights, residual stream and loss in float32;
        ``"auto"`` does so where the hardware has bfloat16 products.
    compile_blocks
        Run the decoder blocks through ``torch.compile`` (needs a C++ compiler on a CPU): about twice as fast there,
        after half a minute for each batch shape, so it pays from a few hundred steps on.
    pad_multiple
        Batches are padded to a multiple of this many tokens, so that few shapes occur.
    max_tokens
        Longest row; a longer one is refused. None: the model's context.
    checkpoint_steps
        Steps between checkpoints, if a run folder is given; None: one every few minutes. One more is written after the
        last step and on interrupt; 0 writes only these.
    seed
        Of the order of the rows, and of the adapter's start.
    """

    steps: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-4
    warmup_share: float = 0.1
    final_rate_share: float = 0.0
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    train_embeddings: bool = False
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    accumulation: int = 1
    precision: Precision = "auto"
    compile_blocks: bool = False
    pad_multiple: int = 32
    max_tokens: int | None = None
    checkpoint_steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_seed("FinetuneOptions", self.seed)
        require_numbers(
            "FinetuneOptions",
            self,
            ("learning_rate", "lora_alpha", "weight_decay", "max_grad_norm", "warmup_share", "final_rate_share"),
        )
        require_counts("FinetuneOptions", self, ("steps", "batch_size", "accumulation", "pad_multiple"))
        require_counts("FinetuneOptions", self, ("lora_rank", "max_tokens"), none="None")
        require_counts("FinetuneOptions", self, ("checkpoint_steps",), least=0, none="None")
        for name in ("learning_rate", "lora_alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise DataError(f"FinetuneOptions: {name} must be > 0 and finite, got {getattr(self, name)}")
        for name in ("weight_decay", "max_grad_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise DataError(f"FinetuneOptions: {name} must be >= 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise DataError(f"FinetuneOptions: warmup_share must be in [0, 1), got {self.warmup_share}")
        if not 0 <= self.final_rate_share <= 1:
            raise DataError(f"FinetuneOptions: final_rate_share must be in [0, 1], got {self.final_rate_share}")
        if self.batch_size % self.accumulation:
            raise DataError(
                f"FinetuneOptions: batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}"
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise DataError(f"FinetuneOptions: precision must be auto, float32 or bfloat16, got {self.precision!r}")

    @classmethod
    def wei2023(cls, **changes: Any) -> FinetuneOptions:
        """Return the published size: 1,000 steps on all weights (Wei et al. 2023, section 5)."""
        return replace(cls(steps=1000, train_embeddings=True), **changes)
