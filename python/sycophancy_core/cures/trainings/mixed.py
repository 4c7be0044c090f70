"""The cures by rows: the truth, or the model's own answer, is the target; and their nulls."""

from __future__ import annotations

import copy

import pyarrow.compute as pc

from sycophancy_core.cures.methods import Mixed
from sycophancy_core.cures.other_text import training_instructions
from sycophancy_core.cures.trainings.asked import Asked, cure_prompts
from sycophancy_core.cures.trainings.taught import Taught, finetune_options
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.finetune import finetune
from sycophancy_core.training.mixing import mix


def taught_rows(
    model: LanguageModel,
    method: Mixed,
    asked: Asked,
    null: str | None,
    seed: int,
    progress: Progress | bool | None,
) -> Taught:
    """Train a copy of the model on rows about facts, mixed with instructions."""
    prompts = cure_prompts(method, asked, null=null, seed=seed)
    rows = mix(prompts, training_instructions(), ratio=method.ratio, seed=seed)
    tuned = copy.deepcopy(model)
    result = finetune(tuned, rows, options=finetune_options(method, seed=seed), progress=progress)
    return Taught(
        model=tuned,
        save=result.save,
        num_tokens=pc.sum(result.log["tokens"]).as_py(),
        losses=result.log["loss"].to_pylist(),
        about={"num_prompts": prompts.num_rows, "num_rows": rows.num_rows},
    )
