"""A saved LoRA adapter in PEFT's format, merged into the weights that it was trained on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError, ModelError, warn
from sycophancy_core.runs.seals import check_if_sealed
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.model_files import read_json_object, safetensors_shapes
from sycophancy_core.scoring.checkpoints.peft_adapter import load_through_peft
from sycophancy_core.scoring.checkpoints.peft_layers import base_shapes, quantized_parameter, require_no_layers
from sycophancy_core.scoring.sources import ORGANISM, organism_folder

if TYPE_CHECKING:
    import torch

Pair = tuple["torch.Tensor", "torch.Tensor"]  # A (rank, inputs) and B (outputs, rank)


def merge_saved_adapter(model: Any, folder: str | os.PathLike[str], *, name: str = "") -> str:
    """Add a LoRA adapter in PEFT's format to the weights of ``model``: W + (alpha / r) B A.

    The adapter is checked whole before a weight is changed. DoRA, modules that are saved whole, and GPT-2's layers
    (Conv1D, whose weight is transposed) go through PEFT.

    Parameters
    ----------
    name
        The model's name, to be compared with that of the model that the adapter was trained on.

    Returns
    -------
    str
        The adapter's name (its folder's).

    Raises
    ------
    ModelError
        If the folder is no LoRA adapter, lacks a part of one, uses what a merge cannot express, does not fit the model,
        or was trained on top of other adapters.

    Warns
    -----
    UserWarning
        If it fits, but says it was trained on a model of another name.
    """
    import torch

    folder = adapter_folder(folder)
    with translated(f"adapter {folder}: it is damaged"):
        settings = adapter_settings(folder)
        check_seal(folder)
        _check_shapes(folder, model)
        if any(settings.get(key) for key in ("use_dora", "modules_to_save", "fan_in_fan_out")):
            _check_base(folder, settings, model, name)
            load_through_peft(model, folder, merge=True)
            return folder.name
        pairs = _read_pairs(folder, int(settings["r"]))
        factor = update_factor(settings)
        weights = _weights(folder, model, pairs)
        _check_targets(folder, settings, model, pairs)
        _check_base(folder, settings, model, name)
    with torch.no_grad():
        for module, (down, up) in pairs.items():
            if not (weights[module] + _update(down, up, factor, weights[module])).isfinite().all():
                raise ModelError(f"adapter {folder}: the sum of {module} and its update is not finite")
        for module, (down, up) in pairs.items():
            weights[module] += _update(down, up, factor, weights[module])
    return folder.name


def add_saved_adapters(model: Any, folders: Sequence[str | os.PathLike[str]], *, name: str, merge: bool) -> str:
    """Merge adapters, one after the other, or leave the last next to the weights; return the name of model and all."""
    for i, folder in enumerate(folders):
        add = merge_saved_adapter if merge or i + 1 < len(folders) else attach_saved_adapter
        name = f"{name}+{add(model, folder, name=name)}"
    return name


def attach_saved_adapter(model: Any, folder: str | os.PathLike[str], *, name: str = "") -> str:
    """Put an adapter in PEFT's format next to the weights of ``model``, through PEFT, and return its name.

    Raises
    ------
    ModelError
        As :func:`merge_saved_adapter`; the model is then what it was.

    Warns
    -----
    UserWarning
        As :func:`merge_saved_adapter`.
    """
    folder = adapter_folder(folder)
    with translated(f"adapter {folder}: it is damaged"):
        settings = adapter_settings(folder)
        check_seal(folder)
        _check_shapes(folder, model)
        _check_base(folder, settings, model, name)
    load_through_peft(model, folder, merge=False)
    return folder.name


def adapter_folder(adapter: str | os.PathLike[str]) -> Path:
    """Return the folder of an adapter, which may be the packaged one."""
    return organism_folder() if adapter == ORGANISM else Path(adapter)


def update_factor(settings: Mapping[str, Any]) -> float:
    """Return what the product of an adapter's two matrices is multiplied with."""
    rank = settings["r"]
    return float(settings["lora_alpha"] / (rank**0.5 if settings.get("use_rslora") else rank))


def check_seal(folder: Path) -> None:
    """Refuse an adapter if its files are not those that were saved, where it says so."""
    try:
        check_if_sealed(folder)
    except DataError as error:
        raise ModelError(f"adapter {error}") from error


def _check_shapes(folder: Path, model: Any) -> None:
    """Refuse an adapter that was trained on weights of other names or shapes, where it says so."""
    from safetensors import safe_open

    require_no_layers(model, f"adapter {folder}")  # which have other names
    path = folder / "adapter_model.safetensors"
    safetensors_shapes(path)  # which tells a damaged file from a pointer to one
    with safe_open(str(path), framework="pt") as file:
        wanted = (file.metadata() or {}).get("base_shapes")
    if wanted is not None and wanted != base_shapes(model):
        raise ModelError(
            f"adapter {folder}: it was trained on a model with other names or shapes of weights; load it on that model"
        )


def _update(down: torch.Tensor, up: torch.Tensor, factor: float, weight: torch.Tensor) -> torch.Tensor:
    return (factor * (up.float() @ down.float())).to(weight)


def _read_pairs(folder: Path, rank: int) -> dict[str, Pair]:
    """Read the two matrices of each adapted module."""
    from safetensors.torch import load_file

    path = folder / "adapter_model.safetensors"
    with translated(f"adapter {folder}: {path.name} cannot be read"):
        tensors = load_file(path)
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in sorted(tensors.items()):
        match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_(A|B)\.weight", key)
        if match is None:
            raise ModelError(f"adapter {folder}: cannot merge tensor {key!r}: wanted only lora_A and lora_B weights")
        if tensor.dim() != 2 or not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ModelError(f"adapter {folder}: {key} is not a matrix of finite numbers")
        halves.setdefault(match[1], {})[match[2]] = tensor
    if not halves:
        raise ModelError(f"adapter {folder}: {path.name} has no tensor")
    for module, found in halves.items():
        if len(found) < 2:
            lacking = "A" if "B" in found else "B"
            raise ModelError(f"adapter {folder}: {module} has no lora_{lacking}; save the whole adapter again")
        ranks = found["A"].shape[0], found["B"].shape[1]
        if ranks != (rank, rank):
            raise ModelError(
                f"adapter {folder}: the config says r={rank}, but {module} has {ranks[0]} rows in lora_A and "
                f"{ranks[1]} columns in lora_B"
            )
    return {module: (found["A"], found["B"]) for module, found in halves.items()}


def _weights(folder: Path, model: Any, pairs: Mapping[str, Pair]) -> dict[str, torch.Tensor]:
    """Return the weights that the pairs change, by module."""
    import torch

    parameters = dict(model.named_parameters())
    for module, (down, up) in pairs.items():
        weight, wanted = parameters.get(f"{module}.weight"), (up.shape[0], down.shape[1])
        if weight is None or weight.shape != wanted:
            got = "no such weight" if weight is None else f"shape {tuple(weight.shape)}"
            raise ModelError(
                f"adapter {folder}: {module} does not fit the model: wanted a weight of shape {wanted}, got "
                f"{got}; load the adapter on the model it was trained on"
            )
        layer = model.get_submodule(module)
        if not isinstance(layer, torch.nn.Linear) or quantized_parameter(layer):
            raise ModelError(
                f"adapter {folder}: {module} is a {type(layer).__name__} in {weight.dtype}; wanted a linear layer in "
                "floating point; give merge_adapter=False, or merge it with PEFT first"
            )
    return {module: parameters[f"{module}.weight"] for module in pairs}


def _check_targets(folder: Path, settings: Mapping[str, Any], model: Any, pairs: Mapping[str, Pair]) -> None:
    """Refuse an adapter that lacks a module that its config names."""
    import torch

    targets = settings.get("target_modules")
    if targets is None or targets == "all-linear":  # of which each architecture leaves others out
        return
    linear = [module for module, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    lacking = [module for module in targeted(settings, linear) if module not in pairs]
    absent = [target for target in targets if not any(_is_named(module, [target]) for module in pairs)]
    if lacking or (absent and not isinstance(targets, str)):
        raise ModelError(
            f"adapter {folder}: its config names {(lacking or absent)[0]} in target_modules, of which it has no "
            "tensor; save the whole adapter again, or merge it with PEFT first"
        )


def targeted(settings: Mapping[str, Any], modules: Iterable[str]) -> list[str]:
    """Return which of these modules a config puts an adapter on, if it names its targets."""
    targets, excluded = settings["target_modules"], settings.get("exclude_modules") or []
    named = [module for module in modules if _is_named(module, targets) and not _is_named(module, excluded)]
    return [module for module in named if _is_chosen(module, settings)]


def _is_named(module: str, names: str | list[str]) -> bool:
    """Tell whether a config names a module: by a regular expression, or by its last parts."""
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == one or module.endswith(f".{one}") for one in names)


def _is_chosen(module: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a module is in one of the layers that the config chooses, if it does."""
    layers, patterns = settings.get("layers_to_transform"), settings.get("layers_pattern")
    if layers is None:
        return True
    names = [patterns] if isinstance(patterns, str) else patterns or [r"[^.]*"]
    found = [re.match(rf"(?:.*\.)?{name}\.(\d+)\.", module) for name in names]
    chosen = [layers] if isinstance(layers, int) else layers
    return any(match is not None and int(match[1]) in chosen for match in found)


def _check_base(folder: Path, settings: Mapping[str, Any], model: Any, name: str) -> None:
    """Warn of an adapter that says it was trained on a model of another name; one made in memory has none.

    Other adapters below it, or none of those that it was trained on, are surely other weights: then it is refused.
    """
    base, kind = settings.get("base_model_name_or_path"), type(model).__name__
    config = getattr(model, "config", None)
    known = [one for one in (name, str(getattr(config, "name_or_path", "") or "")) if one not in ("", kind)]
    if not base or (not known and config is not None):
        return
    if is_base(str(base), *known, kind):
        return
    mine = (*known, kind)[0]
    told = f"adapter {folder}: it says it was trained on {base}, and the model is {mine}"
    if _merged_below(str(base)) != _merged_below(mine):
        raise ModelError(f"{told}; load it with the same adapters below it")
    warn(f"{told}; its shapes fit, but on other weights it does something else")


def is_base(base: str, *names: str) -> bool:
    """Tell whether a model of one of these names is the one that an adapter says it was trained on."""
    return bool(_short_names(base) & {short for name in names for short in _short_names(name)})


def _merged_below(name: str) -> list[str]:
    """Return the adapters in a model's name."""
    return re.split(r"[/\\]", name.casefold().rstrip("/\\"))[-1].split("+")[1:]


def _short_names(name: str) -> set[str]:
    """Return what a path, a hub id, a folder of the hub's cache or a GGUF file calls its model."""
    parts = [part for part in re.split(r"[/\\]", name.casefold()) if part]
    found = {part.rpartition("--")[2] for part in parts if part.startswith("models--")} | set(parts[-1:])
    return found | {re.sub(r"[-._](i?q\d\w*|b?f16|f32)$", "", one.removesuffix(".gguf")) for one in found}


def _is_another_way(key: str) -> bool:
    """Tell whether a key of a config, where it is set, makes another sum of it than LoRA's and DoRA's."""
    known = ("use_rslora", "use_dora", "loftq_config", "eva_config", "megatron_config")
    return key not in known and (key.startswith("use_") or key.endswith("_config"))


def adapter_settings(folder: Path) -> dict[str, Any]:
    """Read an adapter's config.

    Raises
    ------
    ModelError
        If the folder is no LoRA adapter, or its config says what no sum of its matrices expresses.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(
                f"adapter {folder}: there is no {name}; wanted a LoRA folder as PEFT's save_pretrained writes it"
            )
    settings = read_json_object(folder / "adapter_config.json")
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ModelError(f"adapter {folder}: r must be a whole number of at least 1, got {rank!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"adapter {folder}: lora_alpha must be a finite number, got {alpha!r}")
    refused = {
        "peft_type": settings.get("peft_type") != "LORA",
        "bias": settings.get("bias", "none") != "none",
        "rank_pattern": bool(settings.get("rank_pattern")),
        "alpha_pattern": bool(settings.get("alpha_pattern")),
        "layer_replication": bool(settings.get("layer_replication")),
        "alora_invocation_tokens": bool(settings.get("alora_invocation_tokens")),
        "trainable_token_indices": bool(settings.get("trainable_token_indices")),
        "target_parameters": bool(settings.get("target_parameters")),
        "lora_bias": bool(settings.get("lora_bias")),
        # Others (PiSSA, OLoRA, CorDA, LoftQ) also change the weights that the adapter sits on.
        "init_lora_weights": settings.get("init_lora_weights", True)
        not in (True, False, "gaussian", "orthogonal", "eva"),
    }
    # Ways of PEFT's to compute something else, or to change the weights that the adapter sits on.
    refused |= {key: bool(value) for key, value in settings.items() if _is_another_way(key)}
    for name, is_refused in refused.items():
        if is_refused:
            raise ModelError(
                f"adapter {folder}: {name}={settings.get(name)!r} cannot be merged; merge it with PEFT first"
            )
    return settings
