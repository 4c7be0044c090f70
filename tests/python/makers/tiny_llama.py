"""A random Llama of a few thousand weights with a byte-level tokenizer, made in memory, for quick tests."""

from __future__ import annotations

from typing import Any

from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model


def tiny_tokenizer() -> Any:
    """Return a tokenizer whose tokens are bytes, with words for the choices."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def tiny_llama(*, seed: int = 0, **changes: Any) -> Any:
    """Return a random Llama: two blocks, width 32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {
        "vocab_size": 257,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 0,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()


def tiny_model(*, seed: int = 0) -> LanguageModel:
    """Return the tiny Llama as a language model, scored by transformers."""
    return load_model((tiny_llama(seed=seed), tiny_tokenizer()), engine="transformers")
