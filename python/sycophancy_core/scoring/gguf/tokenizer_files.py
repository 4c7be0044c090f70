"""The tokenizer of a GGUF file, written as transformers 5 writes it: its pipelines, and tokens added in its order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.model_config import family_facts
from sycophancy_core.scoring.gguf.families import Family
from sycophancy_core.scoring.gguf.header import GgufHeader
from sycophancy_core.scoring.gguf.splits import LIKE_LLAMA3, LIKE_QWEN2, SPLITS
from sycophancy_core.scoring.tokenizing.pipelines import follow_class
from sycophancy_core.scoring.tokenizing.special_tokens import add_to, read_special_tokens
from sycophancy_core.scoring.tokenizing.tokenizer_class import AS_IT_IS

_CONTROL, _BY_USER = 3, 4  # types of tokens that are never cut
_LEAVE_SPACE = ("<unk>", "<s>", "<|endoftext|>")  # of Phi-3
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
    ModelError
        If the file names a split of texts that its family's tokenizer does not make.
    KeyError, TypeError, ValueError
        If the file lacks a part of its tokenizer, or the parts do not fit.
    """
    about = {key.removeprefix("tokenizer.ggml."): value for key, value in header.fields.items()}
    backend = _backend(about, header)
    kind = (family_facts(family.model_type) or {}).get("tokenizer") or AS_IT_IS
    pre = about.get("pre", "default")
    if kind == "Qwen2Tokenizer" and pre not in ("default", *LIKE_QWEN2):
        raise ModelError(
            f"load_model: a GGUF file of family {header.family} has the split {pre!r}, but Qwen's tokenizer splits "
            "texts in its own way; use the model's safetensors files"
        )
    named = {name: about["tokens"][about[key]] if key in about else None for name, key in _NAMED.items()}
    tokens = read_special_tokens(kind, named, None, {})
    add_to(backend, tokens)
    texts = {name: str(token) for name, token in tokens.named.items()}
    has_start = about.get("add_bos_token", about["model"] == "llama" or pre in LIKE_LLAMA3)
    start = texts.get("bos_token") if has_start else None
    _put_around(backend, start, texts.get("eos_token") if about.get("add_eos_token") else None)
    backend.save(str(folder / "tokenizer.json"))
    settings = {**named, **texts, "backend": "tokenizers", "model_max_length": _NO_LIMIT, "tokenizer_class": kind}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    if template := header.fields.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _backend(about: Mapping[str, Any], header: GgufHeader) -> Any:
    """Make the ``tokenizers.Tokenizer`` of a file."""
    if about["model"] == "gpt2":
        backend = _byte_level(about)
        backend.model.ignore_merges = about.get("pre") in LIKE_LLAMA3
    elif header.family.startswith("gemma"):
        backend = _gemma(about)
    else:
        begins = bool(about.get("add_space_prefix", True))
        merges = _merges(about, about["tokens"], about.get("scores"))
        backend = _bpe("LlamaTokenizer", about["tokens"], merges, add_prefix_space=begins)
        if header.family == "phi3" and begins:
            _prepend_space(backend)
    _add_whole(backend, about, takes_space="phi-3" in (name := _name(header)) or "phi3" in name)
    _set_split(backend, SPLITS[about.get("pre", "default")])
    return backend


def _byte_level(about: Mapping[str, Any]) -> Any:
    alphabet = _alphabet()
    letters, whole = set(alphabet.values()), {token for token, kind in _kinds(about) if kind in (_CONTROL, _BY_USER)}
    words = [
        token if token in whole or set(token) <= letters else "".join(alphabet[byte] for byte in token.encode("utf-8"))
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


def _add_whole(backend: Any, about: Mapping[str, Any], *, takes_space: bool) -> None:
    """Add the tokens that are never cut: those of control, and those of the user.

    Parameters
    ----------
    takes_space
        Whether they take the white space after them. Those of Phi-3 do; llama.cpp goes by the model's name.
    """
    from tokenizers import AddedToken

    def added(token: str, *, special: bool) -> Any:
        return AddedToken(token, normalized=False, special=special, rstrip=takes_space and token not in _LEAVE_SPACE)

    kinds = _kinds(about)
    backend.add_special_tokens([added(token, special=True) for token, kind in kinds if kind == _CONTROL])
    vocabulary = backend.get_vocab(with_added_tokens=True)
    by_user = [token for token, kind in kinds if kind == _BY_USER and token in vocabulary]
    backend.add_tokens([added(token, special=False) for token in by_user])


def whole_tokens(header: GgufHeader) -> dict[str, int]:
    """Return the tokens of a file that are never cut, by their texts."""
    about = {key.removeprefix("tokenizer.ggml."): value for key, value in header.fields.items()}
    kinds = _kinds(about) if "tokens" in about else []
    return {token: place for place, (token, kind) in enumerate(kinds) if kind in (_CONTROL, _BY_USER)}


def _kinds(about: Mapping[str, Any]) -> list[tuple[str, int]]:
    return list(zip(about["tokens"], about.get("token_type") or (), strict=False))


def _name(header: GgufHeader) -> str:
    return str(header.fields.get("general.name", "")).lower()


def _bpe(kind: str, words: Sequence[str], merges: list[tuple[str, str]], **settings: bool) -> Any:
    """Return the backend of one of transformers' classes, with the special tokens that it has by default."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    tokens = read_special_tokens(kind, {}, None, {})
    follow_class(kind, backend, {**tokens.named, **settings}, Path())
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
