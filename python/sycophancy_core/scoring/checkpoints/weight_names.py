"""Whether a checkpoint's weights are those that transformers' module of its config has, by their names.

The engine reads from the weights which biases and norms there are, and whether layers are fused; a module has those
that its config says, and takes no notice of others.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

_ALL, _QKV, _MLP = r"self_attn\.[qkvo]_proj", r"self_attn\.[qkv]_proj", r"\.mlp\."
_NORMS = r"norm|\.ln_"
_ATTENTION = {_ALL: "attention_bias"}
_BOTH = {**_ATTENTION, _MLP: "mlp_bias"}
# Of each family the layers with a bias, by a part of their names: always, or if the config says so under this name.
_BIASES: dict[str, dict[str, str | bool]] = {
    "falcon": {_NORMS: True, r"query_key_value|dense": "bias"},
    "gemma": {**_ATTENTION},
    "gemma2": {**_ATTENTION},
    "gemma3_text": {**_ATTENTION},
    "glm": {_QKV: "attention_bias"},
    "glm4": {_QKV: "attention_bias"},
    "gpt2": {_NORMS: True, r"\.(attn|mlp)\.": True},
    "gpt_neox": {_NORMS: True, _MLP: True, r"\.attention\.": "attention_bias"},
    "granite": {**_BOTH},
    "llama": {**_BOTH},
    "mistral": {},
    "mixtral": {},
    "olmo2": {**_ATTENTION},
    "olmo3": {**_ATTENTION},
    "opt": {r"layer_norm": True, r"self_attn|fc\d": "enable_bias"},
    "phi3": {},
    "qwen2": {_QKV: True},
    "qwen3": {**_ATTENTION},
    "qwen3_moe": {**_ATTENTION},
    "smollm3": {**_BOTH},
    "starcoder2": {_NORMS: True, rf"{_ALL}|{_MLP}": "use_bias"},
    "t5": {},
}
# Parts of names that only some families have.
_ONLY = {"qkv_proj": ("phi3",), "gate_up_proj": ("phi3", "glm", "glm4", "mixtral", "qwen3_moe"), "post_mlp": ("glm4",)}


def are_expected(config: dict[str, Any], names: Collection[str]) -> bool:
    """Tell whether weights have the biases, norms and fused layers that a complete config says."""
    family, known = config["model_type"], set(names)
    if any(part in name and family not in families for part, families in _ONLY.items() for name in known):
        return False
    if family == "falcon" and any("ln_attn" in name for name in known) != _has_two_norms(config):
        return False
    if family == "t5" and "lm_head.weight" in known:  # which transformers ties, or not, by its values
        return False
    layers = {name.removesuffix(".weight") for name in known if name.endswith(".weight")}
    biased = {name.removesuffix(".bias") for name in known if name.endswith(".bias")}
    return biased == {layer for layer in layers if _has_bias(family, config, layer)}


def _has_bias(family: str, config: dict[str, Any], layer: str) -> bool:
    for part, said in _BIASES[family].items():
        if re.search(part, layer):
            return said if isinstance(said, bool) else bool(config[said])
    return False


def _has_two_norms(config: dict[str, Any]) -> bool:
    number = config["num_ln_in_parallel_attn"]
    if number is None:
        number = 2 if config["new_decoder_architecture"] else 1
    return bool(config["parallel_attn"]) and number == 2
