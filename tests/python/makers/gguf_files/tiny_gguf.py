"""A tiny model as a GGUF file, written by llama.cpp's own library with llama.cpp's names and layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

WORDS = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
PLAIN: dict[str, Any] = {
    "model": "gpt2",
    "pre": "default",
    "tokens": WORDS,
    "token_type": [3] + [1] * (len(WORDS) - 1),
    "merges": ["a b"],
    "eos_token_id": 0,
    "padding_token_id": 0,
}
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
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
_GEMMA = {
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
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
    tokenizer: Mapping[str, Any] | None = None,
    template: str | None = None,
    kind: str = "F32",
    without: Collection[str] = (),
    name: str = "tiny",
) -> Path:
    """Write a model, with more fields (without the family's name before them), tensors and a chat template.

    Its matrices are written in a number type of GGUF; a tokenizer other than the plain one is its fields by GGUF's
    names (without ``tokenizer.ggml.`` before them). Fields ``without`` are left out.
    """
    config, writer = model.config, gguf.GGUFWriter(str(path), family)
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(config.vocab_size)
    for key, value in (PLAIN if tokenizer is None else tokenizer).items():
        _add(writer, f"tokenizer.ggml.{key}", value)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in (fields or {}).items():
        _add(writer, key if key.startswith(("adapter", "general", "split")) else f"{family}.{key}", value)
    for tensor_name, tensor in {**_weights(model, family), **(tensors or {})}.items():
        packed = tensor.ndim == 2 and kind != "F32"
        if packed:
            numbers = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(tensor_name, _packed(tensor, numbers), raw_dtype=numbers)
        else:
            writer.add_tensor(tensor_name, tensor)
    for key in without:
        del writer.kv_data[0][key]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: Any) -> None:
    kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    kinds.get(type(value), writer.add_array)(key, value)


def _packed(tensor: NDArray[np.float32], kind: Any) -> NDArray[Any]:
    """Pack a matrix; what llama.cpp's library cannot pack is random blocks, of scales that are no NaN."""
    try:
        return np.asarray(gguf.quants.quantize(tensor, kind))
    except NotImplementedError:
        blocks = np.random.default_rng(0).integers(0, 60, gguf.quant_shape_to_byte_shape(tensor.shape, kind))
        return blocks.astype(np.uint8)


def _weights(model: Any, family: str) -> dict[str, NDArray[np.float32]]:
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    if not model.config.tie_word_embeddings:
        names["output"] = "lm_head"
    for layer in range(model.config.num_hidden_layers):
        of_layer = {**_LAYER, **(_GEMMA if family.startswith("gemma") else {})}
        if family == "phi3":
            of_layer["ffn_up"] = "mlp.gate_up_proj"
        names |= {f"blk.{layer}.{theirs}": f"model.layers.{layer}.{ours}" for theirs, ours in of_layer.items()}
    found = {}
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            if f"{ours}.{part}" in weights:
                found[f"{theirs}.{part}"] = _changed(theirs, weights[f"{ours}.{part}"], family)
    return found


def _changed(name: str, weight: NDArray[np.float32], family: str) -> NDArray[np.float32]:
    """Llama.cpp interleaves the rotated halves of a Llama's heads, and adds 1 to a Gemma's norms."""
    if family.startswith("gemma") and name.endswith("norm"):
        return weight + 1
    if family != "llama" or not name.endswith(("attn_q", "attn_k")):
        return weight
    heads = weight.shape[0] // 16
    parts = weight.reshape(heads, 2, 8, *weight.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(weight.shape))
