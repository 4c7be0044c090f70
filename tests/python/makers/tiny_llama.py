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


# As Qwen3 writes thoughts: one that is past, and one that is switched off; the model opens its own.
THINKING_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content is defined %}<think>\n{{ m.reasoning_content.strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def thinking_model(*, engine: str = "transformers", seed: int = 0, template: str = THINKING_TEMPLATE) -> LanguageModel:
    """Return the tiny Llama with a chat template that has a thinking block."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return load_model((tiny_llama(seed=seed), tokenizer), engine=engine, chat_template=True)


def reciting_llama(text: str, **changes: Any) -> Any:
    """Return a Llama that says of each character of a text the next one, and of the last one the last one again.

    It looks at the token before alone: its blocks add nothing, and its head knows what follows what.
    """
    import torch

    wide = {"hidden_size": 288, "tie_word_embeddings": False, "num_hidden_layers": 1, **changes}
    made = tiny_llama(**wide)
    ids = tiny_tokenizer()(text).input_ids
    with torch.no_grad():
        for block in made.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        made.model.embed_tokens.weight.copy_(torch.eye(made.config.vocab_size, 288))
        made.lm_head.weight.zero_()
        for before, after in zip(ids, [*ids[1:], ids[-1]], strict=True):
            made.lm_head.weight[after, before] = 10.0
    return made
