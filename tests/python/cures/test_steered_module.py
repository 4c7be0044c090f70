"""A vector in a module: what it says equals transformers with a hook, natively and without a copy of the weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import random_batch, tiny_model, tiny_tokenizer
from numpy.typing import NDArray

import sycophancy_core as sc
from sycophancy_core.cures.vectors.steered_module import block_names, steered_model
from sycophancy_core.scoring.resumable import score_resumable

NATIVE = ("llama", "llama-untied-biases", "qwen2", "qwen3", "gemma", "phi3", "starcoder2", "opt", "gpt-neox", "gpt2")
BY_HOOK = ("gemma2", "gemma3", "olmo2", "granite", "mixtral")  # a norm, a factor or experts before the sum


def language_model(name: str, engine: str = "auto") -> sc.LanguageModel:
    return sc.load_model((tiny_model(name), tiny_tokenizer()), engine=engine)


def vector_of(model: sc.LanguageModel, size: float = 2.0) -> NDArray[np.float32]:
    width = model.model.config.get_text_config().hidden_size
    return (size * np.random.default_rng(3).standard_normal(width)).astype(np.float32)


def hooked_log_probs(model: Any, layer: int, vector: NDArray[np.float32], batch: Any) -> NDArray[np.float64]:
    """Score each sequence alone, with a forward hook of torch's own on the block: the slow twin."""

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        moved = (output[0] if isinstance(output, tuple) else output) + torch.from_numpy(vector)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = model.get_submodule(block_names(model)[layer]).register_forward_hook(add)
    found = []
    try:
        for s in range(batch.num_sequences):
            ids, context = torch.from_numpy(batch.sequence(s)).long(), int(batch.num_context[s])
            with torch.inference_mode():
                log_probs = model(input_ids=ids[None, :-1], use_cache=False).logits[0].double().log_softmax(-1)
            found.append(float(log_probs[torch.arange(context - 1, len(ids) - 1), ids[context:]].sum()))
    finally:
        handle.remove()
    return np.array(found)


@pytest.mark.parametrize(("name", "layer"), [("llama", 0), ("gpt2", 0), *((name, 1) for name in (*NATIVE, *BY_HOOK))])
@pytest.mark.filterwarnings("ignore:.*a Gemma answers at random:UserWarning")
def test_a_steered_model_says_what_transformers_says_with_a_hook(name: str, layer: int) -> None:
    model = language_model(name)
    vector = vector_of(model)
    steered = steered_model(model, layer, vector, name="steered")
    batch = random_batch(5, num_prompts=3, longest=30)
    wanted = hooked_log_probs(model.model, layer, vector, batch)
    assert steered.engine == ("native" if name in NATIVE else "transformers")
    assert steered.score_tokens(batch).log_prob == pytest.approx(wanted, abs=1e-4)
    assert np.abs(wanted - model.score_tokens(batch).log_prob).max() > 0.1


def test_the_given_model_is_as_it_was_and_shares_its_weights() -> None:
    model = language_model("llama")
    batch, digest = random_batch(5, num_prompts=3, longest=30), model.digest
    before = model.score_tokens(batch).log_prob
    steered = steered_model(model, 1, vector_of(model), name="steered")
    assert np.array_equal(model.score_tokens(batch).log_prob, before)
    assert (model.digest, model.model.get_submodule("model.layers.1.mlp.down_proj").bias) == (digest, None)
    own = {name: weight.data_ptr() for name, weight in steered.model.named_parameters()}
    shared = {name: weight.data_ptr() for name, weight in model.model.named_parameters()}
    assert {name: at for name, at in own.items() if name in shared} == shared
    assert set(own) - set(shared) == {"model.layers.1.mlp.down_proj.bias"}
    assert steered.digest != digest


@pytest.mark.parametrize("name", ["llama", "granite"])  # a bias, a hook
def test_each_vector_has_a_digest_and_a_journal_of_its_own(name: str, tmp_path: Path) -> None:
    model = language_model(name)
    vector = vector_of(model)
    plus, minus = (steered_model(model, 1, sign * vector, name="steered") for sign in (1, -1))
    assert len({one.digest for one in (model, plus, minus)}) == 3
    prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 2))
    score_resumable(model, prompts, journal=tmp_path / "a.journal")
    with pytest.raises(sc.DataError, match="weights"):
        score_resumable(plus, prompts, journal=tmp_path / "a.journal")


@pytest.mark.parametrize("name", ["llama", "granite"])
def test_a_copy_for_another_process_is_steered_as_well(name: str) -> None:
    model = language_model(name)
    batch = random_batch(5, num_prompts=3, longest=30)
    steered = steered_model(model, 1, vector_of(model), name="steered")
    again = pickle.loads(pickle.dumps(steered))
    assert again.digest == steered.digest
    assert np.array_equal(again.score_tokens(batch).log_prob, steered.score_tokens(batch).log_prob)


def test_a_vector_of_zeros_changes_nothing() -> None:
    model = language_model("qwen2")
    batch = random_batch(6, num_prompts=3, longest=30)
    steered = steered_model(model, 0, 0 * vector_of(model), name="steered")
    assert steered.score_tokens(batch).log_prob == pytest.approx(model.score_tokens(batch).log_prob, abs=1e-6)


def test_half_precision_is_steered_natively_too() -> None:
    module = tiny_model("llama").to(torch.bfloat16)
    model = sc.load_model((module, tiny_tokenizer()))
    steered = steered_model(model, 0, vector_of(model), name="steered")
    assert steered.engine == "native"


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "olmo2", "granite"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1e-5, 100.0])
def test_bias_or_hook_is_the_same_for_every_vector_and_number_type(name: str, dtype: torch.dtype, size: float) -> None:
    model = sc.load_model((tiny_model(name).to(dtype), tiny_tokenizer()), engine="transformers")
    for layer, block in enumerate(block_names(model.model)):
        steered = steered_model(model, layer, vector_of(model, size), name="steered")
        assert bool(steered.model.get_submodule(block)._forward_hooks) == (name in BY_HOOK)


def test_a_model_on_transformers_stays_there_and_twice_steered_is_the_sum() -> None:
    model = language_model("llama", engine="transformers")
    batch, vector = random_batch(7, num_prompts=3, longest=30), vector_of(model)
    twice = steered_model(steered_model(model, 0, vector, name="once"), 0, vector, name="twice")
    assert twice.engine == "transformers"
    assert twice.score_tokens(batch).log_prob == pytest.approx(
        hooked_log_probs(model.model, 0, 2 * vector, batch), abs=1e-4
    )


def test_another_width_or_layer_is_refused() -> None:
    model = language_model("llama")
    with pytest.raises(sc.ModelError, match="has 2 blocks of width 60, got layer 2"):
        steered_model(model, 2, vector_of(model), name="steered")
    with pytest.raises(sc.ModelError, match=r"a vector of shape \(3,\)"):
        steered_model(model, 0, np.zeros(3, np.float32), name="steered")
