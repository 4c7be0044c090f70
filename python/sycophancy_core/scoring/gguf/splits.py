"""How texts are split before they are cut into tokens: the patterns that transformers takes for a GGUF file's names."""

from __future__ import annotations

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LIKE_LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "tekken")
"""Splits after which a whole word that is a token stays one, and texts begin with BOS where the file does not say."""

LIKE_QWEN2 = ("qwen2", "deepseek-r1-qwen", "megrez")

# By llama.cpp's table, with digits one by one or as GPT-2; a vocabulary of single digits has no word of several.
LIKE_GPT2 = (
    *(
        "default",
        "gpt-2",
        "phi-2",
        "mpt",
        "olmo",
        "jais",
        "trillion",
        "granite-docling",
        "gigachat",
        "mellum",
        "a.x-4.0",
    ),
    *("exaone4", "modern-bert", "roberta-bpe", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"),
    *("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
)

SPLITS: dict[str, str | None] = {
    **dict.fromkeys(("default", "gpt-2", "smollm")),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3", "pixtral"), _LLAMA3),
    **dict.fromkeys(LIKE_QWEN2, _QWEN2),
    "tekken": _TEKKEN,
}
"""How texts are split before they are cut into tokens, by the file's word for it; None: as GPT-2 does it."""
