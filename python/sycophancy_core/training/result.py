"""What a fine-tuning gives: the tuned model, its log and curve, and the files of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sycophancy_core.hub.cards import model_card, shown_base
from sycophancy_core.hub.upload import check_hub, upload
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ArrowResult
from sycophancy_core.reporting.pictures.figures import training_curve
from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.runs.files import saving, write_table
from sycophancy_core.runs.seals import save_result
from sycophancy_core.scoring.sources import public_source, quiet_transformers
from sycophancy_core.training.adapters.low_rank import Adapter
from sycophancy_core.training.adapters.unmerged import PeftAdapter
from sycophancy_core.training.loop.checkpoint import LogRow, remove_checkpoint
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(ArrowResult):
    """A tuned model and how it got there.

    Attributes
    ----------
    model
        The model that was given, with new weights.
    log
        One row a step: ``step``, ``loss`` (nats a supervised token), ``learning_rate``, ``tokens`` (without padding),
        ``seconds``.
    options
        The options that were used.
    adapter
        What was merged into the weights, or stays next to them where they are not float32, if ``lora_rank`` was set.
    curve
        Evaluations on the way: ``step``, the columns of an estimates table, and ``is_best``, true for the step whose
        weights were kept.
    checkpoint
        The finished training's checkpoint, if it had a run folder; ``save`` removes it.
    inputs
        What it was made from: the base's name, digests of its weights (``model``), of the rows and of their tokens, and
        how many rows there were.
    """

    model: Any
    log: pa.Table
    options: FinetuneOptions
    adapter: Adapter | PeftAdapter | None = None
    curve: pa.Table | None = None
    checkpoint: Path | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best_step(self) -> int | None:
        """The step whose weights were kept by the curve's metric, 0 for the untouched model; None without one."""
        steps = [] if self.curve is None else [r["step"] for r in self.curve.to_pylist() if r["is_best"]]
        return steps[0] if steps else None

    def to_arrow(self) -> pa.Table:
        """Return the log."""
        return self.log

    def plot(self) -> Figure:
        """Return the loss and, below, the curve, as a figure."""
        return training_curve(self.log, self.curve)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write the adapter in PEFT's format or, after full fine-tuning, model and tokenizer; and log and curve.

        The folder is what ``load_model`` takes, as ``adapter`` or as the model. A whole training that it holds already
        is kept in its folder ``previous-1``. When all is written and sealed, the training's checkpoint is removed. Of
        several processes the main one writes; the others return an empty list.
        """
        from accelerate import PartialState

        if not PartialState().is_main_process:
            return []
        folder = Path(folder)
        written = save_result(folder, "fine-tuning", self._write)
        _remove_others(folder, written)
        if self.checkpoint is not None:
            remove_checkpoint(self.checkpoint)
        return written

    @checked_arguments
    def push_to_hub(
        self,
        repo_id: str,
        *,
        folder: str | Path,
        comparison: Comparison | None = None,
        license: str | None = None,
        private: bool = True,
    ) -> str:
        """Save into a folder with a model card, push that to the hub, and return the repository's address.

        Of several processes the main one pushes; the others return an empty text.

        Parameters
        ----------
        repo_id
            ``owner/name``; made if it is not there.
        folder
            As :meth:`save` takes it; it stays, whatever the hub says.
        comparison
            Evaluations before and after, whose table and findings the card shows; without one it says so.
        license
            The hub's short name of a licence, such as ``"apache-2.0"``.
        private
            Whether only the owner sees it. A public repository that is there already is then refused.

        Raises
        ------
        DataError
            If the hub refuses or cannot be reached, or a file cannot be read; the message says where the files are.
        """
        check_hub(repo_id)
        written = [path.relative_to(folder).as_posix() for path in self.save(folder)]
        if not written:
            return ""
        base = str(self.inputs["base"])
        about = {**self.inputs, "source": public_source(base), "is_adapter": self.adapter is not None}
        sides = None if comparison is None else comparison.sides()
        card = model_card(repo_id=repo_id, about=about, options=asdict(self.options), sides=sides, license=license)
        message = f"{len(self.log)} steps on {shown_base(about)}"
        return upload(folder, written, card=card, repo_id=repo_id, kind="model", private=private, message=message)

    def _write(self, folder: Path) -> None:
        # Without the seconds, the file of an interrupted and resumed training is that of an uninterrupted one.
        write_table(folder / "training_log.parquet", self.log.drop_columns("seconds"))
        if self.curve is not None:
            write_table(folder / "training_curve.parquet", self.curve)
        if self.adapter is not None:
            self.adapter.save(folder)
        else:
            with saving(folder), quiet_transformers():
                self.model.model.save_pretrained(folder)
                self.model.tokenizer.save_pretrained(folder)

    def __repr__(self) -> str:
        """Say the steps, the first and last loss, and which step was kept."""
        loss = self.log["loss"]
        kept = "" if self.best_step is None else f", kept step {self.best_step}"
        return f"FinetuneResult({len(loss)} steps, loss {loss[0].as_py():.3f} -> {loss[-1].as_py():.3f}{kept})"


def _remove_others(folder: Path, written: list[Path]) -> None:
    """Remove what an unsealed training of another kind left in the folder and would be taken for part of this one."""
    for name in ("config.json", "adapter_config.json", "adapter_model.safetensors", "training_curve.parquet"):
        if folder / name not in written:
            (folder / name).unlink(missing_ok=True)


def log_table(log: list[LogRow]) -> pa.Table:
    """Return a training log as a table."""
    types = {"step": pa.int64(), "loss": pa.float64(), "learning_rate": pa.float64()}
    types |= {"tokens": pa.int64(), "seconds": pa.float64()}
    return pa.table({name: pa.array([row[name] for row in log], kind) for name, kind in types.items()})
