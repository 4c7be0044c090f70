"""A small server on the loopback address that speaks as vLLM, SGLang, llama-cpp-python or an API do.

The wire format is the documented one, and the numbers are those of a tiny model's own forward. Faults are asked for by
name, so that tests see what the client makes of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer

MODEL_ID = "tiny/model"
UNKNOWN = {"-9999": -9999.0, "NaN": float("nan"), "null": None, "-Infinity": float("-inf")}  # a value that is none


@dataclass
class StandIn:
    """What the server does.

    Attributes
    ----------
    kind
        ``"vllm"`` (prompt_logprobs and echo), ``"echo"`` (ids), ``"echo_text"`` (texts alone), ``"sglang"``, ``"deaf"``
        (completions that ignore either) or ``"chat"``.
    fault
        The name of what it does wrong; empty for nothing.
    failures
        Status codes, each of which one request of the scoring endpoints gets before the others are answered.
    headers
        Of those failures.
    """

    kind: str
    fault: str = ""
    failures: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    seed: int = 0
    model_id: str = MODEL_ID
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _at_once: int = 0
    _lock: Any = field(default_factory=threading.Lock)
    _models: dict[int, Any] = field(default_factory=dict)

    def logits(self, ids: list[int]) -> Any:
        """Log-probabilities of the next token after each of some ids: the model's own forward."""
        with self._lock:
            model = self._models.setdefault(self.seed, tiny_llama(seed=self.seed))
            with torch.inference_mode():
                return model(torch.tensor([ids])).logits[0].double().log_softmax(-1)

    def given(self, ids: list[int]) -> list[float | None]:
        """Log p of each token, null for the first, with what the fault makes of it."""
        after = self.logits(ids)
        found: list[float | None] = [None, *(float(after[i, token]) for i, token in enumerate(ids[1:]))]
        if self.fault == "shifted":
            return [None, None, *found[1:-1]]
        if self.fault in UNKNOWN and len(ids) > 60:
            found[-1] = UNKNOWN[self.fault]
        return found

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count how many requests are answered at once."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(0.02)
            yield
        finally:
            with self._lock:
                self._at_once -= 1


@contextmanager
def stand_in(kind: str, **settings: Any) -> Iterator[StandIn]:
    """Run a server while the block lasts; ``url`` is where it is."""
    about = StandIn(kind=kind, **settings)

    class Handler(_Handler):
        server_is = about

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    about.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield about
    finally:
        about.fault = "gone"
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_is: StandIn
    protocol_version = "HTTP/1.1"
    tokenizer = tiny_tokenizer()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._is_refused():
            return
        model: dict[str, Any] = {"id": self.server_is.model_id, "object": "model", "root": "/no/such-model"}
        model |= {"max_model_len": 302} if self.server_is.kind in ("vllm", "sglang") else {}
        pages: dict[str, Any] = {"/v1/models": {"object": "list", "data": [model]}}
        if self.server_is.kind == "sglang":
            pages["/get_model_info"] = {"model_path": MODEL_ID, "tokenizer_path": MODEL_ID, "is_generation": True}
            pages["/get_server_info"] = {"version": "0.5.3", "dtype": "bfloat16"}
        if self.server_is.kind == "vllm":
            pages["/version"] = {"version": "0.11.0"}
        self._answer(200 if self.path in pages else 404, pages.get(self.path, {"detail": "Not Found"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._is_refused():
            return
        known = {
            "/v1/completions": self._completions,
            "/v1/chat/completions": self._chat,
            "/generate": self._generate,
            "/tokenize": self._tokenize,
        }
        is_there = self.path in known and (self.path == "/generate") == (self.server_is.kind == "sglang")
        if self.path == "/tokenize":
            is_there = self.server_is.kind == "vllm"
        if not is_there:
            self._answer(404, {"detail": "Not Found"})
            return
        with self.server_is.counted():
            if self.path != "/tokenize":
                self.server_is.requests.append(body)
                if self.server_is.failures:
                    code = self.server_is.failures.pop(0)
                    self._answer(code, {"error": {"message": f"fault {code}"}}, self.server_is.headers)
                    return
            known[self.path](body)

    def _is_refused(self) -> bool:
        if self.server_is.fault == "gone":
            self.close_connection = True
            return True
        wanted = self.server_is.key
        if wanted is None or self.headers.get("Authorization") == f"Bearer {wanted}":
            return False
        self._answer(401, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}})
        return True

    def _tokenize(self, body: dict[str, Any]) -> None:
        ids = self.tokenizer(body["prompt"]).input_ids
        self._answer(200, {"count": len(ids), "tokens": ids[::-1] if self.server_is.fault == "tokenizer" else ids})

    def _completions(self, body: dict[str, Any]) -> None:
        prompts, kind = body["prompt"], self.server_is.kind
        if kind == "echo_text" and not isinstance(prompts, str):
            return self._answer(422, {"detail": [{"msg": "Input should be a valid string"}]})
        if isinstance(prompts, str):
            prompts = [self.tokenizer(prompts).input_ids]
        choices = [self._choice(i, ids, body) for i, ids in enumerate(prompts)]
        answer = {"id": "cmpl-1", "model": self.server_is.model_id, "choices": choices[::-1]}
        return self._answer(200, answer)

    def _choice(self, index: int, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        kind, values = self.server_is.kind, self.server_is.given(ids)
        choice: dict[str, Any] = {"index": index, "text": "x", "finish_reason": "length", "prompt_logprobs": None}
        if kind == "vllm" and body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self._records(ids, values)
        if body.get("logprobs") is not None:
            last = self.server_is.logits(ids)[-1]
            echoed = values if body.get("echo") and kind in ("vllm", "echo", "echo_text") else []
            if self.server_is.fault == "other_tokens":
                echoed = [None, *echoed]
            choice["logprobs"] = {"token_logprobs": [*echoed, float(last.max())]}
        return choice

    def _records(self, ids: list[int], values: list[float | None]) -> list[Any]:
        after = self.server_is.logits(ids)
        records: list[Any] = [None]
        for i, (token, value) in enumerate(zip(ids[1:], values[1:], strict=True)):
            best = int(after[i].argmax())
            own = 1 if self.server_is.fault == "other_tokens" else token
            records.append(
                {
                    str(best): {"logprob": float(after[i, best]), "rank": 1, "decoded_token": "?"},
                    str(own): {"logprob": value, "rank": 2, "decoded_token": "?"},
                }
            )
        return records

    def _generate(self, body: dict[str, Any]) -> None:
        answers = []
        for ids, start in zip(body["input_ids"], body["logprob_start_len"], strict=True):
            values = self.server_is.given(ids)
            values[start] = None  # the first has none: what predicts it is not run
            rows = [[value, token, None] for value, token in zip(values[start:], ids[start:], strict=True)]
            weights = "other" if self.server_is.fault == "weights" and len(self.server_is.requests) > 3 else "default"
            answers.append({"text": "x", "meta_info": {"input_token_logprobs": rows, "weight_version": weights}})
        self._answer(200, answers)

    def _chat(self, body: dict[str, Any]) -> None:
        if self.server_is.kind != "chat":
            return self._answer(404, {"detail": "Not Found"})
        if "max_tokens" in body:
            return self._answer(400, {"error": {"message": "Unsupported parameter: 'max_tokens'"}})
        if self.server_is.fault == "refuses_logprobs" and {"logprobs", "top_p"} & body.keys():
            return self._answer(400, {"error": {"message": "'logprobs' and 'top_p' are not supported"}})
        if not body.get("logprobs") or self.server_is.fault in ("ignores_logprobs", "says_nothing"):
            return self._reply(body)
        if body["top_logprobs"] > 5:
            return self._answer(400, {"error": {"message": "top_logprobs must be at most 5"}})
        after = self.server_is.logits(self._chat_ids(body["messages"]))[-1]
        best = after.topk(5)
        top = [
            {"token": self.tokenizer.decode([int(token)]), "logprob": float(value)}
            for value, token in zip(best.values, best.indices, strict=True)
        ]
        message = {"role": "assistant", "content": "x"}
        if self.server_is.fault == "thinks":
            top[0]["token"] = "<think>"
        elif self.server_is.fault.startswith("reasoning"):
            message |= {"content": None, self.server_is.fault: "x"}
        content = [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}]
        choice = {"index": 0, "message": message, "logprobs": {"content": content}}
        return self._answer(200, {"model": self.server_is.model_id, "choices": [choice]})

    def _chat_ids(self, messages: list[dict[str, str]]) -> list[int]:
        text = "".join(f"{turn['role']}: {turn['content']}\n" for turn in messages)
        return list(self.tokenizer(text).input_ids)

    def _reply(self, body: dict[str, Any]) -> None:
        """Answer in words: drawn from the model's own probabilities, by the request's seed."""
        ids, reply = self._chat_ids(body["messages"]), []
        random = torch.Generator().manual_seed(body.get("seed", 0))
        for _ in range(body["max_completion_tokens"]):
            after = self.server_is.logits(ids + reply)[-1]
            if body["temperature"] == 0:
                token = int(after.argmax())
            else:
                token = int(torch.multinomial((after / body["temperature"]).softmax(-1), 1, generator=random))
            reply.append(token)
        said = "" if self.server_is.fault == "says_nothing" else self.tokenizer.decode(reply)
        message = {"role": "assistant", "content": said}
        self._answer(200, {"model": self.server_is.model_id, "choices": [{"index": 0, "message": message}]})

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        if status == 200 and self.command == "POST" and self.server_is.fault == "no_json":
            content = b"<html>gateway</html>"
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status == 200 and self.command == "POST" and self.server_is.fault == "cut":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)
