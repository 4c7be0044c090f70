"""Replies of a chat endpoint: the model's own, a seed for each, asked in the messages that scoring sends."""

import json
import signal
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from makers.stand_in_server import MODEL_ID, StandIn, stand_in
from makers.tiny_llama import tiny_llama, tiny_tokenizer

from sycophancy_core import DataError, LanguageModel, ModelError, load_model
from sycophancy_core.runs.journal import read_journal
from sycophancy_core.scoring.sampled import sampling
from sycophancy_core.scoring.sampled.sampling import SamplingOptions, sample_answers

PROMPTS = pa.table({"id": ["a", "b"], "prompt": ["Is it so?", "Is 7 odd?"], "choices": [[" (A)", " (B)"]] * 2})
DRAWN = SamplingOptions(draws=3, max_tokens=5)


def chat_model(server: StandIn, **settings: object) -> LanguageModel:
    model = load_model(f"{server.url}/v1/chat/completions", **settings)
    server.requests.clear()
    return model


def drawn(server: StandIn) -> list[dict[str, object]]:
    """Return the requests for replies, without those that look whether the model is still the same."""
    return [body for body in server.requests if not body.get("logprobs")]


def test_without_temperature_a_reply_is_the_likeliest_one() -> None:
    with stand_in("chat") as server:
        options = SamplingOptions(draws=1, temperature=0, max_tokens=5)
        found = sample_answers(chat_model(server), PROMPTS, options=options)
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    for text, reply in zip(PROMPTS["prompt"].to_pylist(), found["reply"].to_pylist(), strict=True):
        ids = tokenizer(f"user: {text}\n", return_tensors="pt").input_ids
        start = ids.shape[1]
        for _ in range(5):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
        assert reply == tokenizer.decode(ids[0, start:])


def test_every_reply_has_a_seed_of_its_own_that_depends_on_seed_prompt_and_draw_alone() -> None:
    with stand_in("chat") as server:
        model = chat_model(server)
        found = sample_answers(model, PROMPTS, options=DRAWN, seed=5)
        seeds = [body["seed"] for body in drawn(server)]
        alone = sample_answers(model, PROMPTS.slice(1, 1), options=DRAWN, seed=5)
        other = sample_answers(model, PROMPTS, options=DRAWN, seed=6)
        assert len({body["seed"] for body in drawn(server)}) == 2 * len(seeds) == 12
    assert all(isinstance(seed, int) and 0 <= seed < 2**31 for seed in seeds)
    assert found["reply"].to_pylist()[3:] == alone["reply"].to_pylist()
    assert found["reply"] != other["reply"]


def test_the_system_prompt_is_sent_once_and_not_next_to_another() -> None:
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it so?"}
    with stand_in("chat") as server:
        model = chat_model(server, system_prompt="Be brief.")
        sample_answers(model, PROMPTS.slice(0, 1), options=DRAWN)
        assert [body["messages"] for body in drawn(server)] == [[system, user]] * 3
        own = pa.table({"prompt": [[system, user]], "choices": [[" (A)", " (B)"]]})
        with pytest.raises(DataError, match="got a system prompt, and a prompt with a system message of its own"):
            sample_answers(model, own.append_column("id", [["a"]]), options=DRAWN)


def test_a_prompt_that_is_no_text_and_no_messages_is_refused_before_a_request() -> None:
    with stand_in("chat") as server:
        model = chat_model(server)
        with pytest.raises(DataError, match=r"prompt 0 \(id a\): wanted a text or messages .*, got int"):
            sample_answers(model, PROMPTS.set_column(1, "prompt", [[3, 4]]), options=DRAWN)
        assert server.requests == []


@pytest.mark.parametrize("fault", ["ignores_logprobs", "refuses_logprobs"])
def test_an_endpoint_without_log_probabilities_is_sampled_and_says_what_to_do_when_it_is_to_score(fault: str) -> None:
    with stand_in("chat") as server:
        wanted = sample_answers(chat_model(server), PROMPTS, options=DRAWN, seed=5)["reply"]
    with stand_in("chat", fault=fault) as server:
        model = chat_model(server)
        assert sample_answers(model, PROMPTS, options=DRAWN, seed=5)["reply"] == wanted
        assert model.server_facts["dialect"] == "chat replies"
        assert all(("top_p" in body) == (fault == "ignores_logprobs") for body in server.requests)
        with pytest.raises(
            ModelError, match=r"no log-probabilities to score choices with \(.*or --draws on the command"
        ):
            model.score(PROMPTS)
        server.model_id = "another/model"
        with pytest.raises(ModelError, match="answered as model 'tiny/model', and now as 'another/model'"):
            sample_answers(model, PROMPTS, options=DRAWN, seed=6)


@pytest.mark.parametrize("fault", ["reasoning_content", "reasoning", "thinks"])
def test_a_reply_that_begins_with_a_thought_is_not_scored(fault: str) -> None:
    with stand_in("chat") as server:
        model = chat_model(server)
        server.fault = fault
        with pytest.raises(ModelError, match="the reply begins with a thought, not an answer; switch thinking off"):
            model.score(PROMPTS)


def test_an_endpoint_without_log_probabilities_that_says_nothing_is_refused() -> None:
    no_text = "the reply to a plain question has no text"
    with stand_in("chat", fault="says_nothing") as server, pytest.raises(ModelError, match=no_text):
        load_model(f"{server.url}/v1/chat/completions")


def many(number: int = 6) -> pa.Table:
    texts = [f"Is {n} odd?" for n in range(number)]
    return pa.table({"id": texts, "prompt": texts, "choices": [[" (A)", " (B)"]] * number})


def test_a_stopped_run_goes_on_with_what_was_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SERVED_PROMPTS", 6)  # two prompts of three draws a batch

    def stop(done: int, total: int) -> None:
        if (done, total) == (4, 6):
            signal.raise_signal(signal.SIGINT)

    with stand_in("chat") as server:
        model = chat_model(server)
        wanted = sample_answers(model, many(), options=DRAWN, seed=5)
        with pytest.raises(KeyboardInterrupt, match=r"sampling stopped after 4 of 6 prompts, kept in .*j; the same"):
            sample_answers(model, many(), options=DRAWN, seed=5, journal=tmp_path / "j", progress=stop)
        server.requests.clear()
        found = sample_answers(model, many(), options=DRAWN, seed=5, journal=tmp_path / "j")
        asked = sorted(body["messages"][0]["content"] for body in drawn(server))  # which come in any order
        assert asked == ["Is 4 odd?"] * 3 + ["Is 5 odd?"] * 3
    assert found.equals(wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 6}, "seeds"),
        ({"temperature": 0.5}, "temperatures"),
        ({"draws": 2}, "batch sizes and other numbers of draws"),
        ({"max_tokens": 4}, "lengths of replies"),
        ({"prompts": many(5)}, "prompts"),
    ],
)
def test_a_journal_of_other_draws_is_refused_by_what_differs(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    with stand_in("chat") as server:
        model = chat_model(server)

        def draw(draws: int = 3, max_tokens: int = 5, temperature: float = 1.0, **asked: object) -> None:
            options = SamplingOptions(draws=draws, max_tokens=max_tokens, temperature=temperature)
            sample_answers(model, **{"prompts": many(2), "seed": 5, **asked}, options=options, journal=tmp_path / "j")

        draw()
        with pytest.raises(DataError, match=f"this journal was begun with other {said}; use those again"):
            draw(**change)


def test_draws_of_one_model_are_not_continued_by_another(tmp_path: Path) -> None:
    with stand_in("chat") as server:
        sample_answers(chat_model(server), many(2), options=DRAWN, journal=tmp_path / "j")
        server.model_id = "another"
        with pytest.raises(DataError, match="begun with other models on the server; use"):
            sample_answers(chat_model(server), many(2), options=DRAWN, journal=tmp_path / "j")


def test_a_server_that_changes_its_model_between_two_batches_is_refused_and_the_first_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "SERVED_PROMPTS", 6)
    with stand_in("chat") as server:
        model = chat_model(server)

        def change(done: int, _: int) -> None:
            server.model_id = "another" if done > 2 else MODEL_ID

        with pytest.raises(ModelError, match=r"as model 'tiny/model', and now as 'another'; what was scored is kept"):
            sample_answers(model, many(), options=DRAWN, journal=tmp_path / "j", progress=change)
    _, first = read_journal(tmp_path / "j").records
    assert len(json.loads(first)) == 2
