"""Numbers of a config that size or index memory are checked before the engine reads a weight by them."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import batch_of, random_batch, reference_log_probs, tiny_model

from sycophancy_core import ModelError
from sycophancy_core.scoring.native_scorer import NativeScorer, load_engine, panel_engine

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
COMMON = {"max_position_embeddings": 256, "tie_word_embeddings": True, "hidden_act": "silu", "rms_norm_eps": 1e-6}


def engine_maker(kind: str) -> Callable[[str, dict[str, torch.Tensor]], Any]:
    maker: Callable[[str, dict[str, torch.Tensor]], Any]
    maker = panel_engine if kind == "PanelEngine" else load_engine().TensorEngine
    return maker


def weights(family: str) -> dict[str, torch.Tensor]:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))

    found = {"model.embed_tokens.weight": random(64, 32), "model.norm.weight": random(32)}
    for layer in range(2):
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm": (32,),
            "post_attention_layernorm": (32,),
            "self_attn.o_proj": (32, 32),
            "mlp.down_proj": (32, 64),
        }
        if family == "phi3":
            shapes |= {"self_attn.qkv_proj": (64, 32), "mlp.gate_up_proj": (128, 32)}
        else:
            shapes |= {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32)}
            shapes |= {"mlp.gate_proj": (64, 32), "mlp.up_proj": (64, 32)}
        found |= {f"model.layers.{layer}.{name}.weight": random(*shape) for name, shape in shapes.items()}
    return found


def score(family: str, **changes: Any) -> np.ndarray[Any, Any]:
    config = {"model_type": family, **SIZES, **HEADS, **COMMON, **changes}
    engine = panel_engine(json.dumps(config), weights(family))
    sequences = [np.array([5] + [i % 60 + 1] * (i % 7 + 2), np.int32) for i in range(40)]
    offsets = np.cumsum([0] + [len(s) for s in sequences]).astype(np.int64)
    return np.asarray(engine.score(np.concatenate(sequences), offsets, np.ones(40, np.int32))[0])


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_the_plain_config_is_scored(family: str) -> None:
    assert np.isfinite(score(family)).all()


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        *(("phi3", "partial_rotary_factor", value) for value in (1.5, 2.0, 64.0, 1e5, -1.0, 0.0)),
        *(("llama", "num_attention_heads", value) for value in (0, 3, -4)),
        *(("llama", "num_key_value_heads", value) for value in (0, 3)),
        ("llama", "head_dim", 0),
        *(("llama", "num_hidden_layers", value) for value in (2**63, 10**9, -1)),
        ("llama", "max_position_embeddings", 2**64 - 1),
        *(("llama", "rope_theta", value) for value in ("x", 0)),
        *(("llama", "rope_scaling", value) for value in ([1], {"rope_type": "linear"}, {"rope_type": 3})),
        ("llama", "hidden_act", 7),
        ("llama", "rms_norm_eps", "1"),
        ("llama", "model_type", 5),
    ],
)
def test_a_number_that_no_memory_fits_is_refused(family: str, key: str, value: Any) -> None:
    with pytest.raises(ModelError):
        score(family, **{key: value})


@pytest.mark.parametrize("kind", ["PanelEngine", "TensorEngine"])
@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("opt", {"num_attention_heads": 7}, r"num_attention_heads \* head_dim must be hidden_size, got 7 \* 8 and 60"),
        ("opt", {"head_dim": 2}, r"num_attention_heads \* head_dim must be hidden_size, got 6 \* 2 and 60"),
        ("opt", {"head_dim": 30}, r"num_attention_heads \* head_dim must be hidden_size, got 6 \* 30 and 60"),
        ("opt", {"num_key_value_heads": 2}, "it does not know config value num_key_value_heads=2"),
        ("gpt-neox", {"head_dim": 4}, r"num_attention_heads \* head_dim must be hidden_size, got 4 \* 4 and 48"),
        ("gpt-neox", {"num_key_value_heads": 2}, "it does not know config value num_key_value_heads=2"),
        (
            "falcon",
            {"num_attention_heads": 7},
            r"num_attention_heads \* head_dim must be hidden_size, got 7 \* 8 and 60",
        ),
    ],
)
def test_heads_that_do_not_fill_the_hidden_size_are_refused(
    family: str, change: dict[str, int], message: str, kind: str
) -> None:
    model = tiny_model(family)
    with pytest.raises(ModelError, match=message):
        engine_maker(kind)(json.dumps({**model.config.to_dict(), **change}), dict(model.named_parameters()))


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"decoder_sparse_step": 3}, {"num_local_experts": 2**30}),
        ({"decoder_sparse_step": 3}, {"num_local_experts": 2**30, "num_experts_per_tok": 2**30}),
        ({"mlp_only_layers": [0, 1]}, {"moe_intermediate_size": 2**30}),
        ({}, {"intermediate_size": 2**30}),
    ],
)
def test_sizes_of_parts_that_no_layer_has_take_no_memory(settings: dict[str, Any], change: dict[str, int]) -> None:
    model, batch = tiny_model("qwen3-moe", **settings), random_batch(1)
    engine = panel_engine(json.dumps({**model.config.to_dict(), **change}), dict(model.named_parameters()))
    values = engine.score(batch.tokens, batch.offsets, batch.num_context)[0]
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["PanelEngine", "TensorEngine"])
def test_a_bias_of_a_router_is_refused(kind: str) -> None:
    model = tiny_model("mixtral")
    weights = {**dict(model.named_parameters()), "model.layers.0.mlp.gate.bias": torch.ones(5)}
    with pytest.raises(ModelError, match=r"does not know what to do with weight model\.layers\.0\.mlp\.gate\.bias"):
        engine_maker(kind)(json.dumps(model.config.to_dict()), weights)


@pytest.mark.parametrize("kind", ["PanelEngine", "TensorEngine"])
@pytest.mark.parametrize("family", ["mixtral", "qwen3-moe"])
@pytest.mark.parametrize("expert", [0, 4])
def test_a_router_that_gives_no_number_gives_no_score(family: str, expert: int, kind: str) -> None:
    model, batch = tiny_model(family), random_batch(1)
    with torch.no_grad():
        dict(model.named_parameters())["model.layers.0.mlp.gate.weight"][expert] = torch.nan
    engine = engine_maker(kind)(json.dumps(model.config.to_dict()), dict(model.named_parameters()))
    assert np.isnan(reference_log_probs(model, batch)).all()
    assert np.isnan(engine.score(batch.tokens, batch.offsets, batch.num_context)[0]).all()


@pytest.mark.parametrize("kind", ["PanelEngine", "TensorEngine"])
@pytest.mark.parametrize("token", [0, 130])
def test_where_one_logit_is_no_number_there_is_no_score_and_no_likeliest_token(token: int, kind: str) -> None:
    model, prompts = tiny_model("qwen2"), [[3, 1, 4], [1, 5, 9, 2], [6]]
    with torch.no_grad():
        model.lm_head.weight[token] = 0
        likeliest = [int(model(torch.tensor([prompt])).logits[0, -1].argmax()) for prompt in prompts]
        model.lm_head.weight[token] = torch.nan
    assert token not in likeliest
    batch = batch_of([[*prompt, last] for prompt, last in zip(prompts, likeliest, strict=True)], [3, 4, 1])
    engine = engine_maker(kind)(json.dumps(model.config.to_dict()), dict(model.named_parameters()))
    log_probs, _, is_greedy = engine.score(batch.tokens, batch.offsets, batch.num_context)
    assert np.isnan(log_probs).all()
    assert not is_greedy.any()


@pytest.mark.parametrize("kind", ["PanelEngine", "TensorEngine"])
def test_an_activation_of_what_is_no_number_is_none(kind: str) -> None:
    model, batch = tiny_model("opt"), random_batch(1)
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.bias[3] = torch.nan
    engine = engine_maker(kind)(json.dumps(model.config.to_dict()), dict(model.named_parameters()))
    assert np.isnan(reference_log_probs(model, batch)).all()
    assert np.isnan(engine.score(batch.tokens, batch.offsets, batch.num_context)[0]).all()


def test_bits_of_choices_of_three_tokens_do_not_depend_on_company() -> None:
    random = np.random.default_rng(7)
    sequences = [random.integers(1, 100, 8).astype(np.int32) for _ in range(300)]
    scorer = NativeScorer(tiny_model("llama"))
    whole = scorer.log_probs(batch_of(sequences, [5] * 300), None).log_prob
    parts = [
        scorer.log_probs(batch_of(sequences[i : i + 7], [5] * len(sequences[i : i + 7])), None).log_prob
        for i in range(0, 300, 7)
    ]
    assert np.concatenate(parts).tolist() == whole.tolist()
