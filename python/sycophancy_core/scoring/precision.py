"""How far scores in one precision are from those in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sycophancy_core.errors import DataError
from sycophancy_core.scoring.scores import Scores


@dataclass(frozen=True, kw_only=True)
class PrecisionCheck:
    """How far scores in one precision are from those in float32.

    Attributes
    ----------
    precision
        The precision that was checked.
    num_prompts
        Prompts that were compared.
    num_flipped
        Prompts with another answer.
    mean_margin_change, max_margin_change
        Mean and maximum of the change of log p(choice j) - log p(choice 0), j > 0, in nats.
    widest_flipped_margin
        The widest float32 margin between best and second choice among flipped answers, in nats; 0 where none flipped.
    """

    precision: str
    num_prompts: int
    num_flipped: int
    mean_margin_change: float
    max_margin_change: float
    widest_flipped_margin: float


def compare_scores(scores: Scores, exact: Scores) -> PrecisionCheck:
    """Compare the scores of the same prompts in two precisions."""
    ours, wanted = scores.log_prob, exact.log_prob
    if ours.shape != wanted.shape:
        raise DataError(f"precision_check: got scores of shape {ours.shape} and {wanted.shape}; score the same prompts")
    rows = ~np.isnan(ours[:, 0]) & ~np.isnan(wanted[:, 0])
    ours, wanted = ours[rows], wanted[rows]
    change = np.abs((ours[:, 1:] - ours[:, :1]) - (wanted[:, 1:] - wanted[:, :1]))
    change = change[~np.isnan(change)]
    flipped = np.nanargmax(ours, axis=1) != np.nanargmax(wanted, axis=1) if len(ours) else np.zeros(0, dtype=bool)
    ranked = np.sort(np.nan_to_num(wanted[flipped], nan=-np.inf), axis=1)
    return PrecisionCheck(
        precision=scores.precision,
        num_prompts=len(ours),
        num_flipped=int(flipped.sum()),
        mean_margin_change=float(change.mean()) if change.size else 0.0,
        max_margin_change=float(change.max()) if change.size else 0.0,
        widest_flipped_margin=float((ranked[:, -1] - ranked[:, -2]).max()) if flipped.any() else 0.0,
    )
