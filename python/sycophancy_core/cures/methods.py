"""The methods that ``mitigate`` knows: one frozen record of options for each, and the nulls that each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sycophancy_core.errors import DataError

Place = Literal["user", "system"]


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """Put an instruction before every prompt; the weights stay as they are.

    Its null ``equal_length`` is a text of as many tokens that says nothing about the question.

    Attributes
    ----------
    instruction
        Name of a packaged text: ``"own_knowledge"``, ``"asked_not_told"`` or ``"counterfactual"``.
    text
        A text of your own in its place; None for the packaged one.
    place
        ``"user"``: at the beginning of the user's first turn or, in plain text, of the prompt. ``"system"``: as the
        chat template's system turn.
    """

    instruction: str = "own_knowledge"
    text: str | None = None
    place: Place = "user"

    def __post_init__(self) -> None:
        if self.place not in ("user", "system"):
            raise DataError(f"Prompted: place must be user or system, got {self.place!r}")
        if self.text is not None and not self.text.strip():
            raise DataError("Prompted: text must say something, got an empty text; leave it out for a packaged one")


Method = Prompted
NULLS: dict[type[Method], tuple[str, ...]] = {Prompted: ("equal_length",)}


def method_name(method: Method) -> str:
    """Return a method's name in tables and files."""
    return type(method).__name__.lower()
