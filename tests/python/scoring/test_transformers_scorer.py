"""Scoring by the model's own forward: what is shared is run once, on every architecture that allows it."""

from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import VOCAB, batch_of, random_batch, reference_log_probs, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from sycophancy_core import ModelError
from sycophancy_core.scoring.tokens import TokenBatch
from sycophancy_core.scoring.transformers_scorer import TransformersScorer, _bundles, _distinct_rows, _Row

_SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
# Architectures that the engine does not know, by what their caches are: plain keys and values (with rotary, learned or
# linear positions), or something else, which other inputs cannot go on from.
PLAIN: dict[str, dict[str, Any]] = {
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 48},
    "bloom": {"n_layer": 2, "n_head": 4},
    "stablelm": {"partial_rotary_factor": 0.5},
    "phi": {},
    "granite": {},
}
OTHER: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 12, "sliding_window": 20},
    "mamba": {"state_size": 8},
    # What follows a token changes how far it is rotated.
    "phi3": {
        "original_max_position_embeddings": 64,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0] * 6,
            "long_factor": [1.0, 1.5, 2.0, 4.0, 8.0, 16.0],
            "factor": 4.0,
        },
    },
    # Its head ignores logits_to_keep.
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "num_heads": 2, "num_blocks": 2},
}


def small_model(kind: str) -> Any:
    settings = {**_SMALL, **PLAIN.get(kind, {}), **OTHER.get(kind, {})}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "norm" not in name and "A_log" not in name:
                weight.normal_(0, 0.15)
    return model


def distinct_rows(batch: TokenBatch) -> list[_Row]:
    return list(_distinct_rows(batch, range(batch.num_sequences)))


@pytest.mark.parametrize("kind", [*PLAIN, *OTHER])
def test_scores_equal_those_of_every_sequence_alone(kind: str) -> None:
    model, batch = small_model(kind), random_batch(1, num_prompts=12)
    values, num_tokens, _ = TransformersScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)
    distinct = sum(len(row.inputs) for row in distinct_rows(batch))
    assert (num_tokens < distinct) == (kind in PLAIN)


def test_rows_of_many_prompts_are_run_in_batches_that_share_nothing_they_should_not() -> None:
    rng = np.random.default_rng(2)
    frame = rng.integers(0, VOCAB, 30)
    prompts = [np.concatenate([frame, rng.integers(0, VOCAB, 12)]) for _ in range(40)]
    ends = [rng.integers(0, VOCAB, length) for length in (3, 3, 8)]
    sequences = [np.concatenate([prompt, end, [answer]]) for prompt in prompts for end in ends for answer in (1, 2)]
    batch = batch_of(sequences, [len(s) - 1 for s in sequences])
    model = tiny_model("llama")
    seen: list[tuple[int, int]] = []
    values, num_tokens, _ = TransformersScorer(model).log_probs(batch, lambda *at: seen.append(at))
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)
    assert num_tokens == 30 + 40 * (3 * 12 + 3 + 3 + 8)  # the frame once; a prompt's own tokens saved less
    assert seen[0] == (0, num_tokens)
    assert seen[-1] == (num_tokens, num_tokens)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_scored_token_is_never_part_of_what_is_shared() -> None:
    text = np.random.default_rng(3).integers(0, VOCAB, 60)
    other = np.concatenate([text[:50], [7, 8, 9]])
    batch = batch_of([text, other, text[:51]], [20, 45, 50])
    model = tiny_model("llama")
    (bundle,) = _bundles(distinct_rows(batch))
    assert bundle.prefix == 19
    values, *_ = TransformersScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)


def test_short_beginnings_are_not_worth_a_pass() -> None:
    rng = np.random.default_rng(4)
    sequences = [np.concatenate([[1, 2, 3], rng.integers(0, VOCAB, 20)]) for _ in range(5)]
    assert all(bundle.prefix == 0 for bundle in _bundles(distinct_rows(batch_of(sequences, [22] * 5))))


def test_a_model_in_training_is_scored_without_dropout_and_trains_on() -> None:
    model, batch = small_model("opt"), random_batch(2, num_prompts=4)
    wanted, *_ = TransformersScorer(model).log_probs(batch, None)
    model.train()
    model.model.decoder.layers[0].eval()
    assert TransformersScorer(model).log_probs(batch, None)[0].tolist() == wanted.tolist()
    assert model.training and model.model.decoder.layers[1].training
    assert not model.model.decoder.layers[0].training


def test_training_without_a_cache_takes_nothing_from_scoring() -> None:
    model, batch = tiny_model("llama"), random_batch(5)
    model.config.use_cache = False
    _, num_tokens, _ = TransformersScorer(model).log_probs(batch, None)
    assert num_tokens < sum(len(row.inputs) for row in distinct_rows(batch))


def limit_memory(model: Any, most_tokens: int) -> list[int]:
    """Let the model refuse inputs of more tokens, as a full device does; returns the sizes that it has run."""
    sizes: list[int] = []

    def refuse(module: object, args: object, options: dict[str, Any]) -> None:
        size = options["input_ids"].numel()
        if size > most_tokens:
            raise torch.OutOfMemoryError
        sizes.append(size)

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return sizes


def test_where_memory_is_too_small_halves_are_run() -> None:
    rng = np.random.default_rng(6)
    frames = [rng.integers(0, VOCAB, 40) for _ in range(9)]
    sequences = [np.concatenate([frame, rng.integers(0, VOCAB, 13)]) for frame in frames for _ in range(5)]
    batch = batch_of(sequences, [52] * len(sequences))
    model = tiny_model("llama")
    wanted, num_tokens, _ = TransformersScorer(model).log_probs(batch, None)
    assert num_tokens == 9 * (40 + 5 * 12)
    sizes = limit_memory(model, 100)
    seen: list[int] = []
    values, *_ = TransformersScorer(model).log_probs(batch, lambda done, total: seen.append(done))
    np.testing.assert_allclose(values, wanted, atol=1e-5)
    assert max(sizes) > 50  # still several at once
    assert seen[-1] == num_tokens


def test_memory_that_does_not_hold_one_sequence_is_one_sentence() -> None:
    model = tiny_model("llama")
    limit_memory(model, 10)
    with pytest.raises(ModelError, match="memory does not hold the model and one sequence"):
        TransformersScorer(model).log_probs(random_batch(7), None)
