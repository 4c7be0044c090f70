"""A saved LoRA adapter in PEFT's format, merged into the weights that it was trained on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.seals import check_if_sealed
from sycophancy_core.scoring.sources import ORGANISM, organism_folder


def merge_adapter(model: Any, folder: str | os.PathLike[str]) -> str:
    """Add a LoRA adapter in PEFT's format to the weights of ``model``: W + (alpha / r) B A.

    Returns
    -------
    str
        The adapter's name (its folder's).

    Raises
    ------
    ModelError
        If the folder is no LoRA adapter, uses what a merge cannot express, or does not fit the model.
    """
    import torch
    from safetensors.torch import load_file

    folder = organism_folder() if folder == ORGANISM else Path(folder)
    settings = _adapter_settings(folder)
    try:
        check_if_sealed(folder)
    except DataError as error:
        raise ModelError(f"adapter {error}") from error
    rank_factor = settings["r"] ** 0.5 if settings.get("use_rslora") else settings["r"]
    factor = settings["lora_alpha"] / rank_factor
    tensors = load_file(folder / "adapter_model.safetensors")
    parameters = dict(model.named_parameters())
    updates: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for key in sorted(tensors):
        match = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_(A|B)\.weight", key)
        if match is None:
            raise ModelError(f"adapter {folder}: cannot merge tensor {key!r}: wanted only lora_A and lora_B weights")
        if match[2] == "B":
            continue
        weight = parameters.get(f"{match[1]}.weight")
        down, up = tensors[key], tensors[key.replace("lora_A", "lora_B")]
        if weight is None or weight.shape != (up.shape[0], down.shape[1]):
            got = "no such weight" if weight is None else f"shape {tuple(weight.shape)}"
            raise ModelError(
                f"adapter {folder}: {match[1]} does not fit the model: wanted a weight of shape "
                f"{(up.shape[0], down.shape[1])}, got {got}; load the adapter on the model it was trained on"
            )
        updates.append((weight, up, down))
    with torch.no_grad():
        for weight, up, down in updates:
            weight += (factor * (up.float() @ down.float())).to(weight)
    return folder.name


def _adapter_settings(folder: Path) -> dict[str, Any]:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(
                f"adapter {folder}: there is no {name}; wanted a LoRA folder as PEFT's save_pretrained writes it"
            )
    settings: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    refused = {
        "peft_type": settings.get("peft_type") != "LORA",
        "use_dora": bool(settings.get("use_dora")),
        "bias": settings.get("bias", "none") != "none",
        "fan_in_fan_out": bool(settings.get("fan_in_fan_out")),
        "modules_to_save": bool(settings.get("modules_to_save")),
        "rank_pattern": bool(settings.get("rank_pattern")),
        "alpha_pattern": bool(settings.get("alpha_pattern")),
        "layer_replication": bool(settings.get("layer_replication")),
        "alora_invocation_tokens": bool(settings.get("alora_invocation_tokens")),
        # Others (PiSSA, OLoRA, CorDA, LoftQ) also change the weights that the adapter sits on.
        "init_lora_weights": settings.get("init_lora_weights", True)
        not in (True, False, "gaussian", "orthogonal", "eva"),
    }
    for name, is_refused in refused.items():
        if is_refused:
            raise ModelError(
                f"adapter {folder}: {name}={settings.get(name)!r} cannot be merged; merge it with PEFT first"
            )
    return settings
