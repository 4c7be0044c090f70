"""How far scores in one precision are from those with products in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core import _core
from sycophancy_core.errors import DataError

# Products in float32 take up to four times as long as those of ``medium``: so the check takes a tenth of the time.
SAMPLED_SHARE = 1 / 50


@dataclass(frozen=True, kw_only=True)
class PrecisionCheck:
    """How far scores in one precision are from those with products in float32.

    Attributes
    ----------
    precision
        The precision that was checked.
    num_prompts
        Prompts that were compared.
    num_asked
        Prompts among which these were drawn.
    num_flipped
        Prompts with another answer.
    flipped_at_most
        The 95% upper bound, by Clopper and Pearson, on the share of claims (of prompts, where they have none) with
        another answer to any prompt; the share itself where all prompts were compared.
    mean_margin_change, max_margin_change
        Mean and maximum of the change of log p(choice j) - log p(choice 0), j > 0, in nats.
    widest_flipped_margin
        The widest margin, with products in float32, between best and second choice among flipped answers, in nats; 0
        where none flipped.
    """

    precision: str
    num_prompts: int
    num_asked: int
    num_flipped: int
    flipped_at_most: float
    mean_margin_change: float
    max_margin_change: float
    widest_flipped_margin: float


def check_precision(model: Any, exact: Any, prompts: pa.Table, *, share: float, seed: int) -> PrecisionCheck:
    """Compare a language model with the same in ``highest``; see :meth:`LanguageModel.precision_check`."""
    claims, num_asked = claims_of(prompts), prompts.num_rows
    if share < 1:
        rows = draw_claims(claims, share=share, seed=seed)
        prompts, claims = prompts.take(rows), claims[rows]
    ours, wanted = (one.score(prompts).log_prob for one in (model, exact))
    return compare_log_probs(model.precision, ours, wanted, claims=claims, num_asked=num_asked)


def compare_log_probs(
    precision: str,
    ours: NDArray[np.float64],
    wanted: NDArray[np.float64],
    *,
    claims: NDArray[np.int64],
    num_asked: int,
) -> PrecisionCheck:
    """Compare the log-probabilities of the same prompts, as in :class:`Scores`, in a precision and in float32.

    Parameters
    ----------
    claims
        The number of each prompt's claim; see :func:`claims_of`.
    num_asked
        Prompts among which these were drawn.
    """
    if ours.shape != wanted.shape:
        raise DataError(f"precision_check: got scores of shape {ours.shape} and {wanted.shape}; score the same prompts")
    rows = ~np.isnan(ours[:, 0]) & ~np.isnan(wanted[:, 0])
    is_sample = len(ours) < num_asked
    ours, wanted, claims = ours[rows], wanted[rows], claims[rows]
    change = np.abs((ours[:, 1:] - ours[:, :1]) - (wanted[:, 1:] - wanted[:, :1]))
    change = change[~np.isnan(change)]
    flipped = np.nanargmax(ours, axis=1) != np.nanargmax(wanted, axis=1) if len(ours) else np.zeros(0, dtype=bool)
    ranked = np.sort(np.nan_to_num(wanted[flipped], nan=-np.inf), axis=1)
    num_changed, num_claims = len(np.unique(claims[flipped])), len(np.unique(claims))
    return PrecisionCheck(
        precision=precision,
        num_prompts=len(ours),
        num_asked=num_asked,
        num_flipped=int(flipped.sum()),
        flipped_at_most=(
            _core.clopper_pearson_upper(num_changed, num_claims) if is_sample else num_changed / max(num_claims, 1)
        ),
        mean_margin_change=float(change.mean()) if change.size else 0.0,
        max_margin_change=float(change.max()) if change.size else 0.0,
        widest_flipped_margin=float((ranked[:, -1] - ranked[:, -2]).max()) if flipped.any() else 0.0,
    )


def claims_of(prompts: pa.Table) -> NDArray[np.int64]:
    """Return a number for each prompt's claim; a prompt is its own claim where there is no column ``claim_id``."""
    if "claim_id" not in prompts.column_names:
        return np.arange(prompts.num_rows)
    _, numbers = np.unique(np.array(prompts["claim_id"].to_pylist(), dtype=str), return_inverse=True)
    return numbers.astype(np.int64)


def draw_claims(claims: NDArray[np.int64], *, share: float, seed: int) -> NDArray[np.int64]:
    """Draw a share of the claims, at least one, and return the rows of all their prompts, in order.

    Whole claims, since their prompts share tokens. Whatever else is scored, the same claims are drawn.
    """
    names = np.unique(claims)
    number = min(len(names), max(1, int(len(names) * share)))
    return np.flatnonzero(np.isin(claims, names[_core.sample_positions(len(names), number, seed)]))
