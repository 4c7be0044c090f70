"""How every figure looks, and how it is written: colours, axes, points with intervals, SVG and PNG.

Colours are Okabe and Ito's, told apart by colour-blind readers, and every series also differs in shape.
"""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from sycophancy_core.reporting.text import clean_text
from sycophancy_core.runs.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#22262b", "#6a7079", "#d5d8dc"
BEFORE, AFTER = "#d55e00", "#0072b2"
TRUE, FALSE = "#009e73", "#cc79a7"
SERIES = ((BEFORE, "o", "before"), (AFTER, "s", "after"))
MORE_COLORS = (AFTER, BEFORE, TRUE, FALSE, "#e69f00", "#56b4e9", "#8a8f98")
_ON_DARK = {INK: "#e6e8eb", MUTED: "#a3a9b2", GRID: "#3a4048", BEFORE: "#e8833a", AFTER: "#56b4e9", TRUE: "#2bbf95"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, size in inches, that belongs to no window and no list of open figures."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def panels(figure: Figure, rows: int, columns: int, *, is_narrow: bool = False, **settings: Any) -> Any:
    """Return axes in rows and columns; where the page is narrow, all below each other.

    Those of one column keep the horizontal scale that they share; other scales are each panel's own there.

    Parameters
    ----------
    settings
        As for matplotlib's ``subplots``; ``height_ratios`` has an entry for each row or, below each other, panel.
    """
    if not is_narrow:
        return figure.subplots(rows, columns, squeeze=False, **settings)
    shared = settings.get("sharex")
    settings |= {"sharex": False, "sharey": False}
    grid = figure.subplots(rows * columns, 1, squeeze=False, **settings).reshape(rows, columns)
    for first, *others in grid.T if shared == "col" else ():
        for axes in others:
            axes.sharex(first)
    return grid


def tidy(axes: Axes, *, grid: Literal["both", "x", "y"] | None = None) -> None:
    """Give axes the house's look: open frame, quiet ticks, grid lines behind the marks."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=INK, fontsize=9)


def title(axes: Axes, text: str) -> None:
    """Set a left-aligned title."""
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", color=INK)


def plot_label(text: object, length: int = 48) -> str:
    r"""Return text from data as a label: cleaned, at most ``length`` characters, never read as mathematics.

    A dollar sign begins a formula in matplotlib unless written ``\$``.
    """
    plain = clean_text(text)
    return (plain if len(plain) <= length else plain[: length - 1] + "…").replace("$", r"\$")


def series(names: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Return colour, marker and label of what comes first and second."""
    return [(color, marker, plot_label(name, 30)) for (color, marker, _), name in zip(SERIES, names, strict=True)]


def draw_points(
    axes: Axes,
    at: Sequence[float],
    estimates: Sequence[Mapping[str, Any]],
    *,
    color: str,
    marker: str,
    label: str,
    vertical: bool = False,
) -> None:
    """Draw estimates as points with their intervals along one axis, at given places on the other.

    An undefined estimate is not drawn; one without an interval is drawn hollow.
    """
    drawn = [(a, e) for a, e in zip(at, estimates, strict=True) if _is_finite(e["value"])]
    for where, estimate in drawn:
        ends = [estimate["low"], estimate["high"]]
        if all(_is_finite(end) for end in ends):
            x, y = ([where, where], ends) if vertical else (ends, [where, where])
            axes.plot(x, y, color=color, linewidth=2.0, solid_capstyle="round", label="_interval")
    places, values = [a for a, _ in drawn], [e["value"] for _, e in drawn]
    fills = [color if _is_finite(e["low"]) and _is_finite(e["high"]) else "none" for _, e in drawn]
    x, y = (places, values) if vertical else (values, places)
    axes.scatter(x, y, s=42, marker=marker, facecolors=fills, edgecolors=color, linewidths=1.4, zorder=3, label=label)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def add_legend(figure: Figure, axes: Iterable[Axes], *, ncols: int = 4) -> None:
    """Put one legend above the whole figure, with each name once; none where there is a single name."""
    entries: dict[str, Any] = {}
    for one in axes:
        handles, labels = one.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            entries.setdefault(label, handle)
    if len(entries) > 1:
        legend = figure.legend(
            list(entries.values()), list(entries), loc="outside upper right", ncols=ncols, frameon=False, fontsize=9
        )
        for text in legend.get_texts():
            text.set_color(INK)


def figure_bytes(figure: Figure, kind: str, *, dpi: int = 144) -> bytes:
    """Return a figure as ``svg`` or ``png`` bytes: the same figure always gives the same bytes.

    Letters are drawn as paths, so that the picture needs no font; a letter that the font lacks is drawn as a box.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "sycophancy_core", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if any(axes.get_aspect() != "auto" for axes in figure.axes):
            figure.draw_without_rendering()  # one pass leaves the layout of equal aspects unfinished
        figure.savefig(buffer, format=kind, dpi=dpi, facecolor="white" if kind == "png" else "none", metadata=metadata)
    return buffer.getvalue()


def adaptive_svg(figure: Figure) -> bytes:
    """Return a figure as SVG whose ink, grid and series colours follow the reader's light or dark setting.

    Only colours within style attributes are replaced: the texts of labels, which matplotlib repeats in comments, may
    look like colours too. The comments are left out.
    """
    svg = re.sub("<!--.*?-->", "", figure_bytes(figure, "svg").decode(), flags=re.DOTALL)
    names = {light: f"var(--c{i})" for i, light in enumerate(_ON_DARK)}
    color = re.compile("|".join(f"{light}(?![0-9a-f])" for light in names))
    svg = re.sub('style="[^"]*"', lambda style: color.sub(lambda found: names[found[0]], style[0]), svg)
    day = ";".join(f"--c{i}:{light}" for i, light in enumerate(_ON_DARK))
    night = ";".join(f"--c{i}:{dark}" for i, dark in enumerate(_ON_DARK.values()))
    sheet = f"<style>:root{{{day}}}@media(prefers-color-scheme:dark){{:root{{{night}}}}}</style>"
    start = svg.index(">", svg.index("<svg")) + 1
    return (svg[:start] + sheet + svg[start:]).encode()


def svg_for_page(figure: Figure) -> str:
    """Return a figure as SVG in base64, for an image within a page."""
    return base64.b64encode(adaptive_svg(figure)).decode("ascii")


def save_figure(figure: Figure, path: Path | str) -> list[Path]:
    """Write a figure next to ``path`` as SVG and as PNG (the suffix of ``path`` is replaced) and return both paths."""
    name = Path(path).name.removesuffix(".svg").removesuffix(".png")
    written = []
    for kind in ("svg", "png"):
        write = partial(_write, picture=figure_bytes(figure, kind))
        written.append(replace_file(Path(path).with_name(f"{name}.{kind}"), write))
    return written


def _write(file: BinaryIO, picture: bytes) -> None:
    file.write(picture)
