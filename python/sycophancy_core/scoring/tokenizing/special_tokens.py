"""The special tokens of a checkpoint's tokenizer: which have a name, and which are added to its vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_END = "<|endoftext|>"
# What a class calls its tokens, where the files do not name them.
_DEFAULTS: dict[str, dict[str, str]] = {
    "GPT2Tokenizer": {"unk_token": _END, "bos_token": _END, "eos_token": _END},
    "GPTNeoXTokenizer": {"unk_token": _END, "bos_token": _END, "eos_token": _END, "pad_token": "<|padding|>"},
    "GemmaTokenizer": {
        "unk_token": "<unk>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    },
    "LlamaTokenizer": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "Qwen2Tokenizer": {"unk_token": _END, "eos_token": _END, "pad_token": _END},
    "T5Tokenizer": {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
}


@dataclass(kw_only=True)
class SpecialTokens:
    """Special tokens as the files say them.

    Attributes
    ----------
    named
        By their names, first those that every tokenizer may have; a text, or ``tokenizers.AddedToken``.
    extra
        Special tokens without a name.
    added
        All added tokens by their ids.
    """

    named: dict[str, Any] = field(default_factory=dict)
    extra: list[Any] = field(default_factory=list)
    added: dict[int, Any] = field(default_factory=dict)


def read_special_tokens(
    kind: str, settings: dict[str, Any], legacy: dict[str, Any] | None, added: dict[int, Any]
) -> SpecialTokens:
    """Return the special tokens of a tokenizer.

    Parameters
    ----------
    kind
        transformers' class.
    settings
        The content of tokenizer_config.json.
    legacy
        The content of special_tokens_map.json; None without such a file.
    added
        The added tokens of tokenizer.json by their ids, which count where the settings have none.

    Raises
    ------
    ValueError, TypeError
        If transformers may read something else there.
    """
    settings = dict(settings)
    if "additional_special_tokens" in settings:
        if settings.get("extra_special_tokens"):
            raise ValueError("special tokens by two names")
        settings["extra_special_tokens"] = settings.pop("additional_special_tokens")
    own = {key: value for key, value in settings.items() if key not in NAMES and key.endswith("_token")}
    own = {key: value for key, value in own.items() if isinstance(value, str | dict)}  # others are switches
    if isinstance(settings.get("extra_special_tokens"), dict):
        own.update(settings.pop("extra_special_tokens"))
    if "added_tokens_decoder" in settings:
        added = {int(i): _token(**about) for i, about in settings["added_tokens_decoder"].items()}
    elif legacy is not None:
        _merge(settings, legacy)
    by_text = {token.content: token for token in added.values()}
    given = {**_DEFAULTS.get(kind, {}), **{key: settings[key] for key in NAMES if key in settings}}
    named = {name: _read(given[name]) for name in NAMES if given.get(name) is not None}
    named = {name: by_text.get(str_of(token), token) for name, token in named.items()}
    named |= {name: _text(value) for name, value in own.items() if value is not None}
    return SpecialTokens(named=named, extra=_extra(kind, settings), added=dict(sorted(added.items())))


def add_to(backend: Any, tokens: SpecialTokens) -> None:
    """Add special tokens to a backend in the order in which transformers does it."""
    from tokenizers import AddedToken

    adding = list(tokens.added.values())
    known = [token.content for _, token in sorted(backend.get_added_tokens_decoder().items())]
    known += [token.content for token in adding]
    for token in (*tokens.named.values(), *tokens.extra):
        if str_of(token) not in known and token not in adding:
            adding.append(token)
    named = {str_of(token) for token in tokens.named.values()}
    made = []
    for token in adding:
        if isinstance(token, str):
            made.append(AddedToken(token, special=True))
        else:
            token.special = token.special or token.content in named
            made.append(token)
    if made:
        backend.add_tokens(made)


def str_of(token: Any) -> str:
    """Return a token's text."""
    return token if isinstance(token, str) else str(token.content)


def _merge(settings: dict[str, Any], legacy: dict[str, Any]) -> None:
    """Put what special_tokens_map.json says over the settings."""
    for key, value in legacy.items():
        if key == "additional_special_tokens" and "extra_special_tokens" not in settings:
            settings["extra_special_tokens"] = [_text(token) for token in value]
        elif key in NAMES and isinstance(value, dict):
            settings[key] = _token(**{**value, "special": True})
        elif key in NAMES:
            settings[key] = _text(value)
        else:
            raise ValueError(f"special_tokens_map.json names {key}")


def _extra(kind: str, settings: dict[str, Any]) -> list[Any]:
    extra = settings.get("extra_special_tokens")
    if not isinstance(extra, list | None):
        raise TypeError("extra_special_tokens is not a list")
    if kind == "T5Tokenizer":
        own = [f"<extra_id_{i}>" for i in range(settings.get("extra_ids", 100))]
        extra = own if extra is None else extra
        if not set(own) <= set(extra):
            raise ValueError("not all extra ids are special")
    return [_read(token) for token in extra or ()]


def _read(value: Any) -> Any:
    """Return a token of tokenizer_config.json: a text, or what it says of one."""
    if isinstance(value, dict):
        if value.get("__type") != "AddedToken":
            raise ValueError("a special token is not a text")
        return _token(**{key: one for key, one in value.items() if key != "__type"})
    return value if hasattr(value, "content") else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a special token is not a text")
    return value


def _token(**about: Any) -> Any:
    from tokenizers import AddedToken

    return AddedToken(**about)
