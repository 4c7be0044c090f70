"""The engine on plain tensors: every family in every number type, on the CPU and, where there is one, on a GPU."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import FAMILIES, VOCAB, batch_of, random_batch, reference_log_probs, take, tiny_model
from numpy.typing import NDArray

from sycophancy_core import DataError, ModelError
from sycophancy_core.scoring.native_scorer import NativeScorer, load_engine
from sycophancy_core.scoring.tokens import TokenBatch

HALVES = [torch.bfloat16, torch.float16]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def engine_of(model: Any, **changes: Any) -> Any:
    config = {**model.config.to_dict(), **changes}
    return load_engine().TensorEngine(json.dumps(config), dict(model.named_parameters()))


def score(engine: Any, batch: TokenBatch, **options: Any) -> NDArray[np.float64]:
    values: NDArray[np.float64] = engine.score(batch.tokens, batch.offsets, batch.num_context, **options)[0]
    return values


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_a_family_equals_transformers_and_the_panels_within_1e4_nats(family: str, device: str) -> None:
    model, batch = tiny_model(family), random_batch(1)
    exact = reference_log_probs(model, batch)
    panels, num_tokens, greedy = NativeScorer(model).log_probs(batch, None)
    engine = engine_of(model.to(device))
    values, own_num_tokens, own_greedy = engine.score(batch.tokens, batch.offsets, batch.num_context)
    np.testing.assert_allclose(values, exact, atol=1e-4, rtol=0)
    np.testing.assert_allclose(values, panels, atol=1e-4, rtol=0)
    assert own_num_tokens == num_tokens
    assert own_greedy.tolist() == greedy.tolist()


# Against float32 on the same rounded weights. transformers' own forward is off by up to 0.12 and 0.015 nats on such
# models; test_native_real.py compares the two on a real one, whose many layers tell them apart.
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.15), (torch.float16, 0.02)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_in_half_precision_a_family_is_off_by_rounding_alone(
    family: str, dtype: torch.dtype, tolerance: float, device: str
) -> None:
    model, batch = tiny_model(family).to(dtype), random_batch(1)
    exact = reference_log_probs(copy.deepcopy(model).float(), batch)
    np.testing.assert_allclose(score(engine_of(model.to(device)), batch), exact, atol=tolerance, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral-window", "olmo2"])
def test_scores_do_not_depend_on_where_chunks_are_cut(family: str, device: str) -> None:
    model, batch = tiny_model(family), random_batch(4, num_prompts=5, longest=60)
    engine = engine_of(model.to(device))
    whole = score(engine, batch)
    for rows in (1, 7, 33, 64):
        np.testing.assert_allclose(score(engine, batch, chunk_rows=rows), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [-1, 65537, 2**40])
def test_a_chunk_of_no_number_or_too_many_rows_is_refused(rows: int) -> None:
    wanted = rf"engine: chunk_rows must be 0 \(1024 on the CPU, 8192 elsewhere\) to 65536, got {rows}"
    with pytest.raises(DataError, match=wanted):
        score(engine_of(tiny_model("llama")), random_batch(1), chunk_rows=rows)


@pytest.mark.parametrize("device", DEVICES)
def test_every_token_of_a_long_text_can_be_scored(device: str) -> None:
    model = tiny_model("llama")
    text = np.random.default_rng(5).integers(0, VOCAB, 400)
    batch = batch_of([text, text[:40], text[:41]], [1, 1, 40])
    wanted = reference_log_probs(model, batch)
    np.testing.assert_allclose(score(engine_of(model.to(device)), batch), wanted, atol=1e-3, rtol=1e-6)


def test_weights_of_several_types_are_refused_by_name() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.bfloat16()
    with pytest.raises(ModelError, match=r"weight model\.layers\.1\.mlp\.up_proj\.weight is bfloat16, wanted float32"):
        NativeScorer(model)


def test_weights_that_are_nowhere_or_of_an_unknown_type_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"weight \S+ is on meta, wanted cpu or cuda"):
        NativeScorer(tiny_model("llama").to("meta"))
    with pytest.raises(ModelError, match=r"weight \S+ is float64 on cpu, wanted float32, bfloat16 or float16 on cpu"):
        NativeScorer(tiny_model("llama").double())


def test_weights_that_changed_their_type_are_refused_until_the_engine_is_made_again() -> None:
    model, batch = tiny_model("llama"), random_batch(6)
    scorer = NativeScorer(model)
    model.bfloat16()
    with pytest.raises(ModelError, match="the weights were float32 on cpu and are now bfloat16 on cpu; make it again"):
        scorer.log_probs(batch, None)
    assert NativeScorer(model).log_probs(batch, None).num_tokens > 0


def test_a_matmul_precision_needs_the_cpu() -> None:
    with pytest.raises(ModelError, match="matmul_precision='medium' needs weights on the CPU, got float32 on meta"):
        NativeScorer(tiny_model("llama").to("meta"), matmul_precision="medium")


def test_what_does_not_fit_the_model_is_refused() -> None:
    engine = engine_of(tiny_model("llama"))
    with pytest.raises(DataError, match="token 131 is not in the model's vocabulary of 131"):
        score(engine, batch_of([[1, VOCAB, 2]], [1]))
    with pytest.raises(DataError, match="a sequence of 600 tokens exceeds the model's context of 512"):
        score(engine, batch_of([[1] * 601], [1]))
    with pytest.raises(ModelError, match='it does not know config value hidden_act="swishy"'):
        engine_of(tiny_model("llama"), hidden_act="swishy")


def test_the_cpu_has_no_flash_attention() -> None:
    assert not engine_of(tiny_model("qwen3").bfloat16()).uses_flash_attention


@GPU
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_flash_attention_is_used_where_it_takes_the_heads(dtype: torch.dtype) -> None:
    assert engine_of(tiny_model("qwen3").to("cuda", dtype)).uses_flash_attention  # heads of 16
    assert not engine_of(tiny_model("gemma").to("cuda", dtype)).uses_flash_attention  # heads of 18


@GPU
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_bits_do_not_depend_on_order_or_company_on_a_gpu(dtype: torch.dtype) -> None:
    batch = random_batch(3, num_prompts=9)
    engine = engine_of(tiny_model("qwen3").to("cuda", dtype))
    together = score(engine, batch)
    order = np.random.default_rng(0).permutation(batch.num_sequences).tolist()
    assert score(engine, take(batch, order)).tolist() == together[order].tolist()
    assert [score(engine, take(batch, [s]))[0] for s in range(batch.num_sequences)] == together.tolist()
