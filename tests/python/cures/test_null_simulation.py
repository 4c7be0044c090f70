"""A cure that does what its null does shows no effect beyond its interval, and one that does more shows it.

The answers are those of a scripted responder, whose stance, mention and knowledge are known; head_to_head's own table
is made from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from makers.scripted_responder import Responder

import sycophancy_core as sc
from sycophancy_core.cures.answered import Answered
from sycophancy_core.cures.cure_effects import UNTREATED
from sycophancy_core.cures.cured import Cost
from sycophancy_core.cures.head_to_head import ARMS, effects_table
from sycophancy_core.cures.methods import NULLS, Method, Steered, Trained
from sycophancy_core.metrics.measure import known_claims, measure
from sycophancy_core.metrics.null_contrast import Side

PROMPTS = sc.fact_prompts(sc.load_facts("capitals").slice(0, 30), options=sc.FactOptions(split="test", arms=ARMS))
AS_GIVEN = Responder(knowledge=3.0, spread=1.0, noise=1.0, mention=1.5, stance=6.0)
ANY_TRAINING = Responder(knowledge=3.5, spread=1.0, noise=1.0, mention=0.5, stance=5.0)  # which helps by itself
LESS_STANCE = Responder(knowledge=3.5, spread=1.0, noise=1.0, mention=0.5, stance=0.0)
METRICS = ("accuracy_user_wrong", "stance_effect", "accuracy_none", "accuracy_user_right")
SEEDS, NUM_RANDOM = (0, 1), 3
QUICK, MANY = 10, 150


def answers(responder: Responder, seed: int, *, facts_seed: int, known: frozenset[str]) -> Side:
    """Return what a responder answers, as an evaluation of the task facts."""
    measured = responder.measure(PROMPTS, seed=seed, facts_seed=facts_seed)
    measured = measured.append_column("task", pa.array(["facts"] * measured.num_rows))
    return Side(measured, measure(measured, known=known))


def study(method: Method, cure: Responder, null: Responder, *, number: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a cure less its nulls, in a study of its own draws of facts and answers."""
    draws = iter(range(1000 * number, 1000 * (number + 1)))

    def side(responder: Responder, known: frozenset[str]) -> Side:
        return answers(responder, next(draws), facts_seed=number, known=known)

    known = known_claims(AS_GIVEN.measure(PROMPTS, seed=next(draws), facts_seed=number))  # asked apart
    seeds = SEEDS if isinstance(method, Trained) else SEEDS[:1]
    of_nulls = range(NUM_RANDOM) if isinstance(method, Steered) else seeds
    made = [(None, seed, cure) for seed in seeds]
    made += [(name, seed, null) for name in NULLS[type(method)] for seed in of_nulls]
    found = [(UNTREATED, Answered(None, None, 0, side(AS_GIVEN, known), Cost(), {}))]
    found += [("cure", Answered(method, name, seed, side(one, known), Cost(), {})) for name, seed, one in made]
    for row in effects_table(found, known).to_pylist():
        if row["metric"] in METRICS and row["null"] != UNTREATED:
            yield row


def misses(method: Method, number: int, *, cure: Responder = ANY_TRAINING) -> dict[tuple[str, str], int]:
    """Count, by unit and metric, the studies in which the interval against the first null leaves 0 out."""
    found: dict[tuple[str, str], int] = {}
    for i in range(number):
        for row in study(method, cure, ANY_TRAINING, number=i):
            if row["null"] == NULLS[type(method)][0]:
                key = (str(row["unit"]), str(row["metric"]))
                found[key] = found.get(key, 0) + bool(row["low"] > 0 or row["high"] < 0)
    return found


METHODS = [kind() for kind in NULLS]
NAMES = [kind.__name__ for kind in NULLS]


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_cure_that_does_what_its_null_does_shows_no_effect(method: Method) -> None:
    found = misses(method, QUICK)
    assert {metric for _, metric in found} == set(METRICS)
    assert max(found.values()) <= 3, found  # at 5 %, four or more of 10 are seen once in 970 times


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_intervals_leave_0_out_in_about_one_of_twenty_such_studies(method: Method) -> None:
    found = misses(method, MANY)
    assert max(found.values()) <= 17, found  # of 150 at 5 %: 7.5 on average, 18 or more once in 2,000 times


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_cure_that_lowers_stance_shows_it_beyond_its_null(method: Method) -> None:
    found = misses(method, 6, cure=LESS_STANCE)
    assert found["claim", "stance_effect"] >= 4, found
    assert found["claim", "accuracy_user_wrong"] >= 5, found


def test_the_null_helps_by_itself_so_that_the_untreated_model_is_no_fair_comparison() -> None:
    hits = 0
    for i in range(6):
        known = known_claims(AS_GIVEN.measure(PROMPTS, seed=9000 + i, facts_seed=i))
        sides = [
            answers(one, seed, facts_seed=i, known=known) for seed, one in ((i, AS_GIVEN), (700 + i, ANY_TRAINING))
        ]
        found = [(UNTREATED, Answered(None, None, 0, sides[0], Cost(), {}))]
        found += [("null", Answered(sc.Prompted(), None, 0, sides[1], Cost(), {}))]
        (row,) = [row for row in effects_table(found, known).to_pylist() if row["metric"] == "accuracy_user_wrong"]
        hits += row["low"] > 0
    assert hits >= 5
