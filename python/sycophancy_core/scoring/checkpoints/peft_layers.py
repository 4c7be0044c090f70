"""PEFT's layers on a model: found, summed into the weights they sit on, taken off."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sycophancy_core.errors import ModelError


def peft_layers(model: Any) -> list[tuple[str, Any]]:
    """Return the outermost modules of a model that are PEFT's, with their names."""
    if "peft" not in sys.modules:
        return []
    found: list[tuple[str, Any]] = []
    for name, module in model.named_modules():
        is_within = bool(found) and name.startswith(f"{found[-1][0]}.")
        if type(module).__module__.partition(".")[0] == "peft" and not is_within:
            found.append((name, module))
    return found


def require_no_layers(model: Any, what: str) -> None:
    """Refuse a model that carries layers of PEFT's already.

    Raises
    ------
    ModelError
        Naming the first; ``what`` begins the message.
    """
    for name, module in peft_layers(model):
        raise ModelError(
            f"{what}: {name or 'the model'} is PEFT's {type(module).__name__} already; merge that adapter first "
            "(merge_and_unload), and give the model that this returns"
        )


def quantized_parameter(model: Any) -> str | None:
    """Name the first parameter whose numbers are not plain floating point, or None."""
    import torch

    for name, parameter in model.named_parameters():
        if type(parameter) is not torch.nn.Parameter or not parameter.is_floating_point():
            return f"{name} ({type(parameter).__name__}, {str(parameter.dtype).removeprefix('torch.')})"
    return None


def is_float32(model: Any) -> bool:
    """Tell whether every weight is a plain float32 tensor, into which an adapter can be summed and nothing rounds."""
    import torch

    return quantized_parameter(model) is None and all(p.dtype == torch.float32 for p in model.parameters())


@contextmanager
def summed_layers(model: Any) -> Iterator[None]:
    """Put plain layers with the sums of PEFT's in their places for a while, if every weight is float32.

    Meanwhile the model is one without PEFT, on the tensors that it had; afterwards every bit is what it was. In another
    number type a sum would round the update, so that PEFT's layers stay, and give the adapted model's own outputs.

    Raises
    ------
    ModelError
        If a sum is not finite, a layer's weight is another module's too, or an adapter is on tensors outside layers.
    """
    undo = _put_sums(model) if is_float32(model) else lambda: None
    try:
        yield
    finally:
        undo()


def merge_layers(model: Any) -> None:
    """Sum PEFT's layers into the weights they sit on, in place, and take them off.

    Raises
    ------
    ModelError
        As :func:`summed_layers`; the model is then what it was.
    """
    _put_sums(model)
    _forget(model)


def _put_sums(model: Any) -> Callable[[], None]:
    """Sum and replace PEFT's layers; return what undoes it to the bit."""
    require_own_weights(model)
    layers = peft_layers(model)
    kept: list[tuple[Any, Any, Any]] = []  # a parameter, its tensor, a copy of its numbers

    def undo() -> None:
        for name, layer in layers:
            _replace(model, name, layer)
            if _own_module(layer) is None:
                layer.merged_adapters.clear()
        for parameter, tensor, numbers in kept:
            parameter.data = tensor
            tensor.copy_(numbers)

    try:
        for name, layer in layers:
            plain = _own_module(layer)
            if plain is None:
                plain = layer.get_base_layer()
                _sum(name, layer, kept)
            _replace(model, name, plain)
    except BaseException:
        undo()
        raise
    return undo


def require_own_weights(model: Any) -> None:
    """Refuse layers of PEFT's on weights that another module has too: a sum would change that one as well.

    Raises
    ------
    ModelError
        Naming both.
    """
    users: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        users.setdefault(id(parameter), []).append(name)
    for name, layer in peft_layers(model):
        weight = getattr(getattr(layer, "original_module", None) or layer.get_base_layer(), "weight", None)
        others = [user for user in users.get(id(weight), ()) if not user.startswith(f"{name}.")]
        if others:
            raise ModelError(
                f"adapter: {name} shares its weight with {others[0].removesuffix('.weight')}, which would change too; "
                "leave both out of target_modules and modules_to_save"
            )


def remove_layers(model: Any) -> None:
    """Take PEFT's layers off; what they sat on is what it was."""
    for name, layer in peft_layers(model):
        _replace(model, name, getattr(layer, "original_module", None) or layer.get_base_layer())
    _forget(model)


def _forget(model: Any) -> None:
    model.requires_grad_(False)
    if hasattr(model, "peft_config"):
        del model.peft_config
    if getattr(model, "_hf_peft_config_loaded", False):
        model._hf_peft_config_loaded = False


def _own_module(layer: Any) -> Any:
    """Return the trained copy of a module that is saved whole, or None for an adapter."""
    copies = getattr(layer, "modules_to_save", None)
    return None if copies is None else copies[layer.active_adapters[0]]


def _sum(name: str, layer: Any, kept: list[tuple[Any, Any, Any]]) -> None:
    """Add a layer's update to the tensors that it sits on, which stay the same tensors; note in ``kept`` what was."""
    import torch

    if hasattr(layer, "parameter_name"):
        raise ModelError(
            f"adapter: {name}.{layer.parameter_name} is not a linear layer's weight, and PEFT's adapter on it "
            "(target_parameters) is not summed here; leave it out of target_parameters"
        )
    own = dict(layer.get_base_layer().named_parameters())
    kept += [(parameter, parameter.data, parameter.detach().clone()) for parameter in own.values()]
    tensors = {key: parameter.data for key, parameter in own.items()}
    with torch.no_grad():
        layer.merge()
    for key, parameter in own.items():  # the weight, and with lora_bias the bias
        summed, parameter.data = parameter.data, tensors[key]
        if not summed.isfinite().all():
            raise ModelError(f"adapter: the sum of {name}.{key} and its update is not finite")
        tensors[key].copy_(summed)


def _replace(model: Any, name: str, module: Any) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def keep_copies_in_float32(model: Any) -> None:
    """Let the modules that are saved whole hold and compute float32, between neighbours of another number type."""
    import torch

    for _, layer in peft_layers(model):
        copy = _own_module(layer)
        if copy is None or all(p.dtype == torch.float32 for p in copy.parameters()):
            continue
        kind = next(layer.original_module.parameters()).dtype
        copy.float()
        copy.register_forward_pre_hook(lambda _, given: tuple(x.float() if x.is_floating_point() else x for x in given))
        copy.register_forward_hook(lambda _, __, out, kind=kind: out.to(kind))


def base_shapes(model: Any) -> str:
    """sha256 of the names and shapes of a model's weights, whatever their number type; without PEFT's layers."""
    import torch

    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "HQQLinear":
            shapes[f"{name}.weight"] = (module.out_features, module.in_features)
    return shapes_digest(shapes)


def shapes_digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """sha256 of names and shapes of weights."""
    return hashlib.sha256(json.dumps(sorted(shapes.items())).encode()).hexdigest()
