"""PEFT's adapters next to the layers of a frozen base of any number type: float32 numbers on unchanged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import ModelError
from sycophancy_core.runs.outputs import require_installed
from sycophancy_core.scoring.checkpoints.foreign import first_line
from sycophancy_core.scoring.checkpoints.peft_layers import (
    is_float32,
    keep_copies_in_float32,
    merge_layers,
    peft_layers,
    remove_layers,
    require_own_weights,
)
from sycophancy_core.training.adapters.low_rank import require_rank, write_adapter
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, eq=False)
class PeftAdapter:
    """An adapter of PEFT's, off its model.

    Attributes
    ----------
    tensors
        Its numbers, and the modules that are saved whole, under the names that PEFT gives them, float32.
    config
        What ``adapter_config.json`` says.
    base_shapes
        Digest of the names and shapes of the base's weights.
    """

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]
    base_shapes: str

    def save(self, folder: str | Path) -> list[Path]:
        """Save as PEFT does (``adapter_config.json``, ``adapter_model.safetensors``), and return the two files."""
        return write_adapter(folder, self.tensors, self.config, base_shapes=self.base_shapes)


def needs_peft(model: Any, options: FinetuneOptions) -> bool:
    """Tell whether an adapter is one that only PEFT makes: of another kind, on other modules or other number types."""
    return bool(
        options.lora_kind != "lora"
        or options.target_modules is not None
        or options.modules_to_save
        or not is_float32(model)
    )


@contextmanager
def unmerged_adapter(
    model: Any, options: FinetuneOptions, *, base: str, shapes: str
) -> Iterator[Callable[[], PeftAdapter]]:
    """Put an adapter next to a model's layers, to be trained within; give what takes a copy of it.

    Afterwards a float32 base holds the sum. Any other one keeps the adapter next to its weights, which are what they
    were. After an exception the model is as it was.
    """
    require_installed(
        "peft", extra="train", what="finetune: an adapter of this kind, or on weights that are not float32,"
    )
    try:
        wrapper = _attached(model, options)
        require_own_weights(model)
        _start(model, options)
        yield lambda: taken_adapter(wrapper, base=base, shapes=shapes)
        if is_float32(model):
            merge_layers(model)
    except BaseException:
        remove_layers(model)
        raise


def _attached(model: Any, options: FinetuneOptions) -> Any:
    """Put fresh layers of PEFT's on a model, in place, and return PEFT's wrapper of it."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        target_modules=options.target_modules or "all-linear",
        modules_to_save=list(options.modules_to_save) or None,
        use_rslora=options.lora_kind == "rslora",
        use_dora=options.lora_kind == "dora",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            wrapper = get_peft_model(model, config)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"finetune: PEFT cannot put this adapter on the model ({first_line(error)}); choose other target_modules, "
            "lora_kind or modules_to_save"
        ) from error
    for name, layer in peft_layers(model):
        if hasattr(layer, "parameter_name"):
            raise ModelError(
                f"finetune: {name}.{layer.parameter_name} is not a linear layer's weight (but a router's, or experts "
                "in one tensor), and no adapter on it is trained here; choose target_modules without it, such as "
                "'.*self_attn.*_proj'"
            )
    keep_copies_in_float32(model)
    return wrapper


def _start(model: Any, options: FinetuneOptions) -> None:
    """Start each A where the weight-space path starts it, by the same generator."""
    import torch

    generator = torch.Generator().manual_seed(options.seed)
    rank = options.lora_rank or 0
    for name, layer in peft_layers(model):
        if not getattr(layer, "lora_A", None):
            continue
        num_in = layer.in_features
        require_rank(name, rank, layer.out_features, num_in)
        a = torch.randn(rank, num_in, generator=generator) / num_in**0.5
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(a)


def taken_adapter(wrapper: Any, *, base: str, shapes: str) -> PeftAdapter:
    """Return a copy of the adapter that PEFT's wrapper holds, trained on a model of this name and these shapes."""
    config = _settings(wrapper.peft_config["default"], base)
    return PeftAdapter(tensors=_tensors(wrapper), config=config, base_shapes=shapes)


def _tensors(wrapper: Any) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(wrapper, save_embedding_layers=False)
    return {name: found[name].detach().float().cpu().clone() for name in sorted(found)}


def _settings(config: Any, base: str) -> dict[str, Any]:
    settings = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    for key in ("peft_type", "task_type"):
        settings[key] = str(getattr(settings[key], "value", settings[key]))
    return {**settings, "base_model_name_or_path": base, "inference_mode": True}
