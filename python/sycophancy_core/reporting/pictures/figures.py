"""Figures of a result: tables in, matplotlib figures out.

The object-oriented interface alone is used: no window, no global figure, no setting that outlives a call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sycophancy_core.metrics.arrays import ARMS
from sycophancy_core.metrics.breakdowns import ARM_TITLES, ClaimAnswers
from sycophancy_core.metrics.catalogue import VIEWS, is_in_nats
from sycophancy_core.reporting.numbers import PairedRow, metric_title, pair_estimates, subset_title
from sycophancy_core.reporting.pictures.drawing import (
    FALSE,
    INK,
    MORE_COLORS,
    MUTED,
    TRUE,
    add_legend,
    draw_points,
    new_figure,
    panels,
    plot_label,
    series,
    tidy,
    title,
)
from sycophancy_core.reporting.sides import BEFORE_AFTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CORNERS = (
    (0.02, 0.98, "left", "top", "follows the user"),
    (0.98, 0.02, "right", "bottom", "contradicts the user"),
    (0.98, 0.76, "right", "top", "always agrees"),
    (0.02, 0.24, "left", "bottom", "always disagrees"),
)


def before_after(
    before: pa.Table,
    after: pa.Table | None = None,
    *,
    metrics: Sequence[str] | None = VIEWS["headline"],
    is_narrow: bool = False,
    names: tuple[str, str] = BEFORE_AFTER,
) -> Figure:
    """Draw metrics over whole tasks, before and after, with their intervals: shares left, log-odds right.

    Parameters
    ----------
    before, after
        Estimates tables; rows of subsets other than ``all`` are left out.
    metrics
        Metrics to draw, in this order; None draws all.
    is_narrow
        Put shares and log-odds below each other.
    names
        What the two sides are called.
    """
    rows = [r for r in pair_estimates(before, after, metrics=metrics) if r.subset == "all"]
    tasks = list(dict.fromkeys(r.task for r in rows)) or [""]
    units = [u for u in (False, True) if any(is_in_nats(r.metric) is u for r in rows)] or [False]
    cells = [[[r for r in rows if r.task == t and is_in_nats(r.metric) is u] for u in units] for t in tasks]
    counts = [[len(cell) for cell in line] if is_narrow else [max(map(len, line))] for line in cells]
    heights = [0.3 * count + 0.5 for line in counts for count in line]
    figure = new_figure(4.8 if is_narrow else 5.2 * len(units) + 1.0, 0.8 + sum(heights))
    ratios = [height - 0.2 for height in heights]
    grid = panels(figure, len(tasks), len(units), is_narrow=is_narrow, sharex="col", height_ratios=ratios)
    for line, task, found in zip(grid, tasks, cells, strict=True):
        for axes, mine in zip(line, found, strict=True):
            count = len(mine) if is_narrow else max(map(len, found))
            _draw_rows(
                axes, [metric_title(r.metric).removesuffix(" (nats)") for r in mine], mine, count=count, names=names
            )
            title(axes, plot_label(task) if mine else "")
            axes.set_visible(bool(mine))
    _label_columns(grid, ["nats" if nats else "share, or difference of shares" for nats in units])
    add_legend(figure, grid.flat)
    return figure


def forest(
    before: pa.Table,
    after: pa.Table | None = None,
    *,
    metric: str,
    task: str | None = None,
    names: tuple[str, str] = BEFORE_AFTER,
) -> Figure:
    """Draw one metric for every subset (data set) of its task, with its interval, and over all of them last.

    Parameters
    ----------
    before, after
        Estimates tables.
    metric
        Name of the metric.
    task
        Name of the task; None takes every task that has the metric.
    names
        What the two sides are called.
    """
    rows = [r for r in pair_estimates(before, after) if r.metric == metric and task in (None, r.task)]
    rows.sort(key=lambda r: (r.task, r.subset == "all"))
    several = len({r.task for r in rows}) > 1
    labels = [" · ".join([r.task] * several + [subset_title(r.subset)]) for r in rows]
    figure = new_figure(7.0, 1.1 + 0.3 * max(len(rows), 1))
    axes = figure.subplots()
    _draw_rows(axes, labels, rows, count=len(rows), names=names)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.subset == "all" else "normal")
    axes.set_xlabel(
        metric_title(metric) if is_in_nats(metric) else f"{metric_title(metric)}, share or difference of shares"
    )
    add_legend(figure, [axes])
    return figure


def arms_by_truth(
    before: ClaimAnswers,
    after: ClaimAnswers | None = None,
    *,
    is_narrow: bool = False,
    names: tuple[str, str] = BEFORE_AFTER,
) -> Figure:
    """Draw the share of agreeing answers in each arm, for false and for true claims, before and after.

    The bar is the interval with the claim as the unit. A model that keeps to what it knows lies on the dashed line in
    every arm: it agrees with none of the false claims and with all of the true ones.

    Parameters
    ----------
    before, after
        What the claims' measurements say.
    is_narrow
        Put false and true claims below each other.
    names
        What the two sides are called.
    """
    sides = [side.agreement for side in (before, after) if side is not None]
    tasks = list(dict.fromkeys(r["task"] for side in sides for r in side)) or [""]
    figure = new_figure(*((4.8, 0.9 + 5.0 * len(tasks)) if is_narrow else (9.4, 0.9 + 2.5 * len(tasks))))
    grid = panels(figure, len(tasks), 2, is_narrow=is_narrow, sharey=True, sharex=True)
    for line, task in zip(grid, tasks, strict=True):
        for axes, is_true in zip(line, (False, True), strict=True):
            axes.axhline(float(is_true), color=MUTED, linestyle="--", linewidth=1.2, label="_right answer")
            for k, (side, (color, marker, name)) in enumerate(zip(sides, series(names), strict=False)):
                cells = [r for r in side if r["task"] == task and r["is_true"] is is_true and r["arm"] in ARMS]
                at = [ARMS.index(r["arm"]) + (0.18 * k - 0.09) * (len(sides) - 1) for r in cells]
                draw_points(axes, at, cells, color=color, marker=marker, label=name, vertical=True)
            if not any(r["task"] == task and r["is_true"] is is_true for side in sides for r in side):
                axes.text(0.5, 0.5, "none asked", transform=axes.transAxes, ha="center", color=MUTED)
            words = "true claims" if is_true else "false claims"
            title(axes, f"{plot_label(task, 28)}: {words}" if task else words)
            axes.set_xticks(range(len(ARMS)), [ARM_TITLES[arm].replace("without ", "without\n") for arm in ARMS])
            axes.set(xlim=(-0.5, len(ARMS) - 0.5), ylim=(-0.04, 1.04))
            tidy(axes, grid="y")
        line[0].set_ylabel("share of answers that agree")
    add_legend(figure, grid.flat)
    return figure


def letter_bias(
    before: ClaimAnswers, after: ClaimAnswers | None = None, *, bins: int = 40, names: tuple[str, str] = BEFORE_AFTER
) -> Figure:
    """Draw how strongly answers lean to a letter: log p(A) - log p(B), averaged over both orders of the choices.

    Parameters
    ----------
    before, after
        What the claims' measurements say: one value for each task, claim and arm that is scored in both orders.
    bins
        Number of bars, over a range that is even about zero.
    names
        What the two sides are called.
    """
    biases = [side.letter_bias for side in (before, after) if side is not None]
    sides = [values[np.isfinite(values)] for values in biases]
    reach = max(max((float(np.abs(v).max()) for v in sides if v.size), default=1.0), 1e-3)
    edges = np.linspace(-reach, reach, bins + 1).tolist()
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    for values, (color, _, name) in zip(sides, series(names), strict=False):
        label = (
            (f"{name} (mean {values.mean():+.2f})" if after is not None else f"mean {values.mean():+.2f}")
            if values.size
            else name
        )
        axes.hist(values, bins=edges, histtype="stepfilled", color=color, alpha=0.2, label="_fill")
        axes.hist(values, bins=edges, histtype="step", color=color, linewidth=1.6, label=label)
    axes.axvline(0.0, color=INK, linewidth=1.0)
    axes.set_xlabel("← leans to (B)        letter bias, nats        leans to (A) →")
    axes.set_ylabel("number of claims × arms")
    tidy(axes, grid="y")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def margin_shift(
    before: ClaimAnswers,
    after: ClaimAnswers | None = None,
    *,
    is_narrow: bool = False,
    names: tuple[str, str] = BEFORE_AFTER,
) -> Figure:
    """Draw each claim's margin when the user agrees against its margin when the user disagrees.

    On the diagonal the user makes no difference. Upper left: the answer follows the user; lower right: it contradicts
    the user; upper right and lower left: it always agrees or always disagrees.

    Parameters
    ----------
    before, after
        What the claims' measurements say.
    is_narrow
        Put before and after below each other.
    names
        What the two sides are called.
    """
    claims = [side for side in (before, after) if side is not None]
    sides = [side.margins[:, [ARMS.index("disagree"), ARMS.index("agree")]] for side in claims]
    truths = [side.is_true for side in claims]
    finite = [np.abs(side[np.isfinite(side)]) for side in sides]
    reach = 1.08 * max(max((float(f.max()) for f in finite if f.size), default=1.0), 1e-3)
    figure = new_figure(*((4.8, 4.9 * len(sides) + 0.3) if is_narrow else (4.5 * len(sides) + 0.3, 5.0)))
    grid = panels(figure, 1, len(sides), is_narrow=is_narrow, sharex=True, sharey=True)[0]
    for axes, side, is_true, (_, _, name) in zip(grid, sides, truths, series(names), strict=False):
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        axes.plot([-reach, reach], [-reach, reach], color=MUTED, linestyle="--", linewidth=1.0, label="_no effect")
        for truth, color, marker in ((False, FALSE, "v"), (True, TRUE, "^")):
            x, y = side[(is_true == truth) & np.isfinite(side).all(axis=1)].T
            label = f"{'true' if truth else 'false'} claims"
            many = x.size > 2000  # as pixels: a path for each of many points makes a slow, large SVG
            axes.scatter(x, y, s=20, color=color, marker=marker, alpha=0.75, linewidths=0, label=label, rasterized=many)
        for x_at, y_at, ha, va, words in _CORNERS:
            axes.text(x_at, y_at, words, transform=axes.transAxes, ha=ha, va=va, fontsize=8, color=MUTED)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_xlabel("margin when the user disagrees, nats")
        title(axes, name if after is not None else "")
        tidy(axes)
    grid[0].set_ylabel("margin when the user agrees, nats")
    add_legend(figure, grid)
    return figure


def training_curve(log: pa.Table | Sequence[Mapping[str, Any]], curve: pa.Table | None = None) -> Figure:
    """Draw a training over its steps: the loss above; below, for each task, evaluations made on the way.

    The dashed line is the step whose weights were kept, where a metric chose it.

    Parameters
    ----------
    log
        Rows with ``step`` and ``loss`` (nats a supervised token).
    curve
        Evaluations on the way: ``step``, the columns of an estimates table, and ``is_best``; of its metrics the shares
        of the catalogue's view ``"curve"`` are drawn, with their intervals.
    """
    rows = log if isinstance(log, Sequence) else log.to_pylist()
    points = [r for r in (() if curve is None else curve.to_pylist()) if r["metric"] in VIEWS["curve"]]
    tasks = list(dict.fromkeys(r["task"] for r in points))
    figure = new_figure(7.2, 3.0 + 2.4 * len(tasks))
    grid = figure.subplots(1 + len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    drawn = [(r["step"], r["loss"]) for r in rows if r.get("loss") is not None]
    grid[0].plot(*zip(*drawn, strict=True), color=INK, linewidth=1.5, label="_loss")
    grid[0].set_ylabel("loss, nats a supervised token")
    tidy(grid[0], grid="y")
    gap = 0.01 * max((r["step"] for r in points), default=0)
    for axes, task in zip(grid[1:], tasks, strict=True):
        _draw_curve(axes, [r for r in points if r["task"] == task], gap)
        title(axes, plot_label(task))
        axes.set_ylabel("share, or difference")
    for step in {r["step"] for r in points if r["is_best"]}:
        for axes in grid:
            axes.axvline(step, color=MUTED, linestyle="--", linewidth=1.2, label="_kept")
    grid[-1].set_xlabel("optimizer steps")
    add_legend(figure, grid)
    return figure


def _draw_curve(axes: Axes, rows: Sequence[Mapping[str, Any]], gap: float) -> None:
    """Draw one task's metrics; those of one step stand side by side, so that no interval hides another."""
    there = {r["metric"] for r in rows}
    for i, metric in enumerate(VIEWS["curve"]):
        if metric == "sycophancy_gap" and "sycophancy_effect" in there:
            continue  # the effect is the sharper of the two
        mine = [r for r in rows if r["metric"] == metric]
        at = [r["step"] + gap * (i - 1) for r in mine]
        color = MORE_COLORS[i]
        axes.plot(at, [r["value"] for r in mine], color=color, linewidth=1.2, alpha=0.7, label="_line")
        if mine:
            draw_points(axes, at, mine, color=color, marker="osD^vP"[i], label=metric_title(metric), vertical=True)
    axes.axhline(0.0, color=INK, linewidth=0.8, label="_zero")
    tidy(axes, grid="y")


def scaling(estimates: pa.Table, *, metric: str) -> Figure:
    """Draw one metric against model size, for many models, one panel a task.

    Parameters
    ----------
    estimates
        Estimates with the columns ``model``, ``num_parameters`` and, if known, ``family`` (models of one family are
        joined by a line). Models of one size are told apart by their names instead.
    metric
        Name of the metric; only its rows over whole tasks are drawn.
    """
    rows = [r for r in estimates.to_pylist() if r["metric"] == metric and (r["subset"] or "all") == "all"]
    rows = [r for r in rows if r["num_parameters"] is not None]  # of a served model it may not be known
    tasks = list(dict.fromkeys(r["task"] for r in rows)) or [""]
    by = "model" if len({r["num_parameters"] for r in rows}) == 1 and "model" in estimates.column_names else "family"
    series = list(dict.fromkeys(r.get(by) or "" for r in rows))
    width = min(4.2, 12.6 / len(tasks))  # of a panel; nine letters of a title take an inch
    figure = new_figure(width * len(tasks) + 0.8, 3.8)
    grid = figure.subplots(1, len(tasks), squeeze=False, sharey=True, sharex=True)[0]
    for axes, task in zip(grid, tasks, strict=True):
        for i, name in enumerate(series):
            mine = [r for r in rows if r["task"] == task and (r.get(by) or "") == name]
            mine.sort(key=lambda r: r["num_parameters"])
            color, marker = MORE_COLORS[i % len(MORE_COLORS)], "osD^vP*X<>p"[i % 11]
            at = [float(r["num_parameters"]) * 1.03 ** (i - (len(series) - 1) / 2) for r in mine]
            axes.plot(at, [r["value"] for r in mine], color=color, linewidth=1.2, alpha=0.7, label="_line")
            draw_points(axes, at, mine, color=color, marker=marker, label=plot_label(name), vertical=True)
        axes.set_xscale("log")
        axes.set_xlabel("parameters")
        _name_sizes(axes, sorted({float(r["num_parameters"]) for r in rows}))
        title(axes, plot_label(task, int(9 * width)))
        tidy(axes, grid="y")
    grid[0].set_ylabel(metric_title(metric))
    add_legend(figure, grid)
    return figure


def _name_sizes(axes: Axes, sizes: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    places: list[float] = []
    for size in sizes:  # a tick at each size, unless it would touch the one before it
        if not places or size > 1.25 * places[-1]:
            places.append(size)
    units = ((1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))
    named = [next((s / by, letter) for by, letter in units if s >= by or by == 1.0) for s in places]
    axes.set_xticks(places, [f"{number:.3g} {letter}".strip() for number, letter in named])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_rows(
    axes: Axes, labels: Sequence[str], rows: Sequence[PairedRow], *, count: int, names: tuple[str, str]
) -> None:
    has_after = any(r.after is not None for r in rows)
    for k, (side, (color, marker, name)) in enumerate(zip(BEFORE_AFTER, series(names), strict=True)):
        mine = [(i, getattr(r, side)) for i, r in enumerate(rows) if getattr(r, side) is not None]
        at = [i + (0.24 * k - 0.12) * has_after for i, _ in mine]
        if mine:
            draw_points(axes, at, [e for _, e in mine], color=color, marker=marker, label=name)
        for i, estimate in mine:
            if not math.isfinite(estimate["value"]) and k == (1 if has_after else 0):
                axes.text(0.0, i, " n/a", color=MUTED, fontsize=8, va="center")
    axes.axvline(0.0, color=INK, linewidth=0.8, label="_zero")
    axes.set_yticks(range(len(labels)), [plot_label(text) for text in labels])
    axes.set_ylim(count - 0.4, -0.6)
    tidy(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _label_columns(grid: Any, words: Sequence[str]) -> None:
    for column, text in zip(grid.T, words, strict=True):
        last = [axes for axes in column if axes.get_visible() or len(column) == 1][-1]
        last.set_xlabel(text)
        last.tick_params(labelbottom=True)
