"""How to fine-tune: one frozen record, checked when it is made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sycophancy_core.errors import DataError, require_counts
from sycophancy_core.inputs.arguments import checked_fields

Precision = Literal["auto", "float32", "bfloat16"]
AdapterKind = Literal["lora", "rslora", "dora"]


@checked_fields
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
    lora_kind
        ``"lora"``; ``"rslora"``, scaled by ``lora_alpha / sqrt(lora_rank)`` (Kalajdzievski 2023); or ``"dora"``, which
        trains each row's length too (Liu et al. 2024). All but ``"lora"`` are PEFT's.
    target_modules
        Which modules get an adapter: a regular expression that matches their whole names (through PEFT), or None for
        every linear layer of the blocks.
    modules_to_save
        Names of modules that are trained and saved whole next to the adapter, such as ``lm_head`` (through PEFT).
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
    gradient_checkpointing
        Keep each block's input only, and compute the rest again in the backward pass: less memory, and more time.
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
    lora_kind: AdapterKind = "lora"
    target_modules: str | None = None
    modules_to_save: tuple[str, ...] = ()
    train_embeddings: bool = False
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    accumulation: int = 1
    precision: Precision = "auto"
    compile_blocks: bool = False
    gradient_checkpointing: bool = False
    pad_multiple: int = 32
    max_tokens: int | None = None
    checkpoint_steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
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

        self._check_adapter()

    def _check_adapter(self) -> None:
        """Refuse what does not describe an adapter, or one where there is none."""
        if self.lora_kind not in get_args(AdapterKind):
            raise DataError(f"FinetuneOptions: lora_kind must be lora, rslora or dora, got {self.lora_kind!r}")
        asked = {"lora_kind": self.lora_kind != "lora", "target_modules": self.target_modules is not None}
        asked["modules_to_save"] = bool(self.modules_to_save)
        for name, is_asked in asked.items():
            if is_asked and self.lora_rank is None:
                raise DataError(
                    f"FinetuneOptions: {name} is an adapter's, got {name} {getattr(self, name)!r} and lora_rank None; "
                    "set lora_rank"
                )
        if self.target_modules is not None:
            try:
                re.compile(self.target_modules)
            except re.error as error:
                raise DataError(
                    f"FinetuneOptions: target_modules must be a regular expression, got {self.target_modules!r} "
                    f"({error})"
                ) from error

    @classmethod
    def wei2023(cls, **changes: Any) -> FinetuneOptions:
        """Return the published size: 1,000 steps on all weights (Wei et al. 2023, section 5)."""
        return replace(cls(steps=1000, train_embeddings=True), **changes)
