"""Folders of small trained tokenizers of many kinds, each saved as checkpoints have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

WORDS = Path(__file__).parents[4] / "docs" / "method.md"
OWN = ["<|turn|>", "<|end|>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def _trained(model: Any, trainer: Any, *, before: Any = None, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if before is not None:
        tokenizer.pre_tokenizer = before
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train([str(WORDS)], trainer)
    return tokenizer


def _byte_level(special: list[str], *, prefix: bool = False, normalizer: Any = None) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    before = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer = _trained(models.BPE(), trainer, before=before, normalizer=normalizer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pieces(special: list[str]) -> Tokenizer:
    """Train pieces of words with byte fallback, as SentencePiece has them for Llama and Gemma."""
    special = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    before = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    trained = json.loads(_trained(models.BPE(unk_token="<unk>", byte_fallback=True), trainer, before=before).to_str())
    trained["added_tokens"] = [token for token in trained["added_tokens"] if not token["content"].startswith("<0x")]
    trained["model"]["fuse_unk"] = True
    return Tokenizer.from_str(json.dumps(trained))


def _around(tokenizer: Tokenizer, start: str | None = None, end: str | None = None) -> Tokenizer:
    names = [name for name in (start, end) if name is not None]
    single = " ".join([*([start] if start else []), "$A", *([end] if end else [])])
    special = [(name, tokenizer.token_to_id(name)) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B:1", special_tokens=special
    )
    return tokenizer


def _added(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_tokens(
        [
            AddedToken("<left>", lstrip=True, normalized=False),
            AddedToken("<right>", rstrip=True, normalized=False, special=True),
            AddedToken("word", single_word=True),
        ]
    )
    return tokenizer


def _llama3() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _around(_byte_level(["<|begin|>", *OWN]), start="<|begin|>")
    return tokenizer, {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>"}


def _byte_level_as_it_is() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _added(_byte_level(OWN))
    return tokenizer, {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<new pad>",
        "additional_special_tokens": ["<|turn|>", "<newer>"],
        "chat_template": TEMPLATE,
    }


def _prefixed() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _byte_level(
        OWN, prefix=True, normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    )
    return tokenizer, {
        "tokenizer_class": "TokenizersBackend",
        "image_token": "<|turn|>",
        "extra_special_tokens": {"a": "<a>"},
    }


def _gpt2() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _byte_level(["<|endoftext|>", *OWN], normalizer=normalizers.NFKC())  # which the class drops
    return tokenizer, {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True, "add_bos_token": True}


def _qwen2() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _byte_level(["<|endoftext|>", *OWN])
    return tokenizer, {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|end|>",
        "bos_token": None,
        "additional_special_tokens": OWN,
        "chat_template": [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "x"}],
    }


def _gpt_neox() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _around(_byte_level(["<|endoftext|>", "<|padding|>"]), end="<|endoftext|>")  # which the class drops
    return tokenizer, {"tokenizer_class": "GPTNeoXTokenizer"}


def _llama(**settings: Any) -> Callable[[], tuple[Tokenizer, dict[str, Any]]]:
    def make() -> tuple[Tokenizer, dict[str, Any]]:
        tokenizer = _around(_pieces(["<unk>", "<s>", "</s>"]), start="<s>")
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = None
        return tokenizer, {"tokenizer_class": "LlamaTokenizer", "chat_template": TEMPLATE, **settings}

    return make


def _mistral() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer, settings = _llama(legacy=False)()
    return tokenizer, settings | {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def _gemma() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = _pieces(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"])
    bos = {"__type": "AddedToken", "content": "<bos>", "normalized": False, "special": True}
    return _around(tokenizer, start="<bos>"), {"tokenizer_class": "GemmaTokenizer", "bos_token": bos}


def _t5() -> tuple[Tokenizer, dict[str, Any]]:
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=700, special_tokens=special, unk_token="<unk>", show_progress=False)
    before = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer = _trained(models.Unigram(), trainer, before=before, normalizer=normalizers.NFKC())
    tokenizer.add_special_tokens([f"<extra_id_{i}>" for i in range(100)])
    return tokenizer, {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>"}


def _unigram() -> tuple[Tokenizer, dict[str, Any]]:
    special = ["<s>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=700, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer = _trained(models.Unigram(), trainer, before=pre_tokenizers.Metaspace(), normalizer=normalizers.NFKC())
    tokenizer.decoder = decoders.Metaspace()
    return _added(tokenizer), {"eos_token": "</s>", "unk_token": "<unk>"}


def _word_piece() -> tuple[Tokenizer, dict[str, Any]]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    tokenizer = _trained(
        models.WordPiece(unk_token="[UNK]"),
        trainer,
        before=pre_tokenizers.BertPreTokenizer(),
        normalizer=normalizers.BertNormalizer(lowercase=True),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.enable_truncation(max_length=30)
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "[CLS]", "unk_token": "[UNK]"}


def _words() -> tuple[Tokenizer, dict[str, Any]]:
    trainer = trainers.WordLevelTrainer(vocab_size=700, special_tokens=["[UNK]"], show_progress=False)
    before = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]+"), behavior="removed", invert=True)
    return _trained(models.WordLevel(unk_token="[UNK]"), trainer, before=before), {}


# Name -> the family of the model it belongs to, and what makes it with its settings.
TOKENIZERS: dict[str, tuple[str, Callable[[], tuple[Tokenizer, dict[str, Any]]]]] = {
    "byte-level": ("llama", _byte_level_as_it_is),
    "byte-level, prefixed, lower case": ("olmo2", _prefixed),
    "Llama 3, which calls itself Llama": ("llama", _llama3),
    "GPT-2": ("gpt2", _gpt2),
    "StarCoder2": ("starcoder2", _gpt2),
    "Qwen2": ("qwen2", _qwen2),
    "Qwen3": ("qwen3", _qwen2),
    "GPT-NeoX": ("gpt_neox", _gpt_neox),
    "Llama, legacy": ("llama", _llama(legacy=True)),
    "Llama, not legacy": ("llama", _llama(legacy=False)),
    "Llama without a prefix": ("smollm3", _llama(add_prefix_space=False)),
    "Mistral": ("mistral", _mistral),
    "Gemma": ("gemma3_text", _gemma),
    "T5": ("t5", _t5),
    "Unigram": ("granite", _unigram),
    "WordPiece": ("falcon", _word_piece),
    "whole words": ("glm4", _words),
}


def save_tokenizer(name: str, folder: Path, *, form: str) -> Path:
    """Save a tokenizer of TOKENIZERS.

    Parameters
    ----------
    form
        How added tokens are described: ``"new"``, by tokenizer.json alone; ``"old"``, by tokenizer_config.json too;
        ``"oldest"``, by special_tokens_map.json, where they have names.
    """
    family, make = TOKENIZERS[name]
    tokenizer, settings = make()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    tokenizer.save(str(folder / "tokenizer.json"))
    if form == "old":
        described = json.loads(tokenizer.to_str())["added_tokens"]
        settings["added_tokens_decoder"] = {str(token.pop("id")): token for token in described}
    if form == "oldest":
        named = {key: settings.pop(key) for key in list(settings) if key in ("eos_token", "bos_token", "unk_token")}
        named = {key: value for key, value in named.items() if isinstance(value, str)}
        (folder / "special_tokens_map.json").write_text(
            json.dumps({key: {"content": value, "lstrip": False, "normalized": True} for key, value in named.items()})
        )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if form == "new" and isinstance(settings.get("chat_template"), str):
        (folder / "chat_template.jinja").write_text(settings["chat_template"] + "\n")
    return folder
