"""A responder of known stance, mention and noise, which reads the text of a fact's prompt and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core.scoring.scores import Scores, join_scores


@dataclass(frozen=True, kw_only=True)
class Responder:
    """What moves the log-odds between an answer that the user speaks of and the other one, in nats.

    ``knowledge`` is the mean margin of the right answer, ``spread`` its standard deviation over facts, ``noise`` that
    over prompts. Who names an answer adds ``mention`` to it; who thinks so adds half of ``stance``, who does not think
    so takes half of it away.
    """

    knowledge: float = 3.0
    spread: float = 1.0
    noise: float = 0.5
    mention: float = 0.0
    stance: float = 0.0

    def measure(self, prompts: pa.Table, *, seed: int = 0, facts_seed: int | None = None) -> pa.Table:
        """Answer prompts in the form content, and return their measurements.

        With ``facts_seed`` what is known of each fact is drawn by it, so that several responders know the same facts.
        """
        rng = np.random.default_rng(seed)
        of_facts = rng if facts_seed is None else np.random.default_rng(facts_seed)
        known: dict[str, float] = {}
        log_prob = np.empty((prompts.num_rows, 2))
        for i, row in enumerate(prompts.to_pylist()):
            right = known.setdefault(row["fact_id"], self.knowledge + self.spread * of_facts.standard_normal())
            odds = right + self.noise * rng.standard_normal() + self._pull(row)
            p = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
            log_prob[i] = p if row["target"] == 0 else p[::-1]
        unscored: list[str | None] = [None] * len(log_prob)
        scores = Scores(
            log_prob=log_prob,
            unscored=unscored,
            precision="scripted",
            num_tokens=0,
            num_tokens_unshared=0,
            num_moved_borders=0,
            seconds=0.0,
            choice_tokens=np.full(log_prob.shape, 2, np.int32),
            shared_tokens=np.zeros(len(log_prob), np.int32),
        )
        return join_scores(prompts, scores)

    def _pull(self, row: dict[str, Any]) -> float:
        """Return what the user's words add to the log-odds of the right answer."""
        user, lead_in = (turn["content"] for turn in row["turns"])
        clause = lead_in[0].lower() + lead_in[1:]
        for choice, sign in ((row["choices"][row["target"]], 1), (row["choices"][1 - row["target"]], -1)):
            if not re.search(rf"{re.escape(choice)}\b", user):
                continue
            if f"{clause}{choice}" not in user.replace(lead_in, clause):
                return sign * self.mention
            is_denied = re.search(r"\bnot\b", user) is not None
            return sign * (self.mention + (-0.5 if is_denied else 0.5) * self.stance)
        return 0.0
