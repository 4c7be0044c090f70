"""Weights sharded over processes by PyTorch's FSDP2: each keeps a part of every tensor, and gathers blocks to run.

The module that was given stays whole and as it is until the training is over; a twin of it is sharded.
"""

from __future__ import annotations

import copy
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.training.adapters.low_rank import trainable_parameters
from sycophancy_core.training.options import FinetuneOptions


def require_shardable(module: Any, options: FinetuneOptions, *, has_curve: bool) -> None:
    """Refuse what needs whole weights in a process during the training.

    Raises
    ------
    ModelError
        If an adapter, a training curve or compiled blocks are asked for, or the model does not name its blocks.
    """
    asked = {"lora_rank": options.lora_rank is not None, "compile_blocks": options.compile_blocks, "curve": has_curve}
    for name, is_asked in asked.items():
        if is_asked:
            raise ModelError(
                f"finetune: FSDP shards the weights over the processes, and {name} needs them whole in each; "
                f"leave {name} out, or use accelerate launch --multi_gpu"
            )
    if not _blocks(module):
        raise ModelError(
            f"finetune: FSDP gathers a model block by block, but {type(module).__name__} does not name its blocks "
            "(_no_split_modules); use accelerate launch --multi_gpu"
        )


def _blocks(module: Any) -> list[Any]:
    names = set(getattr(module, "_no_split_modules", None) or ())
    return [part for part in module.modules() if type(part).__name__ in names]


def require_same_start(identity: str) -> None:
    """Refuse processes that would train from different weights, rows or options.

    Raises
    ------
    ModelError
        If two have different identities.
    """
    from accelerate.utils import gather_object

    if len(set(gather_object([identity]))) > 1:
        raise ModelError(
            "finetune: the processes were given different weights, rows or options; load the model before anything of "
            "Accelerate's is made, or set fsdp_cpu_ram_efficient_loading to false"
        )


def sharded(loss_module: Any, accelerator: Any, *, bfloat16: bool) -> Any:
    """Return a twin of an :class:`AnswerLoss`, the float32 weights of which are sharded over the processes.

    A block's weights are gathered in bfloat16, where products are; embeddings, head and gradients in float32.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # Parameters of its own, on the same memory until they are sharded, leave the given module's alone.
    own = {id(p): torch.nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in loss_module.parameters()}
    twin = copy.deepcopy(loss_module, own)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    in_bfloat16 = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in _blocks(twin.model):
        fully_shard(block, mesh=mesh, mp_policy=in_bfloat16 if bfloat16 else MixedPrecisionPolicy())
    fully_shard(twin, mesh=mesh)
    return twin


def gather_weights(shared: Any, module: Any) -> None:
    """Put trained sharded weights into the whole module of every process, tensor by tensor."""
    import torch

    with torch.no_grad():
        for name, parameter in trainable_parameters(shared):
            module.get_parameter(name).copy_(parameter.full_tensor())


def full_value(tensor: Any) -> float:
    """Return a number of which each process may have a part only."""
    return float(tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor)
