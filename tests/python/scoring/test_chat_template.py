"""A chat template is written out the same way for every prompt: its date, its thinking, and what results keep of it."""

from __future__ import annotations

import hashlib
import re
import warnings
from datetime import datetime

import pytest
from makers.tiny_families import tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core import DataError
from sycophancy_core.scoring.chat_template import TEMPLATE_DATE, write_out
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.tokens import tokenize

ASKED = [{"role": "user", "content": "Is it?"}]
PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}"
# As Llama 3 dates its prompts, and as templates do that ask for the day.
GIVEN_DATE = "{% if not date_string is defined %}{% set date_string = 'another' %}{% endif %}Today: {{ date_string }}. "
ASKED_DATE = "\n{%- set today = strftime_now('%A, %d %B %Y (%-d.%-m.%y, %j) %%') %}{{ today }}. "
# Qwen 3's switch, and a template that always thinks.
SWITCH = (
    "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
)
THOUGHT = "{% if add_generation_prompt %}<think>\n"
MODULE = tiny_model("gpt2")


def chat_model(template: str, **options: str) -> LanguageModel:
    return LanguageModel(MODULE, tiny_tokenizer(chat_template=template), name="tiny", chat_template=True, **options)


def read(model: LanguageModel) -> str:
    batch = tokenize(model.encoder, ["Is it?"], [[" (A)", " (B)"]])
    return str(model.tokenizer.decode(batch.sequence(0)[: batch.num_context[0]]))


def test_a_template_writes_the_same_date_on_every_day() -> None:
    assert read(chat_model(GIVEN_DATE + PLAIN)) == "Today: 26 Jul 2024. [user]Is it?[bot]"
    day = datetime(2024, 7, 26).strftime("%A, %d %B %Y (%-d.%-m.%y, %j) %%")
    assert read(chat_model(ASKED_DATE + PLAIN)) == f"{day}. [user]Is it?[bot]"


def test_a_clock_leaves_the_template_as_it_is() -> None:
    tokenizer = tiny_tokenizer(chat_template=ASKED_DATE + PLAIN)
    theirs = tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    ours = write_out(tokenizer, ASKED, for_reply=True)
    assert ours.partition(". [")[2] == theirs.partition(". [")[2] != ""
    assert not ours.startswith("\n")
    assert tokenizer.chat_template == ASKED_DATE + PLAIN


@pytest.mark.parametrize("ending", [SWITCH, THOUGHT])
def test_a_choice_is_scored_after_an_empty_thought_where_a_template_has_thoughts(ending: str) -> None:
    template = PLAIN + ending + "{% endif %}"
    assert read(chat_model(template)) == "[user]Is it?[bot]<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    "opening", ["<thought>", "<seed:think>", "[THINK]", "◁think▷", "<|START_THINKING|>", "<reasoning>", "<think_fast>"]
)
def test_no_choice_is_scored_within_a_thought_of_other_tags(opening: str) -> None:
    template = f"{PLAIN}{{% if add_generation_prompt %}}{opening}\n"
    with pytest.raises(sc.ModelError, match=f"opens a thought with {re.escape(opening)}, where only <think> is known"):
        read(chat_model(template + "{% endif %}"))
    closing = opening.replace("START", "END") if "START" in opening else f"{opening[0]}/{opening[1:]}"
    closed = tiny_tokenizer(chat_template=f"{template}{closing}\n{{% endif %}}")
    assert write_out(closed, ASKED, for_reply=True) == f"[user]Is it?[bot]{opening}\n{closing}\n"
    said = [{"role": "user", "content": f"What is {opening}"}]
    assert write_out(tiny_tokenizer(chat_template=PLAIN.partition("{% if")[0]), said, for_reply=True)


def test_results_keep_what_the_template_says() -> None:
    for template, date, start in (
        (PLAIN, None, ""),
        (GIVEN_DATE + PLAIN, TEMPLATE_DATE, "Today: 26 Jul 2024. "),
        ("[system]Default.{% if strftime_now is defined %}{% endif %}" + PLAIN, None, "[system]Default."),
    ):
        digest = hashlib.sha256(template.encode()).hexdigest()
        facts = {"chat_template": digest, "system_prompt": None, "template_date": date}
        assert chat_model(template).template_facts == facts | {"template_opening": f"{start}[user]"}
    given = chat_model(PLAIN, system_prompt="Be brief.").template_facts
    assert (given["system_prompt"], given["template_opening"]) == ("Be brief.", "[system]Be brief.[user]")
    plain = LanguageModel(MODULE, tiny_tokenizer(chat_template=PLAIN), name="tiny")
    assert set(plain.template_facts) == set(given)
    assert set(plain.template_facts.values()) == {None}


def test_plain_text_is_said_where_there_is_a_template() -> None:
    pair = (MODULE, tiny_tokenizer(chat_template=PLAIN))
    with pytest.warns(
        UserWarning, match="its tokenizer has a chat template, but prompts are asked as plain text"
    ) as said:
        assert not sc.load_model(pair).chat_template
    assert len(said) == 1
    assert said[0].filename == __file__
    assert not sc.load_model(pair, chat_template=False).chat_template
    assert not sc.load_model((MODULE, tiny_tokenizer())).chat_template


def test_auto_asks_in_the_template_where_there_is_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asks = sc.load_model((MODULE, tiny_tokenizer(chat_template=PLAIN)), chat_template="auto")
        other = sc.load_model((MODULE, tiny_tokenizer()), chat_template="auto")
    assert (asks.chat_template, asks.asked_as) == (True, "in its chat template")
    assert (other.chat_template, other.asked_as) == (False, "as plain text")
    with pytest.raises(sc.ModelError, match="chat_template must be True, False or 'auto', got 'yes'"):
        sc.load_model((MODULE, tiny_tokenizer()), chat_template="yes")


def each(content: str, ending: str = "") -> str:
    """Return a template that writes so much of each message, and an ending after the prompt for a reply."""
    turn = "{{ '<|user|>' + m.role + '\\n' + (CONTENT) + '<|end|>\\n' }}".replace("CONTENT", content)
    opening = "{% if add_generation_prompt %}{{ '<|bot|>' }}" + ending + "{% endif %}"
    return "{% for m in messages %}" + turn + "{% endfor %}" + opening


READING = {
    "a mode that the system prompt chooses": each(
        "m.content | replace('/no_think', '') | trim",
        "{% if '/no_think' in messages[0].content %}{{ '<think></think>' }}{% endif %}",
    ),
    "earlier thoughts": each("m.content.split('</think>')[-1] if m.role == 'assistant' else m.content"),
    "the first line": each("m.content.split('\\n')[0]"),
    "the length": each("m.content", "{% if messages[-1].content | length > 20 %}{{ 'long' }}{% endif %}"),
    "an empty text": each("m.content if m.content else 'nothing'"),
    "quotes": each("m.content | tojson"),
    "markup": each("m.content | e"),
    "new lines at the end": each("m.content.rstrip('\\n')"),
    "nothing": each("m.content"),
}
CONVERSATIONS = [
    ["/no_think", "1 + 1 = 2?"],
    ["be brief", "1 + 1 = 2?", "it is </think>yes", "Sure?"],
    ["be brief", 'first "line"\nsecond <b>line</b>, long enough to count\n'],
    ["", "x"],
    [" ", "  spaces around  "],
]


@pytest.mark.parametrize("name", READING)
def test_a_template_that_reads_its_texts_is_written_out_for_each(name: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=READING[name])
    encoder = Encoder(tokenizer, chat_template=True)
    roles = ["system", "user", "assistant", "user"]
    for texts in CONVERSATIONS:
        turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
        wanted = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ((prompt, (whole,)),) = encoder.rows([turns], [[" (A)"]])
        assert tokenizer.decode(prompt) == wanted
        assert tokenizer.decode(whole) == f"{wanted}(A)"
        assert prompt == tokenizer(wanted, add_special_tokens=False).input_ids


def test_a_text_with_a_special_token_in_it_is_refused_where_the_template_rewrites_it() -> None:
    encoder = Encoder(tiny_tokenizer(chat_template=READING["markup"]), chat_template=True)
    with pytest.raises(DataError, match="template changes a text that holds the text of a special token"):
        encoder.rows(["say <|end|> now"], [[" (A)"]])
    as_it_is = tiny_tokenizer(chat_template=READING["nothing"])
    ((prompt, _),) = Encoder(as_it_is, chat_template=True).rows(["say <|end|> now"], [[" (A)"]])
    assert prompt.count(as_it_is.eos_token_id) == 1


def test_a_template_that_refuses_a_text_is_one_sentence() -> None:
    template = "{% if 'no' in messages[0].content %}{{ raise_exception('not that') }}{% endif %}" + READING["nothing"]
    encoder = Encoder(tiny_tokenizer(chat_template=template), chat_template=True)
    encoder.rows(["yes"], [[" (A)"]])
    with pytest.raises(DataError, match="template refuses these turns: not that"):
        encoder.rows(["no"], [[" (A)"]])
