"""The tokenizer of a GGUF file, written as transformers 5 writes it: its pipelines, and tokens added in its order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.scoring.checkpoints.model_config import family_facts
from sycophancy_core.scoring.gguf.families import Family
from sycophancy_core.scoring.gguf.header import GgufHeader
from sycophancy_core.scoring.tokenizing.pipelines import follow_class
from sycophancy_core.scoring.tokenizing.special_tokens import add_to, read_special_tokens
from sycophancy_core.scoring.tokenizing.tokenizer_class import AS_IT_IS

_CONTROL, _BY_USER = 3, 4  # types of tokens that are never cut
_NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
_NO_LIMIT = int(1e30)  # as transformers writes that a tokenizer says none


def write_tokenizer(folder: Path, header: GgufHeader, family: Family) -> None:
    """Write tokenizer.json, tokenizer_config.json and, if the file has one, the chat template.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the file lacks a part of its tokenizer, or the parts do not fit.
    """
    about = {key.removeprefix("tokenizer.ggml."): value for key, value in header.fields.items()}
    backend = _backend(about, header.family)
    facts = family_facts(family.model_type) or {}
    kind = facts.get("tokenizer") or AS_IT_IS
    named = {name: about["tokens"][about[key]] if key in about else None for name, key in _NAMED.items()}
    tokens = read_special_tokens(kind, named, None, {})
    add_to(backend, tokens)
    texts = {name: str(token) for name, token in tokens.named.items()}
    adds_start = about.get("add_bos_token", about["model"] == "llama")
    _put_around(backend, texts.get("bos_token"), adds_start, texts.get("eos_token"), about.get("add_eos_token"))
    backend.save(str(folder / "tokenizer.json"))
    settings = {**named, **texts, "backend": "tokenizers", "model_max_length": _NO_LIMIT, "tokenizer_class": kind}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    if template := header.fields.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _backend(about: Mapping[str, Any], family: str) -> Any:
    """Make the ``tokenizers.Tokenizer`` of a file, with the tokens that the file says are whole."""
    from tokenizers import AddedToken, normalizers

    is_byte_level = about["model"] == "gpt2"
    alphabet = _alphabet()
    if is_byte_level:
        kind, words, ranks = "GPT2Tokenizer", [_spelled(token, alphabet) for token in about["tokens"]], None
    elif family.startswith("gemma"):  # its merges go by the order of the vocabulary, and it has spaces as such
        kind, words = "GemmaTokenizer", [_with_blanks(token) for token in about["tokens"]]
        ranks = {word: -i for i, word in enumerate(words)}
    else:
        kind, words, ranks = "LlamaTokenizer", about["tokens"], None
    backend = _bpe(kind, words, _merges(about, words, ranks))
    if kind == "LlamaTokenizer" and family == "phi3":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
    known = set(alphabet.values())
    whole = zip(about["tokens"], about.get("token_type") or (), strict=False)
    control = [token for token, of in whole if of == _CONTROL and (not is_byte_level or set(token) <= known)]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    vocabulary = backend.get_vocab(with_added_tokens=True)
    whole = zip(about["tokens"], about.get("token_type") or (), strict=False)
    by_user = [token for token, of in whole if of == _BY_USER and token in vocabulary]
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in by_user])
    _set_split(backend, about.get("pre"))
    return backend


def _bpe(kind: str, words: Sequence[str], merges: list[tuple[str, ...]]) -> Any:
    """Return the backend of one of transformers' classes, with the special tokens that it has by default."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    tokens = read_special_tokens(kind, {}, None, {})
    follow_class(kind, backend, tokens.named, Path())
    add_to(backend, tokens)
    return backend


def _merges(about: Mapping[str, Any], words: Sequence[str], ranks: Mapping[str, float] | None) -> list[tuple[str, ...]]:
    """Return the merges of a file, or those that its vocabulary implies: every cut of a word into two others."""
    if "merges" in about:
        return [tuple(merge.split(" ")) for merge in about["merges"]]
    ranks = dict(zip(words, about["scores"], strict=False)) if ranks is None else ranks
    places = {word: i for i, word in enumerate(words)}
    found = []
    for word, rank in ranks.items():
        cuts = ((word[:i], word[i:]) for i in range(1, len(word)))
        pairs = [(left, right) for left, right in cuts if left in places and right in places]
        pairs.sort(key=lambda pair: (places[pair[0]], places[pair[1]]))
        found += [(rank, len(left), len(right), left, right) for left, right in pairs]
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [merge[3:] for merge in found]


def _alphabet() -> dict[int, str]:
    """Return how byte-level vocabularies spell bytes: printable ones as they are, others from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _spelled(token: str, alphabet: Mapping[int, str]) -> str:
    is_spelled = set(token) <= set(alphabet.values())
    return token if is_spelled else "".join(alphabet[byte] for byte in token.encode("utf-8"))


def _with_blanks(token: str) -> str:
    return "▁" * len(token) if " " in token and not token.strip() else token


def _set_split(backend: Any, name: Any) -> None:
    """Let texts be split before they are cut, where the file names another way than GPT-2's."""
    from tokenizers import Regex, pre_tokenizers

    if name in SPLITS and SPLITS[name] is not None:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLITS[name]), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )


def _put_around(backend: Any, start: str | None, adds_start: Any, end: str | None, adds_end: Any) -> None:
    """Let the backend put the special tokens around texts that the file says."""
    from tokenizers import processors

    first = start if adds_start else None
    last = end if adds_end else None
    parts = {of: [*([f"{first}:{of}"] if first else []), f"${'AB'[of]}:{of}", *([f"{last}:{of}"] if last else [])] for of in (0, 1)}
    backend.post_processor = processors.TemplateProcessing(
        single=parts[0],
        pair=[*parts[0], *parts[1]],
        special_tokens=[(token, backend.token_to_id(token)) for token in (first, last) if token],
    )


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
SPLITS: dict[Any, str | None] = {
    **dict.fromkeys((None, "default", "gpt-2", "smollm")),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3", "pixtral"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), _QWEN2),
    "tekken": _TEKKEN,
}
"""How texts are split before they are cut into tokens, by the file's word for it; None: as GPT-2 does it."""
