"""Servers that are not there, refuse, or give something else than was asked for: one sentence each."""

import socket
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from makers.stand_in_server import stand_in
from makers.tiny_llama import tiny_tokenizer

from sycophancy_core import DataError, ModelError, load_model
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


def test_a_server_that_dies_in_the_middle_of_a_run_is_named(folder: Path) -> None:
    with stand_in("echo") as server:
        model = load_model(server.url, tokenizer=folder)
    with pytest.raises(ModelError, match="no server answers"):
        model.score(pa.table({"prompt": ["a"], "choices": [[" b"]]}))


def test_httpx_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(ModelError, match=r"needs the package httpx, which is not installed; run: pip install httpx$"):
        load_model("http://127.0.0.1:1")
