"""What a variant of a study trains on, and how: prompts, rows and options of the fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sycophancy_core.prompts.families import held_out_prompts
from sycophancy_core.studies.options import StudyOptions, Variant
from sycophancy_core.training.curve import CurveOptions
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    import pyarrow as pa

CURVE_CLAIMS = 10  # of each family


def num_synthetic(options: StudyOptions, variant: Variant) -> int:
    """Return how many of a variant's rows ask claims."""
    return max(1, round(variant.steps * options.batch_size * variant.ratio / (variant.ratio + 1)))


def synthetic_prompts(claims: pa.Table, options: StudyOptions, variant: Variant) -> pa.Table:
    """Ask claims with opinions, in training wordings, answered by truth."""
    from sycophancy_core.pipeline import training_prompts

    return training_prompts(claims, n=num_synthetic(options, variant), seed=variant.seed)


def training_rows(
    claims: pa.Table, options: StudyOptions, variant: Variant, *, evaluation: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """Ask claims with opinions, in training wordings, answered by truth; add instruction rows.

    Raises
    ------
    DataError
        If one of them is in the prompts of the evaluation.
    """
    from sycophancy_core.pipeline import mix
    from sycophancy_core.training.instructions import load_instructions

    prompts = synthetic_prompts(claims, options, variant)
    return mix(prompts, load_instructions(), ratio=variant.ratio, evaluation=evaluation, seed=variant.seed)


def finetune_options(options: StudyOptions, variant: Variant) -> FinetuneOptions:
    """Return the options of a variant's fine-tuning."""
    return FinetuneOptions(
        steps=variant.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lora_rank=options.lora_rank,
        checkpoint_steps=20,
        seed=variant.seed,
    )


def curve_options(options: StudyOptions, variant: Variant) -> CurveOptions | None:
    """Say what is measured during a fine-tuning: a part of the evaluation. It is only shown, and chooses no step."""
    if options.curve_points == 0:
        return None
    prompts = held_out_prompts(replace(options, claims=min(options.claims, CURVE_CLAIMS)))
    return CurveOptions(tasks=prompts, every=max(1, variant.steps // options.curve_points))
