"""Sample prompts show each user, answer and margin, the largest flips first."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.made_up_results import measurements, questions, quiz
from makers.scripted_responder import Responder
from makers.tiny_llama import thinking_model, tiny_model

import sycophancy_core as sc
from sycophancy_core.metrics.measure import measure
from sycophancy_core.prompts.facts import load_facts
from sycophancy_core.prompts.stance import fact_prompts
from sycophancy_core.reporting.asked import sample_blocks
from sycophancy_core.reporting.blocks import Folded, Lines
from sycophancy_core.reporting.report import report_html
from sycophancy_core.reporting.samples import samples
from sycophancy_core.results.evaluation import Evaluation


def evaluation(table: pa.Table) -> Evaluation:
    return Evaluation(model="m", measurements=table, estimates=measure(table))


def test_a_claim_is_shown_with_every_user_and_its_margin_towards_the_truth() -> None:
    found = samples(evaluation(measurements(tasks=["t"], num_claims=2, knows=1.0, flatters=3.0)), "t")
    assert len(found) == 4  # two claims, each in two orders of the choices
    (false,) = [one for one in found if one.claim_id == "t-1" and "agree first" in one.name and "dis" not in one.name]
    assert (false.right, false.has_flipped) == ("choice 2 Disagree", True)
    assert [(one.user, one.answer, round(one.margin, 9)) for one in false.asked] == [
        ("no user", "choice 2 Disagree", 1.0),
        ("user without an opinion", "choice 2 Disagree", 1.0),
        ("user agrees", "choice 1 Agree", -2.0),
        ("user disagrees", "choice 2 Disagree", 4.0),
    ]
    assert false.flip == pytest.approx(3.0)


def test_flips_come_first_and_the_largest_of_them() -> None:
    table = measurements(tasks=["t"], num_claims=4, knows=2.0, flatters=0.0)
    moved = {"t-1": 6.0, "t-2": 3.0, "t-3": 1.5}  # claim 0 stays; claim 3 moves, and its answer does not change
    rows = table.to_pylist()
    for row in rows:
        shift = moved.get(row["claim_id"], 0.0) * {"agree": 1.0, "disagree": -1.0}.get(row["arm"], 0.0)
        odds = row["log_odds"] + shift
        first = odds if row["order"] == "agree_first" else -odds
        row |= {"log_odds": odds, "log_prob": [-math.log1p(math.exp(-first)), -math.log1p(math.exp(first))]}
        row["answer"] = 0 if first > 0 else 1
    found = samples(evaluation(pa.Table.from_pylist(rows, schema=table.schema)), "t")
    assert [(one.claim_id, one.has_flipped) for one in found[::2]] == [
        ("t-1", True),
        ("t-2", True),
        ("t-3", False),
        ("t-0", False),
    ]


def test_a_quiz_says_whether_its_user_is_right() -> None:
    table = quiz([(0, None, 0), (0, 0, 0), (0, 1, 1)])
    (one,) = samples(evaluation(table), "t")
    assert [(asked.user, asked.user_choice, asked.answer) for asked in one.asked] == [
        ("no user", "", "choice 1"),
        ("user is right", "choice 1", "choice 1"),
        ("user is wrong", "choice 2", "choice 2"),
    ]
    assert (one.right, one.has_flipped) == ("choice 1", True)


def test_of_opinions_the_margin_is_that_of_the_users_choice_and_no_choice_is_right() -> None:
    found = samples(evaluation(questions([1, 0, 0, 0], num_choices=2, users=[1, 0])), "t")
    one = found[0]
    assert (one.right, one.has_flipped) == ("", True)
    margins = {asked.user: asked.margin for asked in one.asked}
    assert margins == {"user with a view": pytest.approx(8.99), "no user": pytest.approx(-8.99)}


def test_an_unscored_prompt_has_no_answer_and_no_margin() -> None:
    table = quiz([(0, None, 0), (0, 1, 1)])
    table = table.set_column(table.column_names.index("log_prob"), "log_prob", [[[-0.01, -9.0], None]])
    table = table.append_column("unscored", pa.array([None, "non-finite"], pa.string()))
    (one,) = samples(evaluation(table), "t")
    assert [asked.answer for asked in one.asked] == ["choice 1", ""]
    assert math.isnan(one.asked[1].margin)
    assert one.flip == 0.0


def test_questions_without_users_are_no_samples() -> None:
    assert samples(evaluation(questions([0, 1, 0, 1], num_choices=2)), "t") == []


def test_a_report_shows_what_was_asked_and_answered() -> None:
    found = sc.evaluate(tiny_model(), tasks=("addition_factorial",), limit=3)
    assert found.prompts is not None
    rows = {row["id"]: row for row in found.prompts.to_pylist()}
    (first, *_) = samples(found, "addition_factorial")
    text = report_html(found)
    for asked in first.asked:
        lines = rows[asked.identity]["prompt"].splitlines()
        assert all(line in text for line in lines if line.isascii() and not set(line) & set("<>&'\""))
        assert f"{asked.margin:+.2f}" in text


def texts_shown(found: Evaluation) -> list[list[str]]:
    folded = [block for block in sample_blocks(found.sides()) if isinstance(block, Folded)]
    return [list(block.lines) for one in folded for block in one.blocks if isinstance(block, Lines)]


def test_a_chat_is_shown_by_turns_with_the_begun_reply_marked() -> None:
    asked = sc.TaskOptions(facts=load_facts(["sums"]))
    found = sc.evaluate(thinking_model(), tasks=("facts",), options=asked, limit=2, progress=False)
    assert found.prompts is not None
    (user, assistant) = found.prompts["turns"][0].as_py()
    assert (user["role"], assistant["role"]) == ("user", "assistant")
    wanted = [f"user: {user['content']}", f"assistant, begun: {assistant['content']}"]
    assert wanted in texts_shown(found)


@pytest.mark.parametrize(
    ("template", "lines"),
    [
        (None, ["plain", "[thought: Hm.]"]),
        ("0" * 64, ["user: Which?", "[thought: Hm.]", "assistant, begun: It is"]),
        ("the server's own", ["user: Which?", "[thought: Hm.]", "user, at the end: It is"]),
    ],
)
def test_a_begun_reply_comes_after_the_thought_and_to_a_server_with_the_question(
    template: str | None, lines: list[str]
) -> None:
    table = quiz([(0, None, 0), (0, 1, 1)])
    turns = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "It is"}]
    texts = {"prompt": ["plain"] * 2, "turns": [turns] * 2, "thought": ["Hm."] * 2}
    facts = {"chat_template": template}
    prompts = pa.table({"id": table["id"], **texts})
    found = Evaluation(model="m", measurements=table, estimates=measure(table), prompts=prompts, facts=facts)
    assert texts_shown(found) == [lines] * 2


def test_a_comparison_shows_both_answers_of_one_prompt() -> None:
    before, after = (evaluation(measurements(tasks=["t"], num_claims=6, flatters=f)) for f in (6.0, 0.0))
    text = report_html(sc.compare(before, after))
    at = text.index("Sample prompts</h2>")
    for head in ("answer before", "margin before", "answer after", "margin after"):
        assert text.index(head, at) > at


def test_samples_are_those_with_the_largest_flip_on_either_side() -> None:
    table = measurements(tasks=["t"], num_claims=12, knows=2.0)
    flips = pc.and_(pc.equal(table["claim_id"], "t-11"), pc.equal(table["arm"], "disagree"))
    scores = [
        row[::-1] if flip else row for row, flip in zip(table["log_prob"].to_pylist(), flips.to_pylist(), strict=True)
    ]
    answers = [1 - a if flip else a for a, flip in zip(table["answer"].to_pylist(), flips.to_pylist(), strict=True)]
    changed = table
    for name, values in (("log_prob", scores), ("answer", answers)):
        at = changed.column_names.index(name)
        changed = changed.set_column(at, name, pa.array(values, changed.schema.field(name).type))
    text = report_html(sc.compare(evaluation(table), evaluation(changed)))
    assert "<caption>t-11, " in text


def test_a_fact_is_shown_with_what_each_user_does_to_which_answer() -> None:
    facts = Responder(stance=9.0, spread=0.3).measure(fact_prompts(load_facts(["capitals"]).slice(0, 4)))
    task = facts["task"][0].as_py() if "task" in facts.column_names else "facts"
    if "task" not in facts.column_names:
        facts = facts.append_column("task", pa.array([task] * facts.num_rows))
    first = samples(evaluation(facts), task)[0]
    users = [asked.user for asked in first.asked]
    assert users[:2] == ["no user", "user without an opinion"]
    assert {"user endorses the wrong answer", "user denies the right answer", "user mentions the wrong answer"} <= set(
        users
    )
    assert first.has_flipped
