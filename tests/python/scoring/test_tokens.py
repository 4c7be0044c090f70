"""Prompts and choices as token sequences."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from makers.tiny_families import tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from sycophancy_core import DataError, ModelError
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.tokens import tokenize, tokenize_prompts

TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
MODEL = tiny_model("gpt2")  # takes 300 tokens


def language_model(**options: object) -> LanguageModel:
    chat = bool(options.pop("chat_template", False))
    tokenizer = tiny_tokenizer(chat_template=TEMPLATE if chat else None, **options)
    return LanguageModel(MODEL, tokenizer, name="tiny", chat_template=chat)


def test_each_choice_follows_its_prompt() -> None:
    model = language_model()
    batch = tokenize(model.encoder, ["Is it?", "So"], [[" A", " B"], [" yes"]])
    texts = [model.tokenizer.decode(batch.sequence(s)) for s in range(3)]
    assert texts == ["Is it? A", "Is it? B", "So yes"]
    assert batch.num_context.tolist() == [6, 6, 2]
    assert batch.prompt_index.tolist() == [0, 0, 1]
    assert batch.choice_index.tolist() == [0, 1, 0]
    assert batch.num_tokens_unshared == len("Is it? AIs it? BSo yes") - 3
    assert batch.num_moved_borders == 0


def test_the_border_moves_left_for_all_choices_where_one_merges() -> None:
    model = language_model(merges=[("t", "e")])
    batch = tokenize(model.encoder, ["wait", "wai"], [["er", "s"], ["er", "s"]])
    assert batch.num_context.tolist() == [3, 3, 3, 3]
    assert batch.num_moved_borders == 1
    assert [len(batch.sequence(s)) for s in range(4)] == [5, 5, 5, 4]


def test_tokens_of_choices_and_their_shared_beginning_are_counted() -> None:
    model = language_model(merges=[("t", "e")])  # else a token a letter
    choices = [[" tea", " ten", " toe"], [" one"], ["er", "s"]]
    batch = tokenize(model.encoder, ["Is it?", "So", "wait"], choices)
    assert batch.choice_tokens.tolist() == [[3, 3, 4], [4, 0, 0], [2, 2, 0]]  # of "wait": te r, t s
    assert batch.shared_tokens.tolist() == [1, 4, 0]


def test_special_tokens_in_a_prompt_are_plain_text() -> None:
    batch = tokenize(language_model().encoder, ["a<|end|>b"], [[" A"]])
    assert 0 not in batch.sequence(0)
    assert batch.num_context.tolist() == [len("a<|end|>b")]


def test_the_chat_template_brings_its_role_tokens_and_the_prompt_brings_none() -> None:
    model = language_model(chat_template=True)
    batch = tokenize(model.encoder, ["hi <|bot|>"], [[" (A)"]])
    user, bot = model.tokenizer.convert_tokens_to_ids(["<|user|>", "<|bot|>"])
    ids = batch.sequence(0).tolist()
    assert ids[0] == user
    assert [i for i, token in enumerate(ids) if token == bot] == [1 + len("hi <|bot|>")]
    assert model.tokenizer.decode(ids[batch.num_context[0] :]) == "(A)"


@pytest.mark.parametrize(
    ("prompts", "choices", "message"),
    [
        ([], [], "the table of prompts is empty; wanted at least one row"),
        (["a"], [[]], "prompt 0 has no choices"),
        (["a", "b"], [[" A"], [" A", ""]], "prompt 1: choice '' has no tokens"),
        ([""], [[" A"]], "prompt 0 has no tokens"),
        (["a" * 300], [[" A"]], "prompt 0 with choice ' A' has 302 tokens, but tiny takes at most 301"),
    ],
)
def test_what_cannot_be_scored_is_refused(prompts: list[str], choices: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenize(language_model().encoder, prompts, choices)


def test_an_error_names_the_row_by_its_id() -> None:
    with pytest.raises(DataError, match=r"prompt 0 \(id c0ffee\) has no choices"):
        tokenize(language_model().encoder, ["a"], [[]], ids=["c0ffee"])


def test_a_model_without_chat_template_is_refused() -> None:
    from sycophancy_core import ModelError

    with pytest.raises(ModelError, match="its tokenizer has no chat template"):
        LanguageModel(MODEL, tiny_tokenizer(), name="tiny", chat_template=True)


def test_many_prompts_are_tokenized_as_one_by_one() -> None:
    model = language_model()
    prompts = [f"number {i}" for i in range(1500)]
    batch = tokenize(model.encoder, prompts, [[" A"]] * 1500)
    assert batch.num_sequences == 1500
    for row in (0, 1023, 1024, 1499):
        assert np.array_equal(batch.sequence(row), tokenize(model.encoder, [prompts[row]], [[" A"]]).tokens)


SYSTEM_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}<|bot|>s:{{ m.content }}{% else %}<|user|>{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)


def test_the_system_prompt_stands_before_the_users_turn_and_is_only_text() -> None:
    tokenizer = tiny_tokenizer(chat_template=SYSTEM_TEMPLATE)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True, system_prompt="be <|user|>")
    found = tokenize(model.encoder, ["hi"], [[" A"]]).sequence(0).tolist()
    user, bot = tokenizer.convert_tokens_to_ids(["<|user|>", "<|bot|>"])
    letters = {c: tokenizer(c, add_special_tokens=False).input_ids[0] for c in "be <|user>s:hiA"}
    text = [letters[c] for c in "be <|user|>"]
    assert found == [bot, letters["s"], letters[":"], *text, user, letters["h"], letters["i"], bot, letters["A"]]
    silent = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    assert tokenize(silent.encoder, ["hi"], [[" A"]]).sequence(0).tolist() == [
        user,
        letters["h"],
        letters["i"],
        bot,
        letters["A"],
    ]
    assert silent.tokenizer_digest != model.tokenizer_digest


ROLES_TEMPLATE = (
    "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|bot|>' }}{{ m.role }}: {{ m.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
@pytest.mark.parametrize("opening", ["", "The best is:"])
def test_turns_are_what_the_chat_template_makes_of_them(system_prompt: str | None, opening: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=ROLES_TEMPLATE)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True, system_prompt=system_prompt)
    messages = turns("Is it?", "It is (A)", "Sure?")
    begun = turns("Is it?", "It is (A)", "Sure?", opening)
    batch = tokenize(model.encoder, ["Is it?", begun], [[" (A)", " (B)"]] * 2)
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": system_prompt})
    for first, conversation, start in ((0, messages[:-2], ""), (2, messages, opening)):
        text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        for s, choice in enumerate((" (A)", " (B)"), first):
            reply = (start + choice).lstrip(" ")
            assert batch.sequence(s).tolist() == tokenizer(text + reply, add_special_tokens=False).input_ids
            context = tokenizer(text + start, add_special_tokens=False).input_ids
            assert batch.num_context[s] == len(context)
    plain = LanguageModel(MODEL, tokenizer, name="tiny")
    read = tokenizer.decode(tokenize(plain.encoder, [begun], [[" A"]]).sequence(0))
    reply = f"Assistant: {opening} A" if opening else "Assistant: A"
    assert read == f"Human: Is it?\n\nAssistant: It is (A)\n\nHuman: Sure?\n\n{reply}"


def turns(*texts: str) -> list[dict[str, str]]:
    """Return what user and assistant say by turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


@pytest.mark.parametrize("kind", ["messages", "turns of version 0.1"])
def test_a_table_is_read_by_its_turns_or_by_its_texts(kind: str) -> None:
    tokenizer = tiny_tokenizer(chat_template=ROLES_TEMPLATE)
    said: list[Any] = ["Is it?", "It is (A)", "Sure?", ""]
    table = pa.table({"prompt": ["the text", "other"], "choices": [[" A", " B"]] * 2})
    table = table.append_column("turns", pa.array([turns(*said) if kind == "messages" else said, None]))
    for chat in (False, True):
        model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=chat)
        wanted = tokenize(model.encoder, [turns(*said[:3]) if chat else "the text", "other"], [[" A", " B"]] * 2)
        found = tokenize_prompts(model.encoder, table)
        assert found.tokens.tolist() == wanted.tokens.tolist()
        assert found.num_context.tolist() == wanted.num_context.tolist()


def test_turns_of_version_0_1_that_the_user_does_not_end_are_refused() -> None:
    tokenizer = tiny_tokenizer(chat_template=ROLES_TEMPLATE)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    table = pa.table({"prompt": ["a"], "choices": [[" A"]], "turns": [["a", "b", ""]]})
    with pytest.raises(DataError, match="turns: got 2 texts before the reply; wanted the user's, or"):
        tokenize_prompts(model.encoder, table)


def test_a_text_that_spells_out_a_dialogue_is_warned_of_in_a_chat() -> None:
    dialogue = "Human: Is it?\n\nAssistant: I believe"
    tokenizer = tiny_tokenizer(chat_template=ROLES_TEMPLATE)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    with pytest.warns(UserWarning, match="Human and Assistant are put whole into the user's turn"):
        tokenize(model.encoder, ["Is it?", dialogue], [[" A"]] * 2)
    tokenize(LanguageModel(MODEL, tokenizer, name="tiny").encoder, [dialogue], [[" A"]])
    tokenize(model.encoder, [turns(dialogue)], [[" A"]])  # a user may say so


def test_two_system_messages_are_refused() -> None:
    tokenizer = tiny_tokenizer(chat_template=SYSTEM_TEMPLATE)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True, system_prompt="Be brief.")
    own = [{"role": "system", "content": "Be kind."}, *turns("hi")]
    with pytest.raises(DataError, match="got a system prompt, and a prompt with a system message of its own"):
        tokenize(model.encoder, [own], [[" A"]])
    alone = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    wanted = tokenizer.apply_chat_template(own, add_generation_prompt=True, return_dict=False)
    assert tokenize(alone.encoder, [own], [[" A"]]).sequence(0)[: len(wanted)].tolist() == wanted


def test_a_system_prompt_without_its_turn_is_refused() -> None:
    from sycophancy_core import ModelError

    with pytest.raises(ModelError, match="a system prompt needs chat_template=True"):
        LanguageModel(MODEL, tiny_tokenizer(), name="tiny", system_prompt="Be brief.")
    for template, words in (
        ("{{ messages[-1].content }}", "does not hold the system's text exactly once; leave system_prompt out"),
        ("{{ raise_exception('no system role') }}", "refuses these turns: no system role"),
    ):
        tokenizer = tiny_tokenizer(chat_template=template)
        model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True, system_prompt="Be brief.")
        with pytest.raises(DataError, match=words):
            tokenize(model.encoder, ["hi"], [[" A"]])


def test_a_tokenizer_that_marks_where_texts_begin_sees_one_text() -> None:
    tokenizer = sentencepiece_like("{% for m in messages %}[USER] {{ m['content'] }} [BOT]{% endfor %}")
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    wanted = tokenizer.apply_chat_template(turns("agree or not"), add_generation_prompt=True, return_dict=False)
    batch = tokenize(model.encoder, ["agree or not"], [["A", "B"]])
    assert batch.sequence(0)[: len(wanted)].tolist() == wanted
    assert tokenizer.decode(batch.sequence(0)[batch.num_context[0] :]).strip() == "A"


def sentencepiece_like(template: str) -> Any:
    """Make a tokenizer that marks the beginning of each text, as Llama 2's does, with a template."""
    tokenizer = tiny_tokenizer(chat_template=template)
    tokenizer.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True, use_regex=False)
    return tokenizer


# What the template puts before a reply: a new line that the prompt for it does not have, or a space.
@pytest.mark.parametrize("opening", ["\n", " ", "\n\n", ""])
def test_a_reply_is_tokenized_as_the_template_writes_it(opening: str) -> None:
    tokenizer = sentencepiece_like(
        "{% for m in messages %}{% if m.role == 'user' %}[U]{{ m.content }}[/U]{% else %}"
        + opening.replace("\n", "{{ '\\n' }}")
        + "{{ m.content }}<|end|>{% endif %}{% endfor %}"
    )
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    batch = tokenize(model.encoder, ["Is it?"], [[" (A)", " (B)"]])
    for s, reply in enumerate(("(A)", "(B)")):
        (*wanted, end) = tokenizer.apply_chat_template(turns("Is it?", reply), return_dict=False)
        assert batch.sequence(s).tolist() == wanted
        assert end == tokenizer.eos_token_id
    context = tokenizer.decode(batch.sequence(0)[: batch.num_context[0]])
    assert context.strip(" ") == "[U]Is it?[/U]" + opening.strip(" ")


def test_turns_are_trimmed_as_the_template_does() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content | trim }}{% else %}<|bot|> "
        "{{ m.content.rstrip() }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
    )
    tokenizer = tiny_tokenizer(chat_template=template)
    model = LanguageModel(MODEL, tokenizer, name="tiny", chat_template=True)
    said = turns("  Is it so?\nAnswer: ", "  It is.  ", " Sure? ")
    batch = tokenize(model.encoder, [said], [["A", "B"]])
    wanted = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
    assert batch.sequence(0)[: len(wanted)].tolist() == wanted
    assert tokenizer.decode(batch.sequence(0)) == "<|user|>Is it so?\nAnswer:<|bot|>   It is.<|user|>Sure?<|bot|> A"


def test_threads_do_not_tell_each_other_what_is_special() -> None:
    tokenizer = tiny_tokenizer(chat_template=ROLES_TEMPLATE)
    models = [LanguageModel(MODEL, tokenizer, name="tiny", chat_template=chat) for chat in (False, True)]
    prompts = [f"{i} <|user|>" for i in range(400)]

    def run(model: LanguageModel) -> list[int]:
        return tokenize(model.encoder, prompts, [[" A"]] * 400).tokens.tolist()

    wanted = [run(model) for model in models] * 6
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, models * 6)) == wanted


def closing_tokenizer(*ends: str, eos: str | None = None) -> Any:
    """Return BERT's way of closing a text: a token before it, and tokens after it that are not its end of sequence."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "is", "one", "two", "?", "yes", "no", "a"]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single=" ".join(["[CLS] $A", *ends]), special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", eos_token=eos)


@pytest.mark.parametrize("ends", [(), ("[SEP]",), ("[SEP]", "[CLS]")])
@pytest.mark.parametrize("eos", [None, "[SEP]", "?"])
def test_what_a_tokenizer_adds_at_the_end_is_not_scored(ends: tuple[str, ...], eos: str | None) -> None:
    encoder = Encoder(closing_tokenizer(*ends, eos=eos))
    batch = tokenize(encoder, ["is one two ?"], [[" yes", " no no"]])
    assert [batch.sequence(s).tolist() for s in range(2)] == [[2, 4, 5, 6, 7, 8], [2, 4, 5, 6, 7, 9, 9]]
    assert (batch.num_context.tolist(), batch.num_moved_borders) == ([5, 5], 0)


def test_an_answer_ends_with_the_end_of_sequence_or_else_with_what_ends_every_text() -> None:
    assert Encoder(closing_tokenizer("[SEP]")).end_of_reply() == [3]
    assert Encoder(closing_tokenizer("[SEP]", eos="?")).end_of_reply() == [7]
    assert Encoder(closing_tokenizer()).end_of_reply() == []


def test_a_tokenizer_that_cannot_be_used_is_named() -> None:
    backend = Tokenizer(models.WordPiece({"b": 0}, unk_token="[UNK]"))  # which its vocabulary lacks
    with pytest.raises(ModelError, match=r"model tiny: its tokenizer cannot be used: .*UNK"):
        LanguageModel(MODEL, PreTrainedTokenizerFast(tokenizer_object=backend), name="tiny")
