"""Randomly initialised small models with the quirks of real configs, and a tokenizer; all made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from sycophancy_core.scoring.tokens import TokenBatch

VOCAB = 131
_SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 60,
    "intermediate_size": 76,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "max_position_embeddings": 512,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_NEOX = {"hidden_size": 48, "num_attention_heads": 4, "num_key_value_heads": None, "head_dim": None}
_FUSED = {"intermediate_size": None, "num_key_value_heads": None, "head_dim": None}
_QWEN3_MOE = {"num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 68, "head_dim": 12}
_YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 6.0, "original_max_position_embeddings": 40}
_BY_KIND = {
    "full_attention": {"rope_type": "linear", "rope_theta": 300.0, "factor": 3.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
}
_GEMMA2 = {
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 11,
    "query_pre_attn_scalar": 3,
    "final_logit_softcapping": 4.5,
}
# Name -> model_type and what its config says beyond the sizes.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "llama-untied-biases": ("llama", {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True}),
    "llama-rope-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}}),
    "llama-rope-llama3": ("llama", {"rope_parameters": _LLAMA3}),
    "llama-rope-yarn": ("llama", {"rope_parameters": _YARN}),
    "llama-rope-yarn-two-scales": (
        "llama",
        {
            "rope_parameters": {
                **_YARN,
                "factor": None,
                "mscale": 1.3,
                "mscale_all_dim": 0.4,
                "beta_fast": 5.0,
                "beta_slow": 0.7,
                "truncate": False,
            }
        },
    ),
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1, "head_dim": 34, "intermediate_size": 129}),
    "mistral-window": ("mistral", {"sliding_window": 17}),
    "qwen2": ("qwen2", {"head_dim": None}),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1, "head_dim": None},
    ),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gemma": ("gemma", {"head_dim": 18, "hidden_activation": None}),
    "gemma2": ("gemma2", {**_GEMMA2, "attn_logit_softcapping": 1.7}),
    "gemma2-no-caps": ("gemma2", {**_GEMMA2, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3": ("gemma3_text", {**_GEMMA2, "rope_parameters": _BY_KIND}),
    "phi3": ("phi3", {"pad_token_id": 0, "sliding_window": 33}),
    "phi3-partial-rotary": (
        "phi3",
        {
            "pad_token_id": 0,
            "rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.4},
        },
    ),
    "olmo2": ("olmo2", {"head_dim": None}),
    "olmo3": (
        "olmo3",
        {
            "head_dim": None,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 9,
            "rope_parameters": {
                "full_attention": _YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
    ),
    "smollm3": ("smollm3", {"head_dim": None, "no_rope_layers": [1, 0], "pad_token_id": 0}),
    "smollm3-window": (
        "smollm3",
        {
            "head_dim": None,
            "no_rope_layers": [0, 1, 1],
            "use_sliding_window": True,
            "sliding_window": 13,
            "layer_types": ["sliding_attention", "full_attention"],
            "pad_token_id": 0,
        },
    ),
    "granite": (
        "granite",
        {
            "head_dim": None,
            "embedding_multiplier": 2.5,
            "attention_multiplier": 0.9,
            "residual_multiplier": 0.4,
            "logits_scaling": 0.3,
        },
    ),
    "glm": ("glm", {"pad_token_id": 0, "eos_token_id": 0}),
    "glm4": (
        "glm4",
        {"pad_token_id": 0, "eos_token_id": 0, "rope_parameters": {"rope_theta": 70.0, "partial_rotary_factor": 0.4}},
    ),
    "starcoder2": ("starcoder2", {"head_dim": None, "sliding_window": 21, "bos_token_id": 0, "eos_token_id": 0}),
    "mixtral": ("mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 19}),
    "qwen3-moe": ("qwen3_moe", _QWEN3_MOE),
    "qwen3-moe-one-plain-layer": ("qwen3_moe", {**_QWEN3_MOE, "norm_topk_prob": True, "mlp_only_layers": [1]}),
    "opt": ("opt", {**_FUSED, "ffn_dim": 76}),
    "falcon": ("falcon", {**_FUSED, "ffn_hidden_size": 76}),
    "falcon-groups": ("falcon", {**_FUSED, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-groups-one-norm": (
        "falcon",
        {**_FUSED, "new_decoder_architecture": True, "num_kv_heads": 3, "num_ln_in_parallel_attn": 1},
    ),
    "falcon-serial-biases": (
        "falcon",
        {**_FUSED, "multi_query": False, "parallel_attn": False, "bias": True, "num_kv_heads": 6},
    ),
    "gpt-neox": ("gpt_neox", _NEOX),
    "gpt-neox-serial": ("gpt_neox", {**_NEOX, "use_parallel_residual": False, "hidden_act": "gelu_new"}),
    "gpt2": ("gpt2", {"n_embd": 48, "n_head": 4, "n_layer": 2, "n_positions": 300}),
}


def tiny_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """Make a model of FAMILIES, its config changed, with weights large enough that its answers differ."""
    kind, settings = FAMILIES[name]
    sizes = {"vocab_size": VOCAB} if kind == "gpt2" else _SIZES
    settings = {key: value for key, value in {**sizes, **settings, **changes}.items() if value is not None}
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or ".ln_" in name:
                weight += 0.3 * torch.randn_like(weight)
            else:
                weight.normal_(0, 0.15)
    return model


def random_batch(seed: int, *, num_prompts: int = 7, longest: int = 150, vocab: int = VOCAB) -> TokenBatch:
    """Make prompts that share beginnings, with two or three choices of one to three tokens."""
    rng = np.random.default_rng(seed)
    trunk = rng.integers(0, vocab, longest)
    sequences, context, prompt_index, choice_index = [], [], [], []
    for p in range(num_prompts):
        start = trunk[: rng.integers(0, longest - 4)]
        prompt = np.concatenate([start, rng.integers(0, vocab, rng.integers(1, longest - len(start)))])
        for c in range(rng.integers(2, 4)):
            sequences.append(np.concatenate([prompt, rng.integers(0, vocab, rng.integers(1, 4))]))
            context.append(len(prompt))
            prompt_index.append(p)
            choice_index.append(c)
    return batch_of(sequences, context, prompt_index, choice_index)


def batch_of(
    sequences: list[Any], context: list[int], prompt_index: Any = None, choice_index: Any = None
) -> TokenBatch:
    """Make a batch of sequences."""
    count = len(sequences)
    return TokenBatch(
        tokens=np.concatenate(sequences).astype(np.int32),
        offsets=np.cumsum([0, *(len(s) for s in sequences)]).astype(np.int64),
        num_context=np.array(context, np.int32),
        prompt_index=np.array(prompt_index if prompt_index is not None else range(count)),
        choice_index=np.array(choice_index if choice_index is not None else [0] * count),
        num_moved_borders=0,
    )


def take(batch: TokenBatch, order: list[int]) -> TokenBatch:
    """Make a batch of some of its sequences, in this order."""
    return batch_of([batch.sequence(s) for s in order], [int(batch.num_context[s]) for s in order])


def reference_log_probs(model: Any, batch: TokenBatch) -> NDArray[np.float64]:
    """Score every sequence alone with transformers: the slow twin."""
    values = []
    for s in range(batch.num_sequences):
        ids = torch.tensor(batch.sequence(s), dtype=torch.long)
        with torch.inference_mode():
            log_probs = model(input_ids=ids[None, :-1]).logits[0].double().log_softmax(-1)
        context = int(batch.num_context[s])
        values.append(float(log_probs[torch.arange(context - 1, len(ids) - 1), ids[context:]].sum()))
    return np.array(values)


def tiny_tokenizer(*, chat_template: str | None = None, merges: list[tuple[str, str]] | None = None) -> Any:
    """Make a byte-level tokenizer of single characters, which joins the pairs of ``merges``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda char: (char not in "ĠĊ", char))[: VOCAB - 12]
    merges = merges or []
    words = ["<|end|>", "<|user|>", "<|bot|>", *alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "<|end|>", "additional_special_tokens": ["<|user|>", "<|bot|>"]}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    fast.chat_template = chat_template
    return fast
