"""Tokenizers of tiny GGUF files, as the fields of their headers by GGUF's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from makers.gguf_files.tiny_gguf import PLAIN, WORDS

_NORMAL, _UNKNOWN, _CONTROL, _BY_USER, _BYTE = 1, 2, 3, 4, 6
_PIECES = [*"▁abcdefghijklmnopqrstuvwxyz12é日", "th", "the", "▁the", "ab", "▁a", "▁ab", "on", "▁on", "▁▁", "▁▁▁", "12"]


def _sentencepiece(special: Sequence[str], by_user: Sequence[str], **fields: Any) -> dict[str, Any]:
    """Return a vocabulary of special tokens, tokens of the user, bytes, and pieces of which the first are likeliest."""
    parts = {_CONTROL: special, _BY_USER: by_user, _BYTE: [f"<0x{i:02X}>" for i in range(256)], _NORMAL: _PIECES}
    tokens = [token for some in parts.values() for token in some]
    kinds = [_UNKNOWN if token == "<unk>" else kind for kind, some in parts.items() for token in some]
    scores = [0.0] * (len(tokens) - len(_PIECES)) + [-float(i) for i in range(len(_PIECES))]
    about = {"model": "llama", "pre": "default", "tokens": tokens, "token_type": kinds, "scores": scores}
    return about | {f"{name}_token_id": tokens.index(token) for name, token in fields.items()}


LLAMA = _sentencepiece(["<unk>", "<s>", "</s>", "<|user|>"], ["<think>"], bos="<s>", eos="</s>", padding="</s>")
GEMMA = _sentencepiece(
    ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>"],
    ["\n", "\n\n", "  ", "   ", "<think>"],
    bos="<bos>",
    eos="<eos>",
    unknown="<unk>",
    padding="<pad>",
)
GEMMA["scores"] = GEMMA["scores"][::-1]  # which no merge goes by
TOKENIZERS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "with a start and an end": {
        **PLAIN,
        "token_type": [_CONTROL, _CONTROL, _BY_USER, *[_NORMAL] * (len(WORDS) - 3)],
        "bos_token_id": 5,
        "add_bos_token": True,
        "add_eos_token": True,
    },
    "split as Qwen2": {**PLAIN, "pre": "qwen2"},
    "with a word that is no bytes": {
        **PLAIN,
        "tokens": [*WORDS, "日本"],
        "token_type": [_CONTROL, *[_NORMAL] * len(WORDS)],
    },
    "without special tokens": {key: PLAIN[key] for key in ("model", "pre", "tokens", "merges")},
    "pieces": LLAMA,
    "pieces with an end in place of a start": {**LLAMA, "add_bos_token": False, "add_eos_token": True},
    "Gemma's pieces": {**GEMMA, "add_bos_token": True},
}
# What transformers reads otherwise than llama.cpp and the models' own tokenizers do.
ODD = [*WORDS, "<\uff5cUser\uff5c>", "<\uff5cend\u2581of\u2581text\uff5c>", "<think>", "<begin>", "xyz"]
BYTES: dict[str, Any] = {
    **PLAIN,
    "tokens": ODD,
    "token_type": [_CONTROL, *[_NORMAL] * (len(WORDS) - 1), _BY_USER, _CONTROL, _BY_USER, _CONTROL, _NORMAL],
    "eos_token_id": ODD.index("<\uff5cend\u2581of\u2581text\uff5c>"),
    "bos_token_id": ODD.index("<begin>"),
}
