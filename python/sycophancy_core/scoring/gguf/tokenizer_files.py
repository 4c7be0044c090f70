"""The tokenizer of a GGUF file, written as transformers 5 writes it: its pipelines, and tokens added in its order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.scoring.checkpoints.model_config import family_facts
from sycophancy_core.scoring.gguf.families import Family
from sycophancy_core.scoring.gguf.header import GgufHeader
from sycophancy_core.scoring.gguf.splits import SPLITS
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
    start = texts.get("bos_token") if about.get("add_bos_token", about["model"] == "llama") else None
    _put_around(backend, start, texts.get("eos_token") if about.get("add_eos_token") else None)
    backend.save(str(folder / "tokenizer.json"))
    settings = {**named, **texts, "backend": "tokenizers", "model_max_length": _NO_LIMIT, "tokenizer_class": kind}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    if template := header.fields.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _backend(about: Mapping[str, Any], family: str) -> Any:
    """Make the ``tokenizers.Tokenizer`` of a file."""
    letters = None
    if about["model"] == "gpt2":
        backend, letters = _byte_level(about), set(_alphabet().values())
    elif family.startswith("gemma"):
        backend = _gemma(about)
    else:
        backend = _bpe("LlamaTokenizer", about["tokens"], _merges(about, about["tokens"], about.get("scores")))
        if family == "phi3":
            _prepend_space(backend)
    _add_whole(backend, about, letters)
    _set_split(backend, SPLITS[about.get("pre", "default")])
    return backend


def _byte_level(about: Mapping[str, Any]) -> Any:
    alphabet = _alphabet()
    letters = set(alphabet.values())
    words = [
        token if set(token) <= letters else "".join(alphabet[byte] for byte in token.encode("utf-8"))
        for token in about["tokens"]
    ]
    return _bpe("GPT2Tokenizer", words, _merges(about, words, None))


def _gemma(about: Mapping[str, Any]) -> Any:
    """Spell the file's spaces as the class does; the order of the vocabulary ranks merges, not the scores."""
    words = ["▁" * len(token) if " " in token and not token.strip() else token for token in about["tokens"]]
    return _bpe("GemmaTokenizer", words, _merges(about, words, [-i for i in range(len(words))]))


def _prepend_space(backend: Any) -> None:
    from tokenizers import normalizers

    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None


def _add_whole(backend: Any, about: Mapping[str, Any], letters: set[str] | None) -> None:
    """Add the tokens that are never cut: those of control spelled in ``letters``, and those of the user."""
    from tokenizers import AddedToken

    kinds = list(zip(about["tokens"], about.get("token_type") or (), strict=False))
    control = [token for token, kind in kinds if kind == _CONTROL and (letters is None or set(token) <= letters)]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    vocabulary = backend.get_vocab(with_added_tokens=True)
    by_user = [token for token, kind in kinds if kind == _BY_USER and token in vocabulary]
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in by_user])


def _bpe(kind: str, words: Sequence[str], merges: list[tuple[str, str]]) -> Any:
    """Return the backend of one of transformers' classes, with the special tokens that it has by default."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    tokens = read_special_tokens(kind, {}, None, {})
    follow_class(kind, backend, tokens.named, Path())
    add_to(backend, tokens)
    return backend


def _merges(about: Mapping[str, Any], words: Sequence[str], scores: Sequence[float] | None) -> list[tuple[str, str]]:
    """Return the merges of a file, or those that its vocabulary implies: every cut of a word into two, best first."""
    if "merges" in about:
        return [(left, right) for left, right in (merge.split(" ") for merge in about["merges"])]
    if scores is None:
        raise KeyError("merges")
    known, found = set(words), []
    for word, score in dict(zip(words, scores, strict=False)).items():
        cuts = ((word[:i], word[i:]) for i in range(1, len(word)))
        found += [(score, left, right) for left, right in cuts if left in known and right in known]
    found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [(left, right) for _, left, right in found]


def _alphabet() -> dict[int, str]:
    """Return how byte-level vocabularies spell bytes: printable ones as they are, others from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _set_split(backend: Any, pattern: str | None) -> None:
    """Let texts be split by a pattern before they are cut; None leaves it as it is."""
    from tokenizers import Regex, pre_tokenizers

    if pattern is not None:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])


def _put_around(backend: Any, start: str | None, end: str | None) -> None:
    """Let the backend put special tokens around each text."""
    from tokenizers import processors

    single, pair = (
        [*([f"{start}:{i}"] if start else []), f"${text}:{i}", *([f"{end}:{i}"] if end else [])]
        for i, text in enumerate("AB")
    )
    special = [(token, backend.token_to_id(token)) for token in (start, end) if token]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=[*single, *pair], special_tokens=special)
