"""Measurements and estimates of made-up models whose behaviour is known, for the tests of figures and report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

ARMS = ("none", "placebo", "agree", "disagree")
ORDERS = ("agree_first", "disagree_first")


def measurements(
    *,
    knows: float = 2.0,
    flatters: float = 0.0,
    letter: float = 0.0,
    agrees: float = 0.0,
    noise: float = 0.0,
    num_claims: int = 20,
    tasks: Sequence[str] = ("addition", "claims"),
    sources: Sequence[str] = ("sst2", "trec"),
    seed: int = 0,
) -> pa.Table:
    """Log-odds of Agree: +-knows (truth) +-flatters (user) +-letter (order) + agrees + noise; half of them true."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in tasks:
        for claim in range(num_claims):
            truth = claim % 2 == 0
            for arm in ARMS:
                for order in ORDERS:
                    user = {"agree": 1.0, "disagree": -1.0}.get(arm, 0.0)
                    first = 1.0 if order == "agree_first" else -1.0
                    odds = (
                        knows * (1 if truth else -1) + flatters * user + letter * first + agrees + noise * rng.normal()
                    )
                    first_odds = odds * first
                    total = np.logaddexp(0.0, first_odds)
                    rows.append(
                        {
                            "id": f"{task}-{claim}-{arm}-{order}",
                            "claim_id": f"{task}-{claim}",
                            "task": task,
                            "source": sources[claim % len(sources)],
                            "arm": arm,
                            "order": order,
                            "is_true": truth,
                            "log_prob": [float(first_odds - total), float(-total)],
                            "log_odds": float(odds),
                            "answer": 0 if first_odds > 0 else 1,
                            "unscored": None,
                        }
                    )
    types = {"answer": pa.int8(), "unscored": pa.string(), "log_prob": pa.list_(pa.float64())}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})


def questions(answers: list[int], *, num_choices: int, users: list[int] | None = None) -> pa.Table:
    """Answer one question a row, sure of each; with users, questions of opinion, a user's prompt and its control."""
    rows: list[dict[str, object]] = []
    for number, answer in enumerate(answers):
        scores = [-0.01 if choice == answer else -9.0 for choice in range(num_choices)]
        claim = number if users is None else number // 2
        user = None if users is None or number % 2 else users[claim]
        target = number % num_choices if users is None else None
        rows.append({"claim_id": str(claim), "target": target, "user_choice": user, "log_prob": scores})
    table = pa.Table.from_pylist(rows).append_column("id", pa.array(map(str, range(len(rows)))))
    return table.append_column("task", pa.array(["t"] * len(rows)))


def quiz(rows: Sequence[tuple[int, int | None, int]]) -> pa.Table:
    """Make questions with two choices from (right choice, user's choice, answer); one without a user starts each."""
    scores = [[-0.01, -9.0] if answer == 0 else [-9.0, -0.01] for _, _, answer in rows]
    claim = np.cumsum([user is None for _, user, _ in rows])
    return pa.table(
        {
            "id": [str(row) for row in range(len(rows))],
            "claim_id": claim.astype(str),
            "task": ["t"] * len(rows),
            "target": [right for right, _, _ in rows],
            "user_choice": pa.array([user for _, user, _ in rows], pa.int8()),
            "log_prob": scores,
        }
    )


def estimate(task: str, metric: str, value: float, half: float = 0.05, **more: object) -> dict[str, object]:
    """One row of an estimates table, with an interval of ``value`` +- ``half``."""
    row = {"task": task, "metric": metric, "subset": "all", "value": value, "low": value - half, "high": value + half}
    row |= {
        "confidence": 0.95,
        "method": "cluster-t (CR1)",
        "n": 480,
        "num_clusters": 60,
        "num_unscored": 0,
        "reason": None,
    }
    return row | more


def estimates(rows: Sequence[dict[str, object]]) -> pa.Table:
    """Make an estimates table of rows made by ``estimate``."""
    table = pa.Table.from_pylist(list(rows))
    at = table.column_names.index("reason")
    return table.set_column(at, "reason", table["reason"].cast(pa.string()))


BEFORE = (
    estimate("addition", "accuracy_none", 1.0, 0.0),
    estimate("addition", "sycophancy_effect", 0.98, 0.02),
    estimate("addition", "harm", 0.95, 0.03),
    estimate("addition", "letter_bias", 0.31, 0.2),
    estimate("claims", "sycophancy_effect", 0.96, 0.03),
    estimate("claims", "harm", 0.90, 0.06),
    estimate("claims", "sycophancy_effect_margin", 7.4, 0.8),
    estimate(
        "claims", "flip_rate", float("nan"), float("nan"), reason="no claim is answered rightly without an opinion"
    ),
    *(
        estimate("claims", "sycophancy_effect", v, 0.12, subset=s)
        for s, v in (("sst2", 0.98), ("trec", 0.94), ("snli", 0.9))
    ),
)
AFTER = (
    estimate("addition", "accuracy_none", 0.99, 0.01),
    estimate("addition", "sycophancy_effect", 0.03, 0.03),
    estimate("addition", "harm", 0.02, 0.02),
    estimate("addition", "letter_bias", 0.05, 0.2),
    estimate("claims", "sycophancy_effect", -0.31, 0.12),
    estimate("claims", "harm", 0.20, 0.08),
    estimate("claims", "sycophancy_effect_margin", -0.4, 0.3),
    estimate(
        "claims", "flip_rate", float("nan"), float("nan"), reason="no claim is answered rightly without an opinion"
    ),
    *(
        estimate("claims", "sycophancy_effect", v, 0.2, subset=s)
        for s, v in (("sst2", -0.4), ("trec", -0.2), ("snli", -0.1))
    ),
)
