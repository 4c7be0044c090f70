"""A tiny model as a GGUF file, written by llama.cpp's own library with llama.cpp's names and layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

WORDS = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
_SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 16384,
    "initializer_range": 0.2,
    "tie_word_embeddings": True,
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_qkv": "self_attn.qkv_proj",
}


def gguf_model(kind: str = "llama", **changes: Any) -> Any:
    """Return a random model of a family; None leaves a setting out."""
    settings = {key: value for key, value in {**_SIZES, **changes}.items() if value is not None}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()


def gguf_tokenizer() -> Any:
    """Return the tokenizer that the file holds."""
    backend = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(WORDS)}, merges=[("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def write_gguf(
    path: Path,
    model: Any,
    *,
    family: str = "llama",
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, NDArray[np.float32]] | None = None,
    template: str | None = None,
) -> Path:
    """Write a model, with more fields (without the family's name before them), tensors and a chat template."""
    config, writer = model.config, gguf.GGUFWriter(str(path), family)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] + [1] * (len(WORDS) - 1))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in (fields or {}).items():
        _add(writer, key if key.startswith("adapter") else f"{family}.{key}", value)
    for name, tensor in {**_weights(model, family), **(tensors or {})}.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: Any) -> None:
    kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    kinds.get(type(value), writer.add_array)(key, value)


def _weights(model: Any, family: str) -> dict[str, NDArray[np.float32]]:
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    found = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    for layer in range(model.config.num_hidden_layers):
        for theirs, ours in _LAYER.items():
            for part in ("weight", "bias"):
                tensor = weights.get(f"model.layers.{layer}.{ours}.{part}")
                if tensor is not None:
                    found[f"blk.{layer}.{theirs}.{part}"] = _turned(theirs, tensor, family)
        if family == "phi3":
            found[f"blk.{layer}.ffn_up.weight"] = weights[f"model.layers.{layer}.mlp.gate_up_proj.weight"]
    return found


def _turned(name: str, weight: NDArray[np.float32], family: str) -> NDArray[np.float32]:
    """llama.cpp interleaves the rotated halves of a Llama's heads."""
    if family != "llama" or name not in ("attn_q", "attn_k"):
        return weight
    heads = weight.shape[0] // 16
    parts = weight.reshape(heads, 2, 8, *weight.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(weight.shape))
