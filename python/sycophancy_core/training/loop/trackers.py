"""Trackers of experiments, through Accelerate: what a training says of each step and of each point of its curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError
from sycophancy_core.hub.cards import estimates_markdown
from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.blocks import Section
from sycophancy_core.reporting.pages import page
from sycophancy_core.reporting.tables import estimates_block
from sycophancy_core.runs.outputs import how_to_install

if TYPE_CHECKING:
    from sycophancy_core.training.curve import CurveRecorder
    from sycophancy_core.training.loop.checkpoint import LogRow

PROJECT = "sycophancy-core"


class Trackers:
    """Trackers by the names that Accelerate has for them.

    Parameters
    ----------
    names
        Such as ``"tensorboard"``.
    folder
        Where those that write files write, each in a folder of its own; None for the working folder.
    config
        What the trackers keep of the training's options.

    Raises
    ------
    DataError
        If Accelerate knows no such tracker, or its library is not installed.
    """

    def __init__(self, names: tuple[str, ...], *, folder: str | Path | None, config: dict[str, Any]) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        known, installed = sorted(map(str, LOGGER_TYPE_TO_CLASS)), set(map(str, get_available_trackers()))
        for name in names:
            if name not in known:
                raise DataError(f"finetune: log_with must be of {', '.join(known)}, got {name!r}")
            if name not in installed:
                raise DataError(
                    f"finetune: log_with={name!r} needs {name}, which is not installed; {how_to_install(name)}"
                )
        self.names = list(names)
        self.folder = Path(folder) if folder is not None else Path()
        # TensorBoard then leaves out what an earlier call wrote into this training's folder; it is told again.
        settings = {"tensorboard": {"purge_step": 0}, "wandb": {"dir": str(self.folder)}}
        self._settings = {name: settings[name] for name in names if name in settings} if folder is not None else {}
        self._config = {key: value if isinstance(value, int | float) else str(value) for key, value in config.items()}
        self._num_points = 0

    @contextmanager
    def watching(self, accelerator: Any, log: list[LogRow], curve: CurveRecorder | None) -> Iterator[None]:
        """Open the trackers, tell them of the steps that a checkpoint holds; report in the end, and close them.

        Steps never go back: trackers such as Weights & Biases drop what comes after a later step.
        """
        accelerator.init_trackers(PROJECT, config=self._config, init_kwargs=self._settings)
        try:
            for row in log:
                if curve is not None:
                    self.log_curve(accelerator, curve, before=row["step"])
                self.log_step(accelerator, row)
            yield
            if curve is not None:
                self._report(accelerator, curve.table())
        finally:
            for tracker in accelerator.trackers:  # end_training would end the caller's process group too
                tracker.finish()

    def log_step(self, accelerator: Any, row: LogRow) -> None:
        """Tell of one step."""
        values = {"loss": row["loss"], "learning_rate": row["learning_rate"]}
        if row["seconds"]:
            values["tokens_per_second"] = row["tokens"] / row["seconds"]
        accelerator.log(values, step=int(row["step"]))

    def log_curve(self, accelerator: Any, curve: CurveRecorder, *, before: float = math.inf) -> None:
        """Tell of the points that were not told of yet and are of earlier steps than ``before``."""
        for step in curve.steps[self._num_points :]:
            if step >= before:
                break
            accelerator.log(curve.values_at(step), step=step)
            self._num_points += 1

    def _report(self, accelerator: Any, curve: pa.Table) -> None:
        """Give the table of the untouched model and the kept or last step: a text to TensorBoard, a page to W&B."""
        kept = curve.filter(curve["is_best"])["step"].to_pylist() or curve["step"].to_pylist()
        before, after = (curve.filter(pc.equal(curve["step"], step)) for step in (0, kept[-1]))
        for tracker in accelerator.trackers if accelerator.is_main_process else ():
            if tracker.name == "tensorboard":
                tracker.tracker.add_text("report", estimates_markdown(before, after), global_step=kept[-1])
            elif tracker.name == "wandb":
                _keep_in_wandb(tracker.tracker, _page(before, after, step=kept[-1]))


def _page(before: pa.Table, after: pa.Table, *, step: int) -> str:
    """Return an HTML page of the same table."""
    table = estimates_block(before, after, metrics=VIEWS["headline"], names=("untouched", f"step {step}"))
    return page("Training", sections=[Section(heading="Results", blocks=[table])])


def _keep_in_wandb(run: Any, text: str) -> None:
    """Keep a page as an artifact of a run."""
    import wandb

    artifact = wandb.Artifact(f"{PROJECT}-report", type="report")
    with artifact.new_file("report.html") as file:
        file.write(text)
    run.log_artifact(artifact)
