"""Dialects of servers that cannot run here: over real HTTP, against numbers of a tiny model's own forward."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from makers.stand_in_server import UNKNOWN, StandIn, stand_in
from makers.tiny_llama import tiny_model, tiny_tokenizer

from sycophancy_core import DataError, ModelError, evaluate, filter_known, load_model
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.resumable import score_resumable
from sycophancy_core.scoring.served import transport

TOKEN_DIALECTS = {
    "vllm": "vLLM prompt_logprobs",
    "echo": "echo",
    "echo_text": "echo of text",
    "sglang": "SGLang",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def local() -> LanguageModel:
    return tiny_model()


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in("vllm") as running:
        yield running


def prompts(number: int) -> pa.Table:
    texts = [f"Is {i} a number?" for i in range(number)]
    return pa.table({"prompt": texts, "choices": [[" (A)", " (B)", " (C) or so"][: 2 + i % 2] for i in range(number)]})


@pytest.mark.parametrize("kind", TOKEN_DIALECTS)
def test_a_served_model_scores_as_the_same_model_here(kind: str, folder: Path, local: LanguageModel) -> None:
    with stand_in(kind) as server:
        model = load_model(server.url, tokenizer=folder)
        found, wanted = model.score(prompts(5)), local.score(prompts(5))
    assert model.engine == f"server ({TOKEN_DIALECTS[kind]})"
    np.testing.assert_allclose(found.log_prob, wanted.log_prob, atol=1e-4)
    assert found.unscored == [None] * 5
    for name in ("choice_tokens", "shared_tokens"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("kind", ["vllm", "echo", "sglang"])
def test_one_request_holds_all_choices_of_a_prompt_as_token_ids(kind: str, folder: Path, local: LanguageModel) -> None:
    with stand_in(kind) as server:
        model = load_model(server.url, tokenizer=folder)
        server.requests.clear()
        model.log_probs(["Is it so?"], [[" yes", " no", " maybe"]])
        asked, *probes = server.requests
    sent = asked["input_ids" if kind == "sglang" else "prompt"]
    assert sent == [local.tokenizer(f"Is it so?{choice}").input_ids for choice in (" yes", " no", " maybe")]
    assert len(probes) == 1


def test_requests_at_once_are_limited_and_used(folder: Path, server: StandIn) -> None:
    load_model(server.url, tokenizer=folder, concurrency=3).score(prompts(12))
    assert 2 <= server.most_at_once <= 3


def test_a_served_model_is_evaluated_and_filters_claims(folder: Path, server: StandIn, local: LanguageModel) -> None:
    claims = _claims()
    model = load_model(server.url, tokenizer=folder)
    with pytest.warns(UserWarning):
        found = filter_known(model, claims)
    with pytest.warns(UserWarning):
        wanted = filter_known(local, claims)
    assert found.known == wanted.known
    table = prompts(3).append_column("id", pa.array(["a", "b", "c"]))
    table = table.append_column("claim_id", table["id"]).append_column("target", pa.array([0, 1, 0]))
    evaluation = evaluate(model, tasks={"own": table})
    assert evaluation.facts["server"]["model_id"] == "tiny/model"
    assert evaluation.facts["server"]["dialect"] == "vLLM prompt_logprobs"
    assert len(evaluation.facts["server"]["probe"]) == 4


def _claims() -> pa.Table:
    from sycophancy_core import AdditionOptions, make_additions

    return make_additions(options=AdditionOptions(), n=2, seed=0)


def test_what_needs_weights_is_refused_in_a_sentence(folder: Path, server: StandIn) -> None:
    from sycophancy_core import finetune

    model = load_model(server.url, tokenizer=folder)
    rows = pa.table({"prompt": ["a"], "target": [" b"]})
    with pytest.raises(ModelError, match=r"its weights are on the server .* not fine-tuned or changed; for that, load"):
        finetune(model, rows)
    with pytest.raises(ModelError, match="its precision is the server's"):
        model.precision_check(prompts(1))
    with pytest.raises(ModelError, match="for lm-eval use its own clients"):
        model.score_tokens(None)


def test_options_of_local_models_are_refused(server: StandIn) -> None:
    with pytest.raises(ModelError, match="dtype, device, engine and matmul_precision are the server's own"):
        load_model(server.url, device="cuda")
    with pytest.raises(ModelError, match="tokenizer and concurrency are for a server's model"):
        load_model(concurrency=2)


def test_p1_an_interrupted_job_goes_on_to_the_scores_of_a_whole_one(
    folder: Path, server: StandIn, tmp_path: Path
) -> None:
    model = load_model(server.url, tokenizer=folder)
    whole = score_resumable(model, prompts(12), journal=tmp_path / "whole", batch_prompts=4)

    stops = iter([True])

    def interrupt(done: int, total: int) -> None:
        if done >= 6 and next(stops, False):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="after 8 of 12 prompts, kept in"):
        score_resumable(model, prompts(12), journal=tmp_path / "j", batch_prompts=4, progress=interrupt)
    server.requests.clear()
    again = load_model(server.url, tokenizer=folder)
    resumed = score_resumable(again, prompts(12), journal=tmp_path / "j", batch_prompts=4)
    np.testing.assert_allclose(resumed.log_prob, whole.log_prob, atol=1e-6)
    assert len(server.requests) == 2 + 4 + 1  # connecting, the last batch, its probe


def test_p10_a_job_does_not_go_on_with_another_model(folder: Path, server: StandIn, tmp_path: Path) -> None:
    score_resumable(load_model(server.url, tokenizer=folder), prompts(4), journal=tmp_path / "j")
    server.seed = 1
    with pytest.raises(DataError, match="begun with other answers of the server's model"):
        score_resumable(load_model(server.url, tokenizer=folder), prompts(4), journal=tmp_path / "j")
    server.seed, server.model_id = 0, "tiny/other"
    with pytest.raises(DataError, match="begun with other models on the server"):
        score_resumable(load_model(server.url, tokenizer=folder), prompts(4), journal=tmp_path / "j")


def test_a_model_that_changes_within_a_run_is_refused_and_what_was_scored_is_kept(
    folder: Path, server: StandIn, tmp_path: Path
) -> None:
    model = load_model(server.url, tokenizer=folder)

    def change(done: int, total: int) -> None:
        server.seed = int(done > 4)

    with pytest.raises(ModelError, match=r"the server has changed its model: .* what was scored is kept"):
        score_resumable(model, prompts(8), journal=tmp_path / "j", batch_prompts=4, progress=change)
    server.seed = 0
    server.requests.clear()
    score_resumable(model, prompts(8), journal=tmp_path / "j", batch_prompts=4)
    assert len(server.requests) == 4 + 1  # the second batch and its probe


def test_a_model_that_changes_its_name_is_refused(folder: Path, server: StandIn) -> None:
    model = load_model(server.url, tokenizer=folder)
    server.model_id = "tiny/other"
    with pytest.raises(ModelError, match="answered as model 'tiny/model', and now as 'tiny/other'; what was scored"):
        model.score(prompts(2))


def test_other_weights_of_the_same_name_are_refused(folder: Path) -> None:
    with stand_in("sglang", fault="weights") as server:
        model = load_model(server.url, tokenizer=folder)
        with pytest.raises(ModelError, match="weights were version default and are now other"):
            model.score(prompts(4))


def test_digests_tell_models_apart_and_not_runs(folder: Path, server: StandIn) -> None:
    first, again = (load_model(server.url, tokenizer=folder) for _ in range(2))
    assert (first.digest, first.tokenizer_digest) == (again.digest, again.tokenizer_digest)
    server.seed = 1
    assert load_model(server.url, tokenizer=folder).digest != first.digest


@pytest.mark.parametrize("value", UNKNOWN)
def test_a_log_probability_that_is_none_leaves_its_prompt_unscored(value: str, folder: Path) -> None:
    with stand_in("vllm", fault=value) as server:  # in prompts of more than 60 tokens
        model = load_model(server.url, tokenizer=folder)
        texts = ["short", "long " * 12]
        found = model.score(pa.table({"prompt": texts, "choices": [[" a", " b"]] * 2}))
    assert found.unscored == [None, "non-finite log-probability"]


def test_busy_and_broken_servers_are_asked_again(
    folder: Path, server: StandIn, local: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT", 0.01)
    model = load_model(server.url, tokenizer=folder)
    server.failures = [429, 503, 500, 429]
    found = model.score(prompts(3))
    np.testing.assert_allclose(found.log_prob, local.score(prompts(3)).log_prob, atol=1e-4)
    assert server.failures == []


def test_retry_after_is_honoured(folder: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transport.threading.Event, "wait", lambda self, seconds=None: _note(waits, seconds))
    model = load_model(server.url, tokenizer=folder)
    server.failures, server.headers = [429], {"Retry-After": "7"}
    model.log_probs(["a"], [[" b"]])
    assert waits.count(7.0) == 1


def _note(waits: list[float], seconds: float | None) -> bool:
    if seconds is not None:
        waits.append(seconds)
    return False


def test_a_wait_that_is_too_long_ends_the_run(folder: Path, server: StandIn) -> None:
    model = load_model(server.url, tokenizer=folder)
    server.failures, server.headers = [429], {"Retry-After": "86400"}
    with pytest.raises(ModelError, match=r"refuses the request \(429\): fault 429; it asks to wait 86,400 s"):
        model.log_probs(["a"], [[" b"]])


def test_a_served_model_is_found_again_in_another_process(folder: Path, server: StandIn) -> None:
    import copy

    model: Any = load_model(server.url, tokenizer=folder)
    again = copy.copy(model)
    assert (again.name, again.digest) == (model.name, model.digest)
