"""The second turn of "Are you sure?": the model's own first answer, a remark of the user, and the question once more.

The remark is the only difference between the arms: none (``reask``), approval (``affirm``), doubt (``push_back``).
Nothing is sampled: the first answer is the likeliest choice, and the choices are scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.protocols import packaged_wording
from sycophancy_core.runs.digests import short_id
from sycophancy_core.scoring.messages import Turn, table_thoughts
from sycophancy_core.scoring.scores import Scores, join_scores
from sycophancy_core.tasks.turns import after_answer, fill_turns, with_turns

FIRST_TURN = "are_you_sure/first"
SECOND_TURN = "are_you_sure/second"


def wording() -> dict[str, Any]:
    """Return the wording: ``first``, ``second`` and ``remarks`` by arm."""
    return packaged_wording("are_you_sure")


def remarks() -> dict[str, list[Turn]]:
    """Return what follows the first answer in each arm: the user's remark and question, and the reply's beginning."""
    words = wording()
    return {arm: fill_turns(words["second"], "{remark}", remark) for arm, remark in words["remarks"].items()}


def as_second(row: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Return a first turn's row under the id, arm and template of its second turn; what it asks is still the first."""
    own = {"id": short_id("are_you_sure", row["claim_id"], arm), "arm": arm, "template": SECOND_TURN}
    return {**row, **own}


def is_first_turn(prompts: pa.Table) -> pa.ChunkedArray:
    """Tell for each prompt whether a second turn follows, shape (n,)."""
    if "template" not in prompts.column_names:
        return pa.chunked_array([pa.array([False] * prompts.num_rows, pa.bool_())])
    return pc.equal(prompts["template"], FIRST_TURN).fill_null(False)


def refuse_second_turns(prompts: pa.Table) -> None:
    """Refuse to think about prompts that have a second turn: it would not show the thought of the first.

    Raises
    ------
    DataError
        If there are such.
    """
    if pc.any(is_first_turn(prompts)).as_py():
        raise DataError(
            "evaluate: a task with a second turn (are_you_sure) is asked without thoughts; leave either out"
        )


def second_turns(prompts: pa.Table, log_prob: Sequence[Sequence[float] | None]) -> pa.Table:
    """Make the second turns of first ones, one for each arm, in the order of the first.

    Ids depend on question and arm, not on the answer, so that two models are paired.

    Parameters
    ----------
    prompts
        First turns, n rows.
    log_prob
        Log-probabilities of each first turn's choices in nats; the likeliest, the first of equals, is what the model
        is told that it answered. None where unscored: then the first choice stands in, and the row is to be discarded
        (see :func:`without_unanswered`).

    Returns
    -------
    pyarrow.Table
        Prompts, 3 n rows, with the columns of ``prompts``.
    """
    words, following = wording(), remarks()
    rows = []
    for row, scores in zip(prompts.to_pylist(), log_prob, strict=True):
        answer = row["choices"][0 if scores is None else scores.index(max(scores))]
        for arm, remark in words["remarks"].items():
            # Replaced in our own wording, before the question's text is joined to it.
            text = row["prompt"] + answer + words["second"].replace("{remark}", remark)
            turns = [*after_answer(row["turns"], answer), *following[arm]]
            rows.append(as_second(row, arm) | {"prompt": text, "turns": turns})
    return pa.Table.from_pylist(rows, schema=prompts.schema)


def without_unanswered(measurements: pa.Table, first: Sequence[object | None]) -> pa.Table:
    """Mark second turns as unscored if the first answer to their question is None."""
    arms = measurements.num_rows // max(len(first), 1)
    missing = [answer is None for answer in first for _ in range(arms)]
    for name, value in (("log_prob", None), ("answer", None), ("unscored", "the first answer is unscored")):
        column = measurements[name]
        values = [value if lost else old for lost, old in zip(missing, column.to_pylist(), strict=True)]
        at = measurements.column_names.index(name)
        measurements = measurements.set_column(at, name, pa.array(values, column.type))
    return measurements


def named_prompts(tasks: Mapping[str, pa.Table]) -> pa.Table:
    """Return the prompts of all tasks in one table, with the column ``task``."""
    named = [
        with_turns(table, f"task {name}").append_column("task", pa.array([name] * len(table), pa.string()))
        for name, table in tasks.items()
    ]
    return pa.concat_tables(named, promote_options="permissive")  # a table of one's own may hold wider types


def measure_turns(prompts: pa.Table, score: Callable[[pa.Table, str], Scores]) -> pa.Table:
    """Score the prompts of all tasks in one go, and once more where a task has a second turn.

    Parameters
    ----------
    prompts
        As of :func:`named_prompts`.
    score
        Called with prompts and with ``"evaluate"`` or, for second turns, ``"second_turn"``.

    Returns
    -------
    pyarrow.Table
        Measurements: of the prompts in order, then of the second turns.
    """
    is_first = is_first_turn(prompts)
    if table_thoughts(prompts.filter(is_first)) is not None:
        refuse_second_turns(prompts)
    first = join_scores(prompts, score(prompts, "evaluate"))
    if not pc.any(is_first).as_py():
        return first
    log_prob = first.filter(is_first)["log_prob"].to_pylist()
    again = second_turns(prompts.filter(is_first), log_prob)
    second = without_unanswered(join_scores(again, score(again, "second_turn")), log_prob)
    return pa.concat_tables([first, second])
