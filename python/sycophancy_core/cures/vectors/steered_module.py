"""A vector added to the output of one decoder block, without a copy of any weight.

In most families a block ends with ``residual + mlp(x)``, so that the vector is a bias of the MLP's last matrix: a model
with one more bias is a plain module, which the native engine reads. Where something stands between the two (a norm in
Gemma 2 and OLMo 2, a factor in Granite) or there is no such matrix, the vector is added by a hook. Which of the two a
block takes is tried, not looked up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.transformers_scorer import forward, in_evaluation

if TYPE_CHECKING:
    import torch

# The MLP's last matrix in a block, by family: Llama and its kin, GPT-2 and StarCoder2, GPT-NeoX and Falcon, OPT, Phi.
_LAST = ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "fc2", "mlp.fc2")
_BUFFER = "steering_vector"  # of a block with a hook: digests and copies of the model have it
_TRIAL_TOKENS = 8


def block_names(module: Any) -> list[str]:
    """Return the names of a model's decoder blocks, in order.

    Raises
    ------
    ModelError
        If it has none, as an encoder-decoder, whose two parts have blocks of their own.
    """
    import torch

    if not module.config.is_encoder_decoder:
        count = module.config.get_text_config().num_hidden_layers
        for name, part in module.named_modules():
            if isinstance(part, torch.nn.ModuleList) and len(part) == count:
                return [f"{name}.{i}" for i in range(count)]
    raise ModelError(f"steering: wanted a model with one row of decoder blocks, got {type(module).__name__}")


def block_output(found: Any) -> torch.Tensor:
    """Return the residual stream after a block, shape (rows, positions, width), of what its forward returns."""
    output: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return output


def steered_model(model: LanguageModel, layer: int, vector: NDArray[np.float32], *, name: str) -> LanguageModel:
    """Return a model that adds ``vector`` to the output of block ``layer`` at every position, on the same weights.

    The model that is given is as it was. The new one keeps its engine where the vector is a bias there, and is scored
    by transformers where it is a hook.

    Parameters
    ----------
    layer
        Counted from 0.
    vector
        Shape (width,).

    Raises
    ------
    ModelError
        If there is no such block, or the vector has another width or is not finite.
    """
    import torch

    module, tokenizer, options = model.model, model.tokenizer, model.options
    blocks = block_names(module)
    width = module.config.get_text_config().hidden_size
    if not 0 <= layer < len(blocks) or vector.shape != (width,):
        raise ModelError(
            f"steering: model {model.name} has {len(blocks)} blocks of width {width}, got layer {layer} and a vector "
            f"of shape {vector.shape}"
        )
    addition = torch.from_numpy(vector).to(module.device, module.dtype)
    if not bool(addition.isfinite().all()):
        raise ModelError(
            f"steering: wanted a vector of finite numbers in {module.dtype}, got one that is not; take a smaller "
            "strength"
        )
    matrix = _last_matrix(module, blocks[layer])
    if matrix is not None and _bias_is_exact(module, blocks[layer], matrix):
        return LanguageModel(_with_bias(module, matrix, addition), tokenizer, **{**options, "name": name})
    hooked = _with_hook(module, blocks[layer], addition)
    # The vector is in the model's own number type, so that no engine of another precision can stand in.
    return LanguageModel(
        hooked, tokenizer, **{**options, "name": name, "engine": "transformers", "matmul_precision": "highest"}
    )


def _last_matrix(module: Any, block: str) -> str | None:
    """Name the last matrix of a block's MLP; None where no part has one of its names and a bias."""
    parts = dict(module.get_submodule(block).named_modules())
    return next((f"{block}.{name}" for name in _LAST if name in parts and hasattr(parts[name], "bias")), None)


def _with_bias(module: Any, matrix: str, addition: torch.Tensor) -> Any:
    """Return a copy of the tree of modules in which one matrix has a bias more."""
    import torch

    def add(last: Any) -> None:
        bias = addition if last.bias is None else last.bias.detach() + addition
        last._parameters["bias"] = torch.nn.Parameter(bias, requires_grad=False)

    return _changed(module, matrix, add)


def _with_hook(module: Any, block: str, addition: torch.Tensor) -> Any:
    """Return a copy of the tree of modules in which one block adds a buffer of its own to its output."""

    def add(own: Any) -> None:
        before = own._buffers.get(_BUFFER)
        own.register_buffer(_BUFFER, addition if before is None else before + addition)
        if before is None:
            own.register_forward_hook(_add_buffer)

    return _changed(module, block, add)


def _add_buffer(block: Any, _inputs: Any, found: Any) -> Any:
    output = block_output(found) + getattr(block, _BUFFER)
    return (output, *found[1:]) if isinstance(found, tuple) else output


def _changed(module: Any, path: str, change: Callable[[Any], None]) -> Any:
    """Copy the modules on the way to one of them, none of their weights, and change that one."""
    root = found = _shallow(module)
    for name in path.split("."):
        own = _shallow(found._modules[name])
        found._modules[name] = own
        found = own
    change(found)
    return root


def _shallow(module: Any) -> Any:
    """Return a module with the same parameters and parts; what is added to it or put in a part's place is its own."""
    made = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, dict):
            vars(made)[name] = value.copy()
    return made


def _bias_is_exact(module: Any, block: str, matrix: str) -> bool:
    """Try on a few tokens whether a bias of the matrix moves the logits as an addition to the block's output does.

    What is added is about as large as the output itself, so that rounding is small next to what it changes; it does not
    depend on any cure, so that a cure and its nulls are all made alike.
    """
    import torch

    kept: list[torch.Tensor] = []

    def keep(own: Any) -> None:
        own.register_forward_hook(lambda _module, _inputs, found: kept.append(block_output(found)[0].float()))

    plain = _trial(_changed(module, block, keep))
    size = float(kept[0].square().mean(-1).sqrt().median())  # the first token's may be far larger than all others'
    drawn = np.random.Generator(np.random.Philox(key=[0, 9])).standard_normal(kept[0].shape[-1])
    probe = torch.from_numpy(size * drawn).to(module.device, module.dtype)
    hooked, biased = (_trial(one) for one in (_with_hook(module, block, probe), _with_bias(module, matrix, probe)))
    rounding = 1e-3 if module.dtype.itemsize == 4 else 0.1
    return float((biased - hooked).norm()) <= rounding * float((hooked - plain).norm())


def _trial(module: Any) -> torch.Tensor:
    """Return a module's logits on a few tokens, shape (tokens, vocabulary), float32."""
    size = int(module.config.get_text_config().vocab_size)
    ids = (np.arange(_TRIAL_TOKENS, dtype=np.int64) * 7919 % size).astype(np.int32)[None]
    with in_evaluation(module):
        logits: torch.Tensor = forward(module, ids, use_cache=False).logits[0].float()
    return logits
