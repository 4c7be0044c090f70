"""What a result shows of itself: its tables before and after, which results/ hands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from sycophancy_core.metrics.breakdowns import ClaimAnswers, claim_answers
from sycophancy_core.reporting.finding import Finding
from sycophancy_core.reporting.numbers import PairedRow, pair_estimates

BEFORE_AFTER = ("before", "after")
_WAYS = {"chat_template": "chat template", "system_prompt": "system prompt", "precision": "precision"}


class Side(Protocol):
    """One model's answers and what they amount to, such as an evaluation."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def measurements(self) -> pa.Table:
        """One row a prompt."""

    @property
    def estimates(self) -> pa.Table:
        """One row a task, metric and subset."""

    @property
    def prompts(self) -> pa.Table | None:
        """The prompts' texts by ``id``; None where they were not kept."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Where the numbers come from."""

    @property
    def made(self) -> Mapping[str, Any]:
        """When and by what command the numbers were made."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """The tables of a result, before and after; after is None for an evaluation alone. Each is decoded once.

    Attributes
    ----------
    before, after
        What each side answered.
    difference
        Estimates of the change.
    findings
        What stands out, the gravest first.
    """

    before: Side
    after: Side | None
    difference: pa.Table | None
    findings: tuple[Finding, ...]

    @property
    def each(self) -> list[Side]:
        """The sides that are there."""
        return [side for side in (self.before, self.after) if side is not None]

    @property
    def estimates(self) -> tuple[pa.Table, pa.Table | None]:
        """Estimates before and after."""
        return self.before.estimates, None if self.after is None else self.after.estimates

    @property
    def names(self) -> tuple[str, str]:
        """What the sides are called; see :func:`side_names`."""
        return BEFORE_AFTER if self.after is None else side_names(self.before, self.after)

    @cached_property
    def rows(self) -> tuple[PairedRow, ...]:
        """All estimates, paired."""
        return tuple(pair_estimates(*self.estimates, self.difference))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have estimates, in order."""
        return tuple(dict.fromkeys(row.task for row in self.rows))

    @cached_property
    def claims(self) -> tuple[ClaimAnswers, ClaimAnswers | None]:
        """What the claims were answered, before and after."""
        after = None if self.after is None else claim_answers(self.after.measurements)
        return claim_answers(self.before.measurements), after

    @property
    def has_claims(self) -> bool:
        """Whether there are claims to show: prompts with a truth."""
        return bool(self.claims[0].is_true.size)


def side_names(before: Side, after: Side) -> tuple[str, str]:
    """Return what to call two sides: before and after where one model was asked twice in one way, else what differs."""
    first, second = _ways(before, after)
    if before.model != after.model:
        return before.model, after.model
    return (first, second) if first or second else BEFORE_AFTER


def side_titles(before: Side, after: Side) -> tuple[str, str]:
    """Return the models' names, each with the ways of asking that differ in brackets."""
    pairs = zip((before, after), _ways(before, after), strict=True)
    one, other = (f"{side.model} ({way})" if way else side.model for side, way in pairs)
    return one, other


def _ways(before: Side, after: Side) -> tuple[str, str]:
    """Return how each side was asked and computed, in words, as far as both say it and it differs."""
    found: list[tuple[str, str]] = []
    for key, name in _WAYS.items():
        if key in before.facts and key in after.facts and before.facts[key] != after.facts[key]:
            one, other = (_way(name, side.facts[key]) for side in (before, after))
            found.append((one, other) if one != other else (f"one {name}", f"other {name}"))
    first, second = (", ".join(words) for words in zip(*found, strict=True)) if found else ("", "")
    return first, second


def _way(name: str, value: object) -> str:
    if name == "chat template":
        return "plain text" if value is None else name
    return f"no {name}" if value is None else name if name == "system prompt" else str(value)


class Result(Protocol):
    """Whatever has sides to show: an evaluation or a comparison."""

    def sides(self) -> Sides:
        """Return the tables to show."""
