"""Thoughts before the reply: made in the template's thinking block, kept, and written as the template does."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import (
    THINKING_TEMPLATE,
    reciting_llama,
    thinking_model,
    tiny_llama,
    tiny_model,
    tiny_tokenizer,
)
from numpy.typing import NDArray

import sycophancy_core as sc
from sycophancy_core.cures.texts.instructed import instructed_model
from sycophancy_core.scoring.chat_template import ThoughtMarks, thought_marks, write_out
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.messages import Turn, table_prompts
from sycophancy_core.scoring.sampled.generated import generated_tokens
from sycophancy_core.scoring.sampled.sampling import SamplingOptions, sample_answers
from sycophancy_core.scoring.served.chat import ChatEncoder
from sycophancy_core.scoring.tokens import as_read, tokenize_prompts

TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>"
OFF = "{% if enable_thinking is defined and not enable_thinking %}"
PLAIN = TURNS + "{% endif %}"
# As the templates of these models end: what is written with thinking on and off, and for a thought that is past.
TEMPLATES = {
    "Qwen3": (THINKING_TEMPLATE, ThoughtMarks(opening="<think>\n", closing="\n</think>\n\n")),
    "Qwen3.5": (
        TURNS + "<think>\n" + OFF + "\n</think>\n\n{% endif %}{% endif %}",
        ThoughtMarks(opening="", closing="\n</think>\n\n"),
    ),
    "DeepSeek-R1": (TURNS + "<think>\n{% endif %}", ThoughtMarks(opening="", closing="\n</think>\n\n")),
    "DeepSeek-V3.1": (
        TURNS + "{% if thinking %}<think>{% else %}</think>{% endif %}{% endif %}",
        ThoughtMarks(opening="", closing="</think>"),
    ),
    "SmolLM3": (
        TURNS + OFF + "<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ThoughtMarks(opening="<think>\n", closing="\n</think>\n\n"),
    ),
    "GLM-4.5": (
        "{% for m in messages %}<|{{ m.role }}|>\n{% if m.reasoning_content is defined %}<think>"
        "{{ m.reasoning_content.strip() }}</think>\n{% endif %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>" + OFF + "\n<think></think>{% endif %}{% endif %}",
        ThoughtMarks(opening="\n<think>", closing="</think>\n"),
    ),
    "Nemotron-Super": (
        TURNS + "{% if '/no_think' in messages[0].content %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ThoughtMarks(opening="<think>\n", closing="\n</think>\n\n"),
    ),
    "no thinking block": (PLAIN, None),
}
BEGUN: list[Turn] = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "I say"}]
SYSTEM: list[Turn] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  So? "}]
PROMPTS = pa.table(
    {
        "id": ["a", "b", "c"],
        "prompt": ["Is it so?", "Is 7 odd?", "2 + 2 is"],
        "choices": [[" (A)", " (B)"]] * 3,
        "turns": [BEGUN, None, SYSTEM],
    }
)


def templated(template: str) -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return thinking_model()


def with_thoughts(thoughts: list[str | None]) -> pa.Table:
    return PROMPTS.append_column("thought", pa.array(thoughts, pa.string()))


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_stands_around_a_thought_is_read_off_the_template(name: str) -> None:
    template, wanted = TEMPLATES[name]
    assert thought_marks(templated(template)) == wanted


@pytest.mark.parametrize("thought", ["", "Hm.", "two\n\nlines, <|im_end|> and <end>", "  spaces\n"])
@pytest.mark.parametrize("turns", [BEGUN, SYSTEM])
def test_a_thought_is_written_as_transformers_writes_a_past_one(turns: list[Turn], thought: str) -> None:
    tokenizer = templated(THINKING_TEMPLATE)
    *asked, last = turns if turns[-1]["role"] == "assistant" else [*turns, {"role": "assistant", "content": ""}]
    answered = [*asked, {**last, "reasoning_content": thought.strip()}]
    wanted = tokenizer.apply_chat_template(answered, tokenize=False, enable_thinking=True).removesuffix("<|im_end|>\n")
    ((prompt, (whole,)),) = Encoder(tokenizer, chat_template=True).rows([turns], [["(A)"]], thoughts=[thought])
    assert tokenizer.decode(prompt) == wanted
    assert tokenizer.decode(whole) == f"{wanted}(A)"
    assert tokenizer.eos_token_id not in prompt  # what a thought says is text


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "no thinking block"])
def test_a_prompt_with_thinking_on_is_gone_on_with(name: str) -> None:
    tokenizer = templated(TEMPLATES[name][0])
    encoder, marks = Encoder(tokenizer, chat_template=True), TEMPLATES[name][1]
    assert marks is not None
    start = tokenizer.apply_chat_template(
        BEGUN[:1], tokenize=False, add_generation_prompt=True, enable_thinking=True, thinking=True
    )
    assert tokenizer.decode(encoder.before_thoughts([BEGUN])[0]) == start + marks.opening
    ((prompt, _),) = encoder.rows([BEGUN], [["(A)"]], thoughts=["Hm."])
    assert tokenizer.decode(prompt) == f"{start}{marks.opening}Hm.{marks.closing}I say"


def log_softmax(text: str, answer: str) -> float:
    """Return log p of an answer after a text, of the tiny Llama."""
    tokenizer = tiny_tokenizer()
    start, ids = (tokenizer(some).input_ids for some in (text, text + answer))
    with torch.no_grad():
        likely = torch.log_softmax(tiny_llama()(torch.tensor([ids])).logits[0].double(), -1)
    return float(sum(likely[at - 1, ids[at]] for at in range(len(start), len(ids))))


@pytest.mark.parametrize("engine", ["transformers", "native"])
def test_choices_are_scored_after_the_thought(engine: str) -> None:
    start = "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    texts = [f"{start}Hm.\n</think>\n\nI say", f"{start}No.\n</think>\n\nI say", f"{start}\n</think>\n\nI say"]
    wanted = [[log_softmax(text, choice) for choice in (" (A)", " (B)")] for text in texts]
    prompts = PROMPTS.set_column(3, "turns", pa.array([BEGUN] * 3))
    asked = prompts.append_column("thought", pa.array(["Hm.", "No.", None], pa.string()))
    found = thinking_model(engine=engine).score(asked).log_prob
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def reciting(text: str, template: str = THINKING_TEMPLATE) -> LanguageModel:
    return load_model((reciting_llama(text), templated(template)), engine="transformers", chat_template=True)


def test_a_thought_ends_at_its_tag() -> None:
    found = sc.think(reciting("\nab</think>x"), PROMPTS, max_tokens=40, progress=False)
    assert found["thought"].to_pylist() == ["ab"] * 3
    assert found["thought_ended"].to_pylist() == [True] * 3
    assert found.drop_columns(["thought", "thought_ended"]).equals(PROMPTS)


def test_a_thought_that_does_not_end_is_cut() -> None:
    model = reciting("\nab</think>x")
    for most in (1, 2, 10):
        found = sc.think(model, PROMPTS, max_tokens=most, progress=False)
        assert found["thought"].to_pylist() == ["ab" if most == 10 else "ab"[:most]] * 3
        assert found["thought_ended"].to_pylist() == [most == 10] * 3
    endless = sc.think(reciting("\nxx"), PROMPTS, max_tokens=7, progress=False)
    assert endless["thought"].to_pylist() == ["x" * 7] * 3


def test_nothing_is_generated_after_the_end() -> None:
    model = reciting("\nab</think>x")
    context: NDArray[np.int32] = np.array(model.tokenizer("\n").input_ids, np.int32)

    def is_end(ids: list[int]) -> bool:
        return str(model.tokenizer.decode(ids)).endswith("</th")

    ((ids,),) = generated_tokens(model, [context], draws=1, temperature=1.0, max_tokens=40, seed=0, until=is_end)
    assert model.tokenizer.decode(ids) == "ab</th"


def test_a_thought_depends_on_seed_and_prompt_never_on_what_else_is_asked(model: LanguageModel) -> None:
    found = sc.think(model, PROMPTS, max_tokens=8, seed=5, progress=False)
    alone = sc.think(model, PROMPTS.slice(1, 1), max_tokens=8, seed=5, progress=False)
    turned = sc.think(model, PROMPTS.take([2, 1, 0]), max_tokens=8, seed=5, progress=False)
    assert alone["thought"][0] == found["thought"][1] == turned["thought"][1]
    assert turned["thought"].to_pylist() == found["thought"].to_pylist()[::-1]
    other = sc.think(model, PROMPTS, max_tokens=8, seed=6, progress=False)
    assert len({*found["thought"].to_pylist(), *other["thought"].to_pylist()}) == 6


def test_a_stopped_run_goes_on_to_the_same_thoughts(model: LanguageModel, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    asked: dict[str, Any] = {"max_tokens": 8, "seed": 5}
    with pytest.raises(KeyboardInterrupt, match="thinking stopped after 2 of 3 prompts, kept in"):
        sc.think(model, PROMPTS, **asked, journal=tmp_path / "j", progress=stop)
    calls: list[int] = []
    found = sc.think(model, PROMPTS, **asked, journal=tmp_path / "j", progress=lambda done, _: calls.append(done))
    assert calls == [3]
    assert found.equals(sc.think(model, PROMPTS, **asked, progress=False))
    for changes, said in (({"seed": 6}, "seeds"), ({"max_tokens": 9}, "lengths of thoughts")):
        with pytest.raises(sc.DataError, match=f"begun with other {said}; use"):
            sc.think(model, PROMPTS, **(asked | changes), journal=tmp_path / "j", progress=False)
    with pytest.raises(sc.DataError, match="begun with other weights; use"):
        sc.think(thinking_model(seed=1), PROMPTS, **asked, journal=tmp_path / "j", progress=False)


def test_a_scores_journal_knows_the_thoughts(model: LanguageModel, tmp_path: Path) -> None:
    from sycophancy_core.scoring.resumable import score_resumable

    score_resumable(model, with_thoughts(["Hm."] * 3), journal=tmp_path / "j")
    with pytest.raises(sc.DataError, match="begun with other prompts"):
        score_resumable(model, with_thoughts(["Hm."] * 2 + ["No."]), journal=tmp_path / "j")


def test_a_sampled_reply_follows_the_thought(model: LanguageModel) -> None:
    start = "<|im_start|>user\n2 + 2 is<|im_end|>\n<|im_start|>assistant\n<think>\n"
    thoughts: list[str | None] = ["Hm.", "No.", "It is 4."]
    prompts = with_thoughts(thoughts).set_column(3, "turns", pa.array([[{"role": "user", "content": "2 + 2 is"}]] * 3))
    found = sample_answers(model, prompts, options=SamplingOptions(draws=1, temperature=0, max_tokens=1))
    for thought, reply in zip(thoughts, found["reply"].to_pylist(), strict=True):
        ids = tiny_tokenizer()(f"{start}{thought}\n</think>\n\n", return_tensors="pt").input_ids
        with torch.no_grad():
            likely = tiny_llama()(ids).logits[0, -1].argmax()
        assert reply == tiny_tokenizer().decode([likely], skip_special_tokens=True)


def test_an_instruction_stands_before_the_thought_too(model: LanguageModel) -> None:
    told = instructed_model(model, "Say what is true.", place="user", name="told")
    text = as_read(told.tokenizer, told.encoder, with_thoughts(["Hm."] * 3))[0]
    assert text.index("Say what is true.") < text.index("Is it?") < text.index("<think>\nHm.\n</think>\n\nI say")
    (before, *_) = told.encoder.before_thoughts([BEGUN])
    assert told.tokenizer.decode(before) == text.partition("Hm.")[0]


def test_without_a_thinking_block_nothing_is_thought(model: LanguageModel) -> None:
    thought = with_thoughts(["Hm."] * 3)
    plain = tiny_model()
    chatty = load_model((tiny_llama(), templated(PLAIN)), engine="transformers", chat_template=True)
    for other, said in ((plain, "is asked as plain text, in which it cannot think"), (chatty, "has no thinking block")):
        with pytest.raises(sc.ModelError, match=said):
            sc.think(other, PROMPTS, max_tokens=4, progress=False)
        with pytest.raises(sc.ModelError, match=said):
            other.score(thought)
        other.score(with_thoughts([None] * 3))
    served: Any = ChatEncoder("served", None)
    with pytest.raises(sc.ModelError, match="a chat endpoint cannot be asked to go on after a thought"):
        tokenize_prompts(served, thought)


def test_what_cannot_be_thought_or_scored_is_one_sentence(model: LanguageModel) -> None:
    with pytest.raises(sc.DataError, match="the prompts have thoughts already; leave the column thought out"):
        sc.think(model, with_thoughts(["Hm."] * 3), max_tokens=4)
    with pytest.raises(sc.DataError, match="think: max_tokens must be at least 1, got 0"):
        sc.think(model, PROMPTS, max_tokens=0)
    with pytest.raises(sc.DataError, match="wanted a text without tags, got </think> in row 1"):
        model.score(with_thoughts(["a", "<think>b</think>", "c"]))
    with pytest.raises(sc.DataError, match="these prompts have thoughts, after which they are scored or sampled"):
        table_prompts(with_thoughts(["Hm."] * 3), by_turns=True)
    short = load_model(
        (tiny_llama(max_position_embeddings=150), templated(THINKING_TEMPLATE)),
        engine="transformers",
        chat_template=True,
    )
    assert sc.think(short, PROMPTS.slice(0, 1), max_tokens=2, progress=False).num_rows == 1
    with pytest.raises(
        sc.DataError, match=r"prompt 0 \(id a\) has \d+ tokens .* which with a thought of 99 are \d+, but"
    ):
        sc.think(short, PROMPTS, max_tokens=99, progress=False)


def test_a_prompt_that_switches_thinking_off_is_refused() -> None:
    model = thinking_model(template=TEMPLATES["Nemotron-Super"][0])
    assert sc.think(model, PROMPTS.slice(1, 1), max_tokens=2, progress=False).num_rows == 1
    quiet = pa.table({"prompt": ["Is it? /no_think"], "choices": [["A", "B"]]})
    with pytest.raises(sc.DataError, match="keeps the thought of a prompt closed, though it is told to think"):
        sc.think(model, quiet, max_tokens=2, progress=False)


def test_a_user_who_says_the_tag_opens_no_thought() -> None:
    tokenizer = templated(PLAIN)
    said = [{"role": "user", "content": "What does <think> mean?"}]
    wanted = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert write_out(tokenizer, said, for_reply=True) == wanted
