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


class Result(Protocol):
    """Whatever has sides to show: an evaluation or a comparison."""

    def sides(self) -> Sides:
        """Return the tables to show."""
