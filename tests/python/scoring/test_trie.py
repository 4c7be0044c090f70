"""The plan of shared prefixes against a slow twin: a dictionary of histories."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycophancy_core import DataError
from sycophancy_core._core import Plan, make_plan

Sequence = tuple[list[int], int]  # tokens, and how many of them are context

# Few distinct tokens, so that sequences share much.
sequences = st.lists(
    st.lists(st.integers(0, 2), min_size=2, max_size=9).flatmap(
        lambda tokens: st.tuples(st.just(tokens), st.integers(1, len(tokens) - 1))
    ),
    min_size=1,
    max_size=25,
)


def plan_of(job: list[Sequence]) -> Plan:
    offsets = np.cumsum([0, *(len(tokens) for tokens, _ in job)])
    flat = [token for tokens, _ in job for token in tokens]
    return make_plan(np.array(flat, np.int32), offsets, np.array([context for _, context in job], np.int32))


def history(plan: Plan, row: int) -> tuple[int, ...]:
    tokens: list[int] = []
    while row >= 0:
        tokens.append(int(plan.tokens[row]))
        row = int(plan.parents[row])
    return tuple(reversed(tokens))


@given(sequences)
def test_rows_are_the_distinct_histories(job: list[Sequence]) -> None:
    plan = plan_of(job)
    wanted = {tuple(tokens[:end]) for tokens, _ in job for end in range(1, len(tokens))}
    rows = [history(plan, row) for row in range(plan.num_tokens)]
    assert sorted(rows) == sorted(wanted)
    assert plan.num_tokens_unshared == sum(len(tokens) - 1 for tokens, _ in job)
    assert plan.max_depth == max(len(row) for row in rows)
    assert plan.depths.tolist() == [len(row) - 1 for row in rows]


@given(sequences)
def test_targets_are_the_scored_tokens_after_their_histories(job: list[Sequence]) -> None:
    plan = plan_of(job)
    wanted = sorted(
        (s, tuple(tokens[:end]), tokens[end])
        for s, (tokens, context) in enumerate(job)
        for end in range(context, len(tokens))
    )
    assert sorted((int(s), history(plan, int(row)), int(token)) for row, token, s in plan.targets) == wanted
    assert plan.targets[:, 0].tolist() == sorted(plan.targets[:, 0].tolist())


@given(sequences)
def test_a_branch_is_contiguous(job: list[Sequence]) -> None:
    plan = plan_of(job)
    rows = [history(plan, row) for row in range(plan.num_tokens)]
    for row, own in enumerate(rows):
        below = [other for other, tokens in enumerate(rows) if tokens[: len(own)] == own]
        assert below == list(range(row, row + len(below)))


@given(sequences, st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_order(job: list[Sequence], random: object) -> None:
    shuffled = list(job)
    random.shuffle(shuffled)
    assert plan_of(shuffled).tokens.tolist() == plan_of(job).tokens.tolist()


def test_a_sequence_without_context_is_refused() -> None:
    with pytest.raises(DataError, match="sequence 1 of 2 tokens needs at least one token of context"):
        plan_of([([1, 2], 1), ([1, 2], 0)])
