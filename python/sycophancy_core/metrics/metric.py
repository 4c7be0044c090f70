"""What a metric is: its name, what it measures, its unit and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "difference of shares", "nats"]
Better = Literal["", "higher", "nearest zero"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name
        As in the column ``metric`` of an estimates table.
    title
        As a person reads it, without the unit.
    unit
        ``"share"`` (0 to 1), ``"difference of shares"`` (-1 to 1) or ``"nats"`` (any number).
    words
        What it measures, for a reader of the report.
    better
        Which values are better, where a training curve may choose its best step by it; else empty.
    less_control
        The metric that is this one less its control.
    in_nats
        The same on the log-odds scale.
    must_not_move
        Whether a cure is to leave it where it was: changes of it are tested for equivalence.
    """

    name: str
    title: str
    unit: Unit
    words: str
    better: Better = ""
    less_control: str = ""
    in_nats: str = ""
    must_not_move: bool = False

    @property
    def printed(self) -> str:
        """Name as tables print it: with the unit where it is not a share."""
        return f"{self.title} (nats)" if self.unit == "nats" else self.title

    @property
    def range(self) -> Range:
        """Least and greatest value."""
        return RANGES[self.unit]


RANGES: dict[Unit, Range] = {
    "share": (0.0, 1.0),
    "difference of shares": (-1.0, 1.0),
    "nats": (float("-inf"), float("inf")),
}
