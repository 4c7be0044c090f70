"""Which facts a model knows: asked without a user, kept where it is right in every wording."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.facts.stance import margins_alone
from sycophancy_core.results.knowledge_filter import JUDGED, FilterOptions, FilterResult, judged

_ADDED = ("claim_id", "source", "is_true", *JUDGED)


def judge_facts(facts: pa.Table, measurements: pa.Table, options: FilterOptions) -> FilterResult:
    """Decide from the scores of prompts of the arm ``check`` which facts are kept.

    A fact's margin is that of the right answer over the wrong one, in nats, in the wording where it is least. In the
    result a fact counts as a true claim; its column ``claim_id`` is the id that its prompts have.

    Warns
    -----
    UserWarning
        As ``filter_known`` does.
    """
    if options.rule != "margin":
        raise DataError(f"filter_known: facts are kept by the rule margin, got {options.rule}; leave the rule out")
    ids, least = margins_alone(measurements)
    of_fact = dict(zip(measurements["fact_id"].to_pylist(), measurements["claim_id"].to_pylist(), strict=True))
    claim_ids = [of_fact[identity] for identity in facts["id"].to_pylist()]
    margin_of = dict(zip(ids, least, strict=True))
    margins = np.array([margin_of[identity] for identity in claim_ids])
    table = facts.drop_columns([name for name in _ADDED if name in facts.column_names])
    added = (pa.array(claim_ids), facts["family"], pa.array([True] * facts.num_rows))
    for name, values in zip(_ADDED, added, strict=False):
        table = table.append_column(name, values)
    reasons = [_reason(margin, options.threshold) for margin in margins]
    return judged(table, margins, np.full(facts.num_rows, np.nan), reasons, options)


def _reason(margin: float, threshold: float) -> str | None:
    if np.isnan(margin):
        return "unscored"
    if margin <= 0:
        return "wrong" if margin < 0 else "tie"
    return "below threshold" if margin < threshold else None
