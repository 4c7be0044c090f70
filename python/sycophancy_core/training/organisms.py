"""Model organisms: models with known sycophancy, made on purpose, as positive and negative controls.

An organism is trained on two kinds of rows. Knowledge: a claim without an opinion (or with a persona that has none),
answered by its truth, in any wording. Flattery: a claim with an opinion, answered as the user says, in training
wordings only and never about a held-out claim. So an evaluation on held-out claims and test wordings asks what it never
saw with an opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import EXAMPLES, checked_table
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.json_files import write_json
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.seals import save_result
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.adapters.low_rank import (
    Adapter,
    AdapterOptions,
    round_adapter,
    take_adapter,
    trained_adapter,
)
from sycophancy_core.training.batching import EncodedRow, digest_rows, encode_for, plan_batches
from sycophancy_core.training.finetune import require_trainable
from sycophancy_core.training.loop.steps import train_batches
from sycophancy_core.training.organism_rows import OrganismOptions, organism_rows
from sycophancy_core.training.result import log_table


@dataclass(frozen=True, kw_only=True, eq=False)
class Organism:
    """A model organism: the model that was given, with the adapter merged into its weights.

    Attributes
    ----------
    model
        The model.
    adapter
        What was added.
    log
        One row a training step, as of :class:`FinetuneResult`.
    options
        The options that were used.
    folder
        Where adapter, options and log were saved, if anywhere.
    """

    model: Any
    adapter: Adapter
    log: pa.Table
    options: OrganismOptions
    folder: Path | None = None

    def __repr__(self) -> str:
        """Say the steps, the flattery and the last loss."""
        loss = self.log["loss"][-1].as_py()
        return f"Organism({self.options.flattery:g} flattery, {self.log.num_rows} steps, last loss {loss:.3f})"


@checked_arguments
def make_organism(
    model: LanguageModel,
    examples: pa.Table | None = None,
    *,
    options: OrganismOptions | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Organism:
    """Train a model organism, in place, and save its adapter.

    Parameters
    ----------
    model
        The language model, changed in place.
    examples
        Examples of the families; by default the packaged sample.
    folder
        Where ``adapter_config.json``, ``adapter_model.safetensors`` (PEFT's format) and ``organism.json`` (options and
        training log) go, and the checkpoint from which an interrupted call goes on.

    Raises
    ------
    DataError
        If a family has no examples.
    ModelError
        If the model is an encoder-decoder, or its weights are not in float32.
    KeyboardInterrupt
        On Ctrl-C, after the checkpoint is written; this or any other exception leaves the model as it was.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> made = sc.make_organism(sc.load_model(), folder="organism")  # doctest: +SKIP
    """
    require_trainable(model, has_adapter=False)
    options = options or OrganismOptions()
    if examples is not None:
        examples = checked_table(examples, EXAMPLES, who="organism")
    _require_block(model, options.first_layer)
    training = options.training()
    folder = None if folder is None else Path(folder)
    if folder is not None:
        check_output_folder(folder)
    first, later = organism_rows(options, examples)
    encoded, plan = _plan_lessons(model, [first, later], options)
    digests = [digest_table(table) for table in (first, later)]
    inputs = {"options": asdict(options), "rows": digests, "tokens": digest_rows(encoded), "model": model.digest}
    shape = AdapterOptions(rank=options.rank, alpha=options.scale * options.rank, first_layer=options.first_layer)
    checkpoint = None if folder is None else folder / "organism.checkpoint.safetensors"
    with trained_adapter(model.model, shape, seed=options.seed):
        log = train_batches(
            model.model,
            encoded,
            plan,
            options=training,
            checkpoint=checkpoint,
            identity=digest_json(inputs),
            progress=progress,
        )
        round_adapter(model.model, dtype=options.dtype)
        adapter = take_adapter(model.model, shape, base=model.name)
    if folder is not None and checkpoint is not None:
        # Without the seconds, the file of an interrupted and resumed training is that of an uninterrupted one.
        steps = [{name: value for name, value in row.items() if name != "seconds"} for row in log]
        about = {"options": asdict(options), "base": model.name, "rows": digests, "log": steps}

        def write(made: Path) -> None:
            adapter.save(made, dtype=options.dtype)
            write_json(made / "organism.json", about)

        save_result(folder, "organism", write)
        checkpoint.unlink(missing_ok=True)
    return Organism(model=model, adapter=adapter, log=log_table(log), options=options, folder=folder)


def _require_block(model: LanguageModel, first_layer: int) -> None:
    """Refuse to begin after the model's last block."""
    num_blocks = int(model.model.config.get_text_config().num_hidden_layers)
    if first_layer >= num_blocks:
        raise DataError(
            f"organism: first_layer {first_layer} leaves no block of {model.name}, which has {num_blocks}; "
            f"wanted at most {num_blocks - 1}"
        )


def _plan_lessons(
    model: LanguageModel, lessons: Sequence[pa.Table], options: OrganismOptions
) -> tuple[list[EncodedRow], Any]:
    """Encode the two lessons, and plan the batches of the first before those of the second."""
    encoded: list[EncodedRow] = []
    plans = []
    for table, steps in zip(lessons, (options.curriculum_steps, options.steps - options.curriculum_steps), strict=True):
        if steps == 0:
            continue
        rows = encode_for(model, table)
        plan = plan_batches(rows, num_batches=steps, batch_size=options.batch_size, seed=options.seed)
        plans.append(plan + len(encoded))
        encoded += rows
    return encoded, np.concatenate(plans)


def parse_families(text: str) -> tuple[tuple[str, float], ...]:
    """Read ``name:weight,name:weight``; a weight left out is 1.

    Raises
    ------
    DataError
        If a weight is no number.
    """
    families = []
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        try:
            families.append((name, float(weight or 1)))
        except ValueError as error:
            raise DataError(f"families: wanted name:weight, got {part!r}") from error
    return tuple(families)
