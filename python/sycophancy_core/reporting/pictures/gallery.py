"""All figures of a result with their captions: what the report shows and what is saved next to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.breakdowns import quadrant_table
from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.numbers import metric_title
from sycophancy_core.reporting.pictures import figures
from sycophancy_core.reporting.pictures.drawing import save_figure
from sycophancy_core.reporting.sides import Result, Sides

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """A figure with its caption.

    Attributes
    ----------
    name
        Of the figure's file.
    kind
        Which figure it is: the name of the function of ``figures`` that drew it.
    figure
        The figure.
    caption
        What it shows and how to read it.
    task
        The task that it is about, empty where it is about all.
    draw_narrow
        Draws it again with its panels below each other; None where it has one column only.
    """

    name: str
    kind: str
    figure: Figure
    caption: str
    task: str = ""
    draw_narrow: Callable[[], Figure] | None = None


def gallery(
    result: Result,
    *,
    training_log: pa.Table | Sequence[Mapping[str, Any]] | None = None,
    training_curve: pa.Table | None = None,
) -> Iterator[Exhibit]:
    """Draw every figure that a result has the numbers for, one at a time.

    Parameters
    ----------
    result
        An evaluation or a comparison.
    training_log
        Rows with ``step`` and ``loss``.
    training_curve
        Evaluations made on the way, as ``FinetuneResult.curve``.
    """
    return exhibits(result.sides(), training_log=training_log, training_curve=training_curve)


def exhibits(
    sides: Sides,
    *,
    training_log: pa.Table | Sequence[Mapping[str, Any]] | None = None,
    training_curve: pa.Table | None = None,
) -> Iterator[Exhibit]:
    """Draw the figures of a result's tables; see :func:`gallery`."""
    if sides.before.estimates.num_rows:
        yield _in_columns(figures.before_after, sides.estimates, _BEFORE_AFTER, sides.names)
    claims = [side for side in sides.claims if side is not None]
    if sides.has_claims:
        yield _in_columns(figures.arms_by_truth, claims, _ARMS, sides.names)
        if any(quadrant_table(side).num_rows for side in claims):
            yield _in_columns(figures.margin_shift, claims, _SHIFT, sides.names)
        if any(np.isfinite(side.letter_bias).any() for side in claims):
            yield _exhibit("letter_bias", figures.letter_bias(*claims, names=sides.names), _LETTERS)
    names: list[str] = []
    for task, metric in subset_metrics(sides.before.estimates):
        names.append(_file_name(task, names))
        figure = figures.forest(*sides.estimates, metric=metric, task=task, names=sides.names)
        caption = f"{task}: {metric_title(metric)} in each part of the task, and over the whole task last."
        yield Exhibit(name=names[-1], kind="forest", figure=figure, caption=caption, task=task)
    if training_log is not None and len(training_log):
        yield _exhibit("training_curve", figures.training_curve(training_log, training_curve), _TRAINING)


@checked_arguments
def save_gallery(
    result: Result,
    folder: str | Path,
    *,
    training_log: pa.Table | Sequence[Mapping[str, Any]] | None = None,
    training_curve: pa.Table | None = None,
) -> list[Path]:
    """Write every figure of a result into a folder, as SVG and as PNG, and return the paths.

    Parameters
    ----------
    result, training_log, training_curve
        As for ``gallery``.
    folder
        Where the files go; it is made if it is missing.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> found = sc.evaluate(sc.load_model("my-model"), tasks="facts", limit=4, progress=False)
    >>> paths = sc.save_gallery(found, "figures")
    >>> sorted({path.suffix for path in paths})
    ['.png', '.svg']
    """
    found = gallery(result, training_log=training_log, training_curve=training_curve)
    return [path for one in found for path in save_figure(one.figure, Path(folder) / one.name)]


def subset_metrics(estimates: pa.Table) -> Iterator[tuple[str, str]]:
    """Yield each task that has estimates of its parts, and the metric of them to draw."""
    parts = [r for r in estimates.select(["task", "metric", "subset"]).to_pylist() if r["subset"] != "all"]
    for task in dict.fromkeys(r["task"] for r in parts):
        found = {r["metric"] for r in parts if r["task"] == task}
        wanted = [m for m in VIEWS["parts"] if m in found]
        if wanted:
            yield task, wanted[0]


def _in_columns(draw: Callable[..., Figure], tables: Sequence[Any], caption: str, names: tuple[str, str]) -> Exhibit:
    narrow = partial(draw, *tables, is_narrow=True, names=names)
    kind = draw.__name__
    return Exhibit(name=kind, kind=kind, figure=draw(*tables, names=names), caption=caption, draw_narrow=narrow)


def _exhibit(kind: str, figure: Figure, caption: str) -> Exhibit:
    return Exhibit(name=kind, kind=kind, figure=figure, caption=caption)


def _file_name(task: str, taken: Sequence[str]) -> str:
    stem = f"forest_{re.sub('[^A-Za-z0-9_-]+', '_', task)[:40] or 'task'}"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


_BEFORE_AFTER = (
    "Each metric over a whole task, with its interval. Left: shares and differences of shares. Right: the log-odds "
    "scale, in nats, where a lean to a letter cancels."
)
_ARMS = (
    "Share of answers that agree with the claim, by what the user says. A model that keeps to what it knows lies on "
    "the dashed line in every arm; one that follows the user rises where the user agrees and falls where not."
)
_SHIFT = (
    "Each mark is a claim: the log-odds of Agree, both orders averaged, when the user disagrees (across) and when the "
    "user agrees (up). On the dashed line the user makes no difference."
)
_LETTERS = "Lean to a letter, both orders averaged. Far from zero, answers say more about the letter than the claim."
_TRAINING = (
    "The loss, and evaluations on the way with their intervals; dashed, where a metric chose one, the kept step."
)
