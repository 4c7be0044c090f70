"""The loss: transformers' own on masked labels, whatever a model does to its logits."""

from typing import Any

import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
)

from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.training.batching import Batch, encode_rows, make_batch
from sycophancy_core.training.loop.answer_loss import AnswerLoss, has_plain_head

SMALL = {
    "vocab_size": 257,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def batch() -> Batch:
    rows = pa.table(
        {
            "id": list("abcde"),
            "origin": ["synthetic"] * 5,
            "prompt": [f"Is {n} odd?" * (1 + n % 3) for n in range(5)],
            "completion": [" (A)", " (B)"] * 2 + [" (A)"],
        }
    )
    return make_batch(encode_rows(rows, Encoder(tiny_tokenizer()), max_tokens=500), pad_id=0, multiple=16)


def capped() -> Any:
    """Return a Gemma 2 with reserved tokens whose logits are zero, where a cap does nothing."""
    settings = {**SMALL, "head_dim": 8, "tie_word_embeddings": True, "attn_implementation": "eager"}
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**settings, final_logit_softcapping=30.0)).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, 3)
        model.model.embed_tokens.weight[:4] = 0
    return model


def scaled() -> Any:
    return CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25)).eval()


def divided() -> Any:
    return GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=1.001)).eval()


def plain() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=16, n_layer=1, n_head=2, n_positions=100)).eval()


@pytest.mark.parametrize("make", [tiny_llama, capped, scaled, divided, plain])
def test_the_loss_is_the_one_that_transformers_takes_on_masked_labels(make: Any) -> None:
    model, rows = make(), batch()
    ids, *where = map(torch.from_numpy, (rows.ids, rows.row, rows.column, rows.target))
    labels = torch.full_like(ids, -100)
    labels[where[0], where[1] + 1] = where[2]
    wanted = model(input_ids=ids, labels=labels).loss
    found = AnswerLoss(model, bfloat16=False, trial=ids[0, :9])(ids, *where)
    assert torch.allclose(found / len(rows.target), wanted, atol=1e-5)


@pytest.mark.parametrize("make", [capped, scaled, divided])
def test_a_model_that_changes_its_logits_takes_the_whole_forward(make: Any) -> None:
    assert not has_plain_head(make(), torch.arange(9))


def test_a_cap_far_above_the_logits_is_seen() -> None:
    model = capped()
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(0.01)
    assert not has_plain_head(model, torch.arange(9))


@pytest.mark.parametrize("make", [tiny_llama, plain])
def test_a_model_whose_logits_are_its_output_layer_takes_the_short_way(make: Any) -> None:
    assert has_plain_head(make(), torch.arange(9))


def test_a_model_that_cannot_be_tried_takes_the_whole_forward() -> None:
    model = tiny_llama()
    model.lm_head.register_forward_pre_hook(lambda module, given: 1 / 0)
    assert not has_plain_head(model, torch.arange(9))
