"""The figure of a relapse: a metric against further tuning, one colour a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sycophancy_core.reporting.numbers import metric_title
from sycophancy_core.reporting.pictures.drawing import MORE_COLORS, add_legend, new_figure, plot_label, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def relapse_figure(curves: pa.Table, *, metric: str) -> Figure:
    """Draw a metric after each number of steps: the mean over the seeds, and each seed in pale.

    Parameters
    ----------
    curves
        Rows with ``model``, ``seed``, ``step``, ``metric`` and ``value``.
    """
    rows = [row for row in curves.to_pylist() if row["metric"] == metric]
    steps = sorted({row["step"] for row in rows})
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
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
    axes.set_xlabel("steps of further tuning")
    axes.set_ylabel(plot_label(metric_title(metric)))
    tidy(axes, grid="y")
    add_legend(figure, [axes])
    return figure
