"""A prompt as a cure: what the model reads, its null of equal length, and what is saved."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from makers.tiny_families import tiny_tokenizer as chat_tokenizer
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cures.mitigate import load_cure, mitigate
from sycophancy_core.cures.texts.instructed import instruction_text, text_of_length

MERGES = [
    *(("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "n"), ("an", "d"), ("Ġ", "and")),
    *((".", "Ċ"), (".Ċ", "Ċ"), (".", "<"), ("d", "Ċ"), ("dĊ", "Ċ")),  # a text's end with what follows it
]
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}system: there is a long text here.\n{% endif %}"
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
)
CHAT = "{% for m in messages %}<|user|>{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}<|bot|>"


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def chat() -> sc.LanguageModel:
    tokenizer = chat_tokenizer(chat_template=CHAT)
    return sc.load_model((tiny_llama(vocab_size=len(tokenizer)), tokenizer), chat_template=True)


def test_a_plain_prompt_is_read_after_the_instruction(model: sc.LanguageModel) -> None:
    cured = mitigate(model, sc.Prompted(text="Be true."))
    choices = [[" Paris", " Rome"]]
    wanted = model.log_probs(["Be true.\n\nThe capital of France is"], choices)
    assert np.array_equal(cured.model.log_probs(["The capital of France is"], choices), wanted)


@pytest.mark.parametrize("place", ["user", "system"])
def test_a_chat_model_reads_the_instruction_in_its_turn(chat: sc.LanguageModel, place: str) -> None:
    cured = mitigate(chat, sc.Prompted(text="be true.", place=place))
    asked = {"role": "user", "content": "where?"}
    told = [{"role": "user", "content": "be true.\n\nwhere?"}]
    if place == "system":
        told = [{"role": "system", "content": "be true."}, asked]
    choices = [["here", "there"]]
    assert np.array_equal(cured.model.log_probs([[asked]], choices), chat.log_probs([told], choices))


def test_the_given_model_reads_no_instruction(model: sc.LanguageModel) -> None:
    before = model.log_probs(["One and"], [[" two"]])
    mitigate(model, sc.Prompted())
    assert np.array_equal(model.log_probs(["One and"], [[" two"]]), before)


def test_an_evaluation_tells_it_from_the_given_model_and_compares_the_two(model: sc.LanguageModel) -> None:
    cured = mitigate(model, sc.Prompted(text="Be true."))
    before, after = (sc.evaluate(one, tasks="facts", limit=4, progress=False) for one in (model, cured.model))
    assert before.facts["weights"] == after.facts["weights"]
    assert before.facts["tokenizer"] != after.facts["tokenizer"]
    assert "Be true." in after.facts["tasks"]["facts"]["examples"][0]
    assert sc.compare(before, after).estimate("facts", "accuracy_user_wrong")["num_clusters"] == 4


def test_its_null_has_as_many_tokens_and_other_words(model: sc.LanguageModel) -> None:
    cured = mitigate(model, sc.Prompted())
    null = cured.make_null("equal_length")
    wanted = len(f"{instruction_text('own_knowledge')}\n\n".encode())
    assert null.cost.prompt_tokens == cured.cost.prompt_tokens == wanted
    assert null.about["text"] != cured.about["text"]
    assert null.name == "prompted, null equal_length"


@pytest.mark.parametrize("num_tokens", [1, 2, 17, 60, 2000])
def test_a_text_that_says_nothing_has_any_length(num_tokens: int) -> None:
    tokenizer = chat_tokenizer(merges=MERGES)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    assert count(text_of_length(count, num_tokens)) == num_tokens


@pytest.mark.parametrize(("text", "place"), [("be true.", "user"), ("be true.", "system"), ("the and", "user")])
@pytest.mark.parametrize("template", [CHAT, DEFAULT_SYSTEM])
def test_tokens_are_counted_in_a_whole_prompt(text: str, place: str, template: str) -> None:
    tokenizer = chat_tokenizer(chat_template=template, merges=MERGES)
    model = sc.load_model((tiny_llama(vocab_size=len(tokenizer)), tokenizer), chat_template=True)
    turns = [{"role": "user", "content": "where?"}]
    told = {
        "user": [{"role": "user", "content": f"{text}\n\nwhere?"}],
        "system": [{"role": "system", "content": text}, *turns],
    }[place]
    without, with_text = (
        len(tokenizer(tokenizer.apply_chat_template(one, tokenize=False), add_special_tokens=False).input_ids)
        for one in (turns, told)
    )
    cured = mitigate(model, sc.Prompted(text=text, place=place))
    assert cured.cost.prompt_tokens == with_text - without
    null = cured.make_null("equal_length")
    lengths = [len(one.model.encoder.rows(["where?"], [[]])[0][0]) for one in (cured, null)]
    assert lengths == [with_text, with_text]
    assert null.cost.prompt_tokens == cured.cost.prompt_tokens


def test_the_text_that_says_nothing_names_no_answer() -> None:
    words = set(re.findall(r"[a-z]+", text_of_length(len, 1000).lower()))
    facts = sc.load_facts()
    answers = {*facts["right"].to_pylist(), *(one for row in facts["wrong"].to_pylist() for one in row)}
    assert words & {answer.lower() for answer in answers if len(answer) > 2} == set()  # "in" is also a metal


def test_what_is_saved_reads_the_same_again(model: sc.LanguageModel, tmp_path: Path) -> None:
    cured = mitigate(model, sc.Prompted(instruction="asked_not_told")).make_null("equal_length", seed=3)
    cured.save(tmp_path / "cure")
    again = load_cure(tmp_path / "cure", model)
    assert (again.method, again.null, again.seed, again.about) == (cured.method, "equal_length", 3, cured.about)
    choices = [[" Paris", " Rome"]]
    assert np.array_equal(again.model.log_probs(["It is"], choices), cured.model.log_probs(["It is"], choices))


def test_a_saved_cure_is_refused_by_a_model_with_other_weights(model: sc.LanguageModel, tmp_path: Path) -> None:
    mitigate(model, sc.Prompted()).save(tmp_path / "cure")
    other = sc.load_model((tiny_llama(seed=1), tiny_tokenizer()))
    with pytest.raises(sc.DataError, match="made for the weights of"):
        load_cure(tmp_path / "cure", other)


def test_a_saved_cure_is_refused_by_a_model_with_a_cure(model: sc.LanguageModel, tmp_path: Path) -> None:
    facts = sc.load_facts("plurals").slice(0, 4)
    steered = mitigate(model, sc.Steered(layers=(0,), strengths=(1.0,)), facts=facts, progress=False)
    trained = mitigate(model, sc.Consistent(steps=1, batch_size=6, lora_rank=2), facts=facts, progress=False)
    told = mitigate(model, sc.Prompted())
    for number, made in enumerate((told, steered, trained)):
        made.save(tmp_path / str(number))
        with pytest.raises(sc.ModelError, match="load_cure: wanted a local model without another cure's instruction"):
            load_cure(tmp_path / str(number), told.model)
        with pytest.raises(sc.DataError, match="made for the weights of"):
            load_cure(tmp_path / str(number), steered.model)


def test_a_saved_cure_is_refused_where_the_model_would_read_another_text(tmp_path: Path) -> None:
    """A null of equal length depends on the tokenizer, which the digest of the weights does not hold."""
    merged, bytewise = chat_tokenizer(merges=MERGES), chat_tokenizer()
    weights = tiny_llama(vocab_size=len(merged))
    model, other = (sc.load_model((weights, one)) for one in (merged, bytewise))
    null = mitigate(model, sc.Prompted(text="the and the and the and the and")).make_null("equal_length")
    null.save(tmp_path / "cure")
    assert load_cure(tmp_path / "cure", model).about == null.about
    with pytest.raises(sc.DataError, match=r"the cure's text was 'The .*', and with this model it is 'The .*'; load"):
        load_cure(tmp_path / "cure", other)


def test_a_copy_and_another_precision_keep_the_instruction(model: sc.LanguageModel) -> None:
    cured = mitigate(model, sc.Prompted(text="Be true.")).model
    wanted = cured.log_probs(["It is"], [[" so"]])
    copies = (pickle.loads(pickle.dumps(cured)), cured.with_precision("highest"))
    assert all(np.allclose(copy.log_probs(["It is"], [[" so"]]), wanted, atol=1e-5) for copy in copies)


def test_what_cannot_be_asked_is_refused(model: sc.LanguageModel) -> None:
    with pytest.raises(sc.DataError, match="must be one of own_knowledge"):
        mitigate(model, sc.Prompted(instruction="be nice"))
    with pytest.raises(sc.ModelError, match="has no system turn"):
        mitigate(model, sc.Prompted(place="system"))
    with pytest.raises(sc.ModelError, match="without another cure's instruction"):
        mitigate(mitigate(model, sc.Prompted()).model, sc.Prompted())
    with pytest.raises(sc.DataError, match="has the nulls equal_length"):
        mitigate(model, sc.Prompted()).make_null("random")
    with pytest.raises(sc.DataError, match="that mitigate made just now"):
        mitigate(model, sc.Prompted()).make_null("equal_length").make_null("equal_length")
    with pytest.raises(sc.DataError, match="mitigate: method must be the options of a method, got 'prompt'"):
        mitigate(model, "prompt")  # type: ignore[arg-type]  # what is refused
