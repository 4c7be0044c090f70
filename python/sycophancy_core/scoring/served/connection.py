"""Which kind of server is at an address, which model it holds, whose tokenizer is used, and what the probe says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.address import Address
from sycophancy_core.scoring.served.chat import (
    Chat,
    ChatProbe,
    ChatReplies,
    ChatTokenizer,
    NoLogProbsError,
    RepliesProbe,
)
from sycophancy_core.scoring.served.completions import Echo, PromptLogProbs
from sycophancy_core.scoring.served.dialect import Dialect
from sycophancy_core.scoring.served.llama_cpp import LlamaCpp
from sycophancy_core.scoring.served.probe import Probe, make_probe
from sycophancy_core.scoring.served.server_tokenizer import LlamaCppTokenizer, load_tokenizer
from sycophancy_core.scoring.served.sglang import SGLang
from sycophancy_core.scoring.served.transport import RefusalError, Server

_TOKENIZED = "The 2nd café, naïve about a cab: 3.14159; def f(x): return x**2 - 東京 12 345"
Models = dict[str, dict[str, Any]]
Source = str | os.PathLike[str] | None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A server that was found, and that gives what it is asked for.

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
    probe, values
        A fixed pair of texts, and its log-probabilities.
    """

    server: Server
    model_id: str
    dialect: Any
    tokenizer: Any
    context_length: int | None
    probe: Probe | ChatProbe
    values: list[float]


def find_server(server: Server, address: Address, tokenizer: Source) -> Connection:
    """Ask a server what it is, and see whether it gives the log-probabilities of given tokens.

    Raises
    ------
    ModelError
        If it does not, holds no such model, or its tokenizer is not to be had; saying what the server did.
    """
    models = _models(server, address)
    if address.is_chat:
        return _chat(server, address, models)
    props = server.get(f"{address.root}/props")
    if isinstance(props, dict) and "default_generation_settings" in props:
        return _llama_cpp(server, address, models, props, tokenizer)
    for path in ("model_info", "get_model_info"):
        about = server.get(f"{address.root}/{path}")
        if isinstance(about, dict) and "model_path" in about:
            return _sglang(server, address, models, about, tokenizer)
    return _completions(server, address, models, tokenizer)


def _llama_cpp(
    server: Server, address: Address, models: Models, props: dict[str, Any], tokenizer: Source
) -> Connection:
    model_id = _chosen(models, address)
    dialect = LlamaCpp(server, address.root, models.get(model_id, {}), props)
    server.concurrency = min(server.concurrency, dialect.slots)
    if tokenizer is None:
        own: Any = LlamaCppTokenizer(server, address.root, dialect.special_tokens(), props)
    else:
        own = load_tokenizer(tokenizer)
        _check_tokenizer(server, address.root, {"content": _TOKENIZED, "add_special": False}, own)
    return _tried(server, model_id, [dialect], own, dialect.context_length - 1)


def _sglang(server: Server, address: Address, models: Models, about: dict[str, Any], tokenizer: Source) -> Connection:
    named = str(about.get("served_model_name") or about["model_path"])
    model_id = _chosen(models or {named: {}}, address)
    own = _tokenizer(tokenizer, str(about.get("tokenizer_path") or about["model_path"]), address)
    said = server.get(f"{address.root}/get_server_info") or {}
    facts = {"build": said.get("version"), "number_type": said.get("dtype")}
    dialect = SGLang(server, address.root, facts)
    return _tried(server, model_id, [dialect], own, _room(models.get(model_id, {})))


def _completions(server: Server, address: Address, models: Models, tokenizer: Source) -> Connection:
    model_id = _chosen(models, address)
    about = models.get(model_id, {})
    own = _tokenizer(tokenizer, str(about.get("root") or model_id), address)
    body = {"model": model_id, "prompt": _TOKENIZED, "add_special_tokens": False}
    _check_tokenizer(server, address.root, body, own)
    version = server.get(f"{address.root}/version")
    facts = {"build": version.get("version") if isinstance(version, dict) else None}

    dialects: list[Dialect] = [
        PromptLogProbs(server, address.api, model_id, facts),
        Echo(server, address.api, model_id, facts, own),
    ]
    return _tried(server, model_id, dialects, own, _room(about))


def _chat(server: Server, address: Address, models: Models) -> Connection:
    model_id = _chosen(models, address)
    chat, probe = Chat(server, address.api, model_id), ChatProbe()
    dialect: Chat | ChatReplies = chat
    try:
        values = probe.check(dialect)
    except NoLogProbsError as error:
        dialect, probe = ChatReplies(chat, str(error)), RepliesProbe()
        values = probe.check(dialect)
    return Connection(
        server=server,
        model_id=model_id,
        dialect=dialect,
        tokenizer=ChatTokenizer(),
        context_length=None,
        probe=probe,
        values=values,
    )


def _tried(
    server: Server, model_id: str, dialects: Sequence[Dialect], tokenizer: Any, context_length: int | None
) -> Connection:
    """Return the connection in the first dialect that passes the probe."""
    probe, faults = make_probe(tokenizer), []
    for dialect in dialects:
        try:
            values = probe.check(dialect)
        except ModelError as error:
            if isinstance(error, RefusalError) and error.status in (401, 403):
                raise
            faults.append(f"{dialect.name}: {str(error).removeprefix(f'{dialect.name}: ')}")
            continue
        return Connection(
            server=server,
            model_id=model_id,
            dialect=dialect,
            tokenizer=tokenizer,
            context_length=context_length,
            probe=probe,
            values=values,
        )
    raise ModelError(
        f"{server.url}: refused, since it does not give log-probabilities of a prompt's tokens ({'; '.join(faults)}); "
        "where it chats, the first token of a reply can be scored: add /v1/chat/completions to the URL"
    )


def _models(server: Server, address: Address) -> Models:
    """Return what the server says of its models, by their ids."""
    found = server.get(f"{address.api}/models")
    listed = found.get("data") if isinstance(found, dict) else None
    return {str(one["id"]): one for one in listed or () if isinstance(one, dict) and "id" in one}


def _chosen(models: Models, address: Address) -> str:
    """Return the id of the model to ask."""
    named = address.model_id
    if named is None and len(models) == 1:
        return next(iter(models))
    some = ", ".join(list(models)[:5]) + (", ..." if len(models) > 5 else "")
    if named is None:
        raise ModelError(
            f"{address.root}: the server names {len(models)} models ({some or 'none'}); name one after the URL: "
            f"{address.root}#ID"
        )
    if models and named not in models:
        raise ModelError(f"{address.root}: the server has no model {named!r}; it has {some}")
    return named


def _room(about: dict[str, Any]) -> int | None:
    """Most tokens that are run of a prompt with a choice; the server makes one more, which counts."""
    most = about.get("max_model_len")
    return most - 2 if isinstance(most, int) else None


def _tokenizer(given: Source, named: str, address: Address) -> Any:
    """Load the tokenizer that was given, or the one of the name that the server says."""
    if given is not None:
        return load_tokenizer(given)
    try:
        return load_tokenizer(named)
    except ModelError as error:
        raise ModelError(
            f"{address.root}: the tokenizer of its model {named!r} is not to be had here; give a folder, GGUF file or "
            f"hub id that holds it as tokenizer= ({error})"
        ) from error


def _check_tokenizer(server: Server, root: str, body: dict[str, Any], tokenizer: Any) -> None:
    """Refuse a tokenizer that makes other tokens of a text than the server's own, where the server shows them."""
    try:
        theirs = server.post(f"{root}/tokenize", body)
    except RefusalError as refusal:
        if refusal.status in (404, 405, 501):
            return
        raise
    ours = list(tokenizer(_TOKENIZED, add_special_tokens=False).input_ids)
    if isinstance(theirs, dict) and theirs.get("tokens") != ours:
        raise ModelError(
            f"{root}/tokenize: the server makes other tokens of a text than the tokenizer here; give that of the "
            "server's model as tokenizer="
        )
