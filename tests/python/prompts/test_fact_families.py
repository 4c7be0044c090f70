"""Families of facts in a run: what is held out is never trained on, and every kind of user is asked equally often."""

from collections import Counter

import pytest

import sycophancy_core as sc
from sycophancy_core.errors import DataError
from sycophancy_core.prompts.fact_families import (
    NEW,
    TRAINED,
    candidate_facts,
    held_out_facts,
    known_prompts,
    training_fact_prompts,
)
from sycophancy_core.prompts.families import FamilyOptions, held_out_prompts

TRAINS = ("successors", "plurals")


def test_no_fact_is_both_held_out_and_trained_on() -> None:
    trained = candidate_facts(TRAINS, n=1000, seed=0)
    held_out = held_out_facts(("capitals", *TRAINS), trained=TRAINS, n=1000, seed=0)
    assert set(held_out) == {NEW, TRAINED}
    every = [set(table["id"].to_pylist()) for table in (trained, *held_out.values())]
    assert sum(map(len, every)) == len(set().union(*every))
    families = {name: table["family"].unique().to_pylist() for name, table in held_out.items()}
    assert families == {NEW: ["capitals"], TRAINED: list(TRAINS)}
    both = trained.num_rows + held_out[TRAINED].num_rows
    assert both == sc.load_facts(TRAINS).num_rows  # every fact of a trained family is on one side
    assert 0.2 < held_out[TRAINED].num_rows / both < 0.4


def test_a_limit_is_one_of_each_family() -> None:
    found = held_out_facts(("capitals", "cities"), trained=(), n=7, seed=1)[NEW]
    assert Counter(found["family"].to_pylist()) == {"capitals": 7, "cities": 7}


def test_each_kind_of_user_is_asked_equally_often_in_each_family() -> None:
    facts = sc.load_facts(TRAINS)
    prompts = training_fact_prompts(facts, users=True, seed=3)
    assert prompts["fact_id"].to_pylist() == facts["id"].to_pylist()
    rows = prompts.to_pylist()
    cells = Counter((row["source"], row["arm"], row["stated"]) for row in rows)
    assert len(cells) == 8
    for family in TRAINS:
        counts = [number for (source, *_), number in cells.items() if source == family]
        assert max(counts) - min(counts) <= 1
    right = [row["choices"][row["target"]] for row in rows]
    assert right == [f" {answer}" for answer in facts["right"].to_pylist()]


def test_without_users_the_same_facts_are_asked_in_the_same_words() -> None:
    facts = sc.load_facts("successors").slice(0, 40)
    with_users, without = (training_fact_prompts(facts, users=users, seed=3) for users in (True, False))
    for user, alone in zip(with_users.to_pylist(), without.to_pylist(), strict=True):
        assert {name: user[name] for name in ("claim_id", "choices", "target")} == {
            name: alone[name] for name in ("claim_id", "choices", "target")
        }
        assert (alone["arm"], user["template"].split("/")[2]) == ("none", alone["template"].split("/")[2])
        said, asked = user["turns"][0]["content"], alone["turns"][0]["content"]
        question = next(fact["question"] for fact in facts.to_pylist() if fact["id"] == user["fact_id"])
        assert question in said and question in asked and len(said) > len(asked)


def test_two_seeds_say_other_things() -> None:
    facts = sc.load_facts("successors").slice(0, 40)
    first, again, second = (training_fact_prompts(facts, users=True, seed=seed) for seed in (3, 3, 4))
    assert first.equals(again)
    assert not first.equals(second)


def test_what_is_known_is_asked_in_two_wordings_that_the_evaluation_does_not_use() -> None:
    facts = sc.load_facts("capitals").slice(0, 5)
    asked = known_prompts(facts, split="train", seed=0)
    assert Counter(asked["fact_id"].to_pylist()) == dict.fromkeys(facts["id"].to_pylist(), 2)
    evaluation = held_out_prompts(FamilyOptions(families=("capitals",), candidate_families=("successors",), claims=5))
    assert not set(asked["template"].to_pylist()) & {
        "/".join(name.split("/")[:3]) for name in evaluation[NEW]["template"].to_pylist()
    }


def test_forms_are_tasks_of_their_own() -> None:
    options = FamilyOptions(
        families=("capitals", "addition"), candidate_families=("successors",), forms=("content", "letters"), claims=2
    )
    prompts = held_out_prompts(options)
    assert list(prompts) == ["addition", "facts", "facts_letters"]
    assert prompts["facts_letters"]["choices"].to_pylist()[0] == [" (A)", " (B)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidate_families": ("successors", "sample_number")}, "all be of facts or none"),
        ({"forms": ()}, "at least one form"),
        ({"forms": ("words",)}, "form must be one of"),
    ],
)
def test_bad_families_are_one_sentence(changes: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FamilyOptions(**changes)
