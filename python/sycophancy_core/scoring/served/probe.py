"""The probe: whether a server gives the log-probabilities of the tokens that it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.encoding import common_prefix
from sycophancy_core.scoring.served.dialect import Dialect

PAIR = (
    "The capital of France is Paris, and that is well known.",
    "The capital of France is London, and that is wrong.",
)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A fixed pair of texts that share all tokens up to the last but one.

    Attributes
    ----------
    pair
        Token ids; the last of the two differ.
    longer
        The first of them, going on.
    """

    pair: tuple[list[int], list[int]]
    longer: list[int]

    tolerance = 0.1  # nats between two ways to one number; kernels and batches move it less, a wrong token more

    @property
    def context(self) -> int:
        """How many tokens are not scored; of the other two, the pair shares the first."""
        return len(self.pair[0]) - 2

    def values(self, dialect: Dialect) -> list[float]:
        """Return log p of the pair's two tokens, one text after the other.

        Raises
        ------
        ModelError
            If one has none.
        """
        found = [value for row in dialect.log_probs(self.pair, self.context) for value in row]
        if len(found) != 4 or not np.isfinite(found).all():
            raise ModelError(f"{dialect.name}: wanted log-probabilities of four tokens, got {found}")
        return found

    def check(self, dialect: Dialect) -> list[float]:
        """Score the pair two ways and return what :meth:`values` says.

        The shared token must have one value in both texts and the differing ones two, which a server that is off by
        one token, or that gives something else than the prompt's log-probabilities, does not satisfy. The same tokens
        within a longer text, asked for from an earlier one on, must have the same values.

        Raises
        ------
        ModelError
            Saying what the server did.
        """
        shared, first, again, second = found = self.values(dialect)
        if abs(shared - again) > self.tolerance:
            raise ModelError(
                f"{dialect.name}: log p of one token after one beginning is {shared:.3f} and {again:.3f}, as what "
                "follows differs; the server's log-probabilities are not those of the prompt's tokens"
            )
        if first == second or shared == first:
            raise ModelError(
                f"{dialect.name}: different tokens have one log-probability ({first:.3f}); the server's "
                "log-probabilities are not those of the prompt's tokens"
            )
        _, *rest = dialect.log_probs([self.longer], self.context - 1)[0]
        if abs(rest[0] - shared) > self.tolerance or abs(rest[1] - first) > self.tolerance:
            raise ModelError(
                f"{dialect.name}: the same tokens have log-probabilities {shared:.3f} and {first:.3f} in one request, "
                f"{rest[0]:.3f} and {rest[1]:.3f} in another; these cannot be compared"
            )
        return found


def make_probe(tokenizer: Any) -> Probe:
    """Cut the fixed pair into a tokenizer's tokens.

    Raises
    ------
    ModelError
        If the tokenizer does not tell the two texts apart.
    """
    one, other = (list(ids) for ids in tokenizer(list(PAIR)).input_ids)
    same = common_prefix(one, other)
    if same < 3 or same >= min(len(one), len(other)):
        raise ModelError("load_model: the tokenizer makes the same tokens of different texts; give the model's own")
    return Probe(pair=(one[: same + 1], other[: same + 1]), longer=one[: same + 3])
