"""A checkpoint's tokenizer without transformers: what scoring uses of one, by the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sycophancy_core.scoring.checkpoints.model_files import read_json_object
from sycophancy_core.scoring.sources import backend_text
from sycophancy_core.scoring.tokenizing.pipelines import PIPELINES, follow_class
from sycophancy_core.scoring.tokenizing.special_tokens import SpecialTokens, add_to, read_special_tokens, str_of
from sycophancy_core.scoring.tokenizing.template_renderer import render
from sycophancy_core.scoring.tokenizing.tokenizer_class import tokenizer_class

# Settings that make a class do something else than is known here.
_FOREIGN = (
    *("tokenizer_file", "vocab", "merges", "tokenizer_object", "tokenizer_padding", "tokenizer_truncation"),
    *("post_processor", "gguf_file", "fix_mistral_regex", "fast_tokenizer_files", "init_inputs", "_json_padding"),
    *("_json_truncation", "_spm_precompiled_charsmap", "model_specific_special_tokens", "unk_id"),
)
_SWITCHES = ("add_prefix_space", "legacy", "trim_offsets")


class Ids(NamedTuple):
    """Token ids, as transformers' tokenizers return them.

    Attributes
    ----------
    input_ids
        Of one text, or a list for each text.
    """

    input_ids: Any


class LightTokenizer:
    """A tokenizer of a model's folder, with the names of transformers' tokenizers.

    Parameters
    ----------
    backend
        The ``tokenizers.Tokenizer`` that cuts texts.
    tokens
        Its special tokens.
    chat_template
        The chat template, or several by name, or None.
    """

    is_fast = True

    def __init__(self, backend: Any, tokens: SpecialTokens, chat_template: str | dict[str, str] | None) -> None:
        self.backend_tokenizer = backend
        self.chat_template = chat_template
        self.special_tokens_map = {name: str_of(token) for name, token in tokens.named.items()}

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        return_attention_mask: bool = False,
    ) -> Ids:
        """Return the ids of one text or several; with ``split_special_tokens``, none of a text's becomes special."""
        self.backend_tokenizer.encode_special_tokens = split_special_tokens
        several = [texts] if isinstance(texts, str) else list(texts)
        found = self.backend_tokenizer.encode_batch_fast(several, add_special_tokens=add_special_tokens)
        ids = [one.ids for one in found]
        return Ids(ids[0] if isinstance(texts, str) else ids)

    @cached_property
    def description(self) -> str:
        """What a digest is made of; see :func:`tokenizer_text`."""
        return backend_text(self.backend_tokenizer, self.eos_token)

    @property
    def eos_token(self) -> str | None:
        """The token that ends a text."""
        return self.special_tokens_map.get("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        """Its id."""
        return self._id_of(self.eos_token)

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The added tokens by their ids."""
        found: dict[int, Any] = self.backend_tokenizer.get_added_tokens_decoder()
        return found

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """Return the token of an id; None where there is none."""
        found: str | None = self.backend_tokenizer.id_to_token(token)
        return found

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False, **_: Any) -> str:
        """Return the text of ids, its spaces as they are."""
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def get_chat_template(self) -> str:
        """Return the chat template; of several the one called default."""
        if isinstance(self.chat_template, dict):
            return self.chat_template["default"]
        return str(self.chat_template)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], *, chat_template: str | None = None, **values: Any
    ) -> str:
        """Write messages out in the chat template.

        Raises
        ------
        jinja2.TemplateError
            If the template refuses them.
        """
        values = {key: value for key, value in values.items() if key != "tokenize"}
        return render(chat_template or self.get_chat_template(), messages, {**self.special_tokens_map, **values})

    def _id_of(self, token: str | None) -> int | None:
        if token is None:
            return None
        found: int | None = self.backend_tokenizer.token_to_id(token)
        return self._id_of(self.special_tokens_map.get("unk_token")) if found is None else found


def light_tokenizer(folder: Path, config: dict[str, Any]) -> LightTokenizer | None:
    """Return the tokenizer of a model's folder; None where transformers might make another one of it.

    Parameters
    ----------
    config
        The content of config.json.
    """
    file = folder / "tokenizer.json"
    if not file.is_file() or any(
        (folder / name).exists() for name in ("added_tokens.json", "additional_chat_templates")
    ):
        return None
    try:
        settings = _settings(folder / "tokenizer_config.json")
        kind = tokenizer_class(folder, settings, config)
        return None if kind is None else _made(kind, file, settings, _chat_template(folder, settings))
    except Exception:
        return None  # transformers says what is wrong


def _settings(path: Path) -> dict[str, Any]:
    settings = read_json_object(path) if path.exists() else {}
    if any(key in settings for key in _FOREIGN) or settings.get("split_special_tokens"):
        raise ValueError("unknown settings")
    if any(not isinstance(settings.get(key), bool | None) for key in _SWITCHES):
        raise ValueError("a switch is neither on nor off")
    if any(settings.get(key, "left") not in ("left", "right") for key in ("padding_side", "truncation_side")):
        raise ValueError("an unknown side")
    # What tokenizer.json puts around a text goes before these.
    return {key: value for key, value in settings.items() if key not in ("add_bos_token", "add_eos_token")}


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | dict[str, str] | None:
    path = folder / "chat_template.jinja"
    template = path.read_text(encoding="utf-8") if path.exists() else settings.get("chat_template")
    if isinstance(template, list):
        template = {one["name"]: one["template"] for one in template}
        _ = template["default"]
    if not isinstance(template, str | dict | None):
        raise TypeError("a chat template is not a text")
    return template


def _made(kind: str, file: Path, settings: dict[str, Any], template: str | dict[str, str] | None) -> LightTokenizer:
    from tokenizers import Tokenizer

    path = file.parent / "special_tokens_map.json"
    legacy = read_json_object(path) if path.exists() else None
    backend = Tokenizer.from_file(str(file))
    if backend.padding is not None:
        raise ValueError("padding has a token of its own")
    added = backend.get_added_tokens_decoder()
    tokens = read_special_tokens(kind, settings, legacy, added)
    if kind in PIPELINES:
        if {i: repr(token) for i, token in added.items()} != {i: repr(token) for i, token in tokens.added.items()}:
            raise ValueError("the class adds other tokens than the file")
        follow_class(kind, backend, {**settings, **_texts(tokens)}, file)
    backend.no_truncation()
    add_to(backend, tokens)
    made = LightTokenizer(backend, tokens, template)
    _finish(kind, made, tokens)
    return made


def _texts(tokens: SpecialTokens) -> dict[str, str]:
    return {name: str_of(token) for name, token in tokens.named.items()}


def _finish(kind: str, made: LightTokenizer, tokens: SpecialTokens) -> None:
    """Do what a class does last: what is put around a text, and which tokens are special."""
    from tokenizers import AddedToken, processors

    backend = made.backend_tokenizer
    if kind == "T5Tokenizer":
        end = made.eos_token_id
        backend.post_processor = processors.TemplateProcessing(
            single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", end)]
        )
    elif kind == "GPTNeoXTokenizer" or backend.post_processor is None:
        backend.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    if kind == "Qwen2Tokenizer":
        special = dict.fromkeys(str_of(token) for token in (*tokens.named.values(), *tokens.extra))
        backend.add_tokens([AddedToken(token, special=True) for token in special])
