"""Several models against one baseline: paired differences on the same prompts, and one correction over all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ArrowResult
from sycophancy_core.metrics.catalogue import VIEWS, metric_name
from sycophancy_core.reporting.blocks import Block, Cell, Heading, Paragraph, Section, Table, finding_list
from sycophancy_core.reporting.numbers import format_estimate, format_p_value, metric_title
from sycophancy_core.reporting.pages import fragment, page
from sycophancy_core.reporting.text import clean_text, fit_name
from sycophancy_core.results.evaluation import Comparison, find_estimate
from sycophancy_core.runs.files import replace_file, require_folder, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.seals import SEAL, check_seal, save_result


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelChanges(ArrowResult):
    """Several models, each compared with the same baseline prompt by prompt.

    Attributes
    ----------
    baseline
        The baseline's name.
    comparisons
        One comparison a model, by the model's name; each has the baseline's evaluation as ``before``.
    """

    baseline: str
    comparisons: dict[str, Comparison]

    @property
    def estimates(self) -> pa.Table:
        """The changes of all models: the columns of a comparison's, and ``model`` before them.

        ``p_adjusted`` is by Holm's method over the main metrics of all models in one task and subset, so that a
        difference found among many models is no luck of many looks.
        """
        rows = [{"model": name, **row} for name, one in self.comparisons.items() for row in one.estimates.to_pylist()]
        _adjust(rows)
        first = next(iter(self.comparisons.values())).estimates.schema
        return pa.Table.from_pylist(rows, schema=pa.schema([pa.field("model", pa.string()), *first]))

    def to_arrow(self) -> pa.Table:
        """Return the changes of all models."""
        return self.estimates

    def to_dict(self) -> dict[str, Any]:
        """Return baseline, findings and changes, for JSON."""
        findings = {name: [str(finding) for finding in one.findings] for name, one in self.comparisons.items()}
        return {"baseline": self.baseline, "findings": findings, "changes": self.estimates.to_pylist()}

    @checked_arguments
    def estimate(self, model: str, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
        """Return the change of one metric of one model; DataError if there is none."""
        if model not in self.comparisons:
            raise DataError(f"estimates: there is no model {model!r}; there are {', '.join(self.comparisons)}")
        rows = self.estimates
        return find_estimate(rows.filter(pc.equal(rows["model"], model)), task, metric, subset=subset)

    @checked_arguments
    def table(self, *, width: int = 100) -> str:
        """Return the changes of the main metrics as text: one block a task and metric, one line a model."""
        require_whole("table", "width", width, least=1)
        blocks = []
        for task, metric, rows in self._blocks():
            room = max(12, min(40, width - 48))
            lines = [f"  {fit_name(clean_text(row['model']), room)} {_numbers(row)}" for row in rows]
            blocks.append("\n".join([f"{clean_text(task)}: change of {metric_title(metric)}", *lines]))
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        """Show the changes of the main metrics."""
        return f"{len(self.comparisons)} models against {clean_text(self.baseline)}\n\n{self.table()}"

    def _repr_html_(self) -> str | None:
        return fragment([self._html_table()])

    @checked_arguments
    def plot(self, metric: str | None = None) -> Any:
        """Draw the change of a metric, a dot and an interval for each model, one panel a task.

        Parameters
        ----------
        metric
            Its name; by default the first main one that any task has.

        Raises
        ------
        DataError
            If no task has it.
        """
        from matplotlib.figure import Figure

        wanted = None if metric is None else metric_name(metric)
        drawn = [(task, name, rows) for task, name, rows in self._blocks() if wanted in (None, name)]
        if not drawn:
            raise DataError(f"plot: there is no main metric {metric!r}; there are {', '.join(VIEWS['primary'])}")
        panels = {task: (name, rows) for task, name, rows in reversed(drawn)}
        height = 0.8 + 0.35 * len(self.comparisons)
        figure = Figure(figsize=(6, height * len(panels)), layout="constrained")
        for axes, task in zip(figure.subplots(len(panels), squeeze=False)[:, 0], reversed(panels), strict=True):
            name, rows = panels[task]
            places = range(len(rows))
            axes.hlines(places, [row["low"] for row in rows], [row["high"] for row in rows])
            axes.plot([row["value"] for row in rows], places, "o")
            axes.axvline(0, color="grey", linewidth=0.8)
            axes.set_yticks(places, [clean_text(row["model"]) for row in rows])
            axes.invert_yaxis()
            axes.set_title(f"{clean_text(task)}: change of {metric_title(name)}", fontsize="medium")
        return figure

    def report_html(self) -> str:
        """Return the report as one page that loads nothing from elsewhere and runs no script."""
        lead = Paragraph(
            text=f"{len(self.comparisons)} models against the baseline {self.baseline}: the same prompts, paired. "
            "p (Holm) is over all models and main metrics of a task."
        )
        findings: list[Block] = []
        for name, one in self.comparisons.items():
            findings += [Heading(text=name), *finding_list(one.findings)]
        sections = [
            Section(heading="Changes", blocks=[self._html_table()]),
            Section(heading="Findings by model", blocks=findings),
        ]
        return page("Models against a baseline", lead=[lead], sections=sections)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write each comparison into a folder named after its model, ``changes.parquet``, ``models.json``, a report."""
        names = folder_names(list(self.comparisons))

        def write(folder: Path) -> None:
            for name, one in self.comparisons.items():
                one.save(folder / names[name])
            write_table(folder / "changes.parquet", self.estimates)
            write_json(folder / "models.json", {"baseline": self.baseline, "folders": names})
            replace_file(folder / "report.html", lambda file: file.write(self.report_html().encode()))

        return save_result(folder, "model changes", write)

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path) -> ModelChanges:
        """Read what :meth:`save` wrote; DataError if it is not whole, or was changed."""
        path = Path(folder) / "models.json"
        if not path.is_file():
            require_folder(folder)
            raise DataError(f"{folder}: wanted a folder with models against a baseline, got no models.json")
        about = read_json(path)
        check_seal(path.parent, path.name, *(f"{name}/{SEAL}" for name in about["folders"].values()))
        comparisons = {model: Comparison.load(path.parent / name) for model, name in about["folders"].items()}
        return cls(baseline=about["baseline"], comparisons=comparisons)

    def _blocks(self) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
        rows = [row for row in self.estimates.to_pylist() if row["subset"] == "all"]
        for task in dict.fromkeys(row["task"] for row in rows):
            for metric in VIEWS["primary"]:
                mine = [row for row in rows if (row["task"], row["metric"]) == (task, metric)]
                if mine:
                    yield task, metric, mine

    def _html_table(self) -> Table:
        head = ("task", "metric", "model", self.baseline, "then", "change", "p (Holm)")
        rows = [
            [Cell(text=text) for text in (task, metric_title(metric), row["model"], *_sides(row))]
            for task, metric, group in self._blocks()
            for row in group
        ]
        return Table(head=head, rows=rows, caption=f"Models against {self.baseline}")


def _sides(row: dict[str, Any]) -> tuple[str, str, str, str]:
    sides = (format_estimate({"value": row[name], "low": math.nan, "high": math.nan}) for name in ("before", "after"))
    before, after = (side.removesuffix(" [n/a]") for side in sides)
    return before, after, format_estimate(row), format_p_value(row["p_adjusted"])


def _numbers(row: dict[str, Any]) -> str:
    before, after, change, p_value = _sides(row)
    return f"{before} -> {after}  {change}" + (f"  p {p_value}" if p_value else "")


def _adjust(rows: Sequence[dict[str, Any]]) -> None:
    """Give the main metrics Holm's p value over all models of their task and subset."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        row["p_adjusted"] = None
        if row["metric"] in VIEWS["primary"] and math.isfinite(row["p_value"]):
            groups.setdefault((row["task"], row["subset"]), []).append(row)
    for mine in groups.values():
        for row, adjusted in zip(mine, _core.holm([row["p_value"] for row in mine]), strict=True):
            row["p_adjusted"] = float(adjusted)


def folder_names(models: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each model: what its name has of letters, digits, dots, hyphens and underscores."""
    names: dict[str, str] = {}
    for model in models:
        plain = re.sub(r"[^\w.-]+", "-", model, flags=re.ASCII).strip("-.")[-60:] or "model"
        number, name = 1, plain
        while name.lower() in {taken.lower() for taken in names.values()}:
            number += 1
            name = f"{plain}-{number}"
        names[model] = name
    return names
