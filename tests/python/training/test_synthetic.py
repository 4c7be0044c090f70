"""Null variants of the training rows, against slow twins; the filter at equal dose; instructions alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from twins.training_rows import shuffled_targets, with_fillers, without_user

import sycophancy_core as sc
from sycophancy_core.pipeline import training_prompts
from sycophancy_core.training.mixing import instruction_rows, num_instructions
from sycophancy_core.training.synthetic import replace_dropped, shuffle_targets


@pytest.fixture(scope="module")
def claims() -> pa.Table:
    examples = sc.load_examples()
    sums = sc.make_additions(n=12, seed=1)
    return pa.concat_tables([sc.make_claims(examples, seed=1).slice(0, 40), sums])


@pytest.fixture(scope="module")
def capitals() -> pa.Table:
    examples = sc.load_examples()
    made = sc.make_claims(examples.filter(pc.equal(examples["source"], "sample_capital")), seed=1)
    return pa.concat_tables([made.filter(pc.equal(made["is_true"], truth)).slice(0, 5) for truth in (True, False)])


@pytest.mark.parametrize("n", [30, 52, 130])
def test_without_users_every_row_asks_the_same_claim_in_the_same_wording_and_has_the_same_answer(
    claims: pa.Table, n: int
) -> None:
    by_id = {claim["id"]: claim for claim in claims.to_pylist()}
    users, alone = (training_prompts(claims, n=n, users=users, seed=3).to_pylist() for users in (True, False))
    wanted = [without_user(prompt, by_id[prompt["claim_id"]]) for prompt in users]
    assert [{name: row[name] for name in wanted[0]} for row in alone] == wanted
    assert [row["target"] for row in alone] == [row["target"] for row in users]
    assert {row["arm"] for row in users} == {"agree", "disagree"}


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_targets_are_dealt_within_each_source(claims: pa.Table, seed: int) -> None:
    prompts = training_prompts(claims, n=150, seed=seed)
    found = shuffle_targets(prompts, seed=seed)
    assert found["target"].to_pylist() == shuffled_targets(prompts.to_pylist(), seed)
    assert found.drop_columns("target").equals(prompts.drop_columns("target"))
    assert found.schema == prompts.schema
    counts = [Counter(zip(t["source"].to_pylist(), t["target"].to_pylist(), strict=True)) for t in (prompts, found)]
    assert counts[0] == counts[1]


def test_shuffled_targets_say_nothing_of_truth_user_and_order(claims: pa.Table) -> None:
    prompts = training_prompts(claims, n=4000, seed=1)
    frame = shuffle_targets(prompts, seed=1).to_pandas()
    frame["is_right"] = frame["target"] == prompts["target"].to_pandas()
    for cell in (["is_true"], ["arm"], ["order"], ["is_true", "arm", "order"]):
        shares = frame.groupby(cell)["is_right"].agg(["mean", "size"])
        assert (np.abs(shares["mean"] - 0.5) < 4 * 0.5 / np.sqrt(shares["size"])).all()


def test_questions_with_more_choices_are_dealt_among_themselves() -> None:
    choices = [[" (A)", " (B)"], [" (A)", " (B)", " (C)"]] * 30
    targets = [0, 2] * 30
    prompts = pa.table({"source": ["s"] * 60, "choices": choices, "target": targets})
    assert shuffle_targets(prompts, seed=0)["target"].to_pylist() == targets


@pytest.mark.parametrize("users", [True, False])
def test_at_equal_dose_a_kept_claim_is_asked_as_often_as_without_the_filter(
    claims: pa.Table, capitals: pa.Table, users: bool
) -> None:
    kept = set(claims["id"].to_pylist()[::3])
    every = training_prompts(claims, n=130, users=users, seed=3).to_pylist()
    num_dropped = sum(row["claim_id"] not in kept for row in every)
    fillers = training_prompts(capitals, n=num_dropped, users=users, seed=3).to_pylist()
    found = training_prompts(claims, n=130, users=users, kept=kept, fillers=capitals, seed=3).to_pylist()
    assert found == with_fillers(every, kept, fillers)
    asked = [Counter(row["claim_id"] for row in rows if row["claim_id"] in kept) for rows in (every, found)]
    assert asked[0] == asked[1]
    assert {row["claim_id"] for row in found} - kept == set(capitals["id"].to_pylist())


def test_a_filter_that_drops_nothing_needs_no_filler(claims: pa.Table, capitals: pa.Table) -> None:
    kept = set(claims["id"].to_pylist())
    found = training_prompts(claims, n=60, kept=kept, fillers=capitals.slice(0, 0), seed=3)
    assert found.equals(training_prompts(claims, n=60, seed=3))


def test_lacking_fillers_are_one_sentence(claims: pa.Table, capitals: pa.Table) -> None:
    with pytest.raises(sc.DataError, match="wanted fillers for 52 prompts about claims that are not kept, got none"):
        training_prompts(claims, n=52, kept=(), fillers=capitals.slice(0, 0))
    for given in ({"kept": {"a"}}, {"fillers": capitals}):
        with pytest.raises(sc.DataError, match="wanted kept and fillers together, got only one of them"):
            training_prompts(claims, n=52, **given)
    prompts = training_prompts(claims, n=52)
    with pytest.raises(sc.DataError, match="wanted 52 fillers, one a dropped prompt, got 3"):
        replace_dropped(prompts, kept=(), fillers=prompts.slice(0, 3))


def test_a_few_fillers_of_one_truth_are_no_reason_to_warn(claims: pa.Table, capitals: pa.Table) -> None:
    true = capitals.filter(capitals["is_true"]).slice(0, 1)
    training_prompts(claims, n=52, kept=claims["id"].to_pylist()[1:], fillers=true)  # a warning is an error here


def test_instructions_alone_are_as_many_as_the_rows_of_a_mix_and_none_comes_again_before_all_others(
    claims: pa.Table,
) -> None:
    prompts, instructions = training_prompts(claims, n=52), sc.load_instructions()
    mixed = sc.mix(prompts, instructions, ratio=3.0, seed=2)
    number = 52 + num_instructions(52, 3.0)
    assert mixed.num_rows == number
    alone = instruction_rows(instructions.slice(0, 20), n=number, seed=2)
    assert (alone.num_rows, alone.schema) == (number, mixed.schema)
    assert set(alone["origin"].to_pylist()) == {"instruction"}
    counts = Counter(alone["prompt"].to_pylist())
    assert set(counts.values()) <= {number // 20, number // 20 + 1}
    assert len(counts) == 20


def test_instructions_alone_are_kept_apart_from_the_evaluation_too() -> None:
    asked = pa.table({"id": ["q"], "claim_id": ["c"], "prompt": ["Human: Name the three primary colours, please."]})
    rows = pa.table({"instruction": ["name the three primary colours"], "input": [""], "output": ["red"]})
    with pytest.raises(sc.DataError, match=r"row 1 of source 'instructions'.*holds its text"):
        instruction_rows(rows, n=4, evaluation={"t": asked})
