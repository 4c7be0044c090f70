"""TRL, and any transformers ``Trainer``: training rows as token ids and labels, and the training curve as a callback.

::

    rows = training_dataset(model, sc.mix(prompts, sc.load_instructions()))
    trainer = SFTTrainer(model=model.model, processing_class=model.tokenizer, train_dataset=rows, args=settings)
    trainer.add_callback(SycophancyCallback(trainer, sc.CurveOptions(tasks={"claims": watched})))
    trainer.train()
"""

from __future__ import annotations

import warnings
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.scoring.chat_template import TemplateChoice, choose_template
from sycophancy_core.scoring.checkpoints.peft_layers import is_float32, peft_layers, summed_layers
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.batching import encode_for, plan_batches
from sycophancy_core.training.curve import CurveOptions, CurveRecorder
from sycophancy_core.training.options import FinetuneOptions

try:
    from datasets import Dataset
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        f"sycophancy_core.integrations.trl: needs transformers and datasets, of which one is missing ({error}); "
        "pip install 'sycophancy-core[models,trl]'"
    ) from error

IGNORED = -100
"""The label of a token that is not learned, as transformers and TRL know it."""


def training_dataset(model: LanguageModel, rows: pa.Table, *, options: FinetuneOptions | None = None) -> Any:
    """Return training rows as a ``datasets.Dataset`` of ``input_ids`` and ``labels``, which trainers take as they are.

    The tokens are those of :func:`finetune`. TRL, given texts, would add a learned end-of-text to every row; a choice
    has none.

    Parameters
    ----------
    options
        Lay the rows out in the order in which :func:`finetune` takes them, ``steps * batch_size`` of them: a trainer
        with this batch size and ``train_sampling_strategy="sequential"`` sees the same batches. None: each row once.

    Raises
    ------
    DataError
        As :func:`finetune` does of rows.
    """
    encoded = encode_for(model, rows, max_tokens=None if options is None else options.max_tokens)
    if options is not None:
        plan = plan_batches(encoded, num_batches=options.steps, batch_size=options.batch_size, seed=options.seed)
        encoded = [encoded[index] for index in plan.ravel()]
    labels = [[IGNORED] * row.first_supervised + list(row.ids[row.first_supervised :]) for row in encoded]
    return Dataset.from_dict({"input_ids": [list(row.ids) for row in encoded], "labels": labels})


class SycophancyCallback(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
    """Measures the training curve on a trainer's live weights, stops early, and keeps the best step.

    Before the first step, every ``curve.every`` steps and after the last, the model is scored as it is; the values and
    their intervals go to the trainer's log. With ``curve.metric``, the best step's weights are put back when training
    ends; with ``curve.patience``, it ends after so many evaluations without a better one. No step is changed by it.

    Weights in float32 are scored by the native engine, an adapter of PEFT's summed in for the while; an adapter on
    other weights by the model's own forward.

    Parameters
    ----------
    trainer
        The trainer that it is added to. Its tokenizer (``processing_class``) reads the prompts.
    curve
        What to measure, and how to choose.
    chat_template, system_prompt
        How prompts are asked; see :func:`load_model`. The attribute ``chat_template`` says what was chosen.

    Raises
    ------
    DataError
        When training begins, if it goes on from a checkpoint, or the curve's metric has no value.
    """

    def __init__(
        self,
        trainer: Any,
        curve: CurveOptions,
        *,
        chat_template: TemplateChoice = None,
        system_prompt: str | None = None,
    ) -> None:
        self._trainer = trainer
        self._options = curve
        module = trainer.accelerator.unwrap_model(trainer.model)
        self._module = module.get_base_model() if hasattr(module, "get_base_model") else module
        name = str(getattr(self._module.config, "name_or_path", "") or type(self._module).__name__)
        is_chat = bool(trainer.processing_class.chat_template)
        self.chat_template = choose_template(chat_template, name, is_chat=is_chat)
        is_live = bool(peft_layers(self._module)) and not is_float32(self._module)
        with summed_layers(self._module), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an architecture that only transformers scores
            model = LanguageModel(
                self._module,
                trainer.processing_class,
                name=name,
                engine="transformers" if is_live else "auto",
                chat_template=self.chat_template,
                system_prompt=system_prompt,
            )
        self._recorder = CurveRecorder(model, curve)

    @property
    def best_step(self) -> int | None:
        """The step with the best value of the curve's metric so far; None without one."""
        return self._recorder.best_step

    @property
    def curve(self) -> pa.Table:
        """What was measured: ``step``, the columns of an estimates table, ``is_best``."""
        return self._recorder.table()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the untouched model."""
        if state.global_step:
            raise DataError(
                f"SycophancyCallback: the training goes on from step {state.global_step}, but the curve begins at the "
                "untouched model; train from the first step"
            )
        self._measure(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Measure if it is time to, and stop the training where enough evaluations were no better."""
        self._measure(state, control)
        if self._recorder.is_over:
            control.should_training_stop = True
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the best step's weights back, if a metric chose it."""
        self._recorder.keep_best()

    def _measure(self, state: Any, control: Any) -> None:
        if self._recorder.is_due(state.global_step, state.max_steps):
            self._recorder.measure(state.global_step)
            logs_step = control.should_log
            self._trainer.log(self._recorder.values_at(state.global_step))
            control.should_log = logs_step  # which a log takes for done
