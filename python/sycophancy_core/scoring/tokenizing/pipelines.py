"""How transformers' tokenizer classes read a text that make their own pipeline, whatever tokenizer.json says of it.

Of the file they take the vocabulary, the merges and what is put around a text. (Version 5 of transformers.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def follow_class(kind: str, backend: Any, settings: dict[str, Any], file: Path) -> None:
    """Let a ``tokenizers.Tokenizer`` of a file read texts as a class does.

    Parameters
    ----------
    kind
        A key of ``PIPELINES``.
    settings
        The class's own options, and its named tokens.
    file
        The tokenizer.json.

    Raises
    ------
    ValueError
        If the file's model is another one than the class's.
    """
    PIPELINES[kind](backend, settings, file)


def _set_bpe(backend: Any, **options: Any) -> None:
    if type(backend.model).__name__ != "BPE":
        raise ValueError("wanted a BPE")
    plain = {"dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    joints = {"continuing_subword_prefix": None, "end_of_word_suffix": None}
    for name, value in {**plain, **joints, **options}.items():
        setattr(backend.model, name, value)


_BYTES = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def _llama(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import decoders, pre_tokenizers

    prefix = settings.get("add_prefix_space")
    prefix = True if prefix is None else bool(prefix)
    scheme = "never" if not prefix else "always" if settings.get("legacy", False) else "first"
    _set_bpe(backend, fuse_unk=True, byte_fallback=True)
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if prefix else steps)


def _gemma(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import decoders, normalizers, pre_tokenizers

    _set_bpe(backend, fuse_unk=True, byte_fallback=True, unk_token=settings["unk_token"])
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def _qwen2(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    _set_bpe(backend, **_BYTES)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")), use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()


def _gpt2(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import decoders, pre_tokenizers

    _set_bpe(backend, **_BYTES)
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.get("add_prefix_space", False))
    backend.decoder = decoders.ByteLevel()


def _gpt_neox(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import decoders, normalizers, pre_tokenizers

    _set_bpe(backend, **_BYTES)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=settings.get("add_prefix_space", False), trim_offsets=settings.get("trim_offsets", True)
    )
    backend.decoder = decoders.ByteLevel()


def _t5(backend: Any, settings: dict[str, Any], file: Path) -> None:
    from tokenizers import decoders, models, pre_tokenizers

    # Python reads a piece's score to the last digit, the reader of tokenizer.json does not.
    pieces = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    backend.model = models.Unigram([(piece, score) for piece, score in pieces], unk_id=2, byte_fallback=False)
    if backend.normalizer is not None:
        backend.normalizer = _precompiled(backend.normalizer)
    space: dict[str, Any] = {"replacement": "▁", "prepend_scheme": "always", "split": True}
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**space)]
    )
    backend.decoder = decoders.Metaspace(**space)


def _precompiled(normalizer: Any) -> Any:
    """Return the part of a normalizer that SentencePiece made; None where there is none."""
    import base64

    from tokenizers import normalizers

    saved = json.loads(normalizer.__getstate__())
    steps = saved["normalizers"] if saved["type"] == "Sequence" else [saved]
    found = [step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"]
    return normalizers.Precompiled(base64.b64decode(found[0])) if found else None


PIPELINES: dict[str, Callable[[Any, dict[str, Any], Path], None]] = {
    "GPT2Tokenizer": _gpt2,
    "GPTNeoXTokenizer": _gpt_neox,
    "GemmaTokenizer": _gemma,
    "LlamaTokenizer": _llama,
    "Qwen2Tokenizer": _qwen2,
    "T5Tokenizer": _t5,
}
