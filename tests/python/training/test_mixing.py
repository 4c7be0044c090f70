"""The mix: ratios by rows and by tokens against paper and pencil, sources by weight, and overlap refused."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.training.mixing import _apportion, _shares
from sycophancy_core.training.overlap import _index, refuse_overlap


def prompts(number: int, text: str = "Is {i} odd? Please say which.") -> pa.Table:
    return pa.table(
        {
            "id": [f"p{i}" for i in range(number)],
            "claim_id": [f"c{i}" for i in range(number)],
            "source": ["numbers"] * number,
            "prompt": [text.format(i=i) for i in range(number)],
            "choices": [[" (A)", " (B)"]] * number,
            "target": [i % 2 for i in range(number)],
        }
    )


def instructions(number: int, *, length: int = 10, name: str = "do") -> pa.Table:
    """Make rows whose outputs have ``length``, ``length + 1``, ``length + 2``, ``length``, ... bytes."""
    texts = [f"{name} {i}" for i in range(number)]
    return pa.table(
        {"instruction": texts, "input": [""] * number, "output": ["x" * (length + i % 3) for i in range(number)]}
    )


def counts(rows: pa.Table, column: str = "num_rows", **options: object) -> dict[str, int]:
    table = sc.count_rows(rows, **options)
    return dict(zip(table["source"].to_pylist(), table[column].to_pylist(), strict=True))


def test_sources_share_the_instructions_by_weight() -> None:
    sources = {"a": instructions(50), "b": instructions(3, name="say")}
    rows = sc.mix(prompts(100), sources, ratio=4.0, weights={"a": 3.0, "b": 1.0})
    assert counts(rows) == {"numbers": 100, "a": 19, "b": 6}  # of 25: 18.75 and 6.25
    assert rows.column_names == ["id", "origin", "source", "prompt", "completion", "turns"]
    assert len(set(rows["id"].to_pylist())) == 125
    own = {source: [r["prompt"] for r in rows.to_pylist() if r["source"] == source] for source in "ab"}
    assert all(prompt.startswith("Human: do ") for prompt in own["a"])
    assert sorted(own["b"]) == sorted(f"Human: say {i}\n\nAssistant:" for i in (0, 1, 2, 0, 1, 2))
    assert len(set(own["b"][:3])) == 3  # each once before any comes again


def test_sources_are_spread_over_the_whole_mix() -> None:
    sources = {name: instructions(200, name=name) for name in "ab"}
    found = sc.mix(prompts(1000), sources, ratio=5.0)["source"].to_pylist()
    for start in range(0, 1200, 300):
        part = found[start : start + 300]
        assert part.count("numbers") == 250
        assert 10 <= part.count("a") <= 40  # 25 expected, sd about 3


def test_the_order_in_which_sources_are_named_says_nothing() -> None:
    first = sc.mix(prompts(20), {"a": instructions(9), "b": instructions(8)}, ratio=2.0, seed=3)
    second = sc.mix(prompts(20), {"b": instructions(8), "a": instructions(9)}, ratio=2.0, seed=3)
    assert first.equals(second)
    assert not first.equals(sc.mix(prompts(20), {"a": instructions(9), "b": instructions(8)}, ratio=2.0, seed=4))


def test_one_source_is_used_as_it_comes() -> None:
    rows = sc.mix(prompts(10), instructions(4), ratio=2.0)
    assert counts(rows) == {"numbers": 10, "instructions": 5}


@given(st.integers(0, 1000), st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6))
def test_parts_add_up_and_none_is_a_row_off(total: int, weights: list[float]) -> None:
    named = {str(i): weight for i, weight in enumerate(weights)}
    found = _apportion(total, _shares(dict.fromkeys(named, pa.table({})), named))
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * weight / sum(weights)) < 1 + 1e-9 for name, weight in named.items())


@pytest.mark.parametrize("seed", range(4))
def test_the_ratio_of_supervised_tokens_is_as_near_as_a_row_can_bring_it(seed: int) -> None:
    # The tokenizer's tokens are bytes: 4 for " (A)", and for an output its bytes, the space before and the end.
    sources = {"short": instructions(40, length=3), "long": instructions(5, length=70)}
    weights = {"short": 1.0, "long": 2.0}
    options = {"unit": "tokens", "model": tiny_model(), "weights": weights}
    rows = sc.mix(prompts(300), sources, ratio=3.0, seed=seed, **options)
    wanted = {"short": 1200 / 3 / 3, "long": 1200 / 3 * 2 / 3}
    for source, tokens in wanted.items():
        drawn = [len(r["completion"]) + 1 for r in rows.to_pylist() if r["source"] == source]
        assert abs(sum(drawn) - tokens) <= abs(sum(drawn[:-1]) - tokens)
        assert abs(sum(drawn) - tokens) <= max(drawn) / 2
        assert counts(rows, "num_tokens", model=tiny_model())[source] == sum(drawn)
    assert counts(rows, "num_tokens", model=tiny_model())["numbers"] == 1200


def test_tokens_are_counted_in_the_turns_in_which_a_model_learns() -> None:
    # The template trims: 3 bytes for "(A)"; an output's bytes and the end of its turn, without the space before it.
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}<end>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    model = sc.load_model((tiny_llama(), tokenizer), engine="transformers", chat_template=True)
    rows = sc.mix(prompts(100), instructions(40, length=9), ratio=3.0, unit="tokens", model=model)
    outputs = [len(r["completion"].lstrip(" ")) + 1 for r in rows.to_pylist() if r["source"] == "instructions"]
    found = counts(rows, "num_tokens", model=model)
    assert found == {"numbers": 300, "instructions": sum(outputs)}
    assert abs(sum(outputs) - 100) <= max(outputs) / 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": 0.0}, "mix: ratio must be > 0, got 0.0"),
        ({"ratio": float("nan")}, "mix: ratio must be > 0, got nan"),
        ({"ratio": 1e-300}, "mix: a ratio of 1e-300 asks for more than 100,000,000 instruction rows"),
        ({"ratio": 5e-324}, "mix: a ratio of 5e-324 asks for more than 100,000,000 instruction rows"),
        ({"ratio": 1e-8, "unit": "tokens", "model": tiny_model()}, "mix: a ratio of 1e-08 asks for more than"),
        ({"unit": "words"}, "unit must be rows or tokens, got 'words'"),
        ({"unit": "tokens"}, "needs the model that is to be trained, got none; give model="),
        ({"weights": {"a": 1.0}}, r"weights must name each source once, got \['a'\] for \['instructions'\]"),
        ({"weights": {"instructions": 0.0}}, "weight of source 'instructions' must be > 0, got 0.0"),
        (
            {"instructions": instructions(0)},
            "5 instruction rows are wanted of source 'instructions', but it has none",
        ),
        ({"instructions": {}}, "weights must name each source once"),
    ],
)
def test_bad_input_is_one_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(sc.DataError, match=message):
        sc.mix(**({"prompts": prompts(10), "instructions": instructions(4), "ratio": 2.0} | changes))


SUNSET = "The sunset over the old harbour was red."


def test_a_claim_that_the_evaluation_asks_is_refused() -> None:
    asked = prompts(3, text="In other words, is {i} odd?").slice(2)
    message = "training prompt p2 asks claim c2, and evaluation prompt p2 of task 'claims' asks it"
    with pytest.raises(sc.DataError, match=message):
        sc.mix(prompts(5), instructions(2), evaluation={"claims": asked})
    assert sc.mix(prompts(2), instructions(2), evaluation={"claims": asked}).num_rows == 2


def test_another_claim_about_an_example_that_the_evaluation_asks_is_refused() -> None:
    examples = sc.load_examples("sample_paraphrase", limit=20)  # two quoted texts each
    claims = sc.make_claims(examples, options=sc.ClaimOptions(claims_per_example=2), seed=1)
    trained, asked = (sc.make_prompts(claims.take(list(range(first, 40, 2))), seed=1) for first in (0, 1))
    message = """about '".*" and ".*', and evaluation prompt .* is too; split claims by"""
    with pytest.raises(sc.DataError, match=message):
        sc.mix(trained, instructions(2), evaluation={"claims": asked})
    for_training, held_out = map(sc.make_prompts, sc.split_claims(claims))
    assert sc.mix(for_training, instructions(2), evaluation={"claims": held_out}).num_rows > for_training.num_rows
    elsewhere = asked.set_column(2, "source", [["other"] * len(asked)])  # the same text in another set
    with pytest.raises(sc.DataError, match=message):
        refuse_overlap(trained, {}, {"claims": elsewhere})


def test_another_claim_about_a_sum_that_the_evaluation_asks_is_refused() -> None:
    right, wrong = (
        sc.make_prompts(sc.make_additions(options=sc.AdditionOptions(operands=(3, 3), true_share=share)))
        for share in (1.0, 0.0)
    )
    with pytest.raises(sc.DataError, match=r"is about '3 \+ 3', and .* is too"):
        refuse_overlap(wrong, {}, {"sums": right})


@pytest.mark.parametrize(
    ("instruction", "text", "is_refused"),
    [
        ("Correct this.", SUNSET, True),
        ("Correct this.", SUNSET.upper().replace(" ", "\n") + "!", True),  # words, not letters
        (SUNSET, "", True),
        (SUNSET, "Some other text that nobody asks.", True),
        ("The sunset over", "", False),  # too short to be a sign
        (SUNSET + " Was it?", "", False),  # longer than what is asked
    ],
)
def test_a_text_that_the_evaluation_shows_is_refused(instruction: str, text: str, is_refused: bool) -> None:
    rows = pa.table({"instruction": ["Say hello.", instruction], "input": [None, text], "output": ["a", "b"]})
    asked = prompts(1, text=f'I think so. Claim: "{SUNSET}" is Positive. Agree?').set_column(0, "id", [["e7"]])
    asked = asked.set_column(1, "claim_id", [["other"]])
    if not is_refused:
        refuse_overlap(prompts(3), {"mine": rows}, {"claims": asked})
        return
    with pytest.raises(
        sc.DataError, match=r"row 2 of source 'mine', .* evaluation prompt e7 of task 'claims' holds its"
    ):
        refuse_overlap(prompts(3), {"mine": rows}, {"claims": asked})


CHINESE = "这部电影非常糟糕，剧情拖沓，演员表现令人失望。"


def quoting(*fields: str) -> pa.Table:
    """Return an evaluation prompt whose claim quotes texts."""
    about = " and ".join(f'"{field}"' for field in fields)
    frame = "I think so. Claim: "
    asked = pa.table({"id": ["e7"], "claim_id": ["c7"], "prompt": [f"{frame}{about} is Positive. Agree?"]})
    return asked.append_column("claim_offset", [[len(frame)]])


@pytest.mark.parametrize(
    ("fields", "row", "is_refused"),
    [
        ((SUNSET,), (f"{SUNSET} Did the reviewer find this good?", "", "Yes"), True),
        ((SUNSET,), ("Good or bad?", f"Review: {SUNSET.upper()}", "Good"), True),
        ((SUNSET,), (f"Say whether it is good: {SUNSET}", "Is this good or bad?", "Good"), True),
        ((SUNSET,), ("Write a review.", "", f"Here is one. {SUNSET}"), True),
        (("A red sun went down slowly.", SUNSET), ("Good or bad?", f"Review: {SUNSET}", "Good"), True),
        ((SUNSET,), ("Good or bad?", "Review: The sunset over the old harbour was blue.", "Good"), False),
        (("A fine film.",), ("Good or bad?", "Review: A fine film. I liked it.", "Good"), False),  # too short
        ((CHINESE,), ("情感？", CHINESE, "消极"), True),
        ((CHINESE,), ("情感？", f"评论：{CHINESE}好不好？", "消极"), True),
        (("电影非常糟",), ("情感？", "这部电影非常糟糕。", "消极"), False),  # five characters are no five words
    ],
)
def test_a_row_that_quotes_an_example_of_the_evaluation_is_refused(
    fields: tuple[str, ...], row: tuple[str, str, str], is_refused: bool
) -> None:
    names = ("instruction", "input", "output")
    rows = pa.table({name: ["x", text] for name, text in zip(names, row, strict=True)})
    asked = quoting(*fields)
    if not is_refused:
        refuse_overlap(prompts(0), {"mine": rows}, {"claims": asked})
        return
    with pytest.raises(sc.DataError, match=r"row 2 of source 'mine', .* evaluation prompt e7 of task 'claims' "):
        refuse_overlap(prompts(0), {"mine": rows}, {"claims": asked})


class Unread(list[tuple[str, str]]):
    def __iter__(self) -> Iterator[tuple[str, str]]:
        raise AssertionError("searched")


def test_texts_that_only_begin_alike_are_not_searched() -> None:
    index = _index({"claims": prompts(3, text="I do think so, yes. Is {i} odd?")})
    index.texts = Unread(index.texts)
    assert index.find(["i", "do", "think", "so", "yes", "is", "7", "odd"]) is None
    with pytest.raises(AssertionError, match="searched"):
        index.find(["i", "do", "think", "so", "yes", "is", "2", "odd"])


WORDS = st.lists(st.sampled_from("abc"), min_size=0, max_size=12)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_the_search_is_the_slow_one(trained: list[str], asked: list[list[str]]) -> None:
    size = len(trained)
    occurs = size >= 5 and any(
        words[start : start + size] == trained for words in asked for start in range(len(words) - size + 1)
    )
    table = pa.table({"id": [str(i) for i in range(len(asked))], "prompt": [" ".join(words) for words in asked]})
    rows = pa.table({"instruction": [" ".join(trained)], "output": ["x"]})
    none = prompts(0)
    if occurs:
        with pytest.raises(sc.DataError, match="row 1 of source 'mine'"):
            refuse_overlap(none, {"mine": rows}, {"task": table})
    else:
        refuse_overlap(none, {"mine": rows}, {"task": table})


@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_the_search_for_quoted_texts_is_the_slow_one(trained: list[str], quoted: list[list[str]]) -> None:
    occurs = any(
        len(words) >= 5 and trained[start : start + len(words)] == words
        for words in quoted
        for start in range(len(trained))
    )
    index = _index({"task": pa.concat_tables([quoting(" ".join(words)) for words in quoted])})
    assert (index.find_quoted(trained) is not None) == occurs


def test_thoughts_which_no_training_teaches_are_refused() -> None:
    prompts = sc.training_prompts(sc.load_facts("plurals"), n=4)
    thought = prompts.append_column("thought", pa.array(["Mice, then."] * 4))
    with pytest.raises(sc.DataError, match="mix: the prompts have thoughts, which no training teaches"):
        sc.mix(thought, sc.load_instructions())
