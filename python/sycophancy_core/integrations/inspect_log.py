"""Our evaluations as logs of Inspect, for its viewer and its data frames.

A prompt is a sample: the reply is the choice that the model takes, after its thought where it thought first, and the
score's explanation is what log-probability it gives to each. The metrics are our estimates, with their intervals as
the metric's parameters.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import TEXTS
from sycophancy_core.integrations.inspect import inspect_samples
from sycophancy_core.results.evaluation import Evaluation, whole_tasks

try:
    from inspect_ai.dataset import Sample
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalSample,
        EvalScore,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput
    from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, Score
except ImportError as error:
    raise ImportError(
        f"sycophancy_core.integrations.inspect_log: needs inspect-ai, which cannot be imported ({error}); "
        "pip install 'sycophancy-core[inspect]'"
    ) from error

_OUTCOMES = ("log_prob", "log_odds", "answer", "unscored", "choice_tokens", "shared_tokens", "draw", "reply", "thought")


def write_inspect_logs(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write one log of Inspect (``.eval``) for each task of an evaluation.

    Parameters
    ----------
    folder
        Made if it is not there. A log that is there already is refused.

    Returns
    -------
    list of Path
        ``TASK.eval``, in the tasks' order.

    Raises
    ------
    DataError
        If the evaluation kept no prompts, or a log is there already.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> from sycophancy_core.integrations.inspect_log import write_inspect_logs
    >>> found = sc.evaluate(sc.load_model("my-model"), tasks="facts", limit=4, progress=False)
    >>> [path.name for path in write_inspect_logs(found, "logs")]
    ['facts.eval']
    """
    if evaluation.prompts is None:
        raise DataError("write_inspect_logs: wanted an evaluation with its prompts, got one without; evaluate again")
    paths = [Path(folder) / f"{task}.eval" for task in evaluation.tasks]
    for path in paths:
        if path.exists():
            raise DataError(f"write_inspect_logs: {path} is there already; remove it, or write to another folder")
    logs = [_log(evaluation, task) for task in evaluation.tasks]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for log, path in zip(logs, paths, strict=True):
        write_eval_log(log, str(path), format="eval")
    return paths


def _log(evaluation: Evaluation, task: str) -> EvalLog:
    table = _with_prompts(evaluation, task)
    found = inspect_samples(task, table.drop_columns([name for name in _OUTCOMES if name in table.column_names]))
    rows = table.to_pylist()
    scorer = "named_choice" if rows[0]["target"] is not None else "users_choice"
    samples = [_sample(sample, row, evaluation.model, scorer) for sample, row in zip(found, rows, strict=True)]
    ids = list(dict.fromkeys(sample.id for sample in samples))
    epochs = max(sample.epoch for sample in samples) if "draw" in table.column_names else None
    date = f"{evaluation.made.get('date', '1970-01-01')}T00:00:00+00:00"
    unscored = sum(row["unscored"] is not None for row in rows)
    score = EvalScore(
        name=scorer,
        scorer=scorer,
        scored_samples=len(rows) - unscored,
        unscored_samples=unscored,
        metrics=_metrics(evaluation, task),
    )
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=date,
            task=f"sycophancy_core/{task}",
            dataset=EvalDataset(name=task, samples=len(ids), sample_ids=ids),
            model=evaluation.model,
            config=EvalConfig(epochs=epochs),
            packages={"sycophancy_core": VERSION},
            metadata={
                name: evaluation.facts.get(name) for name in ("engine", "precision", "weights", "seed", "thinking")
            },
        ),
        results=EvalResults(total_samples=len(rows), completed_samples=len(rows), scores=[score]),
        stats=EvalStats(started_at=date, completed_at=date),
        samples=samples,
    )


def _with_prompts(evaluation: Evaluation, task: str) -> pa.Table:
    """Return a task's measurements with the texts that were asked."""
    assert evaluation.prompts is not None
    mine = evaluation.measurements.filter(pc.equal(evaluation.measurements["task"], task))
    asked = evaluation.prompts.filter(pc.equal(evaluation.prompts["task"], task))
    places = pc.index_in(mine["id"], value_set=asked["id"].combine_chunks())
    for name in TEXTS:
        if name in asked.column_names:
            mine = mine.append_column(name, asked[name].take(places))
    if "draw" in mine.column_names:  # which Inspect counts as epochs of one sample
        pairs = zip(mine["id"].to_pylist(), mine["draw"].to_pylist(), strict=True)
        ids = [identity.removesuffix(f"#{draw}") for identity, draw in pairs]
        mine = mine.set_column(mine.column_names.index("id"), "id", pa.array(ids, pa.string()))
    return mine


def _sample(sample: Sample, row: dict[str, Any], model: str, scorer: str) -> EvalSample:
    """Return a sample with what the model took, or replied, and its score."""
    taken = None if row["answer"] is None else str(row["choices"][row["answer"]]).strip()
    reply = row.get("reply") or taken or ""
    thought = row.get("thought")
    content = reply if thought is None else [ContentReasoning(reasoning=thought), ContentText(text=reply)]
    draw = row.get("draw")
    score = Score(
        value=NOANSWER if taken is None else CORRECT if taken == sample.target else INCORRECT,
        answer=taken,
        explanation=row["unscored"] or _explained(row),
    )
    return EvalSample(
        id=sample.id or "",
        epoch=draw or 1,
        input=sample.input,
        choices=sample.choices,
        target=sample.target,
        metadata=sample.metadata or {},
        messages=[*sample.input, ChatMessageAssistant(content=content, model=model)],
        output=ModelOutput.from_content(model, content),
        scores={scorer: score},
    )


def _explained(row: dict[str, Any]) -> str:
    """Say how probable each choice is."""
    pairs = zip(row["choices"], row["log_prob"] or [], strict=False)
    return ", ".join(f"{choice.strip()}: {value:.3f} nats" for choice, value in pairs)


def _metrics(evaluation: Evaluation, task: str) -> dict[str, EvalMetric]:
    """Return the estimates of a whole task; those without a value are left out."""
    return {
        row["metric"]: EvalMetric(
            name=row["metric"],
            value=row["value"],
            params={name: row[name] for name in ("low", "high", "n", "num_clusters", "method")},
        )
        for row in whole_tasks(evaluation.estimates).to_pylist()
        if row["task"] == task and math.isfinite(row["value"])
    }
