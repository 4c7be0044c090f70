"""Servers that are not there, refuse, or give something else than was asked for: one sentence each."""

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from makers.stand_in_server import stand_in
from makers.tiny_llama import tiny_tokenizer

from sycophancy_core import DataError, ModelError, load_model
from sycophancy_core.scoring.resumable import score_resumable
from sycophancy_core.scoring.served import address, transport

KEY = "sk-secret-1234567890"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT", 0.001)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_no_server() -> None:
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+: no server answers \(.*refused.*\); check host and port"):
        load_model(f"http://127.0.0.1:{free_port()}")


def test_tls_asked_of_a_server_of_plain_http(folder: Path) -> None:
    with stand_in("vllm") as server, pytest.raises(ModelError, match=r"no safe connection \(TLS: .*use http://"):
        load_model(server.url.replace("http:", "https:"), tokenizer=folder)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for a certificate")
def test_a_certificate_that_nobody_has_signed(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=127.0.0.1", "-days", "1"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    said = r"no safe connection \(TLS: .*self.signed certificate.*\); set SSL_CERT_FILE to the certificate of"
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with pytest.raises(ModelError, match=said):
            load_model(f"https://127.0.0.1:{server.server_port}")
        server.shutdown()


def test_a_port_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 mail ready\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ModelError, match="the server's answer did not come or was cut short"):
            load_model(f"http://127.0.0.1:{listening.getsockname()[1]}")


@pytest.mark.parametrize(
    "url", ["http://", "http://user:pw@host", "http://host?key=1", "http://host:99999", "https://[::1"]
)
def test_urls_that_are_none_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(ModelError, match=r"URL|host|port") as refused:
        load_model(url)
    assert "pw" not in str(refused.value)


def test_addresses_are_split_into_server_endpoint_and_model() -> None:
    found = address.read_address("https://api.host.org/api/v1/#owner/model%20x")
    assert (found.root, found.api) == ("https://api.host.org/api", "https://api.host.org/api/v1")
    assert (found.model_id, found.is_chat) == ("owner/model x", False)
    found = address.read_address("http://[::1]:8000/v1beta/openai/chat/completions")
    assert (found.root, found.api, found.is_chat) == ("http://[::1]:8000/v1beta/openai",) * 2 + (True,)
    assert address.read_address("http://h:1").api == "http://h:1/v1"


def test_a_key_is_wanted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(address.KEY_VARIABLE, raising=False)
    with stand_in("vllm", key=KEY) as server, pytest.raises(ModelError, match=r"\(401\) a request without a key; put"):
        load_model(server.url, tokenizer=folder)


def test_a_key_is_used_and_shown_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(address.KEY_VARIABLE, f" {KEY}\n")
    with stand_in("vllm", key=KEY) as server:
        model = load_model(server.url, tokenizer=folder)
        shown = repr(model) + repr(model.server_facts) + repr(model._found) + model.digest
        assert KEY not in shown
        server.key = "another"  # whose refusal repeats the key that it got
        with pytest.raises(ModelError, match=r"\(401\) the key in SYCO_API_KEY: .*\[key\]") as refused:
            model.log_probs(["a"], [[" b"]])
    assert KEY not in str(refused.value)


def test_a_key_that_cannot_be_sent_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(address.KEY_VARIABLE, "two words")
    with pytest.raises(ModelError, match="SYCO_API_KEY holds a space") as refused:
        load_model("http://127.0.0.1:1")
    assert "two" not in str(refused.value)


def test_an_unknown_model(folder: Path) -> None:
    with (
        stand_in("vllm") as server,
        pytest.raises(ModelError, match="the server has no model 'x/y'; it has tiny/model"),
    ):
        load_model(f"{server.url}#x/y", tokenizer=folder)


def test_a_tokenizer_that_is_not_here_is_asked_for() -> None:
    with (
        stand_in("vllm") as server,
        pytest.raises(ModelError, match=r"its model '/no/such-model' is not to be had here"),
    ):
        load_model(server.url)


def test_a_prompt_longer_than_the_servers_context(folder: Path) -> None:
    with stand_in("vllm") as server:  # 302 tokens, one of which the server makes
        model = load_model(server.url, tokenizer=folder)
        assert model.log_probs(["a" * 299], [["bb"]]).shape == (1, 1)
        with pytest.raises(DataError, match="has 302 tokens, but model takes at most 301"):
            model.log_probs(["a" * 299], [["bbb"]])


@pytest.mark.parametrize(
    ("kind", "fault", "message"),
    [
        ("deaf", "", "does not give log-probabilities .*ignores it; .*sent 26 tokens with echo, got 1 log"),
        (
            "vllm",
            "shifted",
            "log p of one token after one beginning|different tokens have one|wanted log-probabilities",
        ),
        ("sglang", "shifted", "log-probabilities"),
        ("echo", "shifted", "log-probabilities"),
        ("vllm", "other_tokens", r"sent token \d+ at position 1, got token None back; the server makes other tokens"),
        ("echo", "other_tokens", "sent 26 tokens with echo, got 28 log-probabilities back; the server makes other"),
        ("vllm", "tokenizer", "the server makes other tokens of a text than the tokenizer here"),
        ("vllm", "no_json", "wanted JSON, got an answer that is none or was cut short: '<html>gateway</html>'"),
        ("vllm", "cut", "the server's answer did not come or was cut short"),
    ],
)
def test_answers_that_are_not_what_was_asked_for_are_refused(kind: str, fault: str, message: str, folder: Path) -> None:
    with stand_in(kind, fault=fault) as server, pytest.raises(ModelError, match=message):
        load_model(server.url, tokenizer=folder)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"fault": "cut"}, "the server's answer did not come or was cut short"),
        ({"fault": "no_json"}, "wanted JSON, got an answer that is none or was cut short: '<html>gateway</html>'"),
        ({"fault": "other_tokens"}, r"sent token \d+ at position \d+, got token None back"),
        ({"fault": "gone"}, "the server's answer did not come or was cut short"),
        ({"key": KEY}, r"the server refuses \(401\) a request without a key"),
        ({"failures": [400]}, r"the server refuses the request \(400\): fault 400"),
    ],
)
def test_a_fault_in_the_middle_of_a_run_is_one_sentence_and_what_was_scored_is_kept(
    fault: dict[str, Any], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(address.KEY_VARIABLE, raising=False)
    prompts = pa.table({"prompt": [f"Is {n} odd?" for n in range(4)], "choices": [[" (A)", " (B)"]] * 4})
    with stand_in("vllm") as server:
        model = load_model(server.url, tokenizer=folder)
        sound = {name: getattr(server, name) for name in fault}

        def break_down(done: int, _: int) -> None:
            if done == 3:
                vars(server).update(fault)

        with pytest.raises(ModelError, match=said) as refused:
            score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=2, progress=break_down)
        assert "\n" not in str(refused.value)
        vars(server).update(sound)
        server.requests.clear()
        score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=2)
        assert len(server.requests) == 2 + 1  # the second batch and its probe


def test_a_server_that_dies_in_the_middle_of_a_run_is_named(folder: Path) -> None:
    with stand_in("echo") as server:
        model = load_model(server.url, tokenizer=folder)
    with pytest.raises(ModelError, match="no server answers"):
        model.score(pa.table({"prompt": ["a"], "choices": [[" b"]]}))


def test_httpx_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(ModelError, match=r"needs the package httpx, which is not installed; run: pip install httpx$"):
        load_model("http://127.0.0.1:1")
