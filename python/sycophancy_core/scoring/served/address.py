"""Where a served model is: the server's address, the endpoint and the model's id, in one URL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sycophancy_core.errors import ModelError

KEY_VARIABLE = "SYCO_API_KEY"
_CHAT = "/chat/completions"


@dataclass(frozen=True, kw_only=True)
class Address:
    """The parts of a served model's URL.

    Attributes
    ----------
    root
        What endpoints of the server's own stand below, such as ``/props``.
    api
        What those in OpenAI's form stand below, such as ``/completions``.
    model_id
        The model's id on the server, after ``#``; None where none is named.
    is_chat
        Whether the URL names the chat endpoint, which then is the one to ask.
    """

    root: str
    api: str
    model_id: str | None
    is_chat: bool


def is_address(source: object) -> bool:
    """Tell whether a model's source is the URL of a server."""
    return isinstance(source, str) and re.match(r"https?://", source, re.IGNORECASE) is not None


def read_address(source: str) -> Address:
    """Split the URL of a served model.

    Raises
    ------
    ModelError
        If it has no host or a wrong port, or holds a name, a key or a query: keys come from the environment alone.
    """
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ModelError(f"load_model: the server's URL has a wrong port or host ({error}); check it") from error
    if parts.username or parts.password or parts.query:
        raise ModelError(
            "load_model: wanted a URL without user, password and query, got one with; put the server's key into the "
            f"environment variable {KEY_VARIABLE} instead"
        )
    if not host:
        raise ModelError(f"load_model: {source!r} names no host; wanted a URL such as http://127.0.0.1:8000")
    written = f"[{host}]" if ":" in host else host
    start = f"{parts.scheme.lower()}://{written}" + (f":{port}" if port else "")
    path = parts.path.rstrip("/")
    is_chat = path.endswith(_CHAT)
    path = path.removesuffix(_CHAT).removesuffix("/completions").rstrip("/")
    root = path.removesuffix("/v1")
    api = path if is_chat or path.endswith("/v1") else f"{path}/v1"
    return Address(root=start + root, api=start + api, model_id=unquote(parts.fragment) or None, is_chat=is_chat)


def key_from_environment() -> str | None:
    """Return the server's key, which is shown nowhere; None where there is none.

    Raises
    ------
    ModelError
        If it cannot stand in a header; without saying it.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise ModelError(
            f"load_model: {KEY_VARIABLE} holds a space, a line break or a letter outside ASCII; wanted the key alone"
        )
    return key or None
