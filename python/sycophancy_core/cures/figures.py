"""The figures of cures: a metric against further tuning, and effect against price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sycophancy_core.reporting.numbers import metric_title
from sycophancy_core.reporting.pictures.drawing import (
    INK,
    MORE_COLORS,
    MUTED,
    add_legend,
    draw_points,
    new_figure,
    plot_label,
    tidy,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def relapse_figure(curves: pa.Table, *, metric: str) -> Figure:
    """Draw a metric after each number of steps, a panel a table of rows: the mean over seeds, and each seed in pale.

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


def frontier_figure(rows: Sequence[Mapping[str, Any]], *, price: str) -> Figure:
    """Draw what each cure does against what it loses; the doses of one method are joined in their order.

    Parameters
    ----------
    rows
        Rows of ``CureEffects.frontier``.
    price
        The metric that is lost.
    """
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    losses = [row["lost"] for row in rows]
    room = max(max(losses) - min(losses), 0.1)
    # Cures that lose the same stand next to each other, so that their intervals are told apart.
    places = {row["cure"]: row["lost"] + 0.015 * room * (i - (len(rows) - 1) / 2) for i, row in enumerate(rows)}
    for i, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        mine = [row for row in rows if row["method"] == method]
        color, marker = MORE_COLORS[i % len(MORE_COLORS)], "osD^vP"[i % 6]
        at = [places[row["cure"]] for row in mine]
        if method != "prompted":  # other texts are no other doses
            axes.plot(at, [row["effect"] for row in mine], color=color, linewidth=1.2, alpha=0.7, label="_doses")
        effects = [{"value": row["effect"], "low": row["effect_low"], "high": row["effect_high"]} for row in mine]
        draw_points(axes, at, effects, color=color, marker=marker, label=plot_label(method), vertical=True)
    for i, row in enumerate(rows):  # names to the left and to the right by turns
        axes.annotate(
            plot_label(row["cure"]),
            (places[row["cure"]], row["effect"]),
            xytext=(7 if i % 2 else -7, 4),
            textcoords="offset points",
            ha="left" if i % 2 else "right",
            fontsize=8,
            color=INK if row["is_best"] else MUTED,
        )
    axes.axhline(0.0, color=INK, linewidth=0.8, label="_zero")
    axes.set_xlabel(plot_label(f"lost against the untreated model: {metric_title(price)}", 72))
    axes.set_ylabel(plot_label(f"{metric_title('accuracy_user_wrong')}, less null"))
    axes.set_xlim(min(losses) - 0.3 * room, max(losses) + 0.3 * room)
    tidy(axes, grid="both")
    add_legend(figure, [axes])
    return figure
