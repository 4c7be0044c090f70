"""A model on its mapped files: scored without torch and transformers, and made a module of when one is asked for."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core import _core
from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import ModelError
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.checkpoints.kept_digests import States, file_states, kept_digest
from sycophancy_core.scoring.checkpoints.mapped_adapter import MappedAdapter, map_adapter
from sycophancy_core.scoring.checkpoints.mapped_weights import MappedWeights, map_weights
from sycophancy_core.scoring.checkpoints.model_config import complete_config
from sycophancy_core.scoring.checkpoints.model_files import check_model_files, read_json_object
from sycophancy_core.scoring.checkpoints.saved_adapter import attach_saved_adapter
from sycophancy_core.scoring.checks.limits import refuse_unknown_tokens
from sycophancy_core.scoring.checks.module_checks import digest_of_config
from sycophancy_core.scoring.engines import warn_if_slow
from sycophancy_core.scoring.held.held_module import HeldModule
from sycophancy_core.scoring.processes import engine_threads
from sycophancy_core.scoring.tokenizing.light_tokenizer import LightTokenizer, light_tokenizer
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores

_POSITIONS = {"transformer.wpe.weight": 0, "model.decoder.embed_positions.weight": 2}  # and free rows before the first
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "shared.weight")
_OTHERWISE = ("gpt2", "t5")  # the one has transposed weights, the engine of the other knows no adapter
_SCALED = ("gemma", "gemma2", "gemma3_text")  # their modules hold the embeddings' factor


def map_model(folder: Path, dtype: str) -> MappedModel | None:
    """Map a model's folder; None where transformers might make another model of it than the engine scores.

    Raises
    ------
    ModelError
        If its files are damaged, or name code or pickles; see :func:`check_model_files`.
    """
    check_model_files(folder)
    raw = read_json_object(folder / "config.json")
    config = complete_config(raw)
    if config is None:
        return None
    before = file_states(folder)
    weights, tokenizer = map_weights(folder, config, dtype), light_tokenizer(folder, raw)
    if weights is None or tokenizer is None:
        return None
    try:
        return MappedModel(folder, dtype, config, weights, tokenizer, before)
    except ModelError:
        return None  # the module's own way says what the engine does not know


class MappedModel:
    """A model on its mapped files, maybe with an adapter next to them, until its module is asked for.

    Raises
    ------
    ModelError
        If the engine does not know something of the config or a weight.
    """

    def __init__(
        self,
        folder: Path,
        dtype: str,
        config: dict[str, Any],
        weights: MappedWeights,
        tokenizer: LightTokenizer,
        states: States,
        adapter: MappedAdapter | None = None,
    ) -> None:
        self.scoring_tokenizer = tokenizer
        self.text_config = SimpleNamespace(**config)
        self.is_encoder_decoder = bool(config["is_encoder_decoder"])
        self.device = "cpu"
        self.held_module: HeldModule | None = None
        self._folder, self._dtype, self._config, self._states = folder, dtype, config, states
        self._weights: MappedWeights | None = weights
        self._adapter = adapter
        kind = _core.PanelEncoderDecoderEngine if self.is_encoder_decoder else _core.PanelEngine
        low_rank = () if adapter is None else (adapter.low_rank,)
        self._engine: Any = kind(_json(config), weights.tensors, *low_rank)
        self._digest: str | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Map the same files, as in another process; a module, once there is one, goes along as it is."""
        if self.held_module is not None:
            return HeldModule, (self.held_module.module, self.held_module.scoring_tokenizer)
        adapter = None if self._adapter is None else self._adapter[:2]
        return _mapped_again, (self._folder, self._dtype, self._states, adapter)

    def with_adapter(self, folder: Path, name: str) -> MappedModel | None:
        """Return the same model, on the same mapped weights, with a saved adapter next to them.

        None where the module's own way, through PEFT, runs it or says what is wrong with it; see :func:`map_adapter`.
        """
        if self._weights is None or self._adapter or self._config["model_type"] in _OTHERWISE:
            return None
        tensors = self._weights.tensors
        embedding = next(tensor for key, tensor in tensors.items() if key.endswith(_EMBEDDINGS))
        tied = {} if "lm_head.weight" in tensors else {"lm_head.weight": embedding}
        adapter = map_adapter(folder, tensors, tied, name, str(self._folder))
        if adapter is None:
            return None
        parts = (self._folder, self._dtype, self._config, self._weights, self.scoring_tokenizer, self._states)
        try:
            return MappedModel(*parts, adapter)
        except ModelError:
            return None  # it is on a layer on which the engine knows none

    def make_module(self) -> HeldModule:
        """Make the module of the same files, and let go of them.

        Raises
        ------
        ModelError
            If a file has changed since, so that the module would be another model.
        """
        with self._lock:
            if self.held_module is None:
                _check_states(self._folder, self._states)
                held = HeldModule(*sources.read_model(self._folder, dtype=self._dtype))
                if self._adapter is not None:
                    _check_states(self._adapter.folder, self._adapter.states)
                    attach_saved_adapter(held.module, self._adapter.folder, name=str(self._folder))
                self.held_module = held
                self._weights = self._engine = None
            return self.held_module

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and choice together, as :func:`limits.context_length` has it of the module."""
        if self.is_encoder_decoder:
            return None  # T5's distances have no end
        limits = [self._config[key] for key in ("max_position_embeddings", "n_positions") if key in self._config]
        tensors = self._mapped.tensors
        limits += [tensors[name].shape[0] - free for name, free in _POSITIONS.items() if name in tensors]
        return int(min(limits))

    @property
    def weights(self) -> list[NDArray[Any]]:
        """The mapped weights; bfloat16 as its bits in uint16."""
        return list(self._mapped.tensors.values())

    @property
    def num_parameters(self) -> int:
        """How many weights there are."""
        added = {} if self._adapter is None else self._adapter.parameters
        return sum(int(tensor.size) for tensor in (*self.weights, *added.values()))

    @property
    def digest(self) -> str:
        """The digest of the module that would be made of the files; see ``HeldModule.digest``."""
        if self._digest is None:
            config = digest_of_config(self._config)
            made_as = f"{VERSION} {self._mapped.kind} {config}"
            cache = sources.cache_folder() / "digests"
            if self._adapter is None:
                weights = kept_digest(self._folder, self._states, made_as, self._weights_digest, cache=cache)
            else:
                weights = self._weights_digest()
            self._digest = hashlib.sha256(f"{weights} {config}".encode()).hexdigest()
        return self._digest

    def _weights_digest(self) -> str:
        kind, digest = self._mapped.kind, hashlib.sha256()
        for name, (type_name, tensor) in sorted(self._digested(kind).items()):
            digest.update(f"{name}:torch.{type_name}:{tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def _digested(self, kind: str) -> dict[str, tuple[str, NDArray[Any]]]:
        """Return the weights, and the buffers of a module that are not made of its config alone as rotations are."""
        added = self._adapter
        adapted = {f"{layer}.weight": f"{layer}.base_layer.weight" for layer in added.low_rank} if added else {}
        adapted |= {
            name.replace(".weight", ".bias"): there.replace(".weight", ".bias") for name, there in adapted.items()
        }
        found = {adapted.get(name, name): (kind, tensor) for name, tensor in self._mapped.tensors.items()}
        if added:
            found |= {name: ("float32", numbers) for name, numbers in added.parameters.items()}
        if self._config["model_type"] in _SCALED:
            scale = _rounded(self._config["hidden_size"] ** 0.5, kind)
            found["model.embed_tokens.embed_scale"] = (kind, scale)
        return found

    def check_tokens(self, tokens: NDArray[np.int32], *, name: str) -> None:
        """Refuse token ids that the model has no embedding for."""
        found = self._mapped.tensors
        sizes = [tensor.shape[0] for key, tensor in found.items() if key.endswith((*_EMBEDDINGS, "lm_head.weight"))]
        refuse_unknown_tokens(min(sizes), tokens, name=name, tokenizer=self.scoring_tokenizer)

    def make_scorer(self, name: str, engine: str, matmul_precision: str) -> MappedScorer:
        """Return what scores tokens on the files.

        Warns
        -----
        UserWarning
            If the precision takes longer here.
        """
        scorer = MappedScorer(self._engine, self._mapped.kind, matmul_precision)
        warn_if_slow(scorer, name, matmul_precision)
        return scorer

    @property
    def _mapped(self) -> MappedWeights:
        assert self._weights is not None, "the module has taken over"
        return self._weights


class MappedScorer:
    """Scores token sequences with the engine, on mapped weights.

    There is no module that could say something else than files and config, so that no trial is needed.
    """

    def __init__(self, engine: Any, kind: str, matmul_precision: str) -> None:
        self._engine, self._kind, self._matmul_precision = engine, kind, matmul_precision
        self.is_fast: bool = _core.is_fast(matmul_precision)
        self.precision = f"{kind}/{matmul_precision}"

    def in_highest(self) -> MappedScorer:
        """Return the same scorer with products as float32 multiplies."""
        other = copy.copy(self)
        other._matmul_precision, other.is_fast, other.precision = "highest", True, f"{self._kind}/highest"
        return other

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens."""
        job = (batch.tokens, batch.offsets, batch.num_context)
        options = {"matmul_precision": self._matmul_precision, "num_threads": engine_threads()}
        return TokenScores(*self._engine.score(*job, progress=progress, **options))


def _rounded(value: float, kind: str) -> NDArray[Any]:
    """Return a number in a type of weights; in bfloat16 as its bits, rounded to the nearest, of two to the even one."""
    single = np.array(value, np.float32)
    if kind != "bfloat16":
        return single.astype(kind)
    bits = int(single.view(np.uint32))
    return np.array((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, np.uint16)


def _json(config: dict[str, Any]) -> str:
    try:
        return json.dumps(config, allow_nan=False)
    except ValueError as error:
        raise ModelError(f"engine: the model's config has a value that JSON cannot express ({error})") from error


def _check_states(folder: Path, states: States) -> None:
    now = file_states(folder) if folder.is_dir() else {}
    changed = sorted(name for name in states.keys() | now.keys() if states.get(name) != now.get(name))
    if changed:
        raise ModelError(
            f"load_model: {folder / changed[0]} has changed since the model was loaded from it; load the model again"
        )


def _mapped_again(folder: Path, dtype: str, states: States, adapter: tuple[Path, States] | None) -> MappedModel:
    _check_states(folder, states)
    found = map_model(folder, dtype)
    if found is not None and adapter is not None:
        _check_states(*adapter)
        found = found.with_adapter(adapter[0], str(folder))
    if found is None:
        raise ModelError(f"load_model: {folder} has changed since the model was loaded from it; load the model again")
    return found
