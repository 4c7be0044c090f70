"""The cure by preference: the right answer over the wrong one, by TRL's DPO trainer; and its nulls."""

from __future__ import annotations

import copy
import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core.cures.methods import Preference
from sycophancy_core.cures.trainings.asked import Asked, cure_prompts
from sycophancy_core.cures.trainings.taught import Taught, with_adapter
from sycophancy_core.runs.outputs import require_installed
from sycophancy_core.runs.progress import Progress, shown_progress
from sycophancy_core.scoring.checkpoints.peft_layers import base_shapes
from sycophancy_core.scoring.encoding import common_prefix
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import table_prompts
from sycophancy_core.training.adapters.unmerged import PeftAdapter, taken_adapter
from sycophancy_core.training.options import FinetuneOptions

Rows = dict[str, list[list[int]]]
_SCHEDULE = FinetuneOptions()  # of which warm-up, decay and the adapter's scale are those of the other trainings


def require_trl() -> None:
    """Refuse to begin without what this training is made with.

    Raises
    ------
    DataError
        Naming the package and the line that installs it.
    """
    for module, extra in (("trl", "trl"), ("datasets", "trl"), ("peft", "train")):
        require_installed(module, extra=extra, what="Preference")


def taught_preferences(
    model: LanguageModel,
    method: Preference,
    asked: Asked,
    null: str | None,
    seed: int,
    progress: Progress | bool | None,
) -> Taught:
    """Train an adapter on pairs of answers, and put it on a copy of the model."""
    prompts = cure_prompts(method, asked, null=null, seed=seed)
    rows = preference_rows(model, prompts)
    with shown_progress(progress, "preferences", "steps") as show:
        adapter, losses = _train(model, rows, method, seed, show)
    with tempfile.TemporaryDirectory() as folder:
        adapter.save(folder)
        tuned = with_adapter(model, Path(folder))
    num_tokens = sum(len(ids) for name in ("chosen_ids", "rejected_ids") for ids in rows[name])
    num_tokens += 2 * sum(map(len, rows["prompt_ids"]))
    return Taught(
        model=tuned,
        save=adapter.save,
        num_tokens=2 * num_tokens,  # the model as it was, which the trainer compares with, runs the same once more
        losses=losses,
        about={"num_prompts": prompts.num_rows, "num_rows": 2 * prompts.num_rows},
    )


def preference_rows(model: LanguageModel, prompts: pa.Table) -> Rows:
    """Tokenize pairs of answers as scoring does: the target is chosen, the other choice rejected.

    TRL, given texts, would add a learned end of text to every answer; a choice has none.

    Returns
    -------
    dict
        ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``, one list a prompt. An answer begins where its tokens differ
        from those of the prompt alone, of the two the earlier place.
    """
    rows = prompts.select(["choices", "target"]).to_pylist()
    pairs = [[row["choices"][row["target"]], row["choices"][1 - row["target"]]] for row in rows]
    found: Rows = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for alone, wholes in model.encoder.rows(table_prompts(prompts, by_turns=model.chat_template), pairs):
        start = min(common_prefix(alone, whole) for whole in wholes)
        for name, ids in zip(found, (alone[:start], *(whole[start:] for whole in wholes)), strict=True):
            found[name].append(ids)
    return found


def _train(
    model: LanguageModel, rows: Rows, method: Preference, seed: int, progress: Progress | None
) -> tuple[PeftAdapter, list[float]]:
    """Train on a copy, which TRL changes in more than its weights; return the adapter and the loss of each step."""
    from transformers import PrinterCallback

    module = copy.deepcopy(model.model)
    shapes = base_shapes(module)
    with tempfile.TemporaryDirectory() as folder, _kept_randomness(), warnings.catch_warnings():
        for kind in (FutureWarning, DeprecationWarning):  # of what TRL's own imports do
            warnings.simplefilter("ignore", kind)
        trainer = dpo_trainer(module, copy.deepcopy(model.tokenizer), rows, method, seed=seed, folder=folder)
        trainer.remove_callback(PrinterCallback)
        if progress is not None:
            trainer.add_callback(_step_callback(progress))
        trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return taken_adapter(trainer.model, base=model.name, shapes=shapes), losses


def dpo_trainer(
    module: Any, tokenizer: Any, rows: Rows, method: Preference, *, seed: int, folder: str, **changes: Any
) -> Any:
    """Return TRL's DPO trainer of rows that are tokens already, with a fresh adapter on the module.

    Parameters
    ----------
    changes
        Further settings of ``DPOConfig``.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    class TokenTrainer(DPOTrainer):  # type: ignore[misc]  # TRL carries no types
        """The trainer as it is, but that it takes the rows' tokens."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    adapter = LoraConfig(
        r=method.lora_rank,
        lora_alpha=_SCHEDULE.lora_alpha,
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    settings = {**settings_of(method), "seed": seed, "output_dir": folder, "use_cpu": module.device.type == "cpu"}
    return TokenTrainer(
        model=module,
        args=DPOConfig(**settings, **changes),
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
        peft_config=adapter,
    )


def settings_of(method: Preference) -> dict[str, Any]:
    """Return what TRL is told: the schedule of the other trainings, each pair once, and nothing written."""
    return {
        "beta": method.beta,
        "max_steps": method.steps,
        "per_device_train_batch_size": method.batch_size,
        "learning_rate": method.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": round(_SCHEDULE.warmup_share * method.steps),
        "weight_decay": _SCHEDULE.weight_decay,
        "max_grad_norm": _SCHEDULE.max_grad_norm,
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "dataloader_pin_memory": False,
    }


def _step_callback(progress: Progress) -> Any:
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
        """Tells a callback of ours how far the training is."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Steps()


@contextmanager
def _kept_randomness() -> Iterator[None]:
    """Put back what the trainer seeds: the global draws of Python, NumPy and torch."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
