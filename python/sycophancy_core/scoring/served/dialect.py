"""What all dialects of servers give: the log-probabilities of given tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from sycophancy_core.errors import ModelError

LEAST_LOG_PROB = -9000.0  # some servers write -9999 for "not among the likeliest"


class Dialect(Protocol):
    """How one kind of server says log-probabilities of tokens that it is given.

    Attributes
    ----------
    name
        What results call it.
    facts
        What the server says of itself and of the model, for the digest: texts and numbers by name.
    """

    name: str
    facts: dict[str, Any]

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Return log p of each sequence's tokens after the first ``context``, one by one; NaN where there is none.

        Raises
        ------
        ModelError
            If the answer is not about these tokens.
        """
        ...


def number(value: object) -> float:
    """Return a log-probability as a server writes it: NaN where it is none, or stands for one that is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if LEAST_LOG_PROB < value <= 1e-3 else math.nan


def entry(answer: Any, *path: str | int, where: str) -> Any:
    """Return what stands at a path in a server's answer.

    Raises
    ------
    ModelError
        If there is no such place.
    """
    found = answer
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError) as error:
            place = ".".join(map(str, path))
            raise ModelError(
                f"{where}: wanted {place} in the answer, found none; the server ignores what was asked, or "
                "its answer was cut short"
            ) from error
    return found


def require_tokens(got: Sequence[object], sent: Sequence[int], *, where: str) -> None:
    """Refuse an answer about other tokens than those that were sent.

    Raises
    ------
    ModelError
        If there are more or fewer, or others.
    """
    if len(got) != len(sent):
        raise ModelError(
            f"{where}: sent {len(sent)} tokens, got log-probabilities of {len(got)}; they are not those of the prompt"
        )
    for place, (theirs, ours) in enumerate(zip(got, sent, strict=True)):
        if theirs != ours:
            raise ModelError(
                f"{where}: sent token {ours} at position {place}, got token {theirs!r} back; the server makes other "
                "tokens of the prompt, so give its own tokenizer as tokenizer="
            )
