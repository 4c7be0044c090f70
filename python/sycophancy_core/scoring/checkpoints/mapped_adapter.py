"""A saved LoRA or DoRA adapter as the engine runs it next to mapped weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.kept_digests import States, file_states
from sycophancy_core.scoring.checkpoints.peft_layers import shapes_digest
from sycophancy_core.scoring.checkpoints.safetensors_map import file_notes, map_tensors
from sycophancy_core.scoring.checkpoints.saved_adapter import (
    adapter_settings,
    check_seal,
    is_base,
    targeted,
    update_factor,
)

_FILE = "adapter_model.safetensors"
_ELSEWHERE = ("modules_to_save", "fan_in_fan_out")  # what PEFT alone runs
_PART = r"(?:base_model\.model\.)?(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
Floats = NDArray[np.float32]
LowRank = tuple[Floats, Floats, Floats | None]


class MappedAdapter(NamedTuple):
    """An adapter next to mapped weights.

    Attributes
    ----------
    folder, states
        Where it is, and its files as they were when it was read.
    low_rank
        What the engine adds to each layer; see ``_core.PanelEngine``.
    parameters
        Its numbers as PEFT's layers name them.
    """

    folder: Path
    states: States
    low_rank: dict[str, LowRank]
    parameters: dict[str, Floats]


def map_adapter(
    folder: Path, weights: Mapping[str, NDArray[Any]], tied: Mapping[str, NDArray[Any]], *names: str
) -> MappedAdapter | None:
    """Read an adapter for mapped weights; None where PEFT alone runs it, or would refuse it or warn.

    Parameters
    ----------
    weights
        By their names; bfloat16 as its bits in uint16.
    tied
        The weights that the module has under other names too, by those.
    names
        What the model is called.

    Raises
    ------
    ModelError
        If the folder is no LoRA adapter, is damaged, or its config says what no sum of its matrices expresses.
    """
    settings, states = adapter_settings(folder), file_states(folder)
    check_seal(folder)
    base, targets = settings.get("base_model_name_or_path"), settings.get("target_modules")
    is_known = not any(settings.get(key) for key in _ELSEWHERE) and targets not in (None, "all-linear")
    if not is_known or (base and not is_base(str(base), *names)):
        return None
    with translated(f"adapter {folder}: it is damaged"):
        said = file_notes(folder / _FILE).get("base_shapes")
        parts = _parts(map_tensors(folder / _FILE))
        shapes = {key: weight.shape for key, weight in (*weights.items(), *tied.items())}
        matrices = [key.removesuffix(".weight") for key, shape in shapes.items() if len(shape) == 2]
        wanted = set(targeted(settings, matrices))
    if said not in (None, shapes_digest(shapes)):
        return None
    if not parts or parts.keys() != wanted or not all(f"{key}.weight" in weights for key in parts):
        return None
    if not all(_fits(part, settings, weights[f"{key}.weight"]) for key, part in parts.items()):
        return None
    factor = update_factor(settings)
    low_rank = {key: _low_rank(part, factor, weights[f"{key}.weight"]) for key, part in parts.items()}
    parameters = {f"{key}.{name}.default.weight": value for key, part in parts.items() for name, value in part.items()}
    return MappedAdapter(folder, states, low_rank, parameters)


def _parts(tensors: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Floats]]:
    """Return each layer's matrices; nothing where a tensor is none of them or has numbers that are not finite."""
    found: dict[str, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        match, numbers = re.fullmatch(_PART, name), _floats(tensor)
        if match is None or not np.isfinite(numbers).all():
            return {}
        found.setdefault(match["layer"], {})[match["part"]] = numbers
    return found


def _fits(part: Mapping[str, Floats], settings: Mapping[str, Any], weight: NDArray[Any]) -> bool:
    """Tell whether a layer has all its matrices, in the shapes of its weight and of the config's rank."""
    rows, columns = weight.shape
    shapes: dict[str, tuple[int, ...]] = {"lora_A": (settings["r"], columns), "lora_B": (rows, settings["r"])}
    if settings.get("use_dora"):
        shapes["lora_magnitude_vector"] = (rows,)
    return {name: numbers.shape for name, numbers in part.items()} == shapes


def _floats(numbers: NDArray[Any]) -> Floats:
    """Return mapped numbers in float32, to which all of them are widened exactly."""
    if numbers.dtype == np.uint16:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.astype(np.float32, copy=False)


def _low_rank(part: Mapping[str, Floats], factor: float, weight: NDArray[Any]) -> LowRank:
    """Return what the engine adds: with DoRA, each row of the sum is brought to the length that was trained."""
    down, up = np.ascontiguousarray(part["lora_A"]), np.float32(factor) * part["lora_B"]
    lengths = part.get("lora_magnitude_vector")
    if lengths is None:
        return down, up, None
    summed = np.linalg.norm(_floats(weight) + up @ down, axis=1)
    return down, up, lengths / summed
