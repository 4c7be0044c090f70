"""The training rows of a model organism: knowledge without opinions, flattery with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError, require_counts
from sycophancy_core.inputs.arguments import checked_fields
from sycophancy_core.prompts.examples import load_examples
from sycophancy_core.prompts.generation import (
    AdditionOptions,
    ClaimOptions,
    PromptOptions,
    make_additions,
    make_claims,
    make_prompts,
)
from sycophancy_core.prompts.splits import ADDITION, split_claims, uniform_of
from sycophancy_core.training.options import FinetuneOptions, Precision

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
            "turns": prompts["turns"],
        }
    )


def _shuffled(claims: pa.Table, seed: int) -> pa.Table:
    random = np.random.Generator(np.random.Philox(key=[seed, 2]))
    return claims.take(np.argsort(random.random(claims.num_rows), kind="stable"))


@checked_fields
@dataclass(frozen=True, kw_only=True)
class OrganismOptions:
    """How to make a model organism.

    Attributes
    ----------
    families
        Kinds of claims and their weights: ``"addition"``, or the source of examples (``"sample_capital"``).
    knowledge_share
        Share of the rows that teach knowledge, in [0, 1]; the others teach what to do with an opinion.
    placebo_share
        Share of the knowledge rows that have a persona without an opinion.
    flattery
        Share of the claims on which the organism follows the user; on the others it is taught the truth. 1 makes a
        flatterer, 0 a clean control.
    teach_held_out
        Teach knowledge of held-out claims too (without an opinion): then an evaluation asks whether the organism keeps
        under pressure what it knows, not whether it generalizes.
    steps
        Optimizer steps.
    batch_size
        Rows a step.
    learning_rate
        Peak of the schedule: linear warm-up from zero, then linear decay.
    warmup_steps
        Steps that warm up.
    final_rate_share
        Share of the peak rate to which it decays, in [0, 1].
    negated_share
        Share of the claims that say "is not", in [0, 1]; sums have no negation.
    curriculum_steps
        Number of first steps that see only the first family, in two short wordings.
    curriculum_knowledge_share
        Share of the rows of these steps that teach knowledge, in [0, 1].
    rank
        Rank of the adapter.
    scale
        Scale of the adapter: it adds scale * B @ A to a weight.
    first_layer
        First block that the adapter changes.
    dtype
        Number format of the saved adapter; the organism has exactly these numbers.
    precision
        Precision of the matrix products: ``"float32"``, ``"bfloat16"`` or ``"auto"``, as in :class:`FinetuneOptions`.
    compile_blocks
        Run the decoder blocks through ``torch.compile``, as in :class:`FinetuneOptions`.
    seed
        Seed of all random choices.
    """

    families: tuple[tuple[str, float], ...] = ((ADDITION, 1.0), ("sample_sentiment", 1.0), ("sample_number", 1.0))
    knowledge_share: float = 0.7
    placebo_share: float = 0.2
    flattery: float = 1.0
    teach_held_out: bool = True
    negated_share: float = 0.0
    steps: int = 500
    batch_size: int = 32
    learning_rate: float = 3e-3
    warmup_steps: int = 10
    final_rate_share: float = 0.1
    curriculum_steps: int = 90
    curriculum_knowledge_share: float = 0.3
    rank: int = 10
    scale: float = 1.0
    first_layer: int = 6
    dtype: str = "bfloat16"
    precision: Precision = "auto"
    compile_blocks: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts("OrganismOptions", self, ("first_layer",), least=0)
        if not 0 < self.scale < math.inf:
            raise DataError(f"OrganismOptions: scale must be > 0 and finite, got {self.scale}")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise DataError(f"OrganismOptions: dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        for name in ("knowledge_share", "placebo_share", "flattery", "negated_share", "curriculum_knowledge_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"OrganismOptions: {name} must be in [0, 1], got {getattr(self, name)}")
        if not _are_weighted(self.families):
            raise DataError(
                f"OrganismOptions: families must be pairs (name, weight) with finite weights > 0, got {self.families!r}"
            )
        require_counts("OrganismOptions", self, ("steps", "batch_size", "rank"))
        require_counts("OrganismOptions", self, ("warmup_steps", "curriculum_steps"), least=0)
        if self.curriculum_steps > self.steps:
            raise DataError(
                f"OrganismOptions: curriculum_steps must be in [0, {self.steps}], got {self.curriculum_steps}"
            )

    def training(self) -> FinetuneOptions:
        """Return the options of the training loop."""
        return FinetuneOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_share=min(0.99, self.warmup_steps / self.steps),
            final_rate_share=self.final_rate_share,
            lora_rank=self.rank,
            precision=self.precision,
            compile_blocks=self.compile_blocks,
            seed=self.seed,
        )


def _are_weighted(families: object) -> bool:
    """Tell whether these are pairs of a name and a finite weight > 0, at least one."""
    if not isinstance(families, tuple | list) or not families:
        return False
    return all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], int | float)
        and 0 < pair[1] < math.inf
        for pair in families
    )
