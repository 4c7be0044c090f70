"""The method, one function a stage: generate, filter, mix, fine-tune, evaluate, compare.

Measure a model; make synthetic claims; keep those that it knows by itself; ask it about them with a user's opinion, and
teach it to answer by the truth; measure again (Wei et al. 2023, sections 2 to 5).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import MAX_ROWS, DataError, require_whole, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import CLAIMS, FACTS, TEXTS, as_table, checked_table
from sycophancy_core.metrics.estimates import EQUIVALENCE_MARGIN
from sycophancy_core.prompts.fact_families import is_facts, known_prompts
from sycophancy_core.prompts.generation import (
    AdditionOptions,
    ClaimOptions,
    PromptOptions,
    generate,
    make_additions,
    make_claims,
    make_prompts,
)
from sycophancy_core.results.compared import comparison_of
from sycophancy_core.results.estimated import evaluation_of
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.results.fact_filter import judge_facts
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult, judge_claims
from sycophancy_core.results.shard import asked
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.sampled.sampling import SamplingOptions, sampler_facts
from sycophancy_core.tasks.asking import measured_prompts, measured_turns, sampled_prompts, thought_prompts
from sycophancy_core.tasks.named_tasks import DEFAULT_TASKS, TaskOptions, Tasks, task_prompts
from sycophancy_core.tasks.provenance import evaluation_facts, precision_checks
from sycophancy_core.tasks.second_turn import named_prompts
from sycophancy_core.training.finetune import finetune
from sycophancy_core.training.mixing import mix
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.result import FinetuneResult
from sycophancy_core.training.synthetic import ask_in_turns, replace_dropped

TRUE_SHARES = (0.4, 0.6)  # of training prompts about true claims; beyond, one answer is a good guess

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


@checked_arguments
def filter_known(
    model: LanguageModel,
    claims: pa.Table,
    *,
    options: FilterOptions | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> FilterResult:
    """Keep the claims that a model answers rightly without any opinion (Wei et al. 2023, section 4.2).

    Parameters
    ----------
    claims
        Claims of :func:`make_claims` or :func:`make_additions`; or facts of :func:`load_facts`, which are kept where
        the right answer is likelier than the wrong one in two wordings.
    run
        Folder for the journal ``filter.journal``; an interrupted call goes on from it.
    progress
        A callback of done and total; by default a bar in a terminal or a notebook; False for none.

    Raises
    ------
    DataError
        If there is no claim.

    Warns
    -----
    UserWarning
        If accuracy is not told apart from chance: what is kept need not be knowledge. Or if none could be scored.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> known = sc.filter_known(sc.load_model("my-model"), sc.load_facts("capitals").slice(0, 8), progress=False)
    >>> known.kept.num_rows <= 8
    True
    """
    options = options or FilterOptions()
    claims = claims_or_facts(claims, who="filter_known")
    measured = measured_prompts(model, filter_prompts(claims, options, seed=seed), "filter", run=run, progress=progress)
    judge = judge_facts if is_facts(claims) else judge_claims
    return judge(claims, measured, options)


def filter_prompts(claims: pa.Table, options: FilterOptions, *, seed: int) -> pa.Table:
    """Make the opinion-free prompts that the filter asks: all templates in both orders, or one drawn prompt a claim."""
    if claims.num_rows == 0:
        raise DataError("filter_known: wanted claims, got an empty table")
    if is_facts(claims):
        return known_prompts(claims, split=options.split or "train", seed=seed)
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


@checked_arguments
def training_prompts(
    claims: pa.Table,
    *,
    n: int,
    options: PromptOptions | None = None,
    users: bool = True,
    kept: Collection[str] | None = None,
    fillers: pa.Table | None = None,
    seed: int = 0,
) -> pa.Table:
    """Ask claims or facts with a user's opinion, one prompt a claim and turn, until there are ``n``.

    What is left for the last turn is a sample of the claims that keeps the shares of source, truth and polarity.
    Opinion and order are balanced within every source x truth x polarity of a turn; every turn draws fresh personas
    and templates. The right choice is the truth's, whatever the user says. Truth and polarity are as the claims have
    them: a filter may keep more true claims than false ones, and neither the paper nor this function evens that out.

    Parameters
    ----------
    options
        Wording; by default the training templates of ``factorial``.
    users
        False, for a null variant: the same claims, in the same templates and orders, with the same right choices, but
        without any user.
    kept, fillers
        Ids of the claims that a filter keeps, and claims of another family; to be given together. Prompts about claims
        that are not kept are replaced, one for one, by prompts about fillers, so that the kept claims are asked as
        often as without the filter (equal dose).

    Raises
    ------
    DataError
        If there is no claim, no prompt is wanted, or there is no filler for a claim that is not kept.

    Warns
    -----
    UserWarning
        If less than 40% or more than 60% of the prompts are about true claims.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.training_prompts(sc.read_claims("claims.csv"), n=40)
    >>> sorted(set(prompts["arm"].to_pylist()))
    ['agree', 'disagree']

    References
    ----------
    Wei et al. 2023, sections 4.1 and 4.2.
    """
    require_whole("training_prompts", "n", n, least=1, most=MAX_ROWS)
    options = options or PromptOptions(split="train", design="sampled")
    claims = claims_or_facts(claims, who="training_prompts")
    fillers = None if fillers is None else claims_or_facts(fillers, who="training_prompts (fillers)")
    if claims.num_rows == 0:
        raise DataError("training_prompts: wanted claims, got none; did the filter keep nothing?")
    prompts = ask_in_turns(claims, n=n, options=options, users=users, seed=seed)
    if (kept is None) != (fillers is None):
        raise DataError("training_prompts: wanted kept and fillers together, got only one of them; add the other")
    if kept is not None and fillers is not None:
        num_dropped = sum(claim not in kept for claim in prompts["claim_id"].to_pylist())
        if num_dropped and fillers.num_rows == 0:
            raise DataError(
                f"training_prompts: wanted fillers for {num_dropped} prompts about claims that are not kept, got none; "
                "give claims of another family that the model knows"
            )
        if num_dropped:
            replacing = ask_in_turns(fillers, n=num_dropped, options=options, users=users, seed=seed)
            prompts = replace_dropped(prompts, kept=kept, fillers=replacing)
    if not is_facts(claims):
        _warn_of_uneven_truth(prompts)
    return prompts


def _warn_of_uneven_truth(prompts: pa.Table) -> None:
    num_true = pc.sum(prompts["is_true"]).as_py()
    share = num_true / prompts.num_rows
    low, high = TRUE_SHARES
    if not low <= share <= high:
        answer = "Agree" if share > 0.5 else "Disagree"
        warn(
            f"training_prompts: wanted {100 * low:.0f} to {100 * high:.0f}% true claims, got {100 * share:.0f}% "
            f"({num_true} of {prompts.num_rows} prompts); a model can learn to answer {answer} to everything; leave "
            "out claims of the larger side"
        )


@checked_arguments
def evaluate(
    model: LanguageModel,
    *,
    tasks: Tasks = DEFAULT_TASKS,
    options: TaskOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
    known: Collection[str] | None = None,
    sampling: SamplingOptions | None = None,
    think: int | None = None,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Evaluation:
    """Measure a model on tasks: score every prompt, estimate every metric, say what stands out.

    Parameters
    ----------
    tasks
        Names of tasks (``facts``, ``claims``, ``addition_factorial``, ...; the verb ``tasks`` lists them), in a list or
        one text; or prompts tables by name.
    options
        Where the material of tasks by name comes from.
    limit
        Claims or questions a task by name; None for all.
    known
        Ids of the claims that the unmodified model knows, for harm and help; by default what these very prompts show
        without an opinion.
    sampling
        Sample answers in words instead of scoring the choices; then there are rates, over draws, and nothing in nats.
    think
        Let the model think for at most so many tokens before each reply, as :func:`think` does; by default a thinking
        block is closed, empty.
    run
        Folder for the journal ``evaluate.journal``; an interrupted call goes on from it. That of samples is
        ``sample.journal``, and thoughts have one a task.
    progress
        A callback of done and total; by default a bar in a terminal or a notebook; False for none.

    Raises
    ------
    DataError
        If a task cannot be made, samples or thoughts are asked of a second turn, samples of prompts without ids, or
        known ids are not texts.
    ModelError
        If a model is to think that is on a server, or has no chat template with a thinking block.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> found = sc.evaluate(sc.load_model("my-model"), tasks="facts", limit=4, progress=False)
    >>> found.estimate("facts", "accuracy, no user")["num_clusters"]
    4
    """
    prompts = task_prompts(tasks, options=options, limit=limit, seed=seed)
    if think is not None:
        prompts = thought_prompts(model, prompts, think, seed, run=run, progress=progress)
    facts = evaluation_facts(model, prompts, seed=seed, limit=limit, think=think)
    if sampling is None:
        measured = measured_turns(model, named_prompts(prompts), run=run, progress=progress)
        facts["precision_check"] = precision_checks(model, prompts)
    else:
        measured = sampled_prompts(model, named_prompts(prompts), sampling, seed, run=run, progress=progress)
        facts |= {**sampler_facts(model), "sampling": asdict(sampling)}
    return evaluation_of(
        model.name,
        measured.drop_columns([name for name in TEXTS if name in measured.column_names]),
        facts=facts,
        prompts=asked(measured),
        known=known,
    )


@checked_arguments
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
        right before, over the prompts that could be scored before and after. The estimates of both sides are computed
        again, for the same claims and prompts as the change.
    equivalence_margin
        Share of answers by which accuracy without an opinion may differ and still count as kept (two one-sided tests).

    Raises
    ------
    DataError
        If the two did not answer the same prompts, or the margin is not positive.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> before = sc.evaluate(sc.load_model("my-model"), tasks="facts", limit=4, progress=False)
    >>> sc.compare(before, before).estimate("facts", "accuracy, no user")["value"]
    0.0
    """
    return comparison_of(before, after, known=known, equivalence_margin=equivalence_margin)


def claims_or_facts(table: pa.Table, *, who: str) -> pa.Table:
    """Check a table of claims, or of facts."""
    table = as_table(table, who=who)
    return checked_table(table, FACTS if is_facts(table) else CLAIMS, who=who)
