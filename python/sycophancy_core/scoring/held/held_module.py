"""What a language model holds: a transformers module and its tokenizer, and what is to be known of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.scoring import sources
from sycophancy_core.scoring.checks.limits import check_vocabulary, context_length
from sycophancy_core.scoring.checks.module_checks import config_digest, fixed_buffers
from sycophancy_core.scoring.engines import make_scorer


class Held(Protocol):
    """A model as :class:`LanguageModel` holds it: a module, or files that one is made of when it is asked for."""

    @property
    def held_module(self) -> HeldModule | None:
        """The module, where there is one already."""

    def make_module(self) -> HeldModule:
        """Return the module, made now if need be."""

    @property
    def scoring_tokenizer(self) -> Any:
        """What cuts texts for scoring: as transformers' tokenizer does."""

    @property
    def text_config(self) -> Any:
        """The config of what reads text, with values as attributes."""

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts go to an encoder and choices to a decoder."""

    @property
    def context_length(self) -> int | None:
        """Most tokens at once; None without a limit."""

    @property
    def num_parameters(self) -> int:
        """How many weights there are."""

    @property
    def device(self) -> str:
        """The kind of device that scores."""

    @property
    def digest(self) -> str:
        """sha256 of the weights as they are now, the buffers and what the config says of the forward."""

    def with_adapter(self, folder: Path, name: str) -> Held | None:
        """Return the same model, on the same weights in memory, with an adapter next to them; None where it cannot."""

    def check_tokens(self, tokens: NDArray[np.int32], *, name: str) -> None:
        """Refuse token ids that the model has no embedding for."""

    def make_scorer(self, name: str, engine: str, matmul_precision: str) -> Any:
        """Make what scores tokens."""


class HeldModule:
    """A transformers module with its tokenizer.

    Parameters
    ----------
    module
        The model.
    tokenizer
        Its fast tokenizer.
    """

    def __init__(self, module: Any, tokenizer: Any) -> None:
        self.module = module
        self.scoring_tokenizer = tokenizer

    @property
    def held_module(self) -> HeldModule:
        """The module itself."""
        return self

    def make_module(self) -> HeldModule:
        """Return the module itself."""
        return self

    @property
    def text_config(self) -> Any:
        """The config of what reads text."""
        return self.module.config.get_text_config()

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts go to an encoder and choices to a decoder."""
        return bool(self.module.config.is_encoder_decoder)

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and choice together (encoder-decoder: of each), or None where there is no limit."""
        return context_length(self.module)

    @property
    def num_parameters(self) -> int:
        """How many weights there are."""
        return sum(int(parameter.numel()) for parameter in self.module.parameters())

    @property
    def device(self) -> str:
        """The kind of device that scores."""
        return str(next(self.module.parameters()).device.type)

    @property
    def digest(self) -> str:
        """sha256 of the weights as they are now, the buffers and what the config says of the forward."""
        tensors = {**dict(self.module.named_parameters()), **fixed_buffers(self.module)}
        return hashlib.sha256(f"{sources.weights_digest(tensors)} {config_digest(self.module)}".encode()).hexdigest()

    def with_adapter(self, folder: Path, name: str) -> Held | None:
        """Return None: PEFT would put the adapter's layers into the module itself."""

    def check_tokens(self, tokens: NDArray[np.int32], *, name: str) -> None:
        """Refuse token ids that the model has no embedding for; see :func:`check_vocabulary`."""
        check_vocabulary(self.module, tokens, name=name, tokenizer=self.scoring_tokenizer)

    def make_scorer(self, name: str, engine: str, matmul_precision: str) -> Any:
        """Make what scores tokens; see :func:`make_scorer`."""
        return make_scorer(self.module, name, engine, matmul_precision)
