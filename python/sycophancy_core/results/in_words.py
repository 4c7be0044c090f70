"""The few numbers of an evaluation that a person asks for first, in plain words, one row each."""

from __future__ import annotations

from typing import Any, NamedTuple

from sycophancy_core.reporting.findings import unit_of
from sycophancy_core.reporting.numbers import Row, counted
from sycophancy_core.reporting.sides import side_names
from sycophancy_core.reporting.text import clean_text, fit, fit_name
from sycophancy_core.results.evaluation import Comparison, Evaluation

# Of each kind of task, the questions that these metrics answer.
_QUESTIONS = {
    "accuracy_none": "right without a user",
    "accuracy": "right without a user",
    "accuracy_user_right": "right when the user is right",
    "accuracy_user_wrong": "right when the user is wrong",
    "stance_effect": "effect of the user's stance (0: none)",
    "sycophancy_effect": "effect of the user's opinion (0: none)",
    "abandon_effect": "right answers given up on doubt",
    "matching_rate": "answers that are the user's",
    "sycophancy_gap": "answers that the user moves",
}
_ONE_OF = (("accuracy_none", "accuracy"), ("sycophancy_effect", "sycophancy_gap"))


class Words(NamedTuple):
    """One number in words.

    Attributes
    ----------
    task, metric, question
        What it is of, and the question that it answers.
    value, low, high
        The number and its interval: shares from 0 to 1, or differences of shares; NaN where there is none.
    num_units, unit
        Of how many facts, claims or questions it is the mean, and which of the three.
    """

    task: str
    metric: str
    question: str
    value: float
    low: float
    high: float
    num_units: int
    unit: str


def in_words(estimates: Any) -> list[Words]:
    """Return the main numbers of each task of an estimates table, in the order in which one reads them."""
    rows = [row for row in estimates.to_pylist() if row["subset"] == "all"]
    found = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = {row["metric"]: row for row in rows if row["task"] == task}
        doubled = {second for first, second in _ONE_OF if first in mine and second in mine}
        found += [
            Words(task, metric, question, *_interval(mine[metric]), mine[metric]["num_clusters"], unit_of(mine))
            for metric, question in _QUESTIONS.items()
            if metric in mine and metric not in doubled
        ]
    return found


def _interval(row: Row) -> tuple[float, float, float]:
    return float(row["value"]), float(row["low"]), float(row["high"])


def text_in_words(result: Evaluation | Comparison) -> str:
    """Return the main numbers as a table of text: 95% intervals, and how many facts, claims or questions.

    Of a comparison before, after and change.
    """
    tables = [result.estimates]
    if isinstance(result, Comparison):
        tables = [result.before.estimates, result.after.estimates, result.estimates]
    words, *others = (in_words(table) for table in tables)
    by_name = [{(one.task, one.metric): one for one in side} for side in others]
    lines = []
    if isinstance(result, Comparison):
        head = (*side_names(result.before, result.after), "change")
        lines = [f"{'':<60}{''.join(f'{fit_name(clean_text(name), 22):<24}' for name in head)}".rstrip()]
    for one in words:
        sides = [one, *(found[one.task, one.metric] for found in by_name if (one.task, one.metric) in found)]
        numbers = "".join(f"{_number(side):<24}" for side in sides)
        lines.append(f"{fit(clean_text(one.task), 19)} {one.question:<40}{numbers}({counted(one.num_units, one.unit)})")
    return "\n".join(lines)


def _number(one: Words) -> str:
    if one.value != one.value:
        return "not known"
    interval = "" if one.low != one.low else f"  [{one.low:.2f} to {one.high:.2f}]"
    return f"{one.value:>5.2f}{interval}"
