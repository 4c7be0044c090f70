"""Prompts as messages: what is accepted, what is refused by its type, and their plain text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from makers.tiny_families import tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import plain_text, read_messages
from sycophancy_core.tasks.turns import with_turns

CHAT = (
    "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|bot|>' }}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|bot|>{% endif %}"
)
MODULE = tiny_model("gpt2")
ASKED = [{"role": "user", "content": "Is it?"}]
BEGUN = [*ASKED, {"role": "assistant", "content": "The answer is"}]
CHOICES = [[" (A)", " (B)"]]


def model(*, chat: bool) -> LanguageModel:
    return LanguageModel(MODULE, tiny_tokenizer(chat_template=CHAT), name="tiny", chat_template=chat)


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def test_a_dialogue_is_written_out_as_published() -> None:
    assert plain_text("as it is") == "as it is"
    assert plain_text(ASKED) == "Human: Is it?\n\nAssistant:"
    assert plain_text(BEGUN) == "Human: Is it?\n\nAssistant: The answer is"
    asked_again = [system("Be kind."), *BEGUN, {"role": "user", "content": "Human: sure?"}]
    wanted = "Human: Be kind.\n\nIs it?\n\nAssistant: The answer is\n\nHuman: Human: sure?\n\nAssistant:"
    assert plain_text(asked_again) == wanted


def test_forms_of_openai_and_trl_are_the_same_turns() -> None:
    parts = [{"type": "text", "text": "Is "}, {"type": "text", "text": "it?"}]
    for form in (
        ASKED,
        tuple(ASKED),
        [{"role": "user", "content": parts}],
        [{"role": "user", "content": "Is it?", "name": "Ada", "tool_calls": None}],
        [*ASKED, {"role": "assistant", "content": ""}],
    ):
        assert read_messages(form, "x") == ASKED
    assert read_messages([{"role": "developer", "content": "Be kind."}, *ASKED], "x") == [system("Be kind."), *ASKED]


@pytest.mark.parametrize(
    ("messages", "got"),
    [
        ([], "user and assistant by turns, the user first, .* got none$"),
        (BEGUN[1:], "got assistant$"),
        (ASKED * 2, "got user, user$"),
        ([*BEGUN, BEGUN[1]], "got user, assistant, assistant$"),
        ([*ASKED, system("late")], "got user, system$"),
        ([system("alone")], "got system$"),
        ([{"role": "tool", "content": "x"}], "got tool$"),
        ([{"role": 3, "content": "x"}], "got int$"),
        (["Is it?"], "each of messages must hold a role and a text as its content, got one text$"),
        ([{"role": "user"}], "a text as its content, got nothing$"),
        ([{"role": "user", "content": 3}], "a text as its content, got int$"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "got a part that is not a text$"),
        ([*ASKED, {"role": "assistant", "content": "", "tool_calls": [1]}], "got tool_calls too, which would be lost$"),
    ],
)
def test_what_is_no_dialogue_is_refused(messages: list[Any], got: str) -> None:
    with pytest.raises(sc.DataError, match=f"^row 7: .*{got}"):
        read_messages(messages, "row 7")


@pytest.mark.parametrize("chat", [False, True])
def test_messages_are_scored_as_the_text_that_they_are(chat: bool) -> None:
    asks = model(chat=chat)
    text = "<|user|>Is it?<|bot|>The answer is" if chat else plain_text(BEGUN)
    encode = asks.tokenizer
    import torch

    start = encode(text, add_special_tokens=False).input_ids
    found = asks.log_probs([BEGUN], CHOICES)[0]
    for value, choice in zip(found, CHOICES[0], strict=True):
        ids = encode(text + choice, add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = MODULE(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        assert value == pytest.approx(sum(float(logits[i - 1, ids[i]]) for i in range(len(start), len(ids))), abs=1e-4)
    table = pa.table({"prompt": [BEGUN], "choices": CHOICES})
    np.testing.assert_array_equal(asks.score(table).log_prob[0], found)


@pytest.mark.parametrize(
    ("contexts", "choices", "message"),
    [
        ("Is it?", CHOICES, "log_probs: contexts must be a list, got one text; put it into a list"),
        (ASKED, CHOICES, "log_probs: contexts must be a list, got the messages of one prompt; put them into a list"),
        (ASKED[0], CHOICES, "log_probs: contexts must be a list, got dict"),
        (["Is it?"], " (A)", "log_probs: continuations must be a list, got one text"),
        (["Is it?"], [" (A)"], "score: prompt 0: choices must be a list of texts, got one text"),
        (["Is it?"], [[" (A)", None]], "score: prompt 0: choices must be a list of texts, got nothing"),
        (["Is it?"], [[" (A)", 3]], "score: prompt 0: choices must be a list of texts, got int"),
        ([3], CHOICES, r"score: prompt 0: wanted a text or messages \(a list of role and content\), got int"),
        ([None], CHOICES, "score: prompt 0: wanted a text or messages .*, got nothing"),
        (["\ud800"], CHOICES, r"score: prompt 0: '\\ud800' holds half a surrogate pair"),
        (["Is it?"], [["\ud800", "no"]], "score: prompt 0: .* holds half a surrogate pair"),
        ([[{"role": "user", "content": "\udfff"}]], CHOICES, "score: prompt 0: .* holds half a surrogate pair"),
        ([["Is it?"]], CHOICES, "score: prompt 0: each of messages must hold a role and a text"),
        ([b"Is it?"], CHOICES, "score: prompt 0: wanted a text or messages .*, got bytes"),
    ],
)
@pytest.mark.parametrize("chat", [False, True])
def test_what_is_neither_text_nor_messages_is_refused(contexts: Any, choices: Any, message: str, chat: bool) -> None:
    with pytest.raises(sc.DataError, match=message):
        model(chat=chat).log_probs(contexts, choices)


def test_a_table_is_refused_by_the_id_of_its_row() -> None:
    two = [[" (A)", " (B)"]] * 2
    for table, message in (
        ({"id": ["a", "b"], "prompt": ["x", None], "choices": two}, r"prompt 1 \(id b\): wanted a text or messages"),
        ({"id": ["a"], "prompt": ["x"], "choices": [" (A)"]}, r"prompt 0 \(id a\): choices must be a list of texts"),
        ({"id": ["a", "b"], "prompt": ["x", "y"], "choices": [two[0], None]}, r"prompt 1 \(id b\): choices .* nothing"),
    ):
        with pytest.raises(sc.DataError, match=f"^score: {message}"):
            model(chat=False).score(pa.table(table))


@pytest.mark.parametrize("turns", [[1.5], ["x"], [True]])
def test_turns_that_are_no_list_are_refused(turns: list[Any]) -> None:
    table = pa.table({"id": ["a"], "claim_id": ["a"], "prompt": ["x"], "choices": [[" (A)", " (B)"]], "turns": turns})
    with pytest.raises(sc.DataError, match="turns: wanted messages, got "):
        model(chat=True).score(table)
    with pytest.raises(sc.DataError, match="turns: wanted messages, got "):
        with_turns(table, "t")
