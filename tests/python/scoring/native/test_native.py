"""The engine against transformers in float32, family by family, and what it refuses."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import FAMILIES, VOCAB, batch_of, random_batch, reference_log_probs, tiny_model

from sycophancy_core import DataError, ModelError
from sycophancy_core.scoring.native_scorer import NativeScorer, panel_engine
from sycophancy_core.scoring.transformers_scorer import TransformersScorer


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_equals_transformers_within_1e4_nats(family: str) -> None:
    model, batch = tiny_model(family), random_batch(1)
    values, num_tokens, _ = NativeScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)
    assert num_tokens < batch.num_tokens_unshared


YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 3.0, "original_max_position_embeddings": 40}

# What a family does that Llama does not, switched off or changed: were it left out, nothing would tell.
WHAT_MATTERS: list[tuple[str, dict[str, Any]]] = [
    ("llama-rope-yarn", {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}),
    ("llama-rope-yarn", {"rope_parameters": {**YARN, "attention_factor": 1.0}}),
    ("llama-rope-yarn", {"rope_parameters": {**YARN, "factor": 1.0, "attention_factor": 1.11}}),
    ("llama-rope-yarn", {"rope_parameters": {**YARN, "truncate": False}}),
    ("llama-rope-yarn", {"rope_parameters": {**YARN, "beta_fast": 0.5}}),
    ("llama-rope-yarn", {"rope_parameters": {**YARN, "mscale": 2.0, "mscale_all_dim": 1.0}}),
    ("olmo3", {"layer_types": ["full_attention", "full_attention"]}),
    ("olmo3", {"rope_parameters": {kind: {"rope_theta": 50.0} for kind in ("full_attention", "sliding_attention")}}),
    ("smollm3", {"no_rope_layers": [1, 1]}),
    ("smollm3", {"no_rope_layers": [0, 0]}),
    ("smollm3-window", {"use_sliding_window": False, "layer_types": None}),
    ("granite", {"embedding_multiplier": 1.0}),
    ("granite", {"attention_multiplier": 0.3}),
    ("granite", {"residual_multiplier": 1.0}),
    ("granite", {"logits_scaling": 1.0}),
    ("glm", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 1.0}}),
    ("glm4", {"rope_parameters": {"rope_theta": 70.0, "partial_rotary_factor": 0.8}}),
    ("starcoder2", {"sliding_window": None}),
    ("mixtral", {"num_experts_per_tok": 1}),
    ("mixtral", {"sliding_window": None}),
    ("qwen3-moe", {"num_experts_per_tok": 2}),
    ("qwen3-moe", {"norm_topk_prob": True}),
    ("opt", {"activation_function": "gelu"}),
    ("falcon", {"rope_parameters": {"rope_theta": 30.0, "rope_type": "default"}}),
    ("gemma2", {"attn_logit_softcapping": None}),
    ("gemma2", {"final_logit_softcapping": None}),
    ("gemma2", {"query_pre_attn_scalar": 10}),
    ("gemma2", {"layer_types": ["full_attention", "full_attention"]}),
    ("gemma3", {"final_logit_softcapping": None}),
    ("gemma3", {"query_pre_attn_scalar": 10}),
    ("gemma3", {"layer_types": ["sliding_attention", "sliding_attention"]}),
    ("gemma3", {"rope_parameters": {kind: {"rope_theta": 20.0} for kind in ("full_attention", "sliding_attention")}}),
    (
        "gemma3",
        {"rope_parameters": {"full_attention": {"rope_theta": 300.0}, "sliding_attention": {"rope_theta": 20.0}}},
    ),
]


@pytest.mark.parametrize(("family", "change"), WHAT_MATTERS, ids=str)
def test_what_sets_a_family_apart_changes_its_scores(family: str, change: dict[str, Any]) -> None:
    model, batch = tiny_model(family), random_batch(1)
    config = {**model.config.to_dict(), **change}
    engine = panel_engine(json.dumps(config), dict(model.named_parameters()))
    changed = engine.score(batch.tokens, batch.offsets, batch.num_context)[0]
    assert np.abs(changed - reference_log_probs(model, batch)).max() > 0.01


def test_every_token_of_a_text_can_be_scored() -> None:
    model = tiny_model("llama")
    text = np.random.default_rng(5).integers(0, VOCAB, 300)
    batch = batch_of([text, text[:40], text[:41]], [1, 1, 40])
    np.testing.assert_allclose(
        NativeScorer(model).log_probs(batch, None)[0], reference_log_probs(model, batch), atol=1e-3, rtol=1e-6
    )


def greedy_continuation(model: torch.nn.Module, context: list[int], num_tokens: int) -> list[int]:
    """Decode token by token with transformers: the likeliest each time."""
    ids = list(context)
    for _ in range(num_tokens):
        with torch.inference_mode():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids


@pytest.mark.parametrize("make_scorer", [NativeScorer, TransformersScorer])
@pytest.mark.parametrize("family", ["llama", "gpt-neox", "phi3"])
def test_greedy_is_what_greedy_decoding_gives(family: str, make_scorer: Callable[[object], Any]) -> None:
    model, rng = tiny_model(family), np.random.default_rng(8)
    contexts = [rng.integers(0, VOCAB, length).tolist() for length in (1, 5, 40, 90)]
    greedy = [greedy_continuation(model, context, 4) for context in contexts]
    # The same but for one of the four tokens, the first to the last.
    others = [[*ids[:i], (ids[i] + 1) % VOCAB, *ids[i + 1 :]] for ids in greedy for i in range(len(ids) - 4, len(ids))]
    batch = batch_of([*greedy, *others], [len(ids) - 4 for ids in [*greedy, *(g for g in greedy for _ in range(4))]])
    assert make_scorer(model).log_probs(batch, None).is_greedy.tolist() == [True] * 4 + [False] * 16


def test_a_merged_weight_that_replaces_the_old_one_is_seen() -> None:
    model, batch = tiny_model("llama"), random_batch(6)
    scorer = NativeScorer(model)
    for weight in model.parameters():
        weight.data = weight.data * 1.1
    np.testing.assert_allclose(scorer.log_probs(batch, None)[0], reference_log_probs(model, batch), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, 'it does not know model_type "mamba"'),
        ({"hidden_act": "swishy"}, 'it does not know config value hidden_act="swishy"'),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            'it does not know config value rope_type="dynamic"',
        ),
        (
            {"rope_parameters": {**YARN, "original_max_position_embeddings": 0}},
            "value original_max_position_embeddings=0",
        ),
        ({"rope_parameters": {**YARN, "rope_theta": 1.0}}, "it does not know config value rope_theta=1.0"),
        ({"rope_parameters": {**YARN, "truncate": 7}}, "it cannot read the config"),
        ({"rope_parameters": {"rope_theta": 1e4, "mrope_section": [1, 2, 2]}}, r"config value mrope_section=\[1,2,2\]"),
        ({"logit_softcapping": 30.0}, "it does not know config value logit_softcapping=30.0"),
        # What transformers reads of other families, but not of this one.
        ({"sliding_window": 16}, "it does not know config value sliding_window=16"),
        ({"layer_types": ["sliding_attention"] * 2}, 'it does not know config value layer_types="sliding_attention"'),
        ({"partial_rotary_factor": 0.5}, "it does not know config value partial_rotary_factor=0.5"),
        ({"head_dim": 11}, "it does not know config value head_dim=11"),
        ({"vocab_size": 7}, r"weight model.embed_tokens.weight has shape \[131, 60\], wanted \[7, 60\]"),
        ({"num_hidden_layers": 3}, "the model has no weight model.layers.2"),
        ({"num_hidden_layers": 1}, "it does not know what to do with weight model.layers.1"),
    ],
)
def test_what_the_engine_does_not_know_is_refused_by_name(change: dict[str, object], message: str) -> None:
    model = tiny_model("llama")
    config = {**model.config.to_dict(), **change}
    with pytest.raises(ModelError, match=message):
        panel_engine(json.dumps(config), dict(model.named_parameters()))


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("gemma2", {"attn_logit_softcapping": "50"}, 'it does not know config value attn_logit_softcapping="50"'),
        ("gemma2", {"query_pre_attn_scalar": 0}, "it does not know config value query_pre_attn_scalar=0"),
        ("gemma2", {"layer_types": []}, r"it does not know config value layer_types=\[\]"),
        ("gemma2", {"use_bidirectional_attention": True}, "config value use_bidirectional_attention=true"),
        (
            "gemma3",
            {"layer_types": ["linear_attention", "full_attention"]},
            'config value layer_types="linear_attention"',
        ),
        ("gemma3", {"rope_parameters": {"rope_theta": 5.0}}, "it does not know config value rope_theta=null"),
        ("smollm3", {"no_rope_layers": [1]}, r"it does not know config value no_rope_layers=\[1\]"),
        ("smollm3", {"no_rope_layers": [1, 2]}, r"it does not know config value no_rope_layers=\[1,2\]"),
        ("granite", {"residual_multiplier": -1}, "it does not know config value residual_multiplier=-1"),
        ("granite", {"logits_scaling": 0}, "it does not know config value logits_scaling=0"),
        ("glm4", {"rope_parameters": {"partial_rotary_factor": 1.2}}, "config value partial_rotary_factor=1.2"),
        ("olmo3", {"rope_parameters": {"full_attention": {**YARN, "truncate": False}}}, "config value truncate=false"),
        ("mixtral", {"num_experts_per_tok": 6}, "it does not know config value num_experts_per_tok=6"),
        ("mixtral", {"num_local_experts": 6}, r"experts.gate_up_proj has shape \[5, 152, 60\], wanted \[6, 152, 60\]"),
        ("qwen3-moe", {"moe_intermediate_size": 71}, r"experts.gate_up_proj has shape \[7, 136, 60\], wanted \[7, 142"),
        ("qwen3-moe", {"mlp_only_layers": [2]}, r"it does not know config value mlp_only_layers=\[2\]"),
        ("qwen3-moe", {"mlp_only_layers": [0]}, r"the model has no weight model.layers.0.mlp.gate_proj.weight"),
        ("opt", {"do_layer_norm_before": False}, "it does not know config value do_layer_norm_before=false"),
        ("opt", {"word_embed_proj_dim": 30}, "it does not know config value word_embed_proj_dim=30"),
        ("opt", {"max_position_embeddings": 513}, r"embed_positions.weight has shape \[514, 60\], wanted \[515, 60\]"),
        ("falcon", {"alibi": True}, "it does not know config value alibi=true"),
        ("falcon-groups", {"num_kv_heads": 4}, "it does not know config value num_kv_heads=4"),
        ("falcon-groups", {"num_kv_heads": 3}, r"query_key_value.weight has shape \[100, 60\], wanted \[120, 60\]"),
        ("falcon-groups", {"parallel_attn": False}, "it does not know config value parallel_attn=false"),
        ("starcoder2", {"norm_epsilon": "x"}, 'it does not know config value norm_epsilon="x"'),
        ("mistral-window", {"use_sliding_window": False}, "it does not know config value sliding_window=17"),
        ("phi3", {"layer_types": ["full_attention"] * 2}, 'it does not know config value layer_types="full_attention"'),
        ("qwen2", {"use_mrope": True}, "it does not know config value use_mrope=true"),
    ],
)
def test_a_family_is_refused_what_transformers_does_not_do_with_it(
    family: str, change: dict[str, object], message: str
) -> None:
    model = tiny_model(family)
    with pytest.raises(ModelError, match=message):
        panel_engine(json.dumps({**model.config.to_dict(), **change}), dict(model.named_parameters()))


# As published configs have them, beside the sizes.
PUBLISHED: dict[str, dict[str, Any]] = {
    "llama": {"max_sequence_length": 512, "unsloth_fixed": True, "unsloth_version": "2024.9"},
    "qwen2": {"use_mrope": False},
    "gemma": {"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"},
    "phi3": {"auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}},
    "gpt-neox": {"hidden_act": "gelu_fast", "custom_pipelines": {}},
    "gpt2": {"n_ctx": 300, "gradient_checkpointing": False},
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_keys_of_published_configs_that_change_nothing_are_known(family: str) -> None:
    model, batch = tiny_model(family, **PUBLISHED[family]), random_batch(4)
    for key in PUBLISHED[family].keys() - {"hidden_act"}:
        assert key in model.config.to_dict()
    values, *_ = NativeScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)


def test_the_panels_refuse_a_weight_in_float64() -> None:
    model = tiny_model("llama").double()
    with pytest.raises(ModelError, match=r"is float64 on cpu, wanted float32, bfloat16 or float16 on cpu"):
        panel_engine(json.dumps(model.config.to_dict()), dict(model.named_parameters()))


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(DataError, match="token 131 is not in the model's vocabulary of 131"):
        NativeScorer(tiny_model("llama")).log_probs(batch_of([[1, VOCAB, 2]], [1]), None)
