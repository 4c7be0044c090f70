"""A config.json completed without transformers is what transformers makes of it, or is left to it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from makers.tiny_encoder_decoders import T5S, tiny_encoder_decoder
from makers.tiny_families import FAMILIES, tiny_model
from transformers import AutoConfig
from transformers.utils import logging

from sycophancy_core.scoring.checkpoints import model_config
from sycophancy_core.scoring.checkpoints.model_config import complete_config
from sycophancy_core.scoring.checks.module_checks import comparable

HUB: dict[str, dict[str, Any]] = {
    "Llama 2": {"model_type": "llama", "torch_dtype": "float16", "rope_scaling": None, "pretraining_tp": 1},
    "Llama 3.1": {
        "model_type": "llama",
        "eos_token_id": [128001, 128008, 128009],
        "rope_theta": 500000.0,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "temperature": 0.6,
    },
    "Mistral 0.1": {"model_type": "mistral", "sliding_window": None, "rope_theta": 10000.0, "num_key_value_heads": 8},
    "Qwen2.5": {
        "model_type": "qwen2",
        "max_window_layers": 3,
        "num_hidden_layers": 5,
        "sliding_window": 32768,
        "use_sliding_window": False,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    },
    "Qwen3": {"model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 2, "num_hidden_layers": 4},
    "Gemma": {"model_type": "gemma", "hidden_act": "gelu", "hidden_activation": None},
    "Gemma 2": {"model_type": "gemma2", "cache_implementation": "hybrid", "num_hidden_layers": 3},
    "Gemma 3": {
        "model_type": "gemma3_text",
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window_pattern": 3,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "num_hidden_layers": 7,
    },
    "Phi-3": {
        "model_type": "phi3",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "auto_map": {"AutoConfig": "x"},
    },
    "OLMo 3": {"model_type": "olmo3", "rope_theta": 7000.0, "num_hidden_layers": 8},
    "SmolLM3": {"model_type": "smollm3", "num_hidden_layers": 8, "use_sliding_window": True, "sliding_window": 9},
    "GLM 4": {"model_type": "glm4", "rope_theta": 10000.0, "eos_token_id": None},
    "Pythia": {"model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 10000, "torch_dtype": "float16"},
    "Falcon": {"model_type": "falcon", "n_embed": 4544, "num_attention_heads": 71, "apply_residual_connection": False},
    "Qwen3-MoE": {"model_type": "qwen3_moe", "num_experts": 60, "mlp_only_layers": []},
    "Mixtral": {"model_type": "mixtral", "num_local_experts": 4, "sliding_window": None},
    "GPT-2": {"model_type": "gpt2", "n_ctx": 1024, "task_specific_params": {"text-generation": {"max_length": 50}}},
    "GPT-2 by other names": {"model_type": "gpt2", "hidden_size": 24, "num_hidden_layers": 3},
    "OPT": {"model_type": "opt", "prefix": "</s>", "_remove_final_layer_norm": False},
    "Flan-T5": {"model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "d_model": 1024},
    "T5": {"model_type": "t5", "task_specific_params": {"summarization": {"num_beams": 4}}, "n_positions": 512},
    "with labels": {"model_type": "llama", "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0}},
    "nothing": {"model_type": "granite"},
    "StarCoder2": {"model_type": "starcoder2", "_attn_implementation": "eager", "use_bias": False},
    "GLM": {"model_type": "glm", "partial_rotary_factor": 0.25},
    "OLMo 2": {"model_type": "olmo2", "num_hidden_layers": 1, "layer_types": ["full_attention"]},
}


def by_transformers(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "config.json").write_text(json.dumps(raw))
    found: dict[str, Any] = AutoConfig.from_pretrained(folder).to_dict()
    return found


def in_words(config: dict[str, Any]) -> Any:
    """Return what decides a config's digest, as JSON has it."""
    return json.loads(json.dumps(comparable(config)))


@pytest.mark.parametrize("name", HUB)
def test_a_config_of_the_hub_is_completed_as_transformers_does_it(name: str, tmp_path: Path) -> None:
    found = complete_config(HUB[name])
    assert found is not None
    assert in_words(found) == in_words(by_transformers(HUB[name], tmp_path))


@pytest.mark.parametrize("name", [*FAMILIES, *T5S])
def test_a_saved_config_is_completed_as_transformers_does_it(name: str, tmp_path: Path) -> None:
    config = (tiny_encoder_decoder(name) if name in T5S else tiny_model(name)).config
    config.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    found = complete_config(raw)
    assert found is not None
    assert in_words(found) == in_words(by_transformers(raw, tmp_path))


VALUES = (
    *(None, True, False, 0, 1, 2, 6, -1, 0.5, 1e-5, 1e4, 3e5, "x", "gelu", "silu", "gated-silu", "gated-x-y", [], [1]),
    *(["full_attention"], ["sliding_attention", "full_attention"], {}, {"0": "a"}, {"__float__": "NaN"}),
    *({"rope_type": kind, "factor": 2.0} for kind in ("default", "linear", "yarn", "dynamic", "llama3", "nosuch")),
    *({"type": "linear", "factor": 3.0}, {"rope_theta": 7.0}, {"full_attention": {"rope_type": "linear", "factor": 2}}),
    {"full_attention": None, "sliding_attention": {"rope_theta": 3.0}},
)
OTHERS = (
    *("rope_scaling", "rope_theta", "partial_rotary_factor", "rotary_pct", "rotary_emb_base", "rope_local_base_freq"),
    *("sliding_window_pattern", "n_embed", "hidden_size", "num_experts", "head_dim", "layer_types", "torch_dtype"),
    *(
        "num_labels",
        "name_or_path",
        "max_length",
        "is_decoder",
        "tie_word_embeddings",
        "original_max_position_embeddings",
    ),
    *("rope_parameters", "text_config", "dtype", "problem_type", "attn_implementation", "per_layer_config", "foo"),
)


def test_a_drawn_config_is_completed_as_transformers_does_it_or_left_to_it(tmp_path: Path) -> None:
    logging.set_verbosity(60)  # no line for each of them
    taken = 0
    for seed in range(6000):
        draw = random.Random(seed)
        raw = dict(draw.choice(list(HUB.values())))
        own = [*(complete_config({"model_type": raw["model_type"]}) or ())]
        for key in draw.choices([*own, *OTHERS, *OTHERS], k=draw.choice((1, 1, 2, 3))):
            if key != "model_type":
                raw[key] = draw.choice(VALUES)
        found = complete_config(raw)
        if found is not None:
            taken += 1
            assert in_words(found) == in_words(by_transformers(raw, tmp_path)), (seed, raw)
    assert taken > 800


def test_another_transformers_or_family_is_left_to_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_config({"model_type": "bert"}) is None
    assert complete_config({}) is None
    model_config._is_known.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda _: "5.0.0")
        assert complete_config({"model_type": "llama"}) is None
    model_config._is_known.cache_clear()
    assert complete_config({"model_type": "llama"}) is not None
