"""Which kind of server is at an address, which model it holds, and whose tokenizer is used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.address import Address
from sycophancy_core.scoring.served.dialect import Dialect
from sycophancy_core.scoring.served.llama_cpp import LlamaCpp
from sycophancy_core.scoring.served.server_tokenizer import LlamaCppTokenizer, load_tokenizer
from sycophancy_core.scoring.served.transport import Server


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A server that was found.

    Attributes
    ----------
    server
        Who is asked.
    model_id
        The model's id there.
    dialect
        How it says log-probabilities.
    tokenizer
        The model's tokenizer.
    context_length
        Most tokens that it takes; None where it does not say.
    """

    server: Server
    model_id: str
    dialect: Dialect
    tokenizer: Any
    context_length: int | None


def find_server(server: Server, address: Address, tokenizer: str | os.PathLike[str] | None) -> Connection:
    """Ask a server what it is.

    Raises
    ------
    ModelError
        If it is none that is known, holds no such model, or its tokenizer is not to be had.
    """
    props = server.get(f"{address.root}/props")
    models = _models(server, address)
    if isinstance(props, dict) and "default_generation_settings" in props:
        return _llama_cpp(server, address, models, props, tokenizer)
    raise ModelError(f"{address.root}: there is a server, but none that gives log-probabilities")


def _llama_cpp(
    server: Server,
    address: Address,
    models: dict[str, dict[str, Any]],
    props: dict[str, Any],
    tokenizer: str | os.PathLike[str] | None,
) -> Connection:
    model_id = _chosen(models, address)
    dialect = LlamaCpp(server, address.root, models[model_id], props)
    server.concurrency = min(server.concurrency, dialect.slots)
    if tokenizer is None:
        own: Any = LlamaCppTokenizer(server, address.root, dialect.special_tokens(), props)
    else:
        own = load_tokenizer(tokenizer)
        _check_tokenizer(server, f"{address.root}/tokenize", own)
    return Connection(
        server=server, model_id=model_id, dialect=dialect, tokenizer=own, context_length=dialect.context_length
    )


def _models(server: Server, address: Address) -> dict[str, dict[str, Any]]:
    """Return what the server says of its models, by their ids."""
    found = server.get(f"{address.api}/models")
    listed = found.get("data") if isinstance(found, dict) else None
    return {str(one["id"]): one for one in listed or () if isinstance(one, dict) and "id" in one}


def _chosen(models: dict[str, dict[str, Any]], address: Address) -> str:
    """Return the id of the model to ask."""
    named = address.model_id
    if named is None and len(models) == 1:
        return next(iter(models))
    some = ", ".join(list(models)[:5]) + (", ..." if len(models) > 5 else "")
    if named is None:
        raise ModelError(
            f"{address.root}: the server has {len(models)} models ({some or 'it names none'}); name one after the URL: "
            f"{address.root}#ID"
        )
    if models and named not in models:
        raise ModelError(f"{address.root}: the server has no model {named!r}; it has {some}")
    return named


def _check_tokenizer(server: Server, url: str, tokenizer: Any) -> None:
    """Refuse a tokenizer that makes other tokens of a text than the server's own."""
    text = "The 2nd café, naïve: 3.14159; def f(x): return x**2"
    ours = tokenizer(text, add_special_tokens=False).input_ids
    theirs = server.post(url, {"content": text, "add_special": False}).get("tokens")
    if list(ours) != theirs:
        raise ModelError(
            f"{url}: the server makes other tokens of a text than the tokenizer that was given; give the tokenizer of "
            "the server's model, or leave tokenizer out to use the server's own"
        )
