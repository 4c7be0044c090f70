"""What holds for every engine: its bits against itself, shared weights, progress, and products in three precisions."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_encoder_decoders import random_pairs, reference_pair_log_probs, take_pairs, tiny_encoder_decoder
from makers.tiny_families import random_batch, reference_log_probs, take, tiny_model
from numpy.typing import NDArray

from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.tokens import TokenBatch


@dataclass(frozen=True)
class Kind:
    """Models that one engine runs, batches for them, and the slow twin of their scores."""

    model: Callable[[str], Any]
    batch: Callable[..., TokenBatch]
    log_probs: Callable[[Any, TokenBatch], NDArray[np.float64]]
    take: Callable[[TokenBatch, list[int]], TokenBatch]


def in_float32(model: Any, batch: TokenBatch) -> NDArray[np.float64]:
    """Score with transformers in float32, on the weights as they are rounded."""
    return reference_log_probs(copy.deepcopy(model).float(), batch)


DECODERS = Kind(tiny_model, random_batch, reference_log_probs, take)
ENCODER_DECODERS = Kind(tiny_encoder_decoder, random_pairs, reference_pair_log_probs, take_pairs)
HALVES = Kind(lambda name: tiny_model(name).bfloat16(), random_batch, in_float32, take)
PRECISIONS = ("highest", "high", "medium")


@pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [
        *((DECODERS, name, 0.3) for name in ("llama", "gpt2", "gpt-neox")),
        *((ENCODER_DECODERS, name, 0.5) for name in ("t5", "flan-untied", "t5-one-wide-head")),
    ],
)
def test_three_products_are_nearly_float32_and_one_is_near(kind: Kind, name: str, tolerance: float) -> None:
    model, batch = kind.model(name), kind.batch(2)
    exact = kind.log_probs(model, batch)
    for precision, most in (("high", 1e-3), ("medium", tolerance)):
        values, *_ = NativeScorer(model, matmul_precision=precision).log_probs(batch, None)
        np.testing.assert_allclose(values, exact, atol=most)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "name", "num_prompts"),
    [
        *((DECODERS, name, 9) for name in ("llama", "mistral-window", "gemma3", "qwen3-moe")),
        (ENCODER_DECODERS, "flan-untied", 14),
    ],
)
def test_bits_do_not_depend_on_order_or_company(kind: Kind, name: str, num_prompts: int, precision: str) -> None:
    batch = kind.batch(3, num_prompts=num_prompts)
    scorer = NativeScorer(kind.model(name), matmul_precision=precision)
    together, _, greedy = scorer.log_probs(batch, None)
    order = np.random.default_rng(0).permutation(batch.num_sequences).tolist()
    assert scorer.log_probs(kind.take(batch, order), None)[0].tolist() == together[order].tolist()
    for s in range(batch.num_sequences):
        alone = scorer.log_probs(kind.take(batch, [s]), None)
        assert (alone.log_prob.tolist(), alone.is_greedy.tolist()) == ([together[s]], [greedy[s]])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "name", "num_prompts"),
    [(DECODERS, "llama-untied-biases", 9), (DECODERS, "qwen3-moe", 9), (ENCODER_DECODERS, "t5", 40)],
)
def test_bits_do_not_depend_on_threads_or_chunks(kind: Kind, name: str, num_prompts: int, precision: str) -> None:
    batch = kind.batch(4, num_prompts=num_prompts)
    scorer = NativeScorer(kind.model(name), matmul_precision=precision)
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


EACH_KIND = pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [(DECODERS, "llama", 1e-4), (ENCODER_DECODERS, "flan-untied", 1e-4), (HALVES, "llama", 0.3)],
)


@EACH_KIND
def test_weights_are_shared_with_the_module(kind: Kind, name: str, tolerance: float) -> None:
    model, batch = kind.model(name), kind.batch(6)
    scorer = NativeScorer(model)
    before, *_ = scorer.log_probs(batch, None)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 1.1
    after, *_ = scorer.log_probs(batch, None)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, kind.log_probs(model, batch), atol=tolerance)


@EACH_KIND
def test_progress_counts_tokens_to_the_end_and_may_stop_the_job(kind: Kind, name: str, tolerance: float) -> None:
    model, batch = kind.model(name), kind.batch(7)
    seen: list[tuple[int, int]] = []
    scorer = NativeScorer(model)
    values, num_tokens, _ = scorer.log_probs(batch, lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(values, kind.log_probs(model, batch), atol=tolerance)
    assert seen[-1] == (num_tokens, num_tokens)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scorer.log_probs(batch, stop)
    assert scorer.log_probs(batch, None)[0].tolist() == values.tolist()
