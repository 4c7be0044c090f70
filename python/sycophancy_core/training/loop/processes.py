"""The processes of a launcher: how each joins, whether weights are sharded, and what all decide together."""

from __future__ import annotations

import os
from typing import Any

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.interrupts import InterruptFlag
from sycophancy_core.training.loop.trackers import Trackers
from sycophancy_core.training.options import FinetuneOptions

_FSDP = "accelerate launch --use_fsdp --fsdp_version 2"
_OTHERS = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
_NOT_DONE = {
    "FSDP_OFFLOAD_PARAMS": "leave fsdp_offload_params out",
    "FSDP_ACTIVATION_CHECKPOINTING": "leave fsdp_activation_checkpointing out, and set gradient_checkpointing",
}


def join_processes(module: Any, options: FinetuneOptions, trackers: Trackers | None) -> Any:
    """Return the accelerator of this process, on the module's kind of device; with FSDP on a GPU, where there is one.

    Raises
    ------
    ModelError
        If the launcher wants DeepSpeed, Megatron or FSDP's first version, or the processes do not know of each other.
    DataError
        If there are more processes than rows in a batch.
    """
    import torch
    from accelerate import Accelerator

    _require_known_launch()
    is_on_cpu = next(module.parameters()).device.type == "cpu"
    with_fsdp = _is_set("ACCELERATE_USE_FSDP")
    log = {} if trackers is None else {"log_with": trackers.names, "project_dir": str(trackers.folder)}
    accelerator = Accelerator(cpu=is_on_cpu and not (with_fsdp and torch.cuda.is_available()), **log)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ModelError(
            f"finetune: the launcher started {started} processes, but this one joined {accelerator.num_processes}; "
            "where models are trained on the CPU, make PartialState(cpu=True) or none before"
        )
    if accelerator.num_processes > options.batch_size:
        raise DataError(
            f"finetune: got {accelerator.num_processes} processes for batches of {options.batch_size} rows; "
            "start fewer, or take a larger batch_size"
        )
    return accelerator


def _require_known_launch() -> None:
    """Refuse what a launcher asks for, in the environment, and is not done here."""
    for name, what in _OTHERS.items():
        if _is_set(name):
            raise ModelError(
                f"finetune: the launcher asks for {what}, which is not supported; where the whole model does not fit "
                f"on one GPU, use FSDP ({_FSDP}), else accelerate launch --multi_gpu"
            )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ModelError(f"finetune: the launcher asks for FSDP version {version}, wanted 2; use {_FSDP}")
    for name, advice in _NOT_DONE.items():
        if _is_set(name):
            raise ModelError(f"finetune: the launcher sets {name}, which is not supported; {advice}")


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true")


def are_weights_sharded(accelerator: Any) -> bool:
    """Tell whether each process keeps a part of every weight: the launcher asks for FSDP, and there are several.

    Accelerate itself heeds the wish only where there are GPUs.
    """
    return _is_set("ACCELERATE_USE_FSDP") and accelerator.num_processes > 1


def decide_together(accelerator: Any, interrupt: InterruptFlag, *, is_due: bool) -> bool:
    """Let every process know of a Ctrl-C in any of them, so that all stop after the same step, and of a due checkpoint.

    Returns
    -------
    bool
        Whether it is time for a checkpoint.
    """
    import torch

    wishes = torch.tensor([float(interrupt.raised), float(is_due)], device=accelerator.device)
    raised, due = accelerator.reduce(wishes).tolist()
    interrupt.raised = raised > 0
    return bool(due > 0)
