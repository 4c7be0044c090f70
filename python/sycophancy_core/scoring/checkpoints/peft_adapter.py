"""A saved adapter put on a model by PEFT: next to its weights, or of a kind that only PEFT can sum into them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.runs.outputs import how_to_install
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.peft_layers import (
    is_float32,
    keep_copies_in_float32,
    merge_layers,
    remove_layers,
)


def load_through_peft(model: Any, folder: Path, *, merge: bool) -> None:
    """Put the adapter of a folder on a model, in place, and sum it into the weights if asked to.

    Raises
    ------
    ModelError
        If PEFT is not installed, cannot load the adapter, or finds tensors missing; the model is then what it was.
    """
    try:
        from peft import PeftModel, set_peft_model_state_dict
    except ImportError as error:
        raise ModelError(
            f"adapter {folder}: it can only be loaded through PEFT, which cannot be imported ({error}); "
            f"{how_to_install('peft')}"
        ) from error
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(f"adapter {folder}: {name} has numbers that are not finite")
    if merge and not is_float32(model):
        raise ModelError(
            f"adapter {folder}: its sum would be rounded, since the model is not in float32; give merge_adapter=False, "
            "or load the model with dtype='float32'"
        )
    try:
        with translated(f"adapter {folder}: PEFT cannot load it"), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            wrapper = PeftModel.from_pretrained(model, str(folder))
            _check_complete(folder, said)
            keep_copies_in_float32(model)
            set_peft_model_state_dict(wrapper, tensors)  # once more: whole copies were rounded on their first way in
        if merge:
            merge_layers(model)
    except BaseException:
        remove_layers(model)
        raise
    model.requires_grad_(False)
    model.eval()


def _check_complete(folder: Path, said: list[warnings.WarningMessage]) -> None:
    """Refuse an adapter of which PEFT says, in a warning, that tensors are missing."""
    lacking = [str(one.message) for one in said if "missing adapter keys" in str(one.message)]
    if lacking:
        raise ModelError(f"adapter {folder}: it lacks tensors; save the whole adapter again ({lacking[0][:200]})")
