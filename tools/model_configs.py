"""Write what transformers takes for granted of the families that the engine knows, by their `model_type`.

That is the fields of a config, and the class of its tokenizer.

Run it with the transformers that constraints.txt names: python tools/model_configs.py
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "python/sycophancy_core/data/models/configs.json"
FAMILIES = (
    *("falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "granite", "llama", "mistral"),
    *("mixtral", "olmo2", "olmo3", "opt", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3", "starcoder2", "t5"),
)
NAMES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "null"}


def described() -> dict[str, Any]:
    """Return the defaults of every family, with what else all configs have alike."""
    import transformers
    from transformers import CONFIG_MAPPING, GenerationConfig

    return {
        "transformers": transformers.__version__,
        "dropped": sorted(GenerationConfig._get_default_generation_params()),
        "families": {family: _family(CONFIG_MAPPING[family]) for family in FAMILIES},
    }


def _family(kind: Any) -> dict[str, Any]:
    import torch
    from transformers.models.auto.tokenization_auto import (
        MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS,
        TOKENIZER_MAPPING_NAMES,
    )

    hints = typing.get_type_hints(kind, localns={"torch": torch})
    fields = {}
    for field in dataclasses.fields(kind):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        fields[field.name] = [default, " ".join(sorted(_kinds(hints[field.name])))]
    return {
        "fields": fields,
        "renamed": kind.attribute_map,
        "theta": kind.default_theta if isinstance(kind.default_theta, float) else None,
        "tokenizer": TOKENIZER_MAPPING_NAMES.get(kind.model_type),
        "is_tokenizer_overruled": kind.model_type in MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS,
        "divides": "validate_architecture" in vars(kind) and kind.model_type != "t5",
    }


def _kinds(hint: Any) -> set[str]:
    """Name the types of JSON that a field takes; none where its type is another."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return {kind for one in typing.get_args(hint) for kind in _kinds(one)}
    name = NAMES.get(typing.get_origin(hint) or hint)
    if name is None and hint is not Any and isinstance(hint, type) and issubclass(hint, dict):
        name = "dict"
    return {name} if name else set()


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    found = described()
    families = found.pop("families")
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in families.items()]
    lines.append('"families": {\n' + ",\n".join(rows) + "\n}")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
