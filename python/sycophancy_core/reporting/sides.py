"""What a result shows of itself: its tables before and after, which results/ hands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa


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
    def facts(self) -> Mapping[str, Any]:
        """Where the numbers come from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """The tables of a result, before and after; after is None for an evaluation alone.

    Attributes
    ----------
    before, after
        What each side answered.
    difference
        Estimates of the change.
    findings
        Sentences that say what stands out, the gravest first.
    """

    before: Side
    after: Side | None
    difference: pa.Table | None
    findings: tuple[str, ...]

    @property
    def estimates(self) -> tuple[pa.Table, pa.Table | None]:
        """Estimates before and after."""
        return self.before.estimates, None if self.after is None else self.after.estimates

    @property
    def measurements(self) -> tuple[pa.Table, pa.Table | None]:
        """Measurements before and after."""
        return self.before.measurements, None if self.after is None else self.after.measurements


class Result(Protocol):
    """Whatever has sides to show: an evaluation or a comparison."""

    def sides(self) -> Sides:
        """Return the tables to show."""
