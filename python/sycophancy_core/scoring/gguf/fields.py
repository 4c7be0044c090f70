"""Fields and tensors of a GGUF file that are no plain setting or weight: honoured in the config, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.gguf.families import FAMILIES
from sycophancy_core.scoring.gguf.header import GgufHeader

# Sizes that show in the weights' shapes, which are checked, and what no forward depends on.
_HARMLESS = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.relative_buckets_count",
    "block_count",
    "context_length",
    "decoder_block_count",
    "decoder_start_token_id",
    "embedding_length",
    "expert_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "expert_used_count",
    "feed_forward_length",
    "leading_dense_block_count",
    "nextn_predict_layers",
    "rope.scaling.finetuned",
    "tensor_data_layout",
    "vocab_size",
}
# Fields that change nothing where they have this value.
_NEUTRAL: dict[str, Any] = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "embedding_scale": 1.0,
    "expert_weights_norm": False,
    "expert_weights_scale": 1.0,
    "logit_scale": 1.0,
    "pooling_type": 0,
    "residual_scale": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
}
_SCALINGS = {
    "type",
    "factor",
    "original_context_length",
    "attn_factor",
    "finetuned",
    "yarn_beta_fast",
    "yarn_beta_slow",
}
_FEW = 1024  # layers or experts, which are made in a moment
_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon")
_WINDOWED = ("mistral", "mixtral", "phi3", "starcoder2")  # whose layers all have the window that the config says
_ROTATED_IN_PART = ("phi3", "stablelm", "nemotron", "gpt_neox")
_GEMMAS = ("gemma2", "gemma3_text")
_HEADS_OF_27B = {("gemma2", 46), ("gemma3_text", 62)}  # which scale scores by the width of a head before projection


def honour(header: GgufHeader, config: Any, *, what: str) -> None:
    """Write into a config what transformers leaves out of it when it reads a GGUF file.

    Raises
    ------
    ModelError
        If the file has a field that changes the model's forward, and the config has no place for it.
    """
    family = header.family
    fields = {
        key.removeprefix(f"{family}."): value for key, value in header.fields.items() if key.startswith(f"{family}.")
    }
    if any(key.startswith("adapter.") for key in header.fields):
        raise ModelError(f"{what} is an adapter, not a model; merge it into its model first")
    if family in FAMILIES and "attention.layer_norm_rms_epsilon" not in fields:
        raise ModelError(f"{what} does not say {family}.attention.layer_norm_rms_epsilon, which its norms need")
    _set_window(fields, config, what)
    if config.model_type in _GEMMAS:  # llama.cpp takes their attention scale from the sizes
        is_27b = (config.model_type, config.num_hidden_layers) in _HEADS_OF_27B
        width = config.hidden_size // config.num_attention_heads
        config.query_pre_attn_scalar = width if is_27b else fields.get("attention.key_length", width)
    for key, value in fields.items():
        honoured = _HONOURED.get(key)
        if honoured is not None:
            is_met = honoured(config, value)
        elif key in _NEUTRAL:
            is_met = math.isclose(value, _NEUTRAL[key], rel_tol=1e-6) or (value == 0 and key.endswith("_scale"))
        else:
            is_met = key in _HARMLESS or key.startswith(("rope.", "attention.sliding_window")) or _is_read(family, key)
        if not is_met:
            raise ModelError(
                f"{what}: {family}.{key}={str(value)[:60]} changes what the model computes, and is not read; use the "
                "model's safetensors files"
            )
    _set_rotation(header, fields, config, what)  # by the size of heads, which is a field


def check_counts(header: GgufHeader, *, what: str) -> None:
    """Refuse a file that counts more layers than it has tensors, before anything is made for each of them.

    Raises
    ------
    ModelError
        If a count of layers or experts is that high, or the file is one of several.
    """
    parts = header.fields.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise ModelError(
            f"{what} is one of {parts} parts of a model (split.count); join them with llama.cpp's "
            "llama-gguf-split --merge, or use the model's safetensors files"
        )
    for key, value in header.fields.items():
        is_count = key.endswith(("block_count", "expert_count")) and isinstance(value, int | float)
        if is_count and not 0 <= value <= max(_FEW, len(header.tensors)):
            raise ModelError(f"{what} says {key}={value}, but holds {len(header.tensors)} tensors; fetch it again")


def check_tensors(header: GgufHeader, taken: int, *, what: str, is_tied: bool) -> None:
    """Refuse a file with more numbers than the ``taken`` ones of the model that is made of it.

    Raises
    ------
    ModelError
        If some of its weights are in no weight of the model; an output layer that the model ties does not count.
    """
    left_out = {"output.weight"} if is_tied else set()
    found = {
        name: math.prod(tensor.shape)
        for name, tensor in header.tensors.items()
        if name not in {*header.factors, *left_out}
    }
    if sum(found.values()) > taken:
        biases = sorted(name for name in found if name.endswith(".bias"))
        named = f", maybe {biases[0]!r}" if biases else ""
        raise ModelError(
            f"{what} holds {sum(found.values())} numbers, of which the model takes {taken}: some of its tensors are "
            f"left out{named}; use the model's safetensors files"
        )


def _set_rotation(header: GgufHeader, fields: dict[str, Any], config: Any, what: str) -> None:
    rope = getattr(config, "rope_parameters", None)
    said = {key: value for key, value in fields.items() if key.startswith("rope.")}
    if rope is None or ((is_by_kind := "full_attention" in rope) and "sliding_attention" not in rope):
        if header.factors or any(key.startswith("rope.scaling.") for key in said):
            raise ModelError(f"{what}: scaled rotary frequencies cannot be expressed by {config.model_type}")
        return
    if not is_by_kind:
        config.rope_parameters = _rotation(header, said, config, dict(rope), what)
        return
    # What is said holds for the layers that see everything.
    local = dict(rope["sliding_attention"])
    if "rope.freq_base_swa" in said:
        local["rope_theta"] = float(said.pop("rope.freq_base_swa"))
    everywhere = _rotation(header, said, config, dict(rope["full_attention"]), what)
    config.rope_parameters = {**rope, "full_attention": everywhere, "sliding_attention": local}


def _rotation(header: GgufHeader, said: dict[str, Any], config: Any, rope: dict[str, Any], what: str) -> dict[str, Any]:
    if "rope.freq_base" in said:
        rope["rope_theta"] = float(said["rope.freq_base"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    part = rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1.0))
    rotated = int(said.get("rope.dimension_count", head_dim * part))
    if rotated != int(head_dim * part):
        if part == 1.0 and config.model_type not in _ROTATED_IN_PART:
            raise ModelError(f"{what}: {config.model_type} cannot rotate {rotated} of {head_dim} features of a head")
        rope["partial_rotary_factor"] = rotated / head_dim
    return rope | _scaling(header, said, config, rope, rotated, what)


def _scaling(
    header: GgufHeader, said: dict[str, Any], config: Any, rope: dict[str, Any], rotated: int, what: str
) -> dict[str, Any]:
    """Return how the frequencies are scaled, in transformers' words."""
    names = {key.removeprefix("rope.scaling."): value for key, value in said.items() if key.startswith("rope.scaling.")}
    _refuse_unknown(said, names, rope, what)
    factor = float(names.get("factor", said.get("rope.scale_linear", 0.0)) or 1.0)
    kind = names.get("type", "linear") if factor != 1.0 or names.get("type") == "longrope" else "none"
    attention = float(names.get("attn_factor", 1.0))
    if kind != "yarn" and attention != 1.0:
        raise ModelError(
            f"{what}: rope.scaling.attn_factor={attention:g} with frequencies of type {kind} cannot be expressed; use "
            "the model's safetensors files"
        )
    if header.factors:
        if kind != "none" or set(header.factors) != {"rope_freqs.weight"}:
            raise ModelError(
                f"{what}: frequencies of type {kind} with {', '.join(sorted(header.factors))} cannot be expressed; use "
                "the model's safetensors files"
            )
        return _llama3(header.factors["rope_freqs.weight"], rope["rope_theta"], rotated, what)
    if kind == "none":
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        attention *= 0.1 * math.log(factor) + 1.0
        trained = int(names.get("original_context_length", config.max_position_embeddings))
        fast, slow = float(names.get("yarn_beta_fast", 32.0)), float(names.get("yarn_beta_slow", 1.0))
        found = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained}
        return {**found, "attention_factor": attention, "beta_fast": fast, "beta_slow": slow}
    raise ModelError(
        f"{what}: rotary frequencies of type {kind!r} cannot be expressed; use the model's safetensors files"
    )


def _refuse_unknown(said: dict[str, Any], names: dict[str, Any], rope: dict[str, Any], what: str) -> None:
    plain = {"rope.dimension_count", "rope.freq_base", "rope.scale_linear"}
    if "mrope_section" in rope:
        plain.add("rope.dimension_sections")
    unknown = {key for key in said if not key.startswith("rope.scaling.")} - plain
    nothing = {"yarn_ext_factor": (-1.0,)} if names.get("type") == "yarn" else {}  # 0 switches its blending off
    unknown |= {
        f"rope.scaling.{key}"
        for key, value in names.items()
        if key not in _SCALINGS and value not in nothing.get(key, (0.0, -1.0))
    }
    if unknown:
        raise ModelError(f"{what}: it is not known how {min(unknown)} changes rotary frequencies")


def _llama3(factors: NDArray[np.float32], theta: float, rotated: int, what: str) -> dict[str, Any]:
    """Find the settings of Llama 3.1 that give these factors: long wavelengths are stretched, short ones kept."""
    largest = float(factors.max(initial=1.0))
    if np.allclose(factors, 1.0):
        return {}
    wavelengths = 2 * math.pi * theta ** (np.arange(0, rotated, 2) / rotated)
    for trained in (8192 >> 1, 8192, *(8192 << n for n in range(1, 6))):
        smooth = np.clip((trained / wavelengths - 1.0) / 3.0, 0.0, 1.0)
        wanted = 1.0 / ((1 - smooth) / largest + smooth)
        if wanted.shape == factors.shape and np.allclose(wanted, factors, rtol=1e-4):
            stretched = {"rope_type": "llama3", "factor": largest, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
            return {**stretched, "original_max_position_embeddings": trained}
    raise ModelError(
        f"{what}: its rope_freqs.weight scales rotary frequencies in a way that is not Llama 3.1's; use the model's "
        "safetensors files"
    )


def _set_window(fields: dict[str, Any], config: Any, what: str) -> None:
    window, known = fields.get("attention.sliding_window"), getattr(config, "sliding_window", None)
    if isinstance(window, list) or "attention.sliding_window_pattern" in fields:
        raise ModelError(f"{what}: windows that differ by layer are not read; use the model's safetensors files")
    if config.model_type in _GEMMAS and (window == 0 or (window is None and config.model_type != "gemma2")):
        raise ModelError(f"{what}: {config.model_type} without windows cannot be expressed; use its safetensors files")
    if config.model_type in _WINDOWED:
        config.sliding_window = int(window) if window else None
    elif window and int(window) < int(fields.get("context_length", 1 << 62)) and known != int(window):
        raise ModelError(f"{what}: a sliding window of {window} tokens cannot be expressed by {config.model_type}")


def _same(*names: str) -> Callable[[Any, Any], bool]:
    """Write a value into the first of a config's keys that it has; False where it has none."""

    def honoured(config: Any, value: Any) -> bool:
        for name in names:
            if hasattr(config, name):
                old = getattr(config, name)
                # A float32 of the file is not rounded away from what transformers read.
                if not isinstance(old, float) or not math.isclose(old, value, rel_tol=1e-6):
                    setattr(config, name, type(old)(value) if isinstance(old, bool | int | float) else value)
                return True
        return False

    return honoured


def _head_size(config: Any, value: Any) -> bool:
    if hasattr(config, "head_dim") or hasattr(config, "d_kv"):
        return _same("d_kv", "global_head_dim", "head_dim")(config, value)
    return bool(value == config.hidden_size // config.num_attention_heads)


def _attention_scale(config: Any, value: Any) -> bool:
    if hasattr(config, "query_pre_attn_scalar"):
        config.query_pre_attn_scalar = 1.0 / value**2
        return True
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return math.isclose(value, head_dim**-0.5, rel_tol=1e-5)


_HONOURED: dict[str, Callable[[Any, Any], bool]] = {
    "attention.key_length": _head_size,
    "attention.value_length": _head_size,
    "attention.scale": _attention_scale,
    "attention.layer_norm_epsilon": _same(*_EPSILONS[1:], _EPSILONS[0]),
    "attention.layer_norm_rms_epsilon": _same(*_EPSILONS),
    "attn_logit_softcapping": _same("attn_logit_softcapping"),
    "final_logit_softcapping": _same("final_logit_softcapping"),
    "use_parallel_residual": _same("use_parallel_residual"),
}


def _is_read(family: str, key: str) -> bool:
    """Tell whether a field of this family is in the config that was read."""
    if family in FAMILIES:
        return key in FAMILIES[family].fields
    try:
        from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

        if family in GGUF_CONFIG_ARCHS:  # read by a function of its own
            return True
    except ImportError:  # an earlier version
        pass
    from transformers.modeling_gguf_pytorch_utils import GGUF_TO_TRANSFORMERS_MAPPING

    mapping = GGUF_TO_TRANSFORMERS_MAPPING["config"]
    names = {family, family.replace("moe", "_moe"), family.replace("-", "_")}
    return any(mapping.get(name, {}).get(key) is not None for name in names)
