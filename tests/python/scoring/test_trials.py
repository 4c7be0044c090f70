"""The short trials: an engine against the module that it stands for, a model's causality, its cache."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_encoder_decoders import T5S, random_pairs, reference_pair_log_probs, tiny_encoder_decoder
from makers.tiny_families import FAMILIES, random_batch, reference_log_probs, tiny_model, tiny_tokenizer
from transformers import (
    BambaConfig,
    BambaForCausalLM,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
    xLSTMConfig,
    xLSTMForCausalLM,
)
from transformers.models.llama import modeling_llama

from sycophancy_core import ModelError, load_model
from sycophancy_core.scoring.native_scorer import NativeScorer

SMALL = {"vocab_size": 131, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
ENDS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}


def activation(model: Any) -> None:
    model.model.layers[1].mlp.act_fn = torch.nn.ReLU()


def rotary(model: Any) -> None:
    model.model.rotary_emb.inv_freq.mul_(0.25)


def slowest_rotation(model: Any) -> None:
    model.model.rotary_emb.inv_freq[-1] *= 1.5


def rotary_scaling(model: Any) -> None:
    model.model.rotary_emb.attention_scaling = 1.2


def scaling(model: Any) -> None:
    model.model.layers[1].self_attn.scaling *= 3


def epsilon(model: Any) -> None:
    model.model.norm.variance_epsilon = 1.0


CHANGES = [activation, rotary, slowest_rotation, rotary_scaling, scaling, epsilon]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_module_is_scored_by_its_own_forward(change: Callable[[Any], None]) -> None:
    module, batch = tiny_model("llama"), random_batch(3)
    change(module)
    with pytest.warns(UserWarning, match="scored by transformers instead of the native engine, because"):
        model = load_model((module, tiny_tokenizer()))
    np.testing.assert_allclose(model.score_tokens(batch).log_prob, reference_log_probs(module, batch), atol=1e-4)
    with pytest.raises(ModelError, match="engine: "):
        load_model((module, tiny_tokenizer()), engine="native")


@pytest.mark.parametrize("kind", ["sliding_attention", "full_attention"])
def test_a_rotation_of_one_kind_of_layers_that_is_not_the_configs_is_seen(kind: str) -> None:
    module = tiny_model("gemma3")
    getattr(module.model.rotary_emb, f"{kind}_inv_freq")[-1] *= 1.001
    with pytest.raises(ModelError, match=r"'model.rotary_emb' rotates by other frequencies than its config says"):
        NativeScorer(module)
    module = tiny_model("gemma3")
    setattr(module.model.rotary_emb, f"{kind}_attention_scaling", 1.0001)
    with pytest.raises(ModelError, match=r"'model.rotary_emb' rotates by other frequencies than its config says"):
        NativeScorer(module)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_engine_was_made_is_seen_by_the_next_job(change: Callable[[Any], None]) -> None:
    module, batch = tiny_model("llama"), random_batch(3)
    scorer = NativeScorer(module)
    change(module)
    with pytest.raises(ModelError, match="score: the model was changed since the language model was made"):
        scorer.log_probs(batch, None)


@contextmanager
def halved_mlp() -> Iterator[None]:
    own = modeling_llama.LlamaMLP.forward
    modeling_llama.LlamaMLP.forward = lambda self, x: 0.5 * own(self, x)
    try:
        yield
    finally:
        modeling_llama.LlamaMLP.forward = own


@contextmanager
def unrotated() -> Iterator[None]:
    own = modeling_llama.apply_rotary_pos_emb
    modeling_llama.apply_rotary_pos_emb = lambda q, k, cos, sin, unsqueeze_dim=1: (q, k)
    try:
        yield
    finally:
        modeling_llama.apply_rotary_pos_emb = own


@pytest.mark.parametrize("patched", [halved_mlp, unrotated])
def test_a_patched_class_or_function_is_seen(patched: Callable[[], Any]) -> None:
    module, batch = tiny_model("llama"), random_batch(3)
    scorer = NativeScorer(module)
    before = scorer.log_probs(batch, None).log_prob
    with patched():
        with pytest.raises(ModelError, match=r"nats from the model's own forward"):
            NativeScorer(module)
        with pytest.raises(ModelError, match=r"nats from the model's own forward"):
            scorer.log_probs(batch, None)
    assert scorer.log_probs(batch, None).log_prob.tolist() == before.tolist()


def test_a_changed_encoder_is_seen() -> None:
    module = tiny_encoder_decoder("t5")
    module.encoder.block[0].layer[1].DenseReluDense.act = torch.nn.SiLU()
    with pytest.raises(ModelError, match=r"nats from the model's own forward"):
        NativeScorer(module)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_change_is_seen_in_half_precision_and_rounding_is_none(dtype: torch.dtype) -> None:
    for seed in range(3):
        NativeScorer(tiny_model("llama", seed).to(dtype))
    module = tiny_model("llama").to(dtype)
    activation(module)
    with pytest.raises(ModelError, match=r"nats from the model's own forward"):
        NativeScorer(module)


def test_a_forward_that_fails_is_named_before_the_engine_runs() -> None:
    module = tiny_model("llama")
    module.model.layers[0].mlp.act_fn = None
    with pytest.raises(ModelError, match=r"engine: the model's own forward, which it stands for, fails: .*NoneType"):
        NativeScorer(module)
    with (
        pytest.warns(UserWarning, match="scored by transformers instead"),
        pytest.raises(ModelError, match=r"score: the forward of LlamaForCausalLM fails on 1 x 1 tokens: TypeError"),
    ):
        load_model((module, tiny_tokenizer())).log_probs(["a"], [["b"]])


@pytest.mark.parametrize("name", [*FAMILIES, *T5S])
def test_a_job_tries_no_model_again_that_was_not_changed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tiny_encoder_decoder(name) if name in T5S else tiny_model(name)
    batch = random_pairs(3) if name in T5S else random_batch(3)
    scorer = NativeScorer(module)
    monkeypatch.setattr("sycophancy_core.scoring.native_scorer.check_engine", lambda *_: pytest.fail("tried again"))
    scorer.log_probs(batch, None)
    with torch.no_grad():
        next(module.parameters()).mul_(1.1)
        module(**dict.fromkeys(["input_ids", *["decoder_input_ids"] * (name in T5S)], torch.arange(5)[None]))
    scorer.log_probs(batch, None)


def bert(scale: float, *, is_decoder: bool) -> Any:
    torch.manual_seed(0)
    return BertLMHeadModel(
        BertConfig(**SMALL, num_attention_heads=4, initializer_range=scale, is_decoder=is_decoder)
    ).eval()


@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_a_model_that_sees_tokens_to_come_is_refused(scale: float) -> None:
    with pytest.raises(ModelError, match=r"model BertLMHeadModel: BertLMHeadModel is not a causal .* is_decoder=True"):
        load_model((bert(scale, is_decoder=False), tiny_tokenizer()), engine="transformers")
    module, batch = bert(scale, is_decoder=True), random_batch(4)
    model = load_model((module, tiny_tokenizer()), engine="transformers")
    np.testing.assert_allclose(model.score_tokens(batch).log_prob, reference_log_probs(module, batch), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*scored by transformers instead:UserWarning")
def test_a_model_whose_cache_cannot_be_used_is_scored_without_it() -> None:
    torch.manual_seed(0)
    module = xLSTMForCausalLM(
        xLSTMConfig(vocab_size=131, hidden_size=64, embedding_dim=64, num_blocks=2, num_hidden_layers=2, num_heads=4)
    ).eval()
    batch = random_batch(4, num_prompts=3, longest=40)
    with torch.no_grad():  # its forward without a cache, which alone works
        reference = reference_log_probs(lambda input_ids: module(input_ids=input_ids, use_cache=False), batch)
    found = load_model((module, tiny_tokenizer())).score_tokens(batch).log_prob
    np.testing.assert_allclose(found, reference, atol=1e-4)


def test_a_model_that_goes_on_wrongly_from_its_cache_is_scored_without_it() -> None:
    class Forgetful(LlamaForCausalLM):
        """Takes what goes on from a cache for a text that begins there."""

        def forward(self, input_ids: Any = None, past_key_values: Any = None, **options: Any) -> Any:
            positions = torch.arange(input_ids.shape[1])[None]
            return super().forward(input_ids, past_key_values=past_key_values, position_ids=positions, **options)

    torch.manual_seed(0)
    module = Forgetful(LlamaConfig(**SMALL, **HEADS, initializer_range=0.3)).eval()
    batch = random_batch(4)
    model = load_model((module, tiny_tokenizer()), engine="transformers")
    np.testing.assert_allclose(model.score_tokens(batch).log_prob, reference_log_probs(module, batch), atol=1e-4)


def test_a_config_that_json_cannot_express_ends_in_the_fallback() -> None:
    torch.manual_seed(0)
    mamba = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "attn_layer_indices": [1]}
    infinite = BambaForCausalLM(BambaConfig(**SMALL, **HEADS, **ENDS, **mamba)).eval()
    assert infinite.config.time_step_limit[1] == float("inf")
    holds_a_set = tiny_model("llama")
    holds_a_set.config.languages = {"en", "de"}
    for module in (infinite, holds_a_set):
        with pytest.warns(UserWarning, match="config has a value that JSON cannot express"):
            model = load_model((module, tiny_tokenizer()))
        batch = random_batch(4, num_prompts=3, longest=40)
        np.testing.assert_allclose(model.score_tokens(batch).log_prob, reference_log_probs(module, batch), atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*scored by transformers instead:UserWarning")
def test_encoder_decoders_with_experts_are_scored_as_transformers_does() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 131, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_decoder_layers": 2}
    experts = {"num_experts": 4, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}
    config = SwitchTransformersConfig(**sizes, **experts, num_heads=4, decoder_start_token_id=0, pad_token_id=0)
    module = SwitchTransformersForConditionalGeneration(config).eval()
    batch = random_pairs(3, num_prompts=4, longest=30)
    found = load_model((module, tiny_tokenizer())).score_tokens(batch).log_prob
    np.testing.assert_allclose(found, reference_pair_log_probs(module, batch), atol=1e-4)


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_a_token_beyond_the_embeddings_is_one_sentence_in_both_engines(engine: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<think>"])
    model = load_model((tiny_model("llama", vocab_size=len(tokenizer) - 1), tokenizer), engine=engine)
    with pytest.raises(Exception, match=rf"token {len(tokenizer) - 1} \('<think>'\) is not in the model's vocabulary"):
        model.log_probs(["a <think> b"], [["c"]])
