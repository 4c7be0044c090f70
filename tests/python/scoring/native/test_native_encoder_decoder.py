"""The engine on encoder-decoders against transformers in float32, and its bits against itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from makers.tiny_encoder_decoders import (
    T5S,
    ending_tokenizer,
    paired_batch,
    random_pairs,
    reference_pair_log_probs,
    tiny_encoder_decoder,
)
from makers.tiny_families import VOCAB
from test_native import PRECISIONS

import sycophancy_core as sc
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.tokens import TokenBatch


def take(batch: TokenBatch, order: list[int]) -> TokenBatch:
    parts = [np.split(batch.sequence(s), [batch.num_context[s]]) for s in order]
    return paired_batch([context for context, _ in parts], [[choice] for _, choice in parts])


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


@pytest.mark.parametrize("name", ["t5", "flan-untied", "t5-one-wide-head"])
def test_three_products_are_nearly_float32_and_one_is_near(name: str) -> None:
    model, batch = tiny_encoder_decoder(name), random_pairs(4)
    exact = reference_pair_log_probs(model, batch)
    for precision, tolerance in (("high", 1e-3), ("medium", 0.5)):
        values, *_ = NativeScorer(model, matmul_precision=precision).log_probs(batch, None)
        np.testing.assert_allclose(values, exact, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bits_do_not_depend_on_order_or_company(precision: str) -> None:
    batch = random_pairs(5, num_prompts=14)
    scorer = NativeScorer(tiny_encoder_decoder("flan-untied"), matmul_precision=precision)
    together, _, greedy = scorer.log_probs(batch, None)
    order = np.random.default_rng(0).permutation(batch.num_sequences).tolist()
    assert scorer.log_probs(take(batch, order), None)[0].tolist() == together[order].tolist()
    for s in range(batch.num_sequences):
        alone = scorer.log_probs(take(batch, [s]), None)
        assert (alone.log_prob.tolist(), alone.is_greedy.tolist()) == ([together[s]], [greedy[s]])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bits_do_not_depend_on_threads_or_pieces(precision: str) -> None:
    batch = random_pairs(6, num_prompts=40)
    scorer = NativeScorer(tiny_encoder_decoder("t5"), matmul_precision=precision)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone, *_ = scorer.log_probs(batch, None)
        torch.set_num_threads(2)
        assert scorer.log_probs(batch, None)[0].tolist() == alone.tolist()
    finally:
        torch.set_num_threads(threads)
    for panels in (1, 3, 50):
        values, *_ = scorer._engine.score(
            batch.tokens, batch.offsets, batch.num_context, matmul_precision=precision, panels_per_thread=panels
        )
        assert values.tolist() == alone.tolist()


def test_weights_are_shared_with_the_module() -> None:
    model, batch = tiny_encoder_decoder("flan-untied"), random_pairs(7)
    scorer = NativeScorer(model)
    before, *_ = scorer.log_probs(batch, None)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 1.1
    after, *_ = scorer.log_probs(batch, None)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, reference_pair_log_probs(model, batch), atol=1e-4)


def test_progress_counts_tokens_to_the_end_and_may_stop_the_job() -> None:
    batch, scorer = random_pairs(8), NativeScorer(tiny_encoder_decoder("t5"))
    seen: list[tuple[int, int]] = []
    values, num_tokens, _ = scorer.log_probs(batch, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (num_tokens, num_tokens)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scorer.log_probs(batch, stop)
    assert scorer.log_probs(batch, None)[0].tolist() == values.tolist()


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
    from sycophancy_core.scoring.native_scorer import load_engine

    model = tiny_encoder_decoder("t5")
    config = {**model.config.to_dict(), **change}
    with pytest.raises(sc.ModelError, match=message):
        load_engine().EncoderDecoderEngine(json.dumps(config), dict(model.named_parameters()))


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(sc.DataError, match="token 131 is not in the model's vocabulary of 131"):
        NativeScorer(tiny_encoder_decoder("t5")).log_probs(paired_batch([[1]], [[[VOCAB]]]), None)
