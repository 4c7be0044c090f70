"""Models that also read images are scored by their text part, as their own forward scores text."""

from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import VOCAB, random_batch, reference_log_probs, tiny_tokenizer
from transformers import AutoConfig, AutoModelForImageTextToText

from sycophancy_core import load_model
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.sources import read_model

TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 60,
    "intermediate_size": 76,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
EYES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WINDOWS = {"sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 5}
GEMMA = {**TEXT, **WINDOWS, "model_type": "gemma3_text", "head_dim": 10}
AXES = {"rope_type": "default", "rope_theta": 70.0, "mrope_section": [1, 2, 2]}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3": (
        "gemma3",
        {
            "text_config": GEMMA,
            "vision_config": {**EYES, "model_type": "siglip_vision_model", "image_size": 8, "patch_size": 4},
            "mm_tokens_per_image": 4,
        },
    ),
    "mistral3": (
        "mistral3",
        {
            "text_config": {**TEXT, "model_type": "mistral", "head_dim": 12, "sliding_window": 15},
            "vision_config": {**EYES, "model_type": "pixtral", "image_size": 8, "patch_size": 4, "head_dim": 8},
        },
    ),
    "qwen2-vl": (
        "qwen2_vl",
        {
            "text_config": {**TEXT, "rope_parameters": AXES},
            "vision_config": {"depth": 1, "embed_dim": 16, "hidden_size": 60, "num_heads": 2, "mlp_ratio": 1},
        },
    ),
}


def tiny_model(name: str) -> Any:
    kind, settings = MODELS[name]
    tokens = dict.fromkeys(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"), 0)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **settings, **tokens)).eval()
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            weight += torch.randn_like(weight) * (0.3 if "norm" in weight_name else 0.15)
    return model


@pytest.mark.filterwarnings("ignore:.*has a wrong size")
@pytest.mark.parametrize("name", MODELS)
def test_text_is_scored_as_by_the_whole_model_within_1e4_nats(name: str) -> None:
    model, batch = tiny_model(name), random_batch(1)
    values = NativeScorer(model).log_probs(batch, None).log_prob
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)


def test_loading_one_says_that_images_are_left_out() -> None:
    with pytest.warns(
        UserWarning, match="it also reads images, which prompts here do not have; it is scored by its te"
    ):
        model = load_model((tiny_model("mistral3"), tiny_tokenizer()))
    assert model.engine == "native"


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_one_is_read(name: str, tmp_path: Any) -> None:
    model = tiny_model(name)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    read, _ = read_model(tmp_path, dtype="float32")
    assert type(read) is type(model)
    assert all(torch.equal(weight, dict(read.named_parameters())[name]) for name, weight in model.named_parameters())
