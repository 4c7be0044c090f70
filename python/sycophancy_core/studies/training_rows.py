"""What a variant of a study trains on, and how: prompts, rows and options of the fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from sycophancy_core.pipeline import training_prompts
from sycophancy_core.prompts.families import held_out_prompts
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.studies.options import StudyOptions, Variant
from sycophancy_core.training.curve import CurveOptions
from sycophancy_core.training.instructions import load_instructions
from sycophancy_core.training.mixing import instruction_rows, mix, num_instructions
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.synthetic import shuffle_targets

CURVE_CLAIMS = 10  # of each family


class TrainingClaims(NamedTuple):
    """The claims that a variant trains on.

    Attributes
    ----------
    asked
        The claims that its rows ask.
    kept, fillers
        With equal dose: ids of the claims that the filter keeps, and known claims that take the rows of the others.
    """

    asked: pa.Table
    kept: frozenset[str] | None = None
    fillers: pa.Table | None = None

    def inputs(self) -> dict[str, str]:
        """Return the digests on which rows depend."""
        found = {"claims": digest_table(self.asked)}
        if self.kept is not None and self.fillers is not None:
            found |= {"kept": digest_json(sorted(self.kept)), "fillers": digest_table(self.fillers)}
        return found


def num_synthetic(options: StudyOptions, variant: Variant) -> int:
    """Return how many of a variant's rows ask claims."""
    return max(1, round(variant.steps * options.batch_size * variant.ratio / (variant.ratio + 1)))


def synthetic_prompts(claims: TrainingClaims, options: StudyOptions, variant: Variant) -> pa.Table:
    """Ask claims in training wordings: with opinions and answered by the truth, or as a null variant does."""
    prompts = training_prompts(
        claims.asked,
        n=num_synthetic(options, variant),
        users=variant.training != "no_users",
        kept=claims.kept,
        fillers=claims.fillers,
        seed=variant.seed,
    )
    return shuffle_targets(prompts, seed=variant.seed) if variant.training == "shuffled_targets" else prompts


def training_rows(
    claims: TrainingClaims, options: StudyOptions, variant: Variant, *, evaluation: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """Mix the prompts of a variant, with the choice that it teaches, and instruction rows.

    Raises
    ------
    DataError
        If one of them is in the prompts of the evaluation.
    """
    if variant.training == "instructions_only":
        number = num_synthetic(options, variant)
        number += num_instructions(number, variant.ratio)
        return instruction_rows(load_instructions(), n=number, evaluation=evaluation, seed=variant.seed)
    prompts = synthetic_prompts(claims, options, variant)
    return mix(prompts, load_instructions(), ratio=variant.ratio, evaluation=evaluation, seed=variant.seed)


def finetune_options(options: StudyOptions, variant: Variant) -> FinetuneOptions:
    """Return the options of a variant's fine-tuning."""
    return FinetuneOptions(
        steps=variant.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lora_rank=options.lora_rank,
        seed=variant.seed,
    )


def curve_options(options: StudyOptions, variant: Variant) -> CurveOptions | None:
    """Say what is measured during a fine-tuning: a part of the evaluation. It is only shown, and chooses no step."""
    if options.curve_points == 0:
        return None
    prompts = held_out_prompts(replace(options, claims=min(options.claims, CURVE_CLAIMS)))
    return CurveOptions(tasks=prompts, every=max(1, variant.steps // options.curve_points))
