"""The figures of cures: a metric against further tuning, and effect against price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sycophancy_core.reporting.numbers import metric_title
from sycophancy_core.reporting.pictures.drawing import MORE_COLORS, add_legend, new_figure, plot_label, tidy, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def relapse_figure(curves: pa.Table, *, metric: str) -> Figure:
    """Draw a metric after each number of steps, a panel a table of rows: the mean over the seeds, and each seed in pale.

    Parameters
    ----------
    curves
        Rows with ``rows``, ``model``, ``seed``, ``step``, ``metric`` and ``value``.
    """
    found = [row for row in curves.to_pylist() if row["metric"] == metric]
    kinds = list(dict.fromkeys(row["rows"] for row in found))
    figure = new_figure(7.2 if len(kinds) == 1 else 4.4 * len(kinds), 3.6)
    grid = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        _draw_relapse(axes, [row for row in found if row["rows"] == kind])
        axes.set_xlabel("steps of further tuning")
        if len(kinds) > 1:
            title(axes, plot_label(kind))
        tidy(axes, grid="y")
    grid[0].set_ylabel(plot_label(metric_title(metric)))
    add_legend(figure, grid)
    return figure


def _draw_relapse(axes: Axes, rows: list[dict[str, Any]]) -> None:
    steps = sorted({row["step"] for row in rows})
    place = np.log2(1 + np.array(steps))
    for i, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        color = MORE_COLORS[i % len(MORE_COLORS)]
        mine = {(row["seed"], row["step"]): row["value"] for row in rows if row["model"] == model}
        seeds = list(dict.fromkeys(seed for seed, _ in mine))
        values = np.array([[mine[seed, step] for step in steps] for seed in seeds])  # (seeds, steps)
        for one in values:
            axes.plot(place, one, color=color, linewidth=0.8, alpha=0.35, label="_seed")
        axes.plot(place, values.mean(axis=0), color=color, linewidth=2.0, marker="o", label=plot_label(model))
    axes.set_xticks(place, [str(step) for step in steps])
