"""Low-rank adapters in weight space: W + (alpha / rank) * B @ A, trained through the dense product, saved as PEFT does.

The product with the summed weight is one dense matrix product, which a CPU runs about twice as fast as the two thin
ones of an adapter next to the layer; without dropout both are the same function (Hu et al. 2021, section 4.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError, ModelError, require_counts
from sycophancy_core.runs.files import replace_file
from sycophancy_core.runs.json_files import write_json

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """The shape of a low-rank adapter, which changes every linear layer of the blocks.

    Attributes
    ----------
    rank
        Columns of B and rows of A, at least 1.
    alpha
        The update is scaled by ``alpha / rank``.
    first_layer
        Blocks before this one are left alone; gradients need not go back to them.
    """

    rank: int = 8
    alpha: float = 8.0
    first_layer: int = 0

    def __post_init__(self) -> None:
        require_counts("AdapterOptions", self, ("rank",))


def block_layers(model: Any, *, first_layer: int = 0) -> list[tuple[str, Any]]:
    """Return the linear layers of the blocks from ``first_layer`` on, with their names.

    Raises
    ------
    ModelError
        If there is none, or the blocks have matrices outside linear layers, which an adapter would leave alone (GPT-2's
        Conv1D, experts in one tensor).
    """
    import torch

    layers: list[tuple[str, Any]] = []
    others: list[str] = []
    for name, module in model.named_modules():
        block = re.search(r"\.(\d+)\.", f"{name}.")
        if block is None or int(block[1]) < first_layer:
            continue
        if isinstance(module, torch.nn.Linear):
            layers.append((name, module))
        else:
            matrices = [key for key, tensor in module.named_parameters(recurse=False) if tensor.dim() > 1]
            others += [f"{name}.{key} ({type(module).__name__})" for key in matrices]
    if others or not layers:
        raise ModelError(
            "adapter: wanted blocks whose matrices are all in linear layers, got "
            f"{others[0] if others else 'no linear layer'}; train without lora_rank, which changes all weights"
        )
    return layers


def attach_adapter(model: Any, options: AdapterOptions, *, seed: int) -> None:
    """Freeze a model and put a fresh adapter on each linear layer of its blocks, in place; it changes nothing at first.

    Raises
    ------
    DataError
        If the rank is over a layer's width.
    ModelError
        If the blocks have matrices outside linear layers, or no block has any.
    """
    import torch

    layers = block_layers(model, first_layer=options.first_layer)
    for name, layer in layers:
        require_rank(name, options.rank, layer.out_features, layer.in_features)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in layers:
        layer.low_rank = _low_rank_class()(layer.weight, options, generator)
        layer.__class__ = _adapted_class(layer.__class__)


def require_rank(name: str, rank: int, num_out: int, num_in: int) -> None:
    """Refuse a rank that a matrix cannot have.

    Raises
    ------
    DataError
        Naming the layer and its width.
    """
    if rank > min(num_out, num_in):
        raise DataError(
            f"finetune: lora_rank must be at most {min(num_out, num_in)}, the width of {name} ({num_out} x {num_in}), "
            f"got {rank}"
        )


def merge_adapter(model: Any) -> None:
    """Add the adapter to the weights it sits on, in place, and take it off; tensors shared with others see the sum.

    Raises
    ------
    ModelError
        If a sum is not finite; no weight is changed then, and the adapter stays on.
    """
    import torch

    with torch.no_grad():
        for name, layer in _adapted_layers(model):
            if not (layer.weight + layer.low_rank.delta().to(layer.weight.dtype)).isfinite().all():
                raise ModelError(f"adapter: the sum of {name}.weight and its update is not finite; it is not merged")
        for _, layer in _adapted_layers(model):
            layer.weight.add_(layer.low_rank.delta().to(layer.weight.dtype))
    remove_adapter(model)


def remove_adapter(model: Any) -> None:
    """Take the adapter off; the weights it sat on are what they were."""
    for _, layer in list(_adapted_layers(model)):
        layer.__class__ = type(layer).__base__
        del layer.low_rank


@contextmanager
def trained_adapter(model: Any, options: AdapterOptions, *, seed: int) -> Iterator[None]:
    """Attach an adapter, to be trained within; then merge it, or after an exception give the model back as it was."""
    try:
        attach_adapter(model, options, seed=seed)
        yield
        merge_adapter(model)
    except BaseException:
        remove_adapter(model)
        raise


@contextmanager
def applied_adapter(model: Any) -> Iterator[None]:
    """Put the sum, bit for bit that of :func:`merge_adapter`, into the tensors that the adapter sits on for a while.

    Who shares these tensors then sees the adapted model, and its own forward gives the same. Afterwards every bit is
    what it was; meanwhile the adapted layers' weights are held twice. A model without an adapter is left alone.
    """
    import torch

    kept: list[tuple[Any, Any]] = []
    try:
        with torch.no_grad():
            for _, layer in _adapted_layers(model):
                kept.append((layer, layer.weight.clone()))
                layer.weight.add_(layer.low_rank.delta().to(layer.weight.dtype))
                layer.low_rank.is_applied = True
        yield
    finally:
        with torch.no_grad():
            for layer, weight in kept:
                layer.weight.copy_(weight)
                layer.low_rank.is_applied = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """An adapter off its model.

    Attributes
    ----------
    tensors
        Its matrices under the names that PEFT gives them, float32.
    options
        Its shape.
    base
        Name of the model that it belongs to.
    base_shapes
        Digest of the names and shapes of that model's weights; empty where it is not kept.
    """

    tensors: dict[str, torch.Tensor]
    options: AdapterOptions
    base: str
    base_shapes: str = ""

    def save(self, folder: str | Path, *, dtype: str = "float32") -> list[Path]:
        """Save as PEFT does (``adapter_config.json``, ``adapter_model.safetensors``), and return the two files.

        Parameters
        ----------
        dtype
            Number format on disk: ``"float32"``, ``"float16"`` or ``"bfloat16"``.

        Raises
        ------
        ModelError
            If a number is not finite in that format.
        """
        stored = {name: _rounded(name, tensor, dtype) for name, tensor in self.tensors.items()}
        blocks = sorted({int(number) for name in stored for number in re.findall(r"\.(\d+)\.", name)})
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "r": self.options.rank,
            "lora_alpha": self.options.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted({name.split(".")[-3] for name in stored}),
            "layers_to_transform": blocks if self.options.first_layer else None,
            "inference_mode": True,
        }
        return write_adapter(folder, stored, config, base_shapes=self.base_shapes)


def write_adapter(
    folder: str | Path, tensors: dict[str, torch.Tensor], config: dict[str, Any], *, base_shapes: str
) -> list[Path]:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json``, as PEFT reads them; return the two files."""
    from safetensors.torch import save

    metadata = {"format": "pt"} | ({"base_shapes": base_shapes} if base_shapes else {})
    content = _in_order(save(tensors, metadata=metadata))
    folder = Path(folder)
    return [
        replace_file(folder / "adapter_model.safetensors", lambda file: file.write(content)),
        write_json(folder / "adapter_config.json", config),
    ]


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted, which the library writes in any order."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def take_adapter(model: Any, options: AdapterOptions, *, base: str, shapes: str = "") -> Adapter:
    """Return a copy of the adapter that sits on a model."""
    tensors = {}
    for name, layer in _adapted_layers(model):
        tensors[f"base_model.model.{name}.lora_A.weight"] = layer.low_rank.a.detach().float().cpu().clone()
        tensors[f"base_model.model.{name}.lora_B.weight"] = layer.low_rank.b.detach().float().cpu().clone()
    return Adapter(tensors=tensors, options=options, base=base, base_shapes=shapes)


def round_adapter(model: Any, *, dtype: str) -> None:
    """Round the adapter's numbers, in place, so that a file of that number format holds exactly what the model has.

    Raises
    ------
    ModelError
        If a number is not finite in that format.
    """
    import torch

    with torch.no_grad():
        for name, layer in _adapted_layers(model):
            for matrix in (layer.low_rank.a, layer.low_rank.b):
                matrix.copy_(_rounded(name, matrix, dtype))


def _rounded(name: str, tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    import torch

    rounded = tensor.to(getattr(torch, dtype))
    if not rounded.isfinite().all():
        raise ModelError(f"adapter: {name} has numbers that are not finite in {dtype}; save it in float32")
    return rounded


def _adapted_layers(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(getattr(module, "low_rank", None), _low_rank_class()):
            yield name, module


# One class for all layers and all adapters: a compiled block is run again only for layers of the very same classes.
@cache
def _adapted_class(linear: Any) -> Any:
    from torch.nn.functional import linear as product

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return product(x, self.low_rank(self.weight), self.bias)

    return type(f"Adapted{linear.__name__}", (linear,), {"forward": forward})


@cache
def _low_rank_class() -> Any:
    import torch

    class LowRankUpdate(torch.nn.Module):
        """A layer's weight -> weight + scale * B @ A, with B = 0 at first."""

        def __init__(self, weight: torch.Tensor, options: AdapterOptions, generator: torch.Generator) -> None:
            super().__init__()
            num_out, num_in = weight.shape
            a = torch.randn(options.rank, num_in, generator=generator) / num_in**0.5
            self.a = torch.nn.Parameter(a.to(weight.device))
            self.b = torch.nn.Parameter(torch.zeros(num_out, options.rank, device=weight.device))
            self.scale = options.alpha / options.rank
            self.is_applied = False  # whether the weight already holds the sum

        def delta(self) -> torch.Tensor:
            return self.scale * (self.b @ self.a)

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight if self.is_applied else weight + self.delta().to(weight.dtype)

    return LowRankUpdate


def trainable_parameters(module: Any) -> list[tuple[str, Any]]:
    """Return the parameters that learn, with their names."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
