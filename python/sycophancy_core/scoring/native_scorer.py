"""Scoring by the package's own engine, on the weights of the caller's transformers model."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sycophancy_core._build_info as _build_info
from sycophancy_core import _core
from sycophancy_core.errors import ModelError
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.checks.module_checks import hidden_change, is_multimodal, own_weights, surroundings
from sycophancy_core.scoring.checks.trials import check_engine
from sycophancy_core.scoring.processes import engine_threads
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores

if TYPE_CHECKING:
    import torch


class NativeScorer:
    """Scores token sequences with the engine: every shared token once.

    A short trial compares it with the model's own forward when it is made, and when something else than the values of
    its weights has changed since.

    A model on the CPU is run on panels, on its weights as they are (float32, bfloat16 or float16), where every bit is
    independent of the rest of the job; a decoder on CUDA on torch's own operators.

    Raises
    ------
    ModelError
        If the engine does not know the model's architecture, a value of its config, one of its weights or
        ``matmul_precision``, or that is not ``"highest"`` and the weights are not on the CPU; or if in the trial it
        says something else than the model's own forward.
    """

    def __init__(self, model: Any, *, matmul_precision: str = "highest") -> None:
        self._model = model
        self._kinds = _kinds(model.parameters())
        self._on_panels = model.config.is_encoder_decoder or all(kind.endswith(" on cpu") for kind in self._kinds)
        if not self._on_panels and matmul_precision != "highest":
            raise ModelError(
                f"engine: matmul_precision={matmul_precision!r} needs weights on the CPU, got "
                f"{' and '.join(sorted(self._kinds))}; use 'highest'"
            )
        self.is_fast: bool = _core.is_fast(matmul_precision)
        """Whether this processor has instructions that make such products faster than those of ``"highest"``."""
        self._options = {"matmul_precision": matmul_precision} if self._on_panels else {}
        kind = next(iter(self._kinds)).partition(" ")[0]
        self.precision = f"{kind}/{matmul_precision}" if self._on_panels or kind == "float32" else kind
        """The weights' number type and, where that is not also their products', how operands enter a product."""
        self._engine: Any = None
        self._made_of: tuple[str, list[tuple[str, int, int]]] | None = None
        self._tried_in: list[Any] = []  # the surroundings of the last trial
        self._follow_model()

    def in_highest(self) -> NativeScorer:
        """Return the same scorer, on the same engine, with products as float32 multiplies."""
        other = copy.copy(self)
        if self._on_panels:
            other._options = {"matmul_precision": "highest"}
            other.precision = f"{self.precision.partition('/')[0]}/highest"
            other.is_fast = True
        return other

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
                f"score: the model was changed since the language model was made: {error}; make it again from the pair "
                "(model, tokenizer)"
            ) from error
        return self._run(batch, progress, self._options)

    def _follow_model(self) -> None:
        """Make a new engine where the model has another config or other tensors than it was made of.

        The engine works on the model's own weights, so that it sees what is written into them.
        """
        if change := hidden_change(self._model):
            raise ModelError(f"engine: it knows a model by config and weights alone, but {change}")
        if (now := _kinds(self._model.parameters())) != self._kinds:
            raise ModelError(
                f"the weights were {' and '.join(sorted(self._kinds))} and are now {' and '.join(sorted(now))}"
            )
        config, weights = _text_part(self._model)
        made_of = config, [(name, id(weight), weight.data_ptr()) for name, weight in weights.items()]
        around = surroundings(self._model)
        if made_of == self._made_of and around == self._tried_in:
            return
        if made_of != self._made_of:
            self._engine = self._make_engine(config, weights)
            self._made_of = None
        check_engine(self._model, lambda batch: self._run(batch, None, {}).log_prob)
        self._made_of, self._tried_in = made_of, around

    def _make_engine(self, config: str, weights: dict[str, torch.Tensor]) -> Any:
        if not self._on_panels:
            return load_engine().TensorEngine(config, weights)
        return panel_engine(config, weights, is_encoder_decoder=self._model.config.is_encoder_decoder)

    def _run(self, batch: TokenBatch, progress: Progress | None, options: dict[str, str]) -> TokenScores:
        job = (batch.tokens, batch.offsets, batch.num_context)
        threads = {"num_threads": engine_threads()} if self._on_panels else {}
        return TokenScores(*self._engine.score(*job, progress=progress, **threads, **options))


def panel_engine(config: str, weights: Mapping[str, torch.Tensor], *, is_encoder_decoder: bool = False) -> Any:
    """Make the engine on panels, on the memory of these weights.

    Raises
    ------
    ModelError
        If it does not know something of the config, which is JSON, or of a weight.
    """
    kind = _core.PanelEncoderDecoderEngine if is_encoder_decoder else _core.PanelEngine
    return kind(config, {name: _array(name, weight) for name, weight in weights.items()})


def _array(name: str, weight: torch.Tensor) -> NDArray[Any]:
    """Return a weight's own memory as the panel engine takes it: the bits of bfloat16, which NumPy has not, as uint16.

    Raises
    ------
    ModelError
        If NumPy cannot share it: its type, its device, or its strides.
    """
    import torch

    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16) or weight.device.type != "cpu":
        kind = str(weight.dtype).removeprefix("torch.")
        raise ModelError(
            f"engine: weight {name} is {kind} on {weight.device}, wanted float32, bfloat16 or float16 on cpu"
        )
    if not weight.is_contiguous():
        raise ModelError(f"engine: weight {name} is not contiguous")
    if weight.dtype == torch.bfloat16:
        return weight.detach().view(torch.int16).numpy().view(np.uint16)
    return weight.detach().numpy()


def _text_part(model: Any) -> tuple[str, dict[str, torch.Tensor]]:
    """Return the config, as JSON, and the weights of what reads text: all of a model, but for one of images too."""
    weights, config = own_weights(model), model.config.to_dict()
    if is_multimodal(model):
        whole, part = "model.", "model.language_model."
        kept = [name for name in weights if name.startswith(part) or not name.startswith(whole)]
        weights = {name.replace(part, whole, 1): weights[name] for name in kept}
        tied = {"tie_word_embeddings": "lm_head.weight" not in weights}
        config = {**model.config.get_text_config().to_dict(), **tied}
    return _config_text(config), weights


def _config_text(config: dict[str, Any]) -> str:
    """Return a config as JSON, in which every value has one meaning."""
    try:
        return json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(f"engine: the model's config has a value that JSON cannot express ({error})") from error


def _kinds(weights: Iterable[torch.Tensor]) -> set[str]:
    """Name the number types of the weights and where they are."""
    return {f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}" for weight in weights}


_REBUILD = "in the environment that holds torch, run `make build` in a checkout or `pip install --no-build-isolation .`"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def load_engine() -> ModuleType:
    """Import torch, then the engine on torch's operators, for devices, that was built against it.

    Returns
    -------
    module
        ``sycophancy_core._engine``.

    Raises
    ------
    ModelError
        If the package was built without torch, torch is missing, or its major.minor differs from the one built with:
        the binary interface of torch changes with every minor version.
    """
    built = _build_info.TORCH_VERSION
    if not built:
        raise ModelError(f"engine: this build of sycophancy_core has none for devices, as torch was absent; {_REBUILD}")
    try:
        import torch
    except ImportError as error:
        wanted = f"torch {_minor(built)}, the version it was built with"
        raise ModelError(
            f"engine: on a device it needs {wanted}, but torch cannot be imported ({error}); install it"
        ) from error
    if _minor(torch.__version__) != _minor(built):
        found = f"for devices it was built with torch {built}, but torch {torch.__version__} is installed"
        raise ModelError(f"engine: {found}; install torch {_minor(built)}, or {_REBUILD}")
    return importlib.import_module("sycophancy_core._engine")
