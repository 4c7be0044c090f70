"""A checkpoint's config.json with all that transformers takes for granted in it, made without transformers.

``data/models/configs.json`` holds the fields of each family's config, written by ``tools/model_configs.py``; here is
what transformers makes of them. What is not surely the same is left to transformers.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sycophancy_core.scoring.checkpoints.rope_config import UnsureError, set_rotation

_TABLE = Path(__file__).parents[2] / "data/models/configs.json"
_KINDS = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "null"}
# What is not left in a config, or is not computed with, whatever its value.
_LEFT_OUT = re.compile(r"_?name_or_path|torch_dtype|output_attentions|_commit_hash|.*(attn|experts)_implementation.*")
# What changes more than itself.
_FOREIGN = ("quantization_config", "per_layer_config", "num_labels", "use_return_dict", "text_config", "__float__")
_DTYPES = (None, "float32", "float16", "bfloat16")
_LAYERS = ("full_attention", "sliding_attention")


def complete_config(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return what ``to_dict`` of transformers' config gives for the content of a config.json.

    Names and habits, on which no logit depends, are left out. None where the rest is not sure: another family, a value
    of another type, or an installed transformers of a minor version with defaults that are not known.
    """
    family = family_facts(raw.get("model_type"))
    if family is None:
        return None
    try:
        return _completed(json.loads(json.dumps(raw)), family, _table()["dropped"])
    except Exception:
        return None  # transformers says what is wrong


def family_facts(model_type: Any) -> dict[str, Any] | None:
    """Return what ``data/models/configs.json`` says of a family.

    None of another family, or where another minor version of transformers is installed.
    """
    table = _table()
    family: dict[str, Any] | None = table["families"].get(model_type) if isinstance(model_type, str) else None
    return family if _is_known(table["transformers"]) else None


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return found


@cache
def _is_known(version: str) -> bool:
    """Tell whether an installed transformers, if there is one, has the defaults of this version."""
    try:
        installed = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return True
    return installed.split(".")[:2] == version.split(".")[:2]


def _completed(raw: dict[str, Any], family: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
    if any(raw.get(key) not in _DTYPES for key in ("dtype", "torch_dtype")):
        raise UnsureError
    raw = {key: value for key, value in raw.items() if not _LEFT_OUT.fullmatch(key)}
    kinds = {name: kinds.split() for name, (_, kinds) in family["fields"].items()}
    if _names_one_of(raw, _FOREIGN) or any(_KINDS[type(raw[key])] not in kinds[key] for key in raw.keys() & kinds):
        raise UnsureError
    config = copy.deepcopy({name: default for name, (default, _) in family["fields"].items()})
    config |= {key: value for key, value in raw.items() if key in kinds}
    others = {key: value for key, value in raw.items() if key not in kinds and key not in ("model_type", *dropped)}
    _FINISH.get(raw["model_type"], _nothing)(config, others)
    if raw["model_type"] in _GROUPED and config["num_key_value_heads"] is None:
        config["num_key_value_heads"] = config["num_attention_heads"]
    _set_labels(config)
    _check(config | others, divides=family["divides"])
    if "rope_parameters" in config:
        others = set_rotation(raw["model_type"], config, others, family["theta"])
    elif any(key.startswith("rope") or key == "layer_types" for key in others):
        raise UnsureError
    named = {family["renamed"].get(key, key): value for key, value in config.items()}
    named |= {family["renamed"].get(key, key): value for key, value in others.items()}
    return named | {"model_type": raw["model_type"]}


def _names_one_of(value: Any, keys: tuple[str, ...]) -> bool:
    if isinstance(value, dict):
        return any(key in keys or _names_one_of(one, keys) for key, one in value.items())
    return isinstance(value, list) and any(_names_one_of(one, keys) for one in value)


def _check(config: dict[str, Any], *, divides: bool) -> None:
    """Leave to transformers what it refuses."""
    for key in ("hidden_size", "num_attention_heads", "head_dim"):
        size = config.get(key)
        if size is not None and (type(size) is not int or size < 1 or (key == "head_dim" and size % 2)):
            raise UnsureError
    if divides and "hidden_size" in config and config["hidden_size"] % config["num_attention_heads"] != 0:
        raise UnsureError
    layers, ends = config.get("layer_types"), config.get("eos_token_id")
    if layers is not None and (
        not isinstance(layers, list)
        or len(layers) != config["num_hidden_layers"]
        or any(kind not in _LAYERS for kind in layers)
    ):
        raise UnsureError
    if isinstance(ends, list) and any(type(end) is not int for end in ends):
        raise UnsureError


def _set_labels(config: dict[str, Any]) -> None:
    """Give a config the names of two classes, which transformers has for every model."""
    if config["id2label"] is None:
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(2)}
        config["label2id"] = {f"LABEL_{i}": i for i in range(2)}
    elif not all(key.isdecimal() and str(int(key)) == key for key in config["id2label"]):
        raise UnsureError


def _nothing(config: dict[str, Any], others: dict[str, Any]) -> None:
    pass


def _mistral(config: dict[str, Any], others: dict[str, Any]) -> None:
    if "layer_types" in others:  # transformers takes it for a Ministral
        raise UnsureError
    _head_sizes(config, others)


def _head_sizes(config: dict[str, Any], others: dict[str, Any]) -> None:
    if config["head_dim"] is None:
        config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]


def _windows(config: dict[str, Any], others: dict[str, Any]) -> None:
    if not config["use_sliding_window"]:
        config["sliding_window"] = None
    if config.get("layer_types", ()) is None:
        first = config["num_hidden_layers"] if config["sliding_window"] is None else config["max_window_layers"]
        config["layer_types"] = [_LAYERS[i >= first] for i in range(config["num_hidden_layers"])]


def _qwen3_moe(config: dict[str, Any], others: dict[str, Any]) -> None:
    _windows(config, others)
    if config["mlp_only_layers"] is None:
        config["mlp_only_layers"] = []


def _every_nth_sees_all(config: dict[str, Any], step: int) -> None:
    if config["layer_types"] is None:
        config["layer_types"] = [_LAYERS[(i + 1) % step != 0] for i in range(config["num_hidden_layers"])]


def _gemma(config: dict[str, Any], others: dict[str, Any]) -> None:
    if config["hidden_act"] == "gelu":
        config["hidden_act"] = "gelu_pytorch_tanh"


def _gemma2(config: dict[str, Any], others: dict[str, Any]) -> None:
    _every_nth_sees_all(config, 2)


def _gemma3(config: dict[str, Any], others: dict[str, Any]) -> None:
    if config["use_bidirectional_attention"]:
        raise UnsureError
    config["_sliding_window_pattern"] = others.get("sliding_window_pattern", 6)
    _every_nth_sees_all(config, config["_sliding_window_pattern"])


def _olmo3(config: dict[str, Any], others: dict[str, Any]) -> None:
    _every_nth_sees_all(config, 4)


def _smollm3(config: dict[str, Any], others: dict[str, Any]) -> None:
    layers, step = range(config["num_hidden_layers"]), config["no_rope_layer_interval"]
    if config["no_rope_layers"] is None:
        config["no_rope_layers"] = [int((i + 1) % step != 0) for i in layers]
    if config["layer_types"] is None:
        has_window = config["use_sliding_window"] and config["sliding_window"] is not None
        config["layer_types"] = [_LAYERS[has_window and not config["no_rope_layers"][i]] for i in layers]


def _glm(config: dict[str, Any], others: dict[str, Any]) -> None:
    others.setdefault("partial_rotary_factor", 0.5)
    if config["eos_token_id"] is None:
        config["eos_token_id"] = [151329, 151336, 151338]


def _opt(config: dict[str, Any], others: dict[str, Any]) -> None:
    if config["word_embed_proj_dim"] is None:
        config["word_embed_proj_dim"] = config["hidden_size"]


def _falcon(config: dict[str, Any], others: dict[str, Any]) -> None:
    if "head_dim" in others or "rotary" in others:  # which follow from the rest
        raise UnsureError
    embedded = others.pop("n_embed", None)
    config["hidden_size"] = config["hidden_size"] if embedded is None else embedded
    if config["num_kv_heads"] is None:
        config["num_kv_heads"] = config["num_attention_heads"]
    if config["ffn_hidden_size"] is None:
        config["ffn_hidden_size"] = 4 * config["hidden_size"]


def _t5(config: dict[str, Any], others: dict[str, Any]) -> None:
    if config["num_decoder_layers"] is None:
        config["num_decoder_layers"] = config["num_layers"]
    form = config["feed_forward_proj"].split("-")
    if len(form) > 2 or (len(form) == 2 and form[0] != "gated"):
        raise UnsureError
    config["is_gated_act"] = form[0] == "gated"
    config["dense_act_fn"] = "gelu_new" if config["feed_forward_proj"] == "gated-gelu" else form[-1]
    config["scale_decoder_outputs"] = others.pop("tie_word_embeddings", None) is not False
    config["tie_word_embeddings"] = True


_GROUPED = ("llama", "mistral", "qwen2", "qwen3", "phi3", "olmo2", "olmo3", "smollm3", "granite", "mixtral")
_FINISH = {
    "llama": _head_sizes,
    "mistral": _mistral,
    "qwen2": _windows,
    "qwen3": _windows,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "olmo3": _olmo3,
    "smollm3": _smollm3,
    "glm": _glm,
    "glm4": _glm,
    "opt": _opt,
    "falcon": _falcon,
    "t5": _t5,
}
