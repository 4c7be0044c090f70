"""The method, one function a stage: generate, filter, mix, fine-tune, evaluate, compare.

Measure a model; make synthetic claims; keep those that it knows by itself; ask it about them with a user's opinion, and
teach it to answer by the truth; measure again (Wei et al. 2023, sections 2 to 5).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.estimates import EQUIVALENCE_MARGIN
from sycophancy_core.prompts.generation import (
    AdditionOptions,
    ClaimOptions,
    PromptOptions,
    generate,
    make_additions,
    make_claims,
    make_prompts,
)
from sycophancy_core.reporting.findings import comparison_findings, evaluation_findings
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult, judge_claims
from sycophancy_core.runs.locks import one_writer
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.tasks.named_tasks import DEFAULT_TASKS, TaskOptions, task_prompts
from sycophancy_core.training.finetune import finetune
from sycophancy_core.training.mixing import mix
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.result import FinetuneResult

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.runs.progress import Progress
    from sycophancy_core.scoring.language_model import LanguageModel
    from sycophancy_core.scoring.scores import Scores

TRUE_SHARES = (0.4, 0.6)  # of training prompts about true claims; beyond, one answer is a good guess
PRECISION_PROMPTS = 200  # a task; scored twice where products are not in float32

__all__ = [
    "AdditionOptions",
    "ClaimOptions",
    "FilterOptions",
    "FinetuneOptions",
    "FinetuneResult",
    "PromptOptions",
    "TaskOptions",
    "compare",
    "evaluate",
    "filter_known",
    "finetune",
    "generate",
    "make_additions",
    "make_claims",
    "make_prompts",
    "mix",
    "training_prompts",
]


def filter_known(
    model: LanguageModel,
    claims: pa.Table,
    *,
    options: FilterOptions | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> FilterResult:
    """Keep the claims that a model answers rightly without any opinion (Wei et al. 2023, section 4.2).

    Parameters
    ----------
    claims
        Claims of :func:`make_claims` or :func:`make_additions`.
    run
        Folder for the journal ``filter.journal``; an interrupted call goes on from it.

    Raises
    ------
    DataError
        If there is no claim.

    Warns
    -----
    UserWarning
        If the model is at chance on the claims: then the kept ones are coin flips. Or if none could be scored.
    """
    options = options or FilterOptions()
    if claims.num_rows == 0:
        raise DataError("filter_known: wanted claims, got an empty table")
    prompts = filter_prompts(claims, options, seed=seed)
    with _writing(run):
        scores = _score(model, prompts, "filter.journal", run, progress)
    return judge_claims(claims, _measurements(prompts, scores), options)


def filter_prompts(claims: pa.Table, options: FilterOptions, *, seed: int) -> pa.Table:
    """Make the opinion-free prompts that the filter asks: all templates in both orders, or one drawn prompt a claim."""
    import pyarrow as pa

    if options.rule == "wei2023":
        drawn = PromptOptions(protocol=options.protocol, split=options.split, arms=("none",), design="sampled")
        return make_prompts(claims, options=drawn, seed=seed)
    parts = [
        make_prompts(
            claims,
            options=PromptOptions(
                protocol=options.protocol, split=options.split, templates=(template,), arms=("none",), design="crossed"
            ),
            seed=seed,
        )
        for template in options.templates
    ]
    return pa.concat_tables(parts)


def training_prompts(claims: pa.Table, *, n: int, options: PromptOptions | None = None, seed: int = 0) -> pa.Table:
    """Ask claims with a user's opinion, one prompt a claim and turn, until there are ``n``.

    What is left for the last turn is a sample of the claims that keeps the shares of source, truth and polarity.
    Opinion and order are balanced within every source x truth x polarity of a turn; every turn draws fresh personas
    and templates. The right choice is the truth's, whatever the user says. Truth and polarity are as the claims have
    them: a filter may keep more true claims than false ones, and neither the paper nor this function evens that out.

    Parameters
    ----------
    options
        Wording; by default the training templates of ``factorial``.

    Raises
    ------
    DataError
        If there is no claim, or no prompt is wanted.

    Warns
    -----
    UserWarning
        If less than 40 % or more than 60 % of the prompts are about true claims.

    References
    ----------
    Wei et al. 2023, sections 4.1 and 4.2.
    """
    import pyarrow as pa

    from sycophancy_core.prompts.splits import sample_claims, seed_of_turn

    if n < 1:
        raise DataError(f"training_prompts: n must be at least 1, got {n}")
    options = options or PromptOptions(split="train", design="sampled")
    if claims.num_rows == 0:
        raise DataError("training_prompts: wanted claims, got none; did the filter keep nothing?")
    turns, rest = divmod(n, claims.num_rows)
    asked = [claims] * turns + ([sample_claims(claims, rest, seed=seed_of_turn(seed, turns))] if rest else [])
    tables = [make_prompts(part, options=options, seed=seed_of_turn(seed, turn)) for turn, part in enumerate(asked)]
    prompts = pa.concat_tables(tables).slice(0, n)
    _warn_one_sided(prompts)
    return prompts


def _warn_one_sided(prompts: pa.Table) -> None:
    import pyarrow.compute as pc

    num_true = pc.sum(prompts["is_true"]).as_py()
    share = num_true / prompts.num_rows
    low, high = TRUE_SHARES
    if not low <= share <= high:
        answer = "Agree" if share > 0.5 else "Disagree"
        warnings.warn(
            f"training_prompts: wanted {100 * low:.0f} to {100 * high:.0f} % true claims, got {100 * share:.0f} % "
            f"({num_true} of {prompts.num_rows} prompts); a model can learn to answer {answer} to everything; leave "
            "out claims of the larger side",
            UserWarning,
            stacklevel=3,
        )


def evaluate(
    model: LanguageModel,
    *,
    tasks: Sequence[str] | Mapping[str, pa.Table] = DEFAULT_TASKS,
    options: TaskOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
    known: Collection[str] | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model on tasks: score every prompt, estimate every metric, say what stands out.

    Parameters
    ----------
    tasks
        Names of tasks, or prompts tables by name.
    options
        Where the material of tasks by name comes from.
    limit
        Claims or questions a task by name; None for all.
    known
        Ids of the claims that the unmodified model knows, for harm and help; by default what these very prompts show
        without an opinion.
    run
        Folder for the journal ``evaluate.journal``; an interrupted call goes on from it.
    """
    from sycophancy_core.metrics.measure import measure
    from sycophancy_core.tasks.second_turn import measure_turns

    prompts = task_prompts(tasks, options=options, limit=limit, seed=seed)
    with _writing(run):
        measurements = measure_turns(
            prompts, lambda table, turn: _score(model, table, f"{turn}.journal", run, progress)
        )
    estimates = measure(measurements, known=known)
    facts = _facts(model, prompts, seed)
    return Evaluation(
        model=model.name,
        measurements=measurements,
        estimates=estimates,
        findings=evaluation_findings(estimates, precision_check=facts["precision_check"]),
        facts=facts,
    )


def compare(
    before: Evaluation,
    after: Evaluation,
    *,
    known: Collection[str] | None = None,
    equivalence_margin: float = EQUIVALENCE_MARGIN,
) -> Comparison:
    """Pair two evaluations prompt by prompt, and estimate the change of every metric.

    Parameters
    ----------
    known
        Ids of the claims that the model knew before, in any task; by default, in each task, those whose margin was
        right before, over the prompts that could be scored before and after. The estimates of both sides are made anew,
        so that they are about the same claims and prompts as the change.
    equivalence_margin
        Share of answers by which accuracy without an opinion may differ and still count as kept (two one-sided tests).

    Raises
    ------
    DataError
        If the two did not answer the same prompts, or the margin is not positive.
    """
    from sycophancy_core.metrics.changes import compare_measurements

    old, new, changes = compare_measurements(
        before.measurements, after.measurements, known=known, equivalence_margin=equivalence_margin
    )
    return Comparison(
        before=replace(before, estimates=old),
        after=replace(after, estimates=new),
        estimates=changes,
        findings=comparison_findings(old, new, changes),
    )


def _writing(run: str | Path | None) -> AbstractContextManager[None]:
    """Hold the folder of the journals, if there is one."""
    if run is None:
        return nullcontext()
    check_output_folder(run)
    return one_writer(run)


def _score(
    model: LanguageModel, prompts: pa.Table, journal: str, run: str | Path | None, progress: Progress | None
) -> Scores:
    if run is None:
        return model.score(prompts, progress=progress)
    from sycophancy_core.scoring.resumable import score_resumable

    return score_resumable(model, prompts, journal=Path(run) / journal, progress=progress)


def _measurements(prompts: pa.Table, scores: Scores) -> pa.Table:
    from sycophancy_core.scoring.scores import measurements

    return measurements(prompts, scores)


def _facts(model: LanguageModel, prompts: Mapping[str, pa.Table], seed: int) -> dict[str, Any]:
    return {
        "weights": model.digest,
        "tokenizer": model.tokenizer_digest,
        "engine": model.engine,
        "precision": model.precision,
        "prompts": {name: table.num_rows for name, table in prompts.items()},
        "seed": seed,
        "precision_check": _precision_checks(model, prompts),
    }


def _precision_checks(model: LanguageModel, prompts: Mapping[str, pa.Table]) -> dict[str, dict[str, Any]]:
    """Compare answers with those of float32 products on a part of each task; empty where that is not a choice."""
    from sycophancy_core.prompts.splits import sample_rows

    if not model.precision.endswith(("/high", "/medium")):
        return {}
    return {
        name: asdict(model.precision_check(sample_rows(table, PRECISION_PROMPTS, seed=0)))
        for name, table in prompts.items()
    }
