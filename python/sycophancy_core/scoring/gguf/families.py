"""The families of GGUF files that are read here: what their fields and tensors are in transformers' words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sycophancy_core.scoring.checkpoints.model_config import complete_config
from sycophancy_core.scoring.gguf.header import GgufHeader
from sycophancy_core.scoring.gguf.splits import SPLITS

# GGUF's name of a tensor of a layer -> that of transformers, and its sizes: of the whole (h), of all queries (q), of
# all keys (k), of one head (d), inside the MLP (i); of fused queries, keys and values (f), of a fused gate (g).
_ATTENTION = {
    "attn_norm": ("input_layernorm", "h"),
    "attn_q": ("self_attn.q_proj", "qh"),
    "attn_k": ("self_attn.k_proj", "kh"),
    "attn_v": ("self_attn.v_proj", "kh"),
    "attn_output": ("self_attn.o_proj", "hq"),
}
_MLP = {
    "ffn_gate": ("mlp.gate_proj", "ih"),
    "ffn_up": ("mlp.up_proj", "ih"),
    "ffn_down": ("mlp.down_proj", "hi"),
}
_LLAMA = {**_ATTENTION, **_MLP, "ffn_norm": ("post_attention_layernorm", "h")}
_HEAD_NORMS = {"attn_q_norm": ("self_attn.q_norm", "d"), "attn_k_norm": ("self_attn.k_norm", "d")}
_GEMMA2 = {
    **_ATTENTION,
    **_MLP,
    "post_attention_norm": ("post_attention_layernorm", "h"),
    "ffn_norm": ("pre_feedforward_layernorm", "h"),
    "post_ffw_norm": ("post_feedforward_layernorm", "h"),
}
_PHI3 = {
    "attn_norm": ("input_layernorm", "h"),
    "attn_qkv": ("self_attn.qkv_proj", "fh"),
    "attn_output": ("self_attn.o_proj", "hq"),
    "ffn_norm": ("post_attention_layernorm", "h"),
    "ffn_up": ("mlp.gate_up_proj", "gh"),
    "ffn_down": ("mlp.down_proj", "hi"),
}
_FIELDS = {
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
_GEMMA_FIELDS = {**_FIELDS, "attention.key_length": "head_dim", "attention.sliding_window": "sliding_window"}
_TOKENS = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.unknown_token_id": "unk_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What a family's files hold.

    Attributes
    ----------
    model_type, architecture
        transformers' names of its config and its class.
    layer
        The tensors of one layer.
    biased
        Those that have a bias, too.
    fields
        Fields that go into the config as they are.
    tokenizers
        The kinds of tokenizers, in GGUF's words.
    is_turned
        Whether the rotated halves of heads are interleaved in the file.
    is_raised
        Whether the file has the weights of norms with 1 added.
    """

    model_type: str
    architecture: str
    layer: Mapping[str, tuple[str, str]]
    biased: tuple[str, ...] = ()
    fields: Mapping[str, str] = dataclasses.field(default_factory=lambda: _FIELDS)
    tokenizers: tuple[str, ...] = ("gpt2",)
    is_turned: bool = False
    is_raised: bool = False


FAMILIES = {
    "llama": Family(
        model_type="llama",
        architecture="LlamaForCausalLM",
        layer=_LLAMA,
        fields={**_FIELDS, "rope.dimension_count": "head_dim"},
        tokenizers=("gpt2", "llama"),
        is_turned=True,
    ),
    "qwen2": Family(
        model_type="qwen2", architecture="Qwen2ForCausalLM", layer=_LLAMA, biased=("attn_q", "attn_k", "attn_v")
    ),
    "qwen3": Family(model_type="qwen3", architecture="Qwen3ForCausalLM", layer={**_LLAMA, **_HEAD_NORMS}),
    "phi3": Family(model_type="phi3", architecture="Phi3ForCausalLM", layer=_PHI3, tokenizers=("gpt2", "llama")),
    "gemma2": Family(
        model_type="gemma2",
        architecture="Gemma2ForCausalLM",
        layer=_GEMMA2,
        fields=_GEMMA_FIELDS,
        tokenizers=("llama",),
        is_raised=True,
    ),
    "gemma3": Family(
        model_type="gemma3_text",
        architecture="Gemma3ForCausalLM",
        layer={**_GEMMA2, **_HEAD_NORMS},
        fields=_GEMMA_FIELDS,
        tokenizers=("llama",),
        is_raised=True,
    ),
}


class Weight(NamedTuple):
    """A weight of a model, and how it is made of the file's tensor.

    Attributes
    ----------
    source
        The tensor's name in the file.
    shape
        The sizes that the config says.
    num_turned
        How many heads with interleaved halves it has; 0: its rows are in place.
    is_raised
        Whether it has 1 added.
    """

    source: str
    shape: tuple[int, ...]
    num_turned: int = 0
    is_raised: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def is_in(self, header: GgufHeader) -> bool:
        """Tell whether a file has it, in this shape."""
        return self.source in header.tensors and header.tensors[self.source].shape == self.shape


def known_family(header: GgufHeader) -> Family | None:
    """Return the family of a file that is read here; None where it or its tokenizer is left to transformers."""
    family, fields = FAMILIES.get(header.family), header.fields
    is_mistral = fields.get("general.name") == "mistral"  # which transformers takes for one
    if family is None or is_mistral or fields.get("tokenizer.ggml.model") not in family.tokenizers:
        return None
    return family if str(fields.get("tokenizer.ggml.pre", "default")) in SPLITS else None


def stated_config(header: GgufHeader, family: Family) -> dict[str, Any] | None:
    """Return the config that transformers reads from a file, complete; None where it is not sure.

    What it leaves out of the config is for :func:`honour`.
    """
    fields = header.fields
    named = {f"{header.family}.{key}": name for key, name in family.fields.items()}
    stated = {name: fields[key] for key, name in {**named, **_TOKENS}.items() if key in fields}
    if "general.name" in fields:
        stated["_model_name_or_path"] = fields["general.name"]
    if "vocab_size" not in stated and isinstance(fields.get("tokenizer.ggml.tokens"), list):
        stated["vocab_size"] = len(fields["tokenizer.ggml.tokens"])
    is_tied = "output.weight" not in header.tensors
    return complete_config({**stated, "model_type": family.model_type, "tie_word_embeddings": is_tied})


def wanted_weights(family: Family, config: Any) -> dict[str, Weight]:
    """Return the weights that a model of a complete config has, by transformers' names."""
    heads, keys = config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    sizes = {"h": config.hidden_size, "i": config.intermediate_size, "d": head, "q": heads * head, "k": keys * head}
    sizes |= {"f": sizes["q"] + 2 * sizes["k"], "g": 2 * sizes["i"]}
    turned = {"attn_q": heads, "attn_k": keys} if family.is_turned else {}
    table = (config.vocab_size, config.hidden_size)
    found = {
        "model.embed_tokens.weight": Weight("token_embd.weight", table),
        "model.norm.weight": Weight("output_norm.weight", table[1:], is_raised=family.is_raised),
    }
    if not config.tie_word_embeddings:
        found["lm_head.weight"] = Weight("output.weight", table)
    for layer in range(config.num_hidden_layers):
        for theirs, (ours, letters) in family.layer.items():
            name, source = f"model.layers.{layer}.{ours}", f"blk.{layer}.{theirs}"
            shape = tuple(sizes[letter] for letter in letters)
            is_raised = family.is_raised and theirs.endswith("norm")
            found[f"{name}.weight"] = Weight(f"{source}.weight", shape, turned.get(theirs, 0), is_raised)
            if theirs in family.biased:
                found[f"{name}.bias"] = Weight(f"{source}.bias", shape[:1])
    return found
