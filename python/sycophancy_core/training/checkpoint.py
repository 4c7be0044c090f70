"""Training checkpoints: one safetensors file with parameters, optimizer state and log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import replace_path, saving
from sycophancy_core.training.adapters import trainable_parameters

if TYPE_CHECKING:
    import torch

    from sycophancy_core.training.curve import CurveRecorder

LogRow = dict[str, float]


def save_checkpoint(
    path: Path,
    module: Any,
    optimizer: torch.optim.Optimizer,
    *,
    identity: str,
    log: list[LogRow],
    curve: CurveRecorder | None = None,
) -> None:
    """Write trainable parameters and their optimizer state; the file replaces the earlier checkpoint at once.

    Parameters
    ----------
    identity
        Digest of everything that decides the training (options, rows, their tokens, starting weights).
    log
        One row a finished step; its length is the step at which training goes on.
    curve
        What was measured on the way, and the best step's parameters.
    """
    from safetensors.torch import save_file

    tensors = {}
    for name, parameter in trainable_parameters(module):
        tensors[f"parameter/{name}"] = parameter.detach().cpu().contiguous()
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer/{key}/{name}"] = value.detach().cpu().contiguous()
    metadata = {"identity": identity, "log": json.dumps(log)}
    if curve is not None:
        tensors |= {f"best/{name}": value.cpu().contiguous() for name, value in curve.best.items()}
        metadata["curve"] = json.dumps(curve.state())
    with saving(path):
        replace_path(path, lambda temporary: save_file(tensors, str(temporary), metadata=metadata))


def load_checkpoint(
    path: Path,
    module: Any,
    optimizer: torch.optim.Optimizer,
    *,
    identity: str,
    curve: CurveRecorder | None = None,
) -> list[LogRow]:
    """Put a checkpoint's parameters and optimizer state into a module and its curve into ``curve``; return its log.

    Raises
    ------
    DataError
        If the checkpoint belongs to another training, or is damaged.
    """
    import torch

    with _opened(path) as file:
        metadata = file.metadata() or {}
        if metadata.get("identity") != identity:
            raise DataError(
                f"{path}: this checkpoint was made with other options, rows, tokens, curve or starting weights; use "
                "those again (a model that was trained since is to be loaded anew), or another folder"
            )
        keys = set(file.keys())
        with torch.no_grad():
            for name, parameter in trainable_parameters(module):
                parameter.copy_(file.get_tensor(f"parameter/{name}"))
                prefix, suffix = "optimizer/", f"/{name}"
                state = {}
                for key in keys:
                    if key.startswith(prefix) and key.endswith(suffix):
                        value = file.get_tensor(key)
                        kind = key[len(prefix) : -len(suffix)]
                        state[kind] = value if kind == "step" else value.to(parameter.device)
                optimizer.state[parameter] = state
        if curve is not None:
            best = {key.removeprefix("best/"): file.get_tensor(key) for key in keys if key.startswith("best/")}
            curve.restore(json.loads(metadata["curve"]), best)
    log: list[LogRow] = json.loads(metadata["log"])
    return log


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework="pt")
    except SafetensorError as error:
        raise DataError(
            f"{path}: wanted a checkpoint of a fine-tuning, got a damaged file ({error}); delete it to train from the "
            "first step"
        ) from error
