"""The engine on encoder-decoders against transformers in float32, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from makers.tiny_encoder_decoders import (
    T5S,
    ending_tokenizer,
    paired_batch,
    random_pairs,
    reference_pair_log_probs,
    tiny_encoder_decoder,
)
from makers.tiny_families import VOCAB

import sycophancy_core as sc
from sycophancy_core.scoring.native_scorer import NativeScorer


@pytest.mark.parametrize("name", T5S)
def test_a_t5_equals_transformers_within_1e4_nats(name: str) -> None:
    model, batch = tiny_encoder_decoder(name), random_pairs(1)
    values, num_tokens, _ = NativeScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_pair_log_probs(model, batch), atol=1e-4, rtol=0)
    assert num_tokens < batch.num_tokens_unshared


@pytest.mark.parametrize("name", ["t5", "t5-few-buckets", "t5-sparse-buckets"])
def test_every_distance_in_long_texts_has_its_bias(name: str) -> None:
    model, rng = tiny_encoder_decoder(name), np.random.default_rng(2)
    text = rng.integers(0, VOCAB, 300)
    batch = paired_batch([text, text[:65]], [[text[:200], text[:7]], [text[100:]]])
    np.testing.assert_allclose(
        NativeScorer(model).log_probs(batch, None)[0], reference_pair_log_probs(model, batch), atol=1e-3, rtol=1e-6
    )


def test_a_tree_may_be_wider_than_a_panel() -> None:
    model, rng = tiny_encoder_decoder("t5"), np.random.default_rng(3)
    choices = [rng.integers(0, VOCAB, 3) for _ in range(90)]
    batch = paired_batch([rng.integers(0, VOCAB, 20), rng.integers(0, VOCAB, 33)], [choices, choices[:40]])
    np.testing.assert_allclose(
        NativeScorer(model).log_probs(batch, None)[0], reference_pair_log_probs(model, batch), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["t5", "flan-untied"])
def test_a_saved_model_is_loaded_and_scored_natively(name: str, tmp_path: Path) -> None:
    model, batch = tiny_encoder_decoder(name), random_pairs(9, num_prompts=4)
    model.save_pretrained(tmp_path)
    ending_tokenizer().save_pretrained(tmp_path)
    loaded = sc.load_model(tmp_path)
    assert (loaded.engine, loaded.precision) == ("native", "float32/highest")
    np.testing.assert_allclose(loaded.score_tokens(batch)[0], reference_pair_log_probs(model, batch), atol=1e-4)


def test_another_encoder_decoder_is_scored_by_transformers_and_says_so() -> None:
    with pytest.warns(UserWarning, match='because engine: it does not know model_type "bart"'):
        model = sc.LanguageModel(tiny_encoder_decoder("bart"), ending_tokenizer(), name="tiny")
    assert model.engine == "transformers"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "longt5"}, 'it does not know model_type "longt5"'),
        ({"feed_forward_proj": "gated-swishy"}, 'config value feed_forward_proj="swishy"'),
        ({"feed_forward_proj": "gated-gelu"}, "config value is_gated_act=false"),
        ({"dense_act_fn": "silu"}, 'config value dense_act_fn="silu"'),
        ({"relative_attention_num_buckets": 3}, "config value relative_attention_num_buckets=3"),
        ({"relative_attention_max_distance": 16}, "config value relative_attention_max_distance=16"),
        ({"decoder_start_token_id": None}, "config value decoder_start_token_id=-1"),
        ({"decoder_start_token_id": VOCAB}, "config value decoder_start_token_id=131"),
        ({"attention_sinks": True}, "config value attention_sinks=true"),
        ({"is_encoder_decoder": False}, "config value is_encoder_decoder=false"),
        ({"num_decoder_layers": 3}, "the model has no weight decoder.block.2.layer.0.layer_norm.weight"),
        ({"num_layers": 1}, "what to do with weight encoder.block.1"),
        (
            {"d_kv": 15},
            r"weight encoder.block.0.layer.0.SelfAttention.q.weight has shape \[84, 60\], wanted \[90, 60\]",
        ),
    ],
)
def test_what_the_engine_does_not_know_is_refused_by_name(change: dict[str, object], message: str) -> None:
    from sycophancy_core.scoring.native_scorer import panel_engine

    model = tiny_encoder_decoder("t5")
    config = {**model.config.to_dict(), **change}
    with pytest.raises(sc.ModelError, match=message):
        panel_engine(json.dumps(config), dict(model.named_parameters()), is_encoder_decoder=True)


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(sc.DataError, match="token 131 is not in the model's vocabulary of 131"):
        NativeScorer(tiny_encoder_decoder("t5")).log_probs(paired_batch([[1]], [[[VOCAB]]]), None)
