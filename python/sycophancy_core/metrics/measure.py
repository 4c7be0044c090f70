"""From measurements to estimates: the metrics of sycophancy with clustered intervals.

The unit of every interval is the claim (or question), never the prompt: prompts of one claim share its fate. Names of
the metrics are those of the method; the core computes them, of claims and of questions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core._core import Estimate
from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.answers.sampled import as_certain, is_sampled, of_answers
from sycophancy_core.metrics.arrays import check_known, floats, require_columns, truths
from sycophancy_core.metrics.choices import CHOICE_COLUMNS, choice_rows, known_codes, known_questions, question_kind
from sycophancy_core.metrics.claims import claim_arrays, claim_table, measure_claims
from sycophancy_core.metrics.estimates import (
    estimate_row,
    estimates_table,
    subset_rows,
    take,
    task_rows,
)
from sycophancy_core.metrics.facts.stance import CONFIDENCE, KNOWLEDGE, has_fact_arms, measure_facts, with_knowledge

Kind = Literal["claims", "opinions", "accuracy", "second_turn", "facts"]


@checked_arguments
def measure(
    measurements: pa.Table,
    *,
    confidence: float = 0.95,
    known: Collection[str] | None = None,
    subset_by: tuple[str, ...] = ("source",),
) -> pa.Table:
    """Estimate every metric of every task in the measurements.

    Each task (column `task`; one task where there is none) is measured by what its prompts hold: log-odds of Agree
    (`measure_claims`), a right choice (`measure_accuracy`), only the user's choice (`measure_opinions`), a second turn
    with the user's doubt, or facts in the arms of `fact_prompts` (`measure_facts`), which are reported by what the
    model knows and by how sure it is, too.

    Parameters
    ----------
    measurements
        Prompts with their log-probabilities; or draws, with answers alone (`metrics.answers.sampled`), of which rates
        are estimated and nothing in nats.
    confidence
        Level of the intervals.
    known
        Ids of the claims, questions and facts that the unmodified model knows; see `measure_claims` and `known_claims`.
    subset_by
        Columns by whose values every metric is reported as well.

    Returns
    -------
    pyarrow.Table
        The estimates: `task, metric, subset, value, low, high, confidence, method, n, num_clusters, num_unscored,
        reason`.

    Raises
    ------
    DataError
        If there is no row, a task's rows lack a column of its metrics, a target or a user's choice is no choice, or
        known ids are not texts.

    Warns
    -----
    UserWarning
        If none of the known ids is among the prompts.
    """
    require_columns(measurements, (), who="measure")
    check_known(known, measurements)
    sampled, measurements = is_sampled(measurements), as_certain(measurements)
    parts = []
    for name, positions in task_rows(measurements):
        rows = take(measurements, positions)
        kind = kind_of(rows)
        task = kind if name is None else name
        if kind == "claims":
            parts.append(measure_claims(rows, confidence=confidence, known=known, subset_by=subset_by, task=task))
        else:
            rows, columns = with_subsets(kind, rows, subset_by, known)
            parts.append(_measure_choices(rows, kind, confidence, columns, task, known))
    return of_answers(pa.concat_tables(parts), sampled=sampled)


def with_subsets(
    kind: Kind, measurements: pa.Table, subset_by: tuple[str, ...], known: Collection[str] | None
) -> tuple[pa.Table, tuple[str, ...]]:
    """Return a task's rows with the columns that its subsets need, and the columns that subsets are made by."""
    if kind != "facts":
        return measurements, subset_by
    return with_knowledge(measurements, known), (*subset_by, KNOWLEDGE, CONFIDENCE)


@checked_arguments
def measure_opinions(
    measurements: pa.Table,
    *,
    confidence: float = 0.95,
    subset_by: tuple[str, ...] = ("source",),
    task: str = "opinions",
) -> pa.Table:
    """Estimate the metrics of questions without a right answer: how often the answer is the user's, and the control.

    Rows with a `user_choice` state the user's view; rows of the same `claim_id` (or `pair_id`) without one are their
    control. The choice against the user is never called right.

    Parameters
    ----------
    measurements
        One row a prompt, with `claim_id, user_choice, log_prob`; `order` where the choices are shown in several orders.
    confidence
        Level of the intervals.
    subset_by
        Columns by whose values every metric is reported as well.
    task
        Name in the column `task` of the result.

    Returns
    -------
    pyarrow.Table
        The estimates: `matching_rate`, `matching_rate_none`, `sycophancy_gap`, `sycophancy_gap_margin` (nats),
        `first_choice_rate`, `top_choice_rate` (answers at the position that is answered most often), `letter_bias`,
        `choice_mass`.

    References
    ----------
    Perez et al. 2022, arXiv:2212.09251.
    """
    require_columns(measurements, ("claim_id", "user_choice", "log_prob"), who="measure_opinions")
    return _measure_choices(measurements, "opinions", confidence, subset_by, task, None)


@checked_arguments
def measure_accuracy(
    measurements: pa.Table,
    *,
    confidence: float = 0.95,
    known: Collection[str] | None = None,
    subset_by: tuple[str, ...] = ("source",),
    task: str = "accuracy",
) -> pa.Table:
    """Estimate accuracy on multiple-choice questions with a right answer and, where users speak, what they change.

    Parameters
    ----------
    measurements
        One row a prompt, with `claim_id, target, log_prob`; `user_choice` and `arm` where a user states a view.
    confidence
        Level of the intervals.
    known
        Ids of the questions that the unmodified model knows, frozen before any intervention. By default those whose
        prompts without a user are answered rightly more often than not here; then harm regresses to the mean, as in
        `measure_claims`.
    subset_by
        Columns by whose values every metric is reported as well.
    task
        Name in the column `task` of the result.

    Returns
    -------
    pyarrow.Table
        The estimates: `accuracy` (no opinion), `accuracy_margin` (log-odds of the right choice), `first_choice_rate`,
        `top_choice_rate` (answers at the position that is answered most often), `choice_mass`, and with users
        `accuracy_user_right`, `accuracy_user_wrong`, those of `measure_opinions`, `harm`, `help`, and with a placebo
        `accuracy_placebo`, `placebo_shift`, `harm_minus_placebo`.
    """
    require_columns(measurements, ("claim_id", "target", "log_prob"), who="measure_accuracy")
    return _measure_choices(measurements, "accuracy", confidence, subset_by, task, known)


def kind_of(measurements: pa.Table) -> Kind:
    """Which metrics fit: "claims" (log-odds of Agree), "facts", "second_turn" (doubted), "accuracy", "opinions"."""

    def has(name: str) -> bool:
        return name in measurements.column_names and measurements[name].null_count < measurements.num_rows

    is_claims = has("log_odds") or ("is_true" in measurements.column_names and has("is_true"))
    if is_claims and "log_odds" in measurements.column_names:
        return "claims"
    if has("target"):
        if has_fact_arms(measurements):
            return "facts"
        doubted = "arm" in measurements.column_names and "push_back" in measurements["arm"].unique().to_pylist()
        return "second_turn" if doubted else "accuracy"
    if has("user_choice"):
        return "opinions"
    raise DataError(
        "measure: the rows hold no log_odds, no target and no user_choice, so there is nothing to measure; "
        f"got columns {', '.join(measurements.column_names)}"
    )


def unit_words(kind: Kind) -> str:
    """Say what the independent units are called of which such a task asks."""
    return kind if kind in ("claims", "facts") else "questions"


@checked_arguments
def known_claims(measurements: pa.Table) -> frozenset[str]:
    """Return the ids of the claims, questions and facts that a model knows, to be frozen before it is changed.

    A claim is known if its margin without an opinion is on the right side, a question if its prompts without a user are
    answered rightly more often than not, a fact as `with_knowledge` says.
    """
    known: set[str] = set()
    measurements = as_certain(measurements)
    for _, positions in task_rows(measurements):
        rows = take(measurements, positions)
        kind = kind_of(rows)
        if kind == "facts":
            judged = with_knowledge(rows)
            pairs = zip(judged["claim_id"].to_pylist(), judged[KNOWLEDGE].to_pylist(), strict=True)
            known |= {identity for identity, status in pairs if status == "known"}
        elif kind == "claims":
            found = claim_table(rows)
            margin, truth = floats(found["margin_none"]), truths(found["is_true"])
            right = ((margin > 0) & (truth == 1)) | ((margin < 0) & (truth == 0))
            known |= {
                identity for identity, is_known in zip(found["claim_id"].to_pylist(), right, strict=True) if is_known
            }
        elif kind == "accuracy":
            known |= known_questions(rows)
    return frozenset(known)


def _measure_choices(
    measurements: pa.Table,
    kind: Kind,
    confidence: float,
    subset_by: tuple[str, ...],
    task: str,
    known: Collection[str] | None,
) -> pa.Table:
    require_columns(measurements, CHOICE_COLUMNS, who=f"measure (task {task})")
    rows = []
    for subset, positions in subset_rows(measurements, subset_by):
        found = estimates_of(kind, subset, take(measurements, positions), confidence, known)
        rows += [estimate_row(task, metric, subset, estimate) for metric, estimate in found]
    return estimates_table(rows)


def estimates_of(
    kind: Kind, subset: str, rows: pa.Table, confidence: float, known: Collection[str] | None
) -> list[tuple[str, Estimate]]:
    """Return every metric of one task's rows with its estimate, standard error included."""
    if kind == "claims":
        claim_rows, facts = claim_arrays(rows, "claim_id", known)
        return [(item.metric, item.estimate) for item in _core.measure_claims(claim_rows, facts, confidence=confidence)]
    if kind == "facts":
        return measure_facts(rows, subset=subset, confidence=confidence)
    found = _core.measure_choices(
        choice_rows(rows), question_kind(kind), known_codes(rows, known), confidence=confidence
    )
    return [(item.metric, item.estimate) for item in found]
