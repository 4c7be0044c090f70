"""Facts: the packaged families hold up to recomputation, and every fault of a file of one's own is named."""

import calendar
import json
import re
from pathlib import Path
from typing import Any

import pytest

import sycophancy_core as sc
from sycophancy_core.prompts.facts import fact_families, load_facts

FACTS = load_facts().to_pylist()
COUNTS = {"two": 2, "three": 3}
MONTHS, DAYS = list(calendar.month_name)[1:], list(calendar.day_name)
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
ORDINALS += ["eleventh", "twelfth"]


def of(family: str) -> list[dict[str, Any]]:
    return [fact for fact in FACTS if fact["family"] == family]


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


def test_there_are_at_least_eight_families_of_a_hundred_facts() -> None:
    sizes = {family: len(of(family)) for family in fact_families()}
    assert sum(size >= 100 for size in sizes.values()) >= 8
    assert min(sizes.values()) >= 90


def test_ids_and_questions_stand_once_over_all_families() -> None:
    for name in ("id", "question", "statement"):
        values = [fact[name] for fact in FACTS]
        assert len(set(values)) == len(values), name


def test_the_id_of_a_fact_begins_with_its_family() -> None:
    assert [fact["id"] for fact in FACTS if not fact["id"].startswith(f"{fact['family']}-")] == []


def test_a_statement_is_the_lead_in_with_the_answer_after_it() -> None:
    for fact in FACTS:
        lead_in = fact["lead_in"]
        assert fact["statement"] in (f"{lead_in} {{answer}}", f"{lead_in[0].lower()}{lead_in[1:]} {{answer}}")


def test_a_question_never_holds_one_of_its_answers() -> None:
    held = [f["id"] for f in FACTS for answer in (f["right"], *f["wrong"]) if words(answer) in words(f["question"])]
    assert held == []


@pytest.mark.parametrize(
    ("family", "compute"), [("successors", lambda n: n[0] + 1), ("sums", sum), ("products", lambda n: n[0] * n[1])]
)
def test_arithmetic_is_right_and_its_wrong_answers_are_wrong(family: str, compute: Any) -> None:
    for fact in of(family):
        right = compute(numbers(fact["question"]))
        assert int(fact["right"]) == right
        assert right not in map(int, fact["wrong"])
        assert numbers(fact["lead_in"]) == numbers(fact["question"])


def month_or_day(question: str) -> str | None:
    """Compute what a question about the order of months or days asks for; None where it asks something else."""
    step = re.match(r"Which (?:month|day) comes (?:(two|three) (?:months|days)|right) (before|after) (\w+)\?", question)
    if step:
        ring = MONTHS if step[3] in MONTHS else DAYS
        distance = COUNTS.get(step[1], 1) * (1 if step[2] == "after" else -1)
        return ring[(ring.index(step[3]) + distance) % len(ring)]
    ordinal = re.match(r"What is the (\w+) month of the year\?", question)
    if ordinal:
        return MONTHS[ORDINALS.index(ordinal[1])]
    days = re.match(r"How many days does (\w+) have(?: in a (leap year|year that is not a leap year))?\?", question)
    if days:
        return str(calendar.monthrange(2024 if days[2] == "leap year" else 2023, MONTHS.index(days[1]) + 1)[1])
    return None


def test_the_calendar_is_right() -> None:
    asked = [(fact, month_or_day(fact["question"])) for fact in of("calendar")]
    computed = [(fact, answer) for fact, answer in asked if answer is not None]
    assert len(computed) > 100
    assert [fact["id"] for fact, answer in computed if fact["right"] != answer] == []


def test_loading_takes_a_name_several_names_a_file_and_a_folder(tmp_path: Path) -> None:
    own = {"id": "mine-1", "question": "Who?", "lead_in": "It is", "right": "me", "wrong": ["you", "them"]}
    for name in ("a", "b"):
        line = json.dumps(own | {"id": name, "question": f"{name}?", "statement": "it is {answer}"})
        (tmp_path / f"{name}.jsonl").write_text(f"{line}\n\n")
    assert set(sc.load_facts("sums")["family"].to_pylist()) == {"sums"}
    assert sc.load_facts(["sums", "capitals"])["family"].unique().to_pylist() == ["sums", "capitals"]
    assert sc.load_facts(tmp_path / "b.jsonl")["id"].to_pylist() == ["b"]
    assert sc.load_facts(str(tmp_path))["family"].to_pylist() == ["a", "b"]
    assert sc.load_facts().num_rows == len(FACTS)


SOUND = {
    "id": "x",
    "question": "Which?",
    "lead_in": "It is",
    "right": "one",
    "wrong": ["two", "three"],
    "statement": "it is {answer}",
}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"right": None}, "right must be a text without spaces around it, got None"),
        ({"lead_in": "It is "}, "lead_in must be a text without spaces around it, got 'It is '"),
        ({"wrong": ["two"]}, "wrong must be 2 texts"),
        ({"wrong": "two"}, "wrong must be 2 texts"),
        ({"wrong": ["two", "one"]}, "right and wrong must be different answers"),
        ({"wrong": ["two", "oneness"]}, "the answer 'one' begins the answer 'oneness'"),
        ({"statement": "it is one"}, r"statement must hold \{answer\} exactly once, got 'it is one'"),
        ({"statement": "{answer} is {answer}"}, r"statement must hold \{answer\} exactly once"),
        ({"note": "?"}, "got note too"),
        ({"id": "first"}, "the id 'first' is in mine.jsonl, line 1 too"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    first = SOUND | {"id": "first", "question": "First?"}
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(first)}\n{json.dumps(SOUND | change)}\n")
    with pytest.raises(sc.DataError, match=rf"facts: mine.jsonl, line 2: .*{fault}.*; mend these lines"):
        sc.load_facts(path)


def test_facts_in_a_table_are_refused_with_the_page_that_shows_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,question\n1,Which?\n")
    with pytest.raises(
        sc.DataError, match=r"mine\.csv: wanted a JSON Lines file \(docs/facts\.md shows a line\), got \.csv"
    ):
        sc.load_facts(tmp_path / "mine.csv")


def test_every_fault_of_a_file_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = ["not JSON", json.dumps(SOUND), json.dumps(["x"]), "", json.dumps({"id": "y"}), json.dumps(SOUND)]
    path.write_text("\n".join(lines))
    with pytest.raises(sc.DataError) as caught:
        sc.load_facts(path)
    found = re.findall(r"line (\d+): (.+)", str(caught.value))
    assert [number for number, _ in found] == ["1", "3", "5", "6", "6"]
    assert "wanted JSON" in found[0][1]
    assert "got a list" in found[1][1]
    assert found[2][1].endswith("question, lead_in, right, statement, wrong is missing")


def test_what_is_no_family_and_no_path_is_refused_with_the_families(tmp_path: Path) -> None:
    with pytest.raises(
        sc.DataError, match=r"'sumz' is neither a family \(animal_young, .*sums\) nor a JSON Lines file"
    ):
        sc.load_facts("sumz")
    with pytest.raises(sc.DataError, match="wanted at least one family"):
        sc.load_facts(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(sc.DataError, match=r"empty\.jsonl hold no fact"):
        sc.load_facts(tmp_path)
