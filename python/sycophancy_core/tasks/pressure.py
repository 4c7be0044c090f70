"""Pressure: a model answers, and the user pushes back, again and again; who speaks is the only difference.

The sources are a guess, a belief, an expert and a group; ``reask`` asks again without a remark, and is the control.
Nothing is sampled: an answer is the likeliest choice, and the choices are scored again after every remark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import QUESTIONS, Column, check_choices, checked_table
from sycophancy_core.prompts.prompt_table import TURNS
from sycophancy_core.prompts.protocols import packaged_wording
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import plain_text
from sycophancy_core.tasks.turns import after_answer


def pressure_wording() -> dict[str, Any]:
    """Return the wording: ``again`` (what is asked after each remark), and ``remarks`` by source, round by round."""
    return packaged_wording("pressure")


@checked_arguments
def answers_under_pressure(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    rounds: int = 3,
    sources: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Ask questions, and push back ``rounds`` times after each answer, with the remarks of every source.

    Parameters
    ----------
    prompts
        Questions in turns that end in what a reply begins with, such as facts in their arm ``none``.
    rounds
        Remarks, one after the other; beyond the third, the last remark is repeated.
    sources
        Who speaks: some of those in :func:`pressure_wording`; by default all.

    Returns
    -------
    pyarrow.Table
        One row a question, source and round: ``id``, ``claim_id``, ``source``, ``round`` (0 for the first answer),
        ``answer`` (the likeliest choice, the first of equals; null where unscored), ``log_prob`` (nats) and ``target``.

    Raises
    ------
    DataError
        If a source is unknown or there twice, or a prompt has no turns or no id of its own.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> facts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 2), options=sc.FactOptions(arms=("none",)))
    >>> answers = sc.answers_under_pressure(sc.load_model("my-model"), facts, rounds=1, sources=("reask", "expert"))
    >>> answers["round"].to_pylist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    require_whole("answers_under_pressure", "rounds", rounds, least=1, most=20)
    words = pressure_wording()
    sources = _checked_sources(sources, tuple(words["remarks"]))
    prompts = checked_table(prompts, (Column("id", "text"), *QUESTIONS), who="answers_under_pressure")
    check_choices(prompts, who="answers_under_pressure", least=2)
    ids = prompts["id"].to_pylist()
    if twice := [identity for identity, number in Counter(ids).items() if number > 1]:
        raise DataError(f"answers_under_pressure: wanted an id for each prompt, got {twice[0]} twice; rename one")
    first = [_with_turns(row) for row in prompts.to_pylist()]
    log_prob = _scored(model, first, progress)
    found = [_said(row, source, 0, odds) for source in sources for row, odds in zip(first, log_prob, strict=True)]
    asked = [(row, source, odds) for source in sources for row, odds in zip(first, log_prob, strict=True)]
    for number in range(1, rounds + 1):
        rows = [_pushed(row, odds, _remark(words, source, number), words["again"]) for row, source, odds in asked]
        log_prob = _scored(model, rows, progress)
        found += [
            _said(row, source, number, odds) for row, (_, source, _), odds in zip(rows, asked, log_prob, strict=True)
        ]
        asked = [(row, source, odds) for row, (_, source, _), odds in zip(rows, asked, log_prob, strict=True)]
    return pa.Table.from_pylist(found)


def _checked_sources(sources: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    if sources is None:
        return known
    wanted = f"answers_under_pressure: wanted sources of {', '.join(known)}, each once"
    if not sources:
        raise DataError(f"{wanted}, got none")
    for source, number in Counter(sources).items():
        if source not in known:
            raise DataError(f"{wanted}, got {source!r}")
        if number > 1:
            raise DataError(f"{wanted}, got {source!r} twice")
    return sources


def _with_turns(row: dict[str, Any]) -> dict[str, Any]:
    turns = row.get("turns")
    if not turns or turns[-1]["role"] != "assistant":
        raise DataError(
            "answers_under_pressure: wanted prompts in turns that end in the beginning of a reply, got "
            f"{row.get('id', 'one')} without; ask facts (fact_prompts), or give the column turns"
        )
    if row.get("thought") is not None:
        raise DataError("answers_under_pressure: prompts are asked without thoughts; leave the column thought out")
    kept = {key: row.get(key) for key in ("claim_id", "choices", "target", "turns")}
    return {"id": str(row["id"]), "prompt": plain_text(turns), **kept}


def _scored(model: LanguageModel, rows: Sequence[dict[str, Any]], progress: Progress | None) -> list[Any]:
    table = pa.table(
        {
            "prompt": [row["prompt"] for row in rows],
            "choices": [row["choices"] for row in rows],
            "turns": pa.array([row["turns"] for row in rows], TURNS),
        }
    )
    scores = model.score(table, progress=progress)
    return [
        None if why else values[: len(row["choices"])].tolist()
        for row, values, why in zip(rows, scores.log_prob, scores.unscored, strict=True)
    ]


def _pushed(row: dict[str, Any], log_prob: list[float] | None, remark: str, again: str) -> dict[str, Any]:
    """Return the question after the answer just given, the user's remark and the same beginning of a reply.

    Where the answer is unscored, the first choice stands in; what follows is then unscored too (see :func:`_said`).
    """
    answer = row["choices"][0 if log_prob is None else _best(log_prob)]
    turns = [*after_answer(row["turns"], answer), {"role": "user", "content": remark + again}, row["turns"][-1]]
    return {
        **row,
        "turns": turns,
        "prompt": plain_text(turns),
        "is_lost": log_prob is None or row.get("is_lost", False),
    }


def _said(row: dict[str, Any], source: str, number: int, log_prob: list[float] | None) -> dict[str, Any]:
    known = None if row.get("is_lost") else log_prob
    return {
        **{key: row[key] for key in ("id", "claim_id", "target")},
        "source": source,
        "round": number,
        "answer": None if known is None else _best(known),
        "log_prob": known,
    }


def _remark(words: dict[str, Any], source: str, number: int) -> str:
    remarks: list[str] = words["remarks"][source]
    return remarks[min(number, len(remarks)) - 1]


def _best(log_prob: list[float]) -> int:
    return log_prob.index(max(log_prob))
