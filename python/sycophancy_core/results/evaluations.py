"""Evaluations of several models on the same prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ArrowResult
from sycophancy_core.metrics.catalogue import VIEWS, metric_name
from sycophancy_core.reporting.asked import thinking_words
from sycophancy_core.reporting.blocks import (
    Block,
    Cell,
    Definitions,
    Folded,
    Heading,
    Paragraph,
    Picture,
    Section,
    Table,
    finding_list,
    json_lines,
)
from sycophancy_core.reporting.finding import Finding
from sycophancy_core.reporting.numbers import REPEATS, format_estimate, metric_title, repeats_effect
from sycophancy_core.reporting.pages import fragment, page
from sycophancy_core.reporting.pictures.drawing import save_figure, svg_for_page
from sycophancy_core.reporting.pictures.figures import scaling
from sycophancy_core.reporting.text import clean_text, fit, fit_name
from sycophancy_core.results.evaluation import Evaluation, whole_tasks
from sycophancy_core.results.model_changes import folder_names
from sycophancy_core.runs.files import replace_file, require_folder
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.seals import SEAL, check_seal, save_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluations(ArrowResult):
    """Evaluations of several models on the same prompts.

    Attributes
    ----------
    evaluations
        One a model, in the order given; their ``facts`` hold ``num_parameters``, ``instruction_tuned`` and ``family``.
    """

    evaluations: tuple[Evaluation, ...]

    @property
    def findings(self) -> dict[str, tuple[Finding, ...]]:
        """What stands out in each model, the gravest first, by its name."""
        return {one.model: one.findings for one in self.evaluations}

    @property
    def estimates(self) -> pa.Table:
        """All estimates, with the columns ``model``, ``num_parameters``, ``instruction_tuned``, ``family`` before."""
        return pa.concat_tables([_with_facts(one) for one in self.evaluations])

    @checked_arguments
    def table(self, *, width: int = 100) -> str:
        """Return the main metrics as text: one block a task and metric, one line a model."""
        require_whole("table", "width", width, least=1)
        blocks = []
        for task, metric, rows in self._blocks():
            lines = [" ".join(_cells(row)[1:]) for row in rows]
            room = max(12, min(40, width - 3 - max(map(len, lines))))
            names = [fit_name(clean_text(_cells(row)[0]), room) for row in rows]
            head = f"{clean_text(task)}: {metric_title(metric)} (parameters, tuning, value, n/clusters)"
            head = fit(head, width).rstrip()
            blocks.append("\n".join([head, *(f"  {a} {b}" for a, b in zip(names, lines, strict=True))]))
        return "\n\n".join(blocks)

    def __repr__(self) -> str:
        """Show the main metrics of every model."""
        return f"Evaluations of {len(self.evaluations)} models\n\n{self.table()}"

    def _repr_html_(self) -> str | None:
        return fragment([*self._finding_blocks(), self._table()])

    def _finding_blocks(self) -> list[Block]:
        return [
            block
            for name, found in self.findings.items()
            if found
            for block in (Heading(text=name), *finding_list(found))
        ]

    def _table(self) -> Table:
        head = ("task", "metric", "model", "parameters", "tuning", "value", "n/clusters")
        rows = [
            [Cell(text=text) for text in (task, metric_title(metric), *_cells(row))]
            for task, metric, group in self._blocks()
            for row in group
        ]
        return Table(head=head, rows=rows, caption=f"Evaluations of {len(self.evaluations)} models")

    @property
    def folders(self) -> list[str]:
        """Return the name of each evaluation's folder in the one that :meth:`save` writes."""
        return list(folder_names([one.model for one in self.evaluations]).values())

    def to_arrow(self) -> pa.Table:
        """Return the estimates of all models."""
        return self.estimates

    def to_dict(self) -> dict[str, Any]:
        """Return each model's findings and estimates, for JSON."""
        return {"models": [one.to_dict() for one in self.evaluations]}

    def made_by(self, command: str) -> Evaluations:
        """Return the same evaluations with the command line that made them."""
        return Evaluations(evaluations=tuple(one.made_by(command) for one in self.evaluations))

    @checked_arguments
    def plot(self, metric: str | None = None) -> Figure:
        """Draw a metric against the number of parameters, one panel a task (Wei et al. 2023, figure 1).

        Parameters
        ----------
        metric
            Its name; by default the first of effect, gap and matching rate that any task has. Tasks without it have no
            panel.

        Raises
        ------
        DataError
            If no model has such a metric.
        """
        estimates = whole_tasks(self.estimates)
        there = set(estimates["metric"].to_pylist())
        metric = metric_name(metric or self._drawn())
        if metric not in there:
            raise DataError(f"plot: there is no metric {metric!r}; wanted one of {', '.join(sorted(there))}")
        return scaling(estimates, metric=metric)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write each evaluation into a folder of its name, ``evaluations.json``, the report and the figure."""
        names = self.folders

        def write(folder: Path) -> None:
            for name, one in zip(names, self.evaluations, strict=True):
                one.save_sealed(folder / name)
            write_json(folder / "evaluations.json", {"folders": names})
            save_figure(self.plot(), folder / "scaling")
            replace_file(folder / "report.html", lambda file: file.write(self.report_html().encode()))

        written = save_result(folder, "evaluations", write)
        for name, one in zip(names, self.evaluations, strict=True):
            one.save_made(Path(folder) / name)
        return written

    def report_html(self) -> str:
        """Return the report of all models as one page that loads nothing from elsewhere and runs no script."""
        drawn = metric_title(self._drawn())
        caption = f"In each task that has it, against the number of parameters: {drawn}, with 95% intervals."
        facts = {one.model: dict(one.facts) for one in self.evaluations}
        sections = [
            Section(heading="Size and tuning", blocks=[Picture(svg=svg_for_page(self.plot()), caption=caption)]),
            Section(heading="Results", blocks=[*self._thoughts(), self._table()]),
            Section(heading="Findings", blocks=self._finding_blocks()),
            Section(heading="Manifest", blocks=[Folded(summary="what each model is", blocks=[json_lines(facts)])]),
        ]
        return page("Sycophancy of several models", sections=sections)

    def _thoughts(self) -> list[Block]:
        """Say how each model thought first, where one did."""
        found = [(one.model, one.facts.get("thinking")) for one in self.evaluations]
        pairs = [(name, thinking_words(thinking)) for name, thinking in found if isinstance(thinking, Mapping)]
        return [Paragraph(text="Thought before each reply:"), Definitions(pairs=pairs)] if pairs else []

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path) -> Evaluations:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the folder holds no whole evaluations of several models, or a file of them was changed.
        """
        path = Path(folder) / "evaluations.json"
        if not path.is_file():
            require_folder(folder)
            raise DataError(f"{folder}: wanted a folder with evaluations of several models, got no evaluations.json")
        names = read_json(path)["folders"]
        check_seal(folder, path.name, *(f"{name}/{SEAL}" for name in names))
        return cls(evaluations=tuple(Evaluation.load(Path(folder) / name) for name in names))

    def _drawn(self) -> str:
        """Return the metric of the figure: the first of those shown that any task has; empty if there is none."""
        there = set(whole_tasks(self.estimates)["metric"].to_pylist())
        return next((name for name in VIEWS["models"] if name in there), "")

    def _blocks(self) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
        rows = whole_tasks(self.estimates).to_pylist()
        for task in dict.fromkeys(row["task"] for row in rows):
            for metric in VIEWS["models"]:
                mine = [row for row in rows if (row["task"], row["metric"]) == (task, metric)]
                if mine and not (metric in REPEATS and self._repeats(task)):
                    yield task, metric, mine

    def _repeats(self, task: str) -> bool:
        """Say whether the matching rate of a task is the effect in other units."""
        rows = {
            (row["model"], row["metric"]): row for row in whole_tasks(self.estimates).to_pylist() if row["task"] == task
        }
        return any(
            repeats_effect(rows.get((one.model, "matching_rate")), rows.get((one.model, "sycophancy_effect")))
            for one in self.evaluations
        )


def _with_facts(one: Evaluation) -> pa.Table:
    table, tuned = one.estimates, bool(one.facts["instruction_tuned"])
    tuning = "instruction-tuned" if tuned else "not tuned on instructions"
    family = ", ".join(filter(None, (str(one.facts["family"]), tuning)))
    columns = (("family", family), ("instruction_tuned", tuned), ("num_parameters", one.facts["num_parameters"]))
    for name, value in (*columns, ("model", one.model)):
        kind = pa.int64() if name == "num_parameters" else None  # which a server may not say
        table = table.add_column(0, name, pa.array([value] * len(table), kind))
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    tuning = "instruct" if row["instruction_tuned"] else "base"
    size = "unknown" if row["num_parameters"] is None else f"{row['num_parameters']:,}"
    return row["model"], size, tuning, format_estimate(row), f"{row['n']}/{row['num_clusters']}"
