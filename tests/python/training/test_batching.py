"""Training batches: the same rows for the same seed, every row once an epoch, loss on completions only."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.tiny_llama import tiny_llama, tiny_tokenizer

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.prompt_table import TURNS
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.tokens import tokenize
from sycophancy_core.training.batching import EncodedRow, encode_rows, make_batch, plan_batches


def rows(*pairs: tuple[str, str], origin: str = "synthetic") -> pa.Table:
    return pa.table(
        {
            "id": [str(index) for index in range(len(pairs))],
            "origin": [origin] * len(pairs),
            "prompt": [prompt for prompt, _ in pairs],
            "completion": [completion for _, completion in pairs],
        }
    )


def test_only_the_completion_is_supervised() -> None:
    (row,) = encode_rows(rows(("ask", " (A)")), Encoder(tiny_tokenizer()), max_tokens=100)
    assert tiny_tokenizer().decode(row.ids) == "ask (A)"
    assert row.first_supervised == 3  # a token is a byte


def test_an_instruction_row_ends_with_the_end_token_and_a_choice_does_not() -> None:
    tokenizer = tiny_tokenizer()
    (instruction,) = encode_rows(rows(("ask", " so"), origin="instruction"), Encoder(tokenizer), max_tokens=100)
    (choice,) = encode_rows(rows(("ask", " so")), Encoder(tokenizer), max_tokens=100)
    assert instruction.ids == (*choice.ids, tokenizer.eos_token_id)


def language_model(tokenizer: Any, **options: Any) -> LanguageModel:
    return LanguageModel(tiny_llama(), tokenizer, name="tiny", engine="transformers", **options)


@pytest.mark.parametrize("adds_end", [False, True])
def test_a_choice_is_learned_in_the_tokens_in_which_it_is_scored(adds_end: bool) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    if adds_end:
        end = ("<end>", tokenizer.eos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[end])
    pair = ("what is <end> for? ", "(A)<end>")
    (row,) = encode_rows(rows(pair), Encoder(tokenizer), max_tokens=100)
    wanted = tokenize(language_model(tokenizer).encoder, [pair[0]], [[pair[1]]])
    assert list(row.ids) == wanted.sequence(0).tolist()
    assert row.first_supervised == wanted.num_context[0]
    assert tokenizer.eos_token_id not in row.ids
    (instruction,) = encode_rows(rows(pair, origin="instruction"), Encoder(tokenizer), max_tokens=100)
    assert instruction.ids == (*row.ids, tokenizer.eos_token_id)


CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize("system_prompt", [None, "Be brief."])
@pytest.mark.parametrize("said", [None, ["Is it?", "It is (A)", "Sure?", "The best is:"]])
def test_with_a_chat_template_a_completion_is_learned_where_it_is_scored(
    said: list[str] | None, system_prompt: str | None
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    model = language_model(tokenizer, chat_template=True, system_prompt=system_prompt)
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said or ["ask"])]
    wanted = tokenize(model.encoder, ["ask" if said is None else messages], [[" (A)"]])
    table = rows(("ask", " (A)")).append_column("turns", pa.array([None if said is None else messages], TURNS))
    encode = model.encoder
    (row,) = encode_rows(table, encode, max_tokens=200)
    assert list(row.ids) == wanted.sequence(0).tolist()
    assert row.first_supervised == wanted.num_context[0]
    begun = messages.pop()["content"] if len(messages) % 2 == 0 else ""
    messages.append({"role": "assistant", "content": f"{begun} (A)".lstrip(" ")})
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": system_prompt})
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    instructed = table.set_column(1, "origin", pa.array(["instruction"]))
    (instruction,) = encode_rows(instructed, encode, max_tokens=200)
    assert tokenizer.decode(instruction.ids) == whole.removesuffix("\n")
    assert instruction.ids == (*row.ids, tokenizer.eos_token_id)


ASKED = [{"role": "user", "content": "Is it?"}]
ANSWER = [{"role": "assistant", "content": "It is."}]
SYSTEM = [{"role": "system", "content": "Be kind."}]


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    "columns",
    [
        {"messages": [SYSTEM + ASKED + ANSWER]},
        {"prompt": [SYSTEM + ASKED], "completion": [ANSWER]},
        {"prompt": [SYSTEM + ASKED], "completion": [" It is."], "origin": ["instruction"], "id": ["a"]},
    ],
)
def test_chats_in_the_forms_of_trl_are_learned_as_instructions(columns: dict[str, Any], chat: bool) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    encode = Encoder(tokenizer, chat_template=chat)
    (row,) = encode_rows(pa.table(columns), encode, max_tokens=200)
    whole = tokenizer.apply_chat_template(SYSTEM + ASKED + ANSWER, tokenize=False).removesuffix("\n")
    wanted = whole if chat else "Human: Be kind.\n\nIs it?\n\nAssistant: It is.<end>"
    assert tokenizer.decode(row.ids) == wanted
    assert tokenizer.decode(row.ids[row.first_supervised :]) == ("It is.<end>" if chat else " It is.<end>")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"messages": [ASKED]}, "row 0: messages must end with the assistant's answer, got one of user last"),
        ({"messages": [["Is it?"]]}, "row 0: each of messages must hold a role and a text"),
        ({"messages": [None]}, "row 0: wanted a text or messages .*, got nothing"),
        ({"prompt": [ASKED], "completion": [3]}, "the column 'completion' must hold texts or messages, got int64"),
        (
            {"prompt": [3], "completion": ["x"], "id": ["a"], "origin": ["synthetic"]},
            "the column 'prompt' must hold texts or mess",
        ),
        ({"prompt": ["x"], "completion": ["y"]}, "columns id, origin, prompt, completion, as mix makes them, or mess"),
        (
            {"prompt": ["x"], "completion": ["y"], "id": ["a"], "origin": [None]},
            "the column 'origin' has null in row 0",
        ),
        ({"turns": [ASKED]}, "or messages, got the columns turns"),
    ],
)
def test_rows_that_are_neither_texts_nor_chats_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_rows(pa.table(columns), Encoder(tiny_tokenizer()), max_tokens=100)


def test_an_answer_ends_as_the_chat_template_ends_a_turn_and_else_with_the_end_token() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn_end>"]})
    for ending, wanted in (("<turn_end>\n<end>", "(A)<turn_end>"), ("!\n", "(A)<end>")):
        tokenizer.chat_template = CHAT.replace("<end>\n", ending)
        (row,) = encode_rows(
            rows(("ask", " (A)"), origin="instruction"), Encoder(tokenizer, chat_template=True), max_tokens=100
        )
        assert tokenizer.decode(row.ids[row.first_supervised :]) == wanted


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(("ask", "")), "row '0' has no supervised token"),
        (rows(("", " (A)")), "row '0' has no prompt token"),
        (rows(("ask" * 40, " (A)")), "row '0' has 124 tokens, wanted at most 100"),
        (rows(), "got an empty table"),
    ],
)
def test_a_row_that_cannot_be_learned_is_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_rows(table, Encoder(tiny_tokenizer()), max_tokens=100)


def rows_of_lengths(lengths: np.ndarray) -> list[EncodedRow]:
    return [EncodedRow(ids=(1,) * int(length), first_supervised=0) for length in lengths]


@given(
    num_rows=st.integers(1, 40),
    num_batches=st.integers(1, 20),
    batch_size=st.integers(1, 8),
    seed=st.integers(0, 5),
)
def test_every_row_comes_once_before_any_comes_again(
    num_rows: int, num_batches: int, batch_size: int, seed: int
) -> None:
    rows = rows_of_lengths(np.arange(num_rows) % 7 + 1)
    plan = plan_batches(rows, num_batches=num_batches, batch_size=batch_size, seed=seed)
    again = plan_batches(rows, num_batches=num_batches, batch_size=batch_size, seed=seed)
    counts = np.bincount(plan.ravel(), minlength=num_rows)
    assert plan.shape == (num_batches, batch_size)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(plan, again)


def test_rows_of_like_length_share_batches() -> None:
    lengths = np.random.default_rng(0).integers(10, 200, 256)
    plan = plan_batches(rows_of_lengths(lengths), num_batches=8, batch_size=32, seed=0)
    padded = sum(lengths[batch].max() * 32 for batch in plan)
    assert padded < 1.15 * lengths.sum()


@pytest.mark.parametrize(("limit", "width"), [(None, 32), (40, 32), (32, 32), (20, 20), (17, 17)])
def test_nothing_is_padded_beyond_the_models_positions(limit: int | None, width: int) -> None:
    row = EncodedRow(ids=tuple(range(17)), first_supervised=3)
    assert make_batch([row], pad_id=0, multiple=32, limit=limit).ids.shape == (1, width)


def test_a_batch_says_which_output_predicts_which_token() -> None:
    batch = make_batch(
        [EncodedRow(ids=(5, 6, 7, 8), first_supervised=3), EncodedRow(ids=(1, 2, 3), first_supervised=1)],
        pad_id=0,
        multiple=8,
    )
    assert batch.ids.tolist() == [[5, 6, 7, 8, 0, 0, 0, 0], [1, 2, 3, 0, 0, 0, 0, 0]]
    assert (batch.row.tolist(), batch.column.tolist(), batch.target.tolist()) == ([0, 1, 1], [2, 0, 1], [8, 2, 3])
    assert batch.num_tokens == 7


def test_more_rows_than_any_training_has_are_refused() -> None:
    with pytest.raises(DataError, match="steps x batch_size must be at most 100,000,000 rows, got 8,589,934,592"):
        plan_batches(rows_of_lengths([3, 4]), num_batches=2**31, batch_size=4, seed=0)
