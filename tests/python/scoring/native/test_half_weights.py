"""The panels on weights in bfloat16 and float16: the bits of the same weights in float32, and transformers' numbers."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_encoder_decoders import random_pairs, reference_pair_log_probs, tiny_encoder_decoder
from makers.tiny_families import FAMILIES, random_batch, reference_log_probs, tiny_model
from transformers.models.t5.modeling_t5 import T5Attention

from sycophancy_core.scoring.native_scorer import NativeScorer, panel_engine
from sycophancy_core.scoring.tokens import TokenBatch

HALVES = [torch.bfloat16, torch.float16]
PRECISIONS = ("highest", "high", "medium")


def widened(model: Any) -> Any:
    """Make the same model with its weights in float32, and rotations that were never rounded."""
    if model.config.is_encoder_decoder:  # without rotations; its head may be its own though the config ties it
        return copy.deepcopy(model).float()
    wide = type(model)(model.config)
    wide.load_state_dict({name: weight.float() for name, weight in model.state_dict().items()})
    return wide.eval()


def score(model: Any, batch: TokenBatch, precision: str = "highest") -> tuple[list[float], list[bool]]:
    """Score on panels without a trial, since torch's own products of experts refuse rows of 60 numbers of 16 bits."""
    config, weights = json.dumps(model.config.to_dict()), dict(model.named_parameters())
    engine = panel_engine(config, weights, is_encoder_decoder=model.config.is_encoder_decoder)
    found = engine.score(batch.tokens, batch.offsets, batch.num_context, matmul_precision=precision)
    return found[0].tolist(), found[2].tolist()


def assert_same_bits(model: Any, batch: TokenBatch) -> None:
    """Compare a model's scores with those of the same weights in float32, in every precision."""
    wide = widened(model)
    for precision in PRECISIONS:
        assert score(model, batch, precision) == score(wide, batch, precision), precision


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_bits_of_its_weights_in_float32(family: str, dtype: torch.dtype) -> None:
    assert_same_bits(tiny_model(family).to(dtype), random_batch(1))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", ["t5", "flan-untied"])
def test_an_encoder_decoder_has_the_bits_of_its_weights_in_float32(name: str, dtype: torch.dtype) -> None:
    model, batch = tiny_encoder_decoder(name).to(dtype), random_pairs(1)
    assert_same_bits(model, batch)
    exact = reference_pair_log_probs(widened(model), batch)
    np.testing.assert_allclose(score(model, batch)[0], exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_biases_of_an_encoder_decoder_keep_their_bits(dtype: torch.dtype) -> None:
    model, batch = tiny_encoder_decoder("t5"), random_pairs(1)
    torch.manual_seed(3)
    for attention in (module for module in model.modules() if isinstance(module, T5Attention)):
        for name in ("q", "k", "v", "o"):
            getattr(attention, name).bias = torch.nn.Parameter(torch.randn(getattr(attention, name).out_features))
    model = model.to(dtype)
    assert_same_bits(model, batch)
    exact = reference_pair_log_probs(widened(model), batch)
    np.testing.assert_allclose(score(model, batch)[0], exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_highest_equals_transformers_in_float32_on_the_same_weights(family: str, dtype: torch.dtype) -> None:
    model, batch = tiny_model(family).to(dtype), random_batch(2)
    exact = reference_log_probs(widened(model), batch)
    np.testing.assert_allclose(score(model, batch)[0], exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_precision_names_weights_and_products(precision: str, dtype: torch.dtype) -> None:
    scorer = NativeScorer(tiny_model("llama").to(dtype), matmul_precision=precision)
    assert scorer.precision == f"{str(dtype).removeprefix('torch.')}/{precision}"
