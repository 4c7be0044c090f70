"""Tokenizers of served models: the user's own, or that of llama.cpp's server, asked text by text."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.served.transport import Server
from sycophancy_core.scoring.tokenizing.light_tokenizer import Ids


def load_tokenizer(source: str | os.PathLike[str]) -> Any:
    """Load a fast tokenizer of transformers from what :func:`load_model` takes for a model, or a folder without one.

    Raises
    ------
    ModelError
        If there is none.
    """
    from transformers import AutoTokenizer

    folder = Path(source)
    found: str | Path = folder if folder.is_dir() else sources.resolve_source(source)[0]
    with sources.quiet_transformers(), translated(f"load_model: there is no tokenizer in {source}"):
        tokenizer = AutoTokenizer.from_pretrained(
            found, local_files_only=isinstance(found, Path), trust_remote_code=False
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"load_model: wanted a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}")
    return tokenizer


class _AddedToken(NamedTuple):
    content: str
    special: bool


class LlamaCppTokenizer:
    """The tokenizer of llama.cpp's server, with what an :class:`Encoder` asks of one of transformers.

    Parameters
    ----------
    root
        The server's URL.
    special_ids
        Ids of the special tokens.
    about
        What the server says of its model: ``chat_template``, ``bos_token`` and ``eos_token``.
    """

    is_fast = True

    def __init__(self, server: Server, root: str, special_ids: Sequence[int], about: dict[str, Any]) -> None:
        self._server, self._root = server, root
        self.chat_template = about.get("chat_template") or None
        self.eos_token = about.get("eos_token") or None
        self._bos_token = about.get("bos_token") or None
        self.added_tokens_decoder = {token: _AddedToken(self.decode([token]), special=True) for token in special_ids}
        ids = {about.content: token for token, about in self.added_tokens_decoder.items()}
        self.eos_token_id = ids.get(str(self.eos_token))

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        split_special_tokens: bool = False,
        return_attention_mask: bool = False,
    ) -> Ids:
        """Return the ids of one text or several; with ``split_special_tokens``, none of a text's becomes special."""
        options = {"add_special": add_special_tokens, "parse_special": not split_special_tokens}
        if isinstance(texts, str):
            return Ids(self._tokens({"content": texts, **options}))
        bodies = [{"content": text, **options} for text in texts]
        return Ids(self._server.for_all(bodies, self._tokens, lambda _: None))

    def _tokens(self, body: dict[str, Any]) -> list[int]:
        if not body["content"]:
            body = {**body, "content": ""}
        answer = self._server.post(f"{self._root}/tokenize", body)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise ModelError(f"{self._root}/tokenize: wanted a list of token ids, got another answer; give tokenizer=")
        return tokens

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Return the text of ids."""
        answer = self._server.post(f"{self._root}/detokenize", {"tokens": list(ids)})
        return str(answer.get("content", ""))

    def get_chat_template(self) -> str:
        """Return the chat template."""
        return str(self.chat_template)

    def apply_chat_template(self, messages: Sequence[Any], **options: Any) -> str:
        """Write messages out in the chat template."""
        return str(self._renderer.apply_chat_template(messages, **options))

    @property
    def _renderer(self) -> Any:
        """A tokenizer of transformers' without words, which writes templates out."""
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")),
            bos_token=self._bos_token,
            eos_token=self.eos_token,
        )

    @property
    def description(self) -> str:
        """What a digest is made of: the special tokens and how a text of many kinds is cut."""
        special = {token: about.content for token, about in self.added_tokens_decoder.items()}
        return json.dumps([special, self._bos_token, self.eos_token, self(_MANY_KINDS).input_ids], ensure_ascii=False)


_MANY_KINDS = "The 2nd café, naïve—'tis 3.14159 µm;\n\n\tdef f(x): return x**2  # 東京 Привет 🙂 <|x|> [INST]   end"


def tokenizer_digest(tokenizer: Any, *, chat_template: bool, system_prompt: str | None) -> str:
    """sha256 of a tokenizer's description, its chat template and the system prompt, as of a local model."""
    text = sources.tokenizer_text(tokenizer) + str(tokenizer.chat_template) + str(chat_template)
    if system_prompt is not None:
        text += f"\0{system_prompt}"
    return hashlib.sha256(text.encode()).hexdigest()
