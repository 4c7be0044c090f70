"""Checkpoints of sharded weights: a folder a step, into which each process writes its part.

The parts are safetensors files of ``torch.distributed.checkpoint``; ``state.json`` has the log and their digests. A
step under its final name is whole, and the step before it is there until then.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import move_file, saving
from sycophancy_core.runs.json_files import read_sealed_json, write_sealed_json
from sycophancy_core.runs.seals import damaged_files
from sycophancy_core.runs.surroundings import surroundings, warn_of_changes
from sycophancy_core.training.adapters.low_rank import trainable_parameters
from sycophancy_core.training.loop.checkpoint import LogRow, other_training
from sycophancy_core.training.loop.finite import require_finite_weights

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_parts(path: Path, log: list[LogRow], *, accelerator: Any, module: Any, optimizer: Any, identity: str) -> None:
    """Write the parts of all processes, which call this together; arguments as of :func:`save_checkpoint`.

    Raises
    ------
    ModelError
        If a parameter is not finite; the earlier checkpoint stays.
    OSError
        If a process cannot write; so does the earlier checkpoint.
    """
    from accelerate.utils import gather_object
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    require_finite_weights(module, len(log))
    made = path / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(made, ignore_errors=True)
        with saving(path):
            made.mkdir(parents=True)
    accelerator.wait_for_everyone()
    try:
        writer = HuggingFaceStorageWriter(str(made), save_distributed=True)
        save(_tensors(module, optimizer), storage_writer=writer)
    except CheckpointException as error:
        raise OSError(f"could not write {path}: {_reason(error)}; files written before it are intact") from error
    parts = [(file.name, digest_file(file)) for file in _mine(made, accelerator)]
    files = dict(gather_object(parts))
    if accelerator.is_main_process:
        state = {"identity": identity, "log": log, "files": files, "surroundings": _surroundings(accelerator)}
        write_sealed_json(made / "state.json", state)
        move_file(made, path / f"step-{len(log):06d}")
        for step in _steps(path)[:-1]:
            shutil.rmtree(step, ignore_errors=True)
    accelerator.wait_for_everyone()


def load_parts(path: Path, *, accelerator: Any, module: Any, optimizer: Any, identity: str) -> list[LogRow]:
    """Put the newest step's parts into module and optimizer, in all processes together; return its log.

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
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    folder = _steps(path)[-1]
    state = read_sealed_json(folder / "state.json")
    if state["identity"] != identity:
        raise other_training(path)
    mine = {file.name for file in _mine(folder, accelerator)}
    missing = {name for name in state["files"] if not (folder / name).is_file()}
    for problem in damaged_files(folder, {name: state["files"].get(name, "") for name in mine | missing}):
        raise DataError(f"{problem}; delete {path} to train from the first step")
    if accelerator.is_main_process:
        warn_of_changes(path, state["surroundings"], _surroundings(accelerator))
    reader = HuggingFaceStorageReader(str(folder))
    known = set(reader.read_metadata().state_dict_metadata)
    for name, parameter in trainable_parameters(module):
        moments = {kind: torch.zeros_like(parameter) for kind in _MOMENTS if f"optimizer/{kind}/{name}" in known}
        step = torch.tensor(float(len(state["log"])), device=accelerator.device)
        optimizer.state[parameter] = {"step": step, **moments} if moments else {}
    load(_tensors(module, optimizer), storage_reader=reader)
    log: list[LogRow] = state["log"]
    return log


def _tensors(module: Any, optimizer: Any) -> dict[str, Any]:
    """Return this process's parts of parameters and optimizer state, by the names that a checkpoint gives them."""
    found = {}
    for name, parameter in trainable_parameters(module):
        found[f"parameter/{name}"] = parameter.detach()
        moments = optimizer.state.get(parameter, {})
        found |= {f"optimizer/{kind}/{name}": moments[kind] for kind in _MOMENTS if kind in moments}
    return found


def _steps(path: Path) -> list[Path]:
    return sorted(path.glob("step-*"))


def has_parts(path: Path) -> bool:
    """Tell whether a whole step is there."""
    return bool(_steps(path))


def _mine(folder: Path, accelerator: Any) -> list[Path]:
    """Return the parts that this process answers for: that which it wrote, and those of processes that are no more."""
    files = {int(file.name.split("-")[1]) - 1: file for file in folder.glob("shard-*-*.safetensors")}
    number = accelerator.num_processes
    return [file for index, file in sorted(files.items()) if index % number == accelerator.process_index]


def _surroundings(accelerator: Any) -> dict[str, str]:
    return surroundings(accelerator.device.type)


def _reason(error: Any) -> str:
    cause, _ = next(iter(error.failures.values()))
    return str(getattr(cause, "strerror", None) or cause)
