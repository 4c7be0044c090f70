"""Training checkpoints: one safetensors file with parameters, optimizer state and log."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.formats.tensor_files import check_tensors, save_tensors
from sycophancy_core.runs.surroundings import surroundings, warn_of_changes
from sycophancy_core.training.adapters.low_rank import trainable_parameters
from sycophancy_core.training.loop.finite import require_finite_weights

if TYPE_CHECKING:
    import torch

    from sycophancy_core.training.curve import CurveRecorder

LogRow = dict[str, float]
CHECKPOINT_SECONDS = 300.0  # between checkpoints, where steps do not count
MOST_TIME_SHARE = 0.05  # of a training that is spent on writing them


class Checkpoints:
    """The checkpoint of a training: written every few steps or minutes, after the last step, and where it is stopped.

    Parameters
    ----------
    path
        The file; None keeps nothing, as does a process that is not the main one.
    steps
        Steps from one to the next; None goes by time, 0 writes none on the way.
    num_saved
        How many steps the file holds already.
    save
        Writes the file, given the log.
    """

    def __init__(
        self, path: Path | None, *, steps: int | None, num_saved: int, save: Callable[[Path, list[LogRow]], None]
    ) -> None:
        self.path = path
        self.num_saved = num_saved
        self._steps = steps
        self._save = save
        self._last = time.monotonic()
        self._pause = CHECKPOINT_SECONDS

    def is_due(self, num_steps: int) -> bool:
        """Tell whether it is time to write, so many steps being done."""
        if self.path is None or num_steps == self.num_saved:
            return False
        if self._steps is None:
            return time.monotonic() - self._last >= self._pause
        return self._steps > 0 and num_steps % self._steps == 0

    def save(self, log: list[LogRow]) -> None:
        """Write it, unless it holds these steps already, or there is none."""
        if self.path is None or len(log) == self.num_saved:
            return
        begun = time.monotonic()
        self._save(self.path, log)
        self.num_saved, self._last = len(log), time.monotonic()
        self._pause = max(CHECKPOINT_SECONDS, (self._last - begun) / MOST_TIME_SHARE)


def save_checkpoint(
    path: Path,
    log: list[LogRow],
    *,
    module: Any,
    optimizer: torch.optim.Optimizer,
    identity: str,
    curve: CurveRecorder | None = None,
) -> None:
    """Write trainable parameters and their optimizer state; the file replaces the earlier checkpoint at once.

    Parameters
    ----------
    log
        One row a finished step; its length is the step at which training goes on.
    identity
        Digest of everything that decides the training (options, rows, their tokens, starting weights).
    curve
        What was measured on the way, and the best step's parameters.

    Raises
    ------
    ModelError
        If a parameter is not finite; the earlier checkpoint stays.
    """
    require_finite_weights(module, len(log))
    tensors = {}
    for name, parameter in trainable_parameters(module):
        tensors[f"parameter/{name}"] = parameter.detach().cpu().contiguous()
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer/{key}/{name}"] = value.detach().cpu().contiguous()
    metadata = {"identity": identity, "log": json.dumps(log), "surroundings": json.dumps(_surroundings(module))}
    if curve is not None:
        tensors |= {f"best/{name}": value.cpu().contiguous() for name, value in curve.best.items()}
        metadata["curve"] = json.dumps(curve.state())
    save_tensors(path, tensors, metadata=metadata)


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
        If the checkpoint belongs to another training, or was changed by one bit.

    Warns
    -----
    UserWarning
        If the training was begun with other libraries or on another processor.
    """
    import torch

    metadata = _checked_metadata(path)
    if metadata.get("identity") != identity:
        raise other_training(path)
    warn_of_changes(path, json.loads(metadata["surroundings"]), _surroundings(module))
    with _opened(path) as file:
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
                        state[kind] = value.to(parameter.device)
                optimizer.state[parameter] = state
        if curve is not None:
            best = {key.removeprefix("best/"): file.get_tensor(key) for key in keys if key.startswith("best/")}
            curve.restore(json.loads(metadata["curve"]), best)
    log: list[LogRow] = json.loads(metadata["log"])
    return log


def other_training(path: Path) -> DataError:
    """Return the refusal of a checkpoint that belongs to another training."""
    return DataError(
        f"{path}: this checkpoint was made with other options, rows, tokens, curve or starting weights; use "
        "those again (load a model once more that was trained since), or another folder"
    )


def parts_folder(path: Path) -> Path:
    """Return the folder of the checkpoint's parts, which takes the file's place where weights are sharded."""
    return path.with_suffix(".parts")


def remove_checkpoint(path: Path) -> None:
    """Remove a training's checkpoint, whole or in parts."""
    path.unlink(missing_ok=True)
    shutil.rmtree(parts_folder(path), ignore_errors=True)


def _checked_metadata(path: Path) -> dict[str, str]:
    try:
        return check_tensors(path)
    except DataError as error:
        raise DataError(f"{error}; delete it to train from the first step") from error


def _surroundings(module: Any) -> dict[str, str]:
    return surroundings(next(module.parameters()).device.type)


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(str(path), framework="pt")
