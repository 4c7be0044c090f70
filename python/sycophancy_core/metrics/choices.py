"""Metrics of multiple-choice questions, computed by the core from the columns of a measurements table."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError
from sycophancy_core.metrics.arrays import choice_scores, codes, wholes

CHOICE_COLUMNS = ("claim_id", "log_prob")
QUESTION_ARMS = ("none", "placebo", "reask", "affirm", "push_back")  # in the order of the core's QuestionArm


def question_kind(kind: str) -> _core.QuestionKind:
    """Return the core's name of a kind of questions."""
    found: _core.QuestionKind = getattr(_core.QuestionKind, kind)
    return found


def choice_rows(measurements: pa.Table) -> _core.ChoiceRows:
    """Return the columns that the core's metrics of questions are made of.

    Raises
    ------
    DataError
        If a target or a user's choice is no position of a choice.
    """
    scores = choice_scores(measurements)
    user, target = (_whole(measurements, name) for name in ("user_choice", "target"))
    for name, choice in (("user_choice", user), ("target", target)):
        _require_a_choice(measurements, name, choice, scores.num_choices)
    return _core.ChoiceRows(
        question=codes(measurements["claim_id"])[0],
        pair=pair_codes(measurements),
        arm=_arms(measurements),
        user_choice=user,
        target=target,
        num_choices=scores.num_choices,
        log_prob=scores.log_prob,
    )


def known_codes(measurements: pa.Table, known: Collection[str] | None) -> NDArray[np.int8]:
    """Return 1 for each question that is known, in order of first appearance; nothing if nobody said which are."""
    if known is None:
        return np.empty(0, dtype=np.int8)
    wanted = set(known)
    return np.array([identity in wanted for identity in codes(measurements["claim_id"])[1]], dtype=np.int8)


def known_questions(measurements: pa.Table) -> set[str]:
    """Return the ids of the questions whose prompts without a user are answered rightly more often than not."""
    _, ids = codes(measurements["claim_id"])
    found = _core.known_questions(choice_rows(measurements))
    return {identity for identity, is_known in zip(ids, found, strict=True) if is_known}


def _whole(measurements: pa.Table, name: str) -> NDArray[np.int64]:
    if name not in measurements.column_names:
        return np.full(measurements.num_rows, -1, dtype=np.int64)
    return wholes(measurements[name])


def pair_codes(measurements: pa.Table) -> NDArray[np.int64]:
    """Code prompts by question, or by `pair_id` where there is one, and order: those that share their control.

    Shape (n,).
    """
    pair, _ = codes(measurements["pair_id" if "pair_id" in measurements.column_names else "claim_id"])
    if "order" not in measurements.column_names or measurements["order"].null_count:
        return pair
    order, orders = codes(measurements["order"])
    return np.asarray(np.unique(pair * len(orders) + order, return_inverse=True)[1], dtype=np.int64)


def _arms(measurements: pa.Table) -> NDArray[np.int8]:
    """Code the arms that have no user's view; all others are plain, their view is the user's choice."""
    if "arm" not in measurements.column_names:
        return np.zeros(measurements.num_rows, dtype=np.int8)
    place = {arm: code for code, arm in enumerate(QUESTION_ARMS)}
    return np.array([place.get(arm, 0) for arm in measurements["arm"].to_pylist()], dtype=np.int8)


def _require_a_choice(
    measurements: pa.Table, name: str, choice: NDArray[np.int64], num_choices: NDArray[np.int64]
) -> None:
    if name not in measurements.column_names:
        return
    is_given = measurements[name].is_valid().to_numpy()
    outside = np.flatnonzero(is_given & (num_choices > 0) & ((choice < 0) | (choice >= num_choices)))
    if outside.size:
        row = int(outside[0])
        raise DataError(
            f"measurements: {name} must be the position of a choice, 0 to {num_choices[row] - 1}, or null; "
            f"got {choice[row]} in row {row} (claim_id {measurements['claim_id'][row].as_py()})"
        )
