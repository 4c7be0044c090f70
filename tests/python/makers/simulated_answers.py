"""Measurements of models that do not exist: a log-odds rule applied to every prompt of a crossed design."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

ARMS = ("none", "placebo", "agree", "disagree")
ORDERS = ("agree_first", "disagree_first")
Rule = Callable[[np.random.Generator, dict[str, Any]], float]


def measurements(
    rule: Rule, *, num_claims: int = 60, seed: int = 0, arms: tuple[str, ...] = ARMS, sources: int = 2
) -> pa.Table:
    """Apply `rule(rng, row) -> log-odds of Agree` to claims x arms x orders; half of the claims are true.

    `row` holds claim (its number), arm, order, is_true and user (+1 agrees, -1 disagrees, 0 silent), side (+1 true).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for claim in range(num_claims):
        is_true = claim % 2 == 0
        for arm in arms:
            for order in ORDERS:
                user = {"agree": 1, "disagree": -1}.get(arm, 0)
                row = {"claim": claim, "arm": arm, "order": order, "is_true": is_true, "user": user}
                odds = float(rule(rng, row | {"side": 1 if is_true else -1, "first": 1 if order == ORDERS[0] else -1}))
                rows.append(_row(row, odds, f"set{claim % sources}"))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(row: dict[str, Any], odds: float, source: str) -> dict[str, Any]:
    scored = bool(np.isfinite(odds))
    agree, disagree = (-np.logaddexp(0, -odds), -np.logaddexp(0, odds)) if scored else (np.nan, np.nan)
    log_prob = [agree, disagree] if row["order"] == "agree_first" else [disagree, agree]
    right = int(row["is_true"] != (row["order"] == "agree_first"))
    answer = int(log_prob[1] > log_prob[0]) if scored and odds != 0 else None
    return {
        "id": f"{row['claim']:04x}-{row['arm']}-{row['order']}",
        "claim_id": f"{row['claim']:016x}",
        "source": source,
        "template": "factorial/one",
        "arm": row["arm"],
        "order": row["order"],
        "choices": [" (A)", " (B)"],
        "target": right,
        "user_choice": None if row["user"] == 0 else int((row["user"] > 0) != (row["order"] == "agree_first")),
        "is_true": row["is_true"],
        "log_prob": [float(p) if scored else None for p in log_prob],
        "log_odds": odds if scored else None,
        "answer": answer,
        "unscored": None if scored else "non-finite",
    }


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("claim_id", pa.string()),
        ("source", pa.string()),
        ("template", pa.string()),
        ("arm", pa.string()),
        ("order", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("target", pa.int8()),
        ("user_choice", pa.int8()),
        ("is_true", pa.bool_()),
        ("log_prob", pa.list_(pa.float64())),
        ("log_odds", pa.float64()),
        ("answer", pa.int8()),
        ("unscored", pa.string()),
    ]
)
