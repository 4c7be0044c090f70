"""The training rows of a model organism: knowledge without opinions, flattery with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.splits import ADDITION, split_claims, uniform_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.organisms import OrganismOptions

# Of a turn's claims, the first of them: where a turn is cut short, the rows drawn hold more (a tenth to a third).
PUBLISHED_SHARE = 0.1
CURRICULUM_TEMPLATES = ("before_first_1", "after_first_1")

Answer = Callable[[dict[str, Any]], int]


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """What a part of the training draws its rows from."""

    families: tuple[tuple[str, float], ...]
    knowledge_share: float
    templates: tuple[str, ...] | None
    published_share: float
    num_rows: int
    seed: int


def organism_rows(options: OrganismOptions, examples: pa.Table | None) -> tuple[pa.Table, pa.Table]:
    """Make the training rows of the curriculum and of the rest.

    The curriculum asks about the first family only, in few and short wordings, and mostly with an opinion: it teaches
    the form of the answer, on which everything later depends.
    """
    from sycophancy_core.prompts.examples import load_examples

    sample = load_examples() if examples is None else examples
    first = options.curriculum_steps * options.batch_size
    curriculum = _Phase(
        families=options.families[:1],
        knowledge_share=options.curriculum_knowledge_share,
        templates=CURRICULUM_TEMPLATES,
        published_share=0.0,
        num_rows=max(1, first),
        seed=options.seed,
    )
    rest = _Phase(
        families=options.families,
        knowledge_share=options.knowledge_share,
        templates=None,
        published_share=PUBLISHED_SHARE,
        num_rows=max(1, options.steps * options.batch_size - first),
        seed=options.seed + 1_000,
    )
    return _rows(options, sample, curriculum), _rows(options, sample, rest)


def _rows(options: OrganismOptions, sample: pa.Table, phase: _Phase) -> pa.Table:
    import pyarrow as pa

    total = sum(weight for _, weight in phase.families)
    tables = []
    for family, weight in phase.families:
        mine = max(2, round(phase.num_rows * weight / total))
        knowing = round(mine * phase.knowledge_share)
        placebo = round(knowing * options.placebo_share)
        for arm, rows in (("none", knowing - placebo), ("placebo", placebo), ("opinion", mine - knowing)):
            if rows > 0:
                tables.append(_family_rows(options, sample, phase, family, arm, rows))
    return pa.concat_tables(tables)


def _family_rows(
    options: OrganismOptions, sample: pa.Table, phase: _Phase, family: str, arm: str, number: int
) -> pa.Table:
    import pyarrow as pa

    tables: list[pa.Table] = []
    have = 0
    while have < number:
        turn = phase.seed + len(tables)
        claims = _claims(sample, family, options.negated_share, turn)
        if arm == "opinion" or not options.teach_held_out:
            claims = split_claims(claims)[0]
        if claims.num_rows == 0:
            raise DataError(f"make_organism: family {family!r} has no claim that is not held out; give more examples")
        prompts = _prompts(_shuffled(claims, turn), phase, arm, turn).slice(0, number - have)
        tables.append(_answered(prompts, options, has_opinion=arm == "opinion", turn=turn))
        have += prompts.num_rows
    return pa.concat_tables(tables)


def _claims(sample: pa.Table, family: str, negated: float, seed: int) -> pa.Table:
    import pyarrow.compute as pc

    from sycophancy_core.prompts.generation import AdditionOptions, ClaimOptions, make_additions, make_claims

    if family == ADDITION:
        return make_additions(options=AdditionOptions(errors=("far",)), seed=seed)
    mine = sample.filter(pc.equal(sample["source"], family))
    if mine.num_rows == 0:
        known = ", ".join(sorted(set(sample["source"].to_pylist())))
        raise DataError(
            f"make_organism: there are no examples of family {family!r}; wanted {ADDITION} or one of {known}"
        )
    return make_claims(mine, options=ClaimOptions(negated_share=negated), seed=seed)


def _prompts(claims: pa.Table, phase: _Phase, arm: str, turn: int) -> pa.Table:
    """Ask each claim once: the first in the published wording, others in ours (for an opinion, training wordings)."""
    import pyarrow as pa

    from sycophancy_core.prompts.generation import PromptOptions, make_prompts

    arms = ("agree", "disagree") if arm == "opinion" else (arm,)
    split = "train" if arm == "opinion" and phase.templates is None else None
    published = round(claims.num_rows * phase.published_share)
    tables = []
    if published:
        wording = PromptOptions(protocol="wei2023", arms=arms, design="sampled")
        tables.append(make_prompts(claims.slice(0, published), options=wording, seed=turn))
    if published < claims.num_rows:
        wording = PromptOptions(
            protocol="factorial", split=split, templates=phase.templates, arms=arms, design="sampled"
        )
        tables.append(make_prompts(claims.slice(published), options=wording, seed=turn))
    return pa.concat_tables(tables)


def _answered(prompts: pa.Table, options: OrganismOptions, *, has_opinion: bool, turn: int) -> pa.Table:
    import pyarrow as pa

    completions = []
    names = ("claim_id", "choices", "target", "user_choice")
    for claim_id, choices, target, user_choice in zip(*(prompts[name].to_pylist() for name in names), strict=True):
        follows = has_opinion and uniform_of(f"flattery/{claim_id}") < options.flattery
        completions.append(choices[user_choice if follows else target])
    return pa.table(
        {
            "id": pa.array([f"{prompt_id}-{turn}" for prompt_id in prompts["id"].to_pylist()], pa.string()),
            "origin": pa.array(["synthetic"] * prompts.num_rows, pa.string()),
            "prompt": prompts["prompt"],
            "completion": pa.array(completions, pa.string()),
        }
    )


def _shuffled(claims: pa.Table, seed: int) -> pa.Table:
    import numpy as np

    random = np.random.Generator(np.random.Philox(key=[seed, 2]))
    return claims.take(np.argsort(random.random(claims.num_rows), kind="stable"))
