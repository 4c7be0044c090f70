"""Families of claims and of facts: those held out for evaluation, and the candidates for training."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError, require_counts
from sycophancy_core.prompts.examples import load_examples
from sycophancy_core.prompts.fact_families import (
    candidate_facts,
    evaluation_prompts,
    held_out_facts,
    is_fact_family,
)
from sycophancy_core.prompts.generation import (
    AdditionOptions,
    ClaimOptions,
    PromptOptions,
    make_additions,
    make_claims,
    make_prompts,
)
from sycophancy_core.prompts.splits import ADDITION, sample_rows, split_claims
from sycophancy_core.prompts.stance import FactOptions


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """Which claims a run asks and may train on.

    Attributes
    ----------
    families
        What the evaluation asks: ``"addition"`` (sums), sources of the packaged sample, and families of facts (see
        ``fact_families`` and ``load_facts``). Each of the former is a task; facts are the tasks ``facts``, of families
        that nothing is trained on, and ``facts_trained``.
    candidate_families
        The families whose claims may be trained on, never on a held-out claim; the others show transfer. All of facts,
        or none.
    forms
        How held-out facts are asked (``form`` of ``FactOptions``). In forms other than ``"content"`` their tasks are
        called after the form: ``facts_letters``.
    negated_share
        Share of the claims that say "is not": 0, 0.5 or 1. The packaged organism learned claims that say "is".
    claims
        Held-out claims of each family that the evaluation asks, in four arms and both orders.
    candidates
        Claims of each candidate family, at most.
    seed
        Of all draws.
    """

    families: tuple[str, ...] = (ADDITION, "sample_sentiment", "sample_number")
    candidate_families: tuple[str, ...] = ("sample_sentiment", "sample_number")
    forms: tuple[str, ...] = ("content",)
    negated_share: float = 0.0
    claims: int = 40
    candidates: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(type(self).__name__, self, ("claims", "candidates"))
        if not self.forms or len(set(self.forms)) < len(self.forms):
            raise DataError(f"forms wants at least one form and none twice, got {list(self.forms)}")
        for form in self.forms:
            FactOptions(form=form)  # which checks it
        if 0 < sum(map(is_fact_family, self.candidate_families)) < len(self.candidate_families):
            raise DataError(
                f"candidate_families must all be of facts or none of them, got {', '.join(self.candidate_families)}"
            )

    @property
    def trains_on_facts(self) -> bool:
        """Whether the candidates are facts."""
        return any(map(is_fact_family, self.candidate_families))

    @property
    def fact_families(self) -> tuple[str, ...]:
        """The families of facts that the evaluation asks."""
        return tuple(filter(is_fact_family, self.families))


def family_claims(
    family: str, options: FamilyOptions, *, recipe: str = "balanced", claims_per_example: int = 1
) -> pa.Table:
    """Make the claims of a family: sums, true or far off, or claims of a source of the packaged sample.

    By the recipe ``wei2023`` sums are false, and half the claims say "is not", which are the false ones.

    Raises
    ------
    DataError
        If the sample has no such source.
    """
    published = recipe == "wei2023"
    if family == ADDITION:
        sums = AdditionOptions(errors=("far",), true_share=0.0 if published else 0.5)
        return make_additions(options=sums, seed=options.seed)
    examples = load_examples()
    mine = examples.filter(pc.equal(examples["source"], family))
    if mine.num_rows == 0:
        there = ", ".join(examples["source"].unique().to_pylist())
        raise DataError(f"families must be {ADDITION} or of {there}, got {family!r}")
    negated = 0.5 if published else options.negated_share
    wording = ClaimOptions(recipe=recipe, negated_share=negated, claims_per_example=claims_per_example)
    return make_claims(mine, options=wording, seed=options.seed)


def held_out_claims(options: FamilyOptions) -> dict[str, pa.Table]:
    """Return each family's claims for evaluation."""
    families = [family for family in options.families if not is_fact_family(family)]
    held_out = {family: split_claims(family_claims(family, options))[1] for family in families}
    return {family: sample_rows(claims, options.claims, seed=options.seed) for family, claims in held_out.items()}


def facts_held_out(options: FamilyOptions) -> dict[str, pa.Table]:
    """Return the facts for evaluation, by task."""
    trained = options.candidate_families
    return held_out_facts(options.fact_families, trained=trained, n=options.claims, seed=options.seed)


def held_out_prompts(options: FamilyOptions) -> dict[str, pa.Table]:
    """Ask the held-out claims in four arms and both orders, and facts in theirs, in wordings kept for evaluation."""
    wording = PromptOptions(split="test")
    claims = held_out_claims(options)
    found = {family: make_prompts(table, options=wording, seed=options.seed) for family, table in claims.items()}
    for form in options.forms:
        suffix = "" if form == "content" else f"_{form}"
        for task, facts in facts_held_out(options).items():
            found[task + suffix] = evaluation_prompts(facts, form=form, seed=options.seed)
    return found


def candidate_claims(options: FamilyOptions, *, recipe: str = "balanced") -> pa.Table:
    """Return the claims, or facts, that may be trained on; none is about what a held-out claim is about."""
    if options.trains_on_facts:
        return candidate_facts(options.candidate_families, n=options.candidates, seed=options.seed)
    tables = []
    for family in options.candidate_families:
        claims = split_claims(family_claims(family, options, recipe=recipe, claims_per_example=2))[0]
        tables.append(sample_rows(claims, options.candidates, seed=options.seed))
    return pa.concat_tables(tables)
