"""Randomly initialised small encoder-decoders with the quirks of real configs; all made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from makers.tiny_families import VOCAB, tiny_tokenizer
from numpy.typing import NDArray
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from sycophancy_core.scoring.tokens import TokenBatch

_SIZES = {
    "vocab_size": VOCAB,
    "d_model": 60,
    "d_kv": 14,  # times 6 heads: not d_model
    "d_ff": 76,
    "num_layers": 2,
    "num_heads": 6,
    "decoder_start_token_id": 0,
}
_FLAN = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
# Name -> what its config says beyond the sizes. Those whose name ends in "untied" get an output head of their own.
T5S: dict[str, dict[str, Any]] = {
    "t5": {"feed_forward_proj": "relu", "n_positions": 512, "output_past": True},
    "flan-untied": _FLAN,
    "flan-tied-unscaled": _FLAN,
    "t5-scaled-untied": {"feed_forward_proj": "gated-gelu"},
    "t5-deep-decoder": {"num_layers": 1, "num_decoder_layers": 3, "decoder_start_token_id": 5},
    "t5-few-buckets": {"relative_attention_num_buckets": 10, "relative_attention_max_distance": 37},
    # A logarithm that is whole at some distances.
    "t5-sparse-buckets": {"relative_attention_num_buckets": 24, "relative_attention_max_distance": 96},
    "t5-one-wide-head": {"num_heads": 1, "d_kv": 70, "d_model": 37, "d_ff": 129, "layer_norm_epsilon": 1e-4},
    "t5-gated-silu-untied": {**_FLAN, "feed_forward_proj": "gated-silu"},
    "t5-gelu": {"feed_forward_proj": "gelu"},
}
_BART = {
    "vocab_size": VOCAB,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 200,
    "decoder_start_token_id": 2,
}


def tiny_encoder_decoder(name: str, seed: int = 0) -> Any:
    """Make a model of T5S, or a BART, with weights large enough that its answers differ."""
    kind, settings = ("bart", _BART) if name == "bart" else ("t5", {**_SIZES, **T5S[name]})
    torch.manual_seed(seed)
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    if name.endswith("untied"):
        # As a checkpoint with a head of its own is loaded.
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if "norm" in weight_name:
                weight += 0.3 * torch.randn_like(weight)
            elif "relative_attention_bias" in weight_name:
                weight.normal_(0, 2)
            else:
                # Logits of a head that is scaled by d_model ** -0.5 are as large as those of another.
                weight.normal_(0, 1 if weight_name == "shared.weight" and name.startswith("t5") else 0.15)
    return model


def paired_batch(contexts: list[Any], choices: list[list[Any]]) -> TokenBatch:
    """Make a batch of token sequences, each context with each of its choices."""
    rows = [(p, c, choice) for p, row in enumerate(choices) for c, choice in enumerate(row)]
    sequences = [np.concatenate([contexts[p], choice]) for p, _, choice in rows]
    return TokenBatch(
        tokens=np.concatenate(sequences).astype(np.int32),
        offsets=np.cumsum([0, *(len(s) for s in sequences)]).astype(np.int64),
        num_context=np.array([len(contexts[p]) for p, _, _ in rows], np.int32),
        prompt_index=np.array([p for p, _, _ in rows]),
        choice_index=np.array([c for _, c, _ in rows]),
        num_moved_borders=0,
        is_encoder_decoder=True,
    )


def take_pairs(batch: TokenBatch, order: list[int]) -> TokenBatch:
    """Make a batch of some of its pairs, in this order."""
    parts = [np.split(batch.sequence(s), [batch.num_context[s]]) for s in order]
    return paired_batch([context for context, _ in parts], [[choice] for _, choice in parts])


def random_pairs(seed: int, *, num_prompts: int = 9, longest: int = 170) -> TokenBatch:
    """Make contexts of which two are the same, with one to four choices of one to six tokens that share beginnings."""
    rng = np.random.default_rng(seed)
    contexts = [rng.integers(0, VOCAB, rng.integers(1, longest)) for _ in range(num_prompts - 1)]
    trunk = rng.integers(0, VOCAB, 5)
    choices = [
        [np.append(trunk[: rng.integers(0, 6)], rng.integers(0, VOCAB)) for _ in range(rng.integers(1, 5))]
        for _ in range(num_prompts)
    ]
    return paired_batch([*contexts, contexts[0]], choices)


def reference_pair_log_probs(model: Any, batch: TokenBatch) -> NDArray[np.float64]:
    """Score every sequence alone with transformers, which itself shifts the labels: the slow twin."""
    values = []
    for s in range(batch.num_sequences):
        ids, border = torch.tensor(batch.sequence(s), dtype=torch.long), int(batch.num_context[s])
        with torch.inference_mode():
            logits = model(input_ids=ids[None, :border], labels=ids[None, border:]).logits[0]
        log_probs = logits.double().log_softmax(-1)
        values.append(float(log_probs.gather(1, ids[border:, None]).sum()))
    return np.array(values)


def ending_tokenizer(**options: Any) -> Any:
    """Make a byte-level tokenizer that ends a text with its end-of-sequence token, as T5's does."""
    tokenizer = tiny_tokenizer(**options)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", end)]
    )
    return tokenizer
