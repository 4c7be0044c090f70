"""The result of a study: one table of variants, tasks and metrics, as Parquet, text and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ArrowResult
from sycophancy_core.metrics.catalogue import VIEWS, metric_name
from sycophancy_core.metrics.estimates import CHANGE_COLUMNS, COLUMNS, estimates_table
from sycophancy_core.reporting.blocks import Block, Heading, Paragraph, Section, finding_list
from sycophancy_core.reporting.finding import Finding, findings_from_json
from sycophancy_core.reporting.numbers import pair_estimates
from sycophancy_core.reporting.pages import fragment, page
from sycophancy_core.reporting.pictures.figures import forest
from sycophancy_core.reporting.tables import estimates_block, render_table, rows_block
from sycophancy_core.results.evaluation import Comparison
from sycophancy_core.runs.files import read_table, replace_file, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.seals import check_seal, save_result
from sycophancy_core.studies.contrasts import option_effects, seed_averages
from sycophancy_core.studies.options import Variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What tells whether a variant cured the model, left it as it was, or broke it; in this order.
STUDY_METRICS = VIEWS["study"]

NULL_EFFECTS = "Variants with users less their null variants: the same claims or facts, steps and seeds."
NO_NULL = (
    "No variant trains without users, so nothing here tells the effect of users in the training from that of any "
    "training; sweep training: [users, no_users]."
)
OPTION_EFFECTS = "After the fine-tuning, other options and seeds equal; intervals are over seeds."
_VARIANT_TYPES = {
    "filter": "string",
    "recipe": "string",
    "training": "string",
    "ratio": "float64",
    "steps": "int64",
    "seed": "int64",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult(ArrowResult):
    """What the variants of a study changed.

    Attributes
    ----------
    table
        One row a variant, task, metric and subset: ``variant`` and the variant's options; the columns of a comparison's
        estimates, which are about the change; ``before_low``, ``before_high``, ``after_low``, ``after_high``.
    findings
        Each variant's findings, the gravest first.
    reports
        Each variant's report, as a path within the study's folder.
    null_effects
        What users in the training do, beyond each null variant; see ``null_effects.null_effects``. None without any.
    """

    table: pa.Table
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    reports: Mapping[str, str] = field(default_factory=dict)
    null_effects: pa.Table | None = None

    def __repr__(self) -> str:
        """Show before, after and change of the main metrics of every task, variant by variant."""
        parts = [render_table(*(_side(self.table, side) for side in _SIDES), width=120, metrics=None)]
        parts += [NO_NULL] if self.null_effects is None else []
        for title, about, effects in self._effects():
            parts += [f"{title}: {about}", render_table(None, None, effects, width=120, metrics=None)]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str | None:
        return fragment([block for section in self._sections() for block in section.blocks])

    def averages(self) -> pa.Table:
        """Return the numbers after the fine-tuning, averaged over the seeds; see ``contrasts.seed_averages``."""
        return seed_averages(self.table, metrics=STUDY_METRICS)

    def option_effects(self) -> pa.Table:
        """Return what each swept option changes, over variants equal but for it; see ``contrasts.option_effects``."""
        return option_effects(self.table, metrics=STUDY_METRICS)

    def _effects(self) -> Iterator[tuple[str, str, pa.Table]]:
        """Yield a title, a sentence about what is compared, and the estimates."""
        if self.null_effects is not None:
            yield "What users in the training do", NULL_EFFECTS, self.null_effects
        effects = self.option_effects()
        if effects.num_rows:
            yield "What each option changes", OPTION_EFFECTS, effects

    @checked_arguments
    def plot(self, metric: str | None = None) -> Figure:
        """Draw a metric before and after, a line for each variant and task.

        Parameters
        ----------
        metric
            Its name; by default the first of the study's main ones that any task has.

        Raises
        ------
        DataError
            If no task has it, or the study has none of its main ones.
        """
        before, after = _side(self.table, "before"), _side(self.table, "after")
        there = [name for name in STUDY_METRICS if name in after["metric"].to_pylist()]
        name = metric if metric is None else metric_name(metric)
        if not there or (name is not None and name not in there):
            asked = "" if metric is None else f" {metric!r}"
            raise DataError(f"plot: the study has no main metric{asked}; there are {', '.join(there) or 'none'}")
        return forest(before, after, metric=there[0] if name is None else name)

    def to_arrow(self) -> pa.Table:
        """Return the table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        """Return findings, reports and the table, for JSON."""
        findings = {name: [one.to_json() for one in found] for name, found in self.findings.items()}
        return {"findings": findings, "reports": dict(self.reports), "table": self.table.to_pylist()}

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write ``study.parquet``, ``study.json`` (findings and reports) and ``study.html`` into a folder.

        And ``null_effects.parquet``, where there is a null variant; what an earlier study left of it is removed.
        """
        folder = Path(folder)
        findings = {name: [one.to_json() for one in found] for name, found in self.findings.items()}
        about = {"findings": findings, "reports": self.reports}
        lead = Paragraph(text=f"{len(self.reports)} variants; each is compared with the same unmodified model.")
        by_variant = Section(heading="Findings by variant", blocks=self._findings())
        text = page("Study", lead=[lead], sections=[*self._sections(), by_variant])
        if self.null_effects is None:
            (folder / "null_effects.parquet").unlink(missing_ok=True)

        def write(folder: Path) -> None:
            if self.null_effects is not None:
                write_table(folder / "null_effects.parquet", self.null_effects)
            write_table(folder / "study.parquet", self.table)
            write_json(folder / "study.json", about)
            replace_file(folder / "study.html", lambda file: file.write(text.encode()))

        return save_result(folder, "study", write, keep=False)  # each call sums up what the folder's stages hold

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path) -> StudyResult:
        """Read what :meth:`save` wrote; DataError if it is not whole, or was changed."""
        folder = Path(folder)
        path = folder / "study.json"
        about = read_json(path)
        stored = read_table(folder / "study.parquet")
        if "arm" not in stored.column_names:  # as earlier versions called it, which had no seal
            check_seal(folder, "study.json", "study.parquet")
        table = _in_todays_words(stored, folder)
        names = table["variant"].unique().to_pylist()
        effects = folder / "null_effects.parquet"
        return cls(
            table=table,
            findings={name: findings_from_json(about["findings"][name], where=str(path)) for name in names},
            reports={name: about["reports"][name] for name in names},
            null_effects=read_table(effects) if effects.is_file() else None,
        )

    def _sections(self) -> Iterator[Section]:
        """Yield what the options change; then one section a task, one table a metric, one row a variant."""
        if self.null_effects is None:
            yield Section(heading="No null variant", blocks=[Paragraph(text=NO_NULL)])
        for title, about, effects in self._effects():
            yield Section(heading=title, blocks=[Paragraph(text=about), estimates_block(None, None, effects)])
        sides = [_side(self.table, side) for side in _SIDES]
        for task in sides[-1]["task"].unique().to_pylist():
            mine = pair_estimates(*(table.filter(pc.equal(table["task"], task)) for table in sides))
            metrics = dict.fromkeys(row.metric for row in mine)
            tables = [rows_block([row for row in mine if row.metric == metric]) for metric in metrics]
            yield Section(heading=str(task), blocks=tables)

    def _findings(self) -> list[Block]:
        return [
            block
            for name, found in self.findings.items()
            for block in (Heading(text=name, file=self.reports[name]), *finding_list(found))
        ]


_SIDES = ("before", "after", "value")


def study_table(variants: Mapping[str, Variant], comparisons: Mapping[str, Comparison]) -> pa.Table:
    """Put the comparisons of all variants into one table; columns as in :class:`StudyResult`."""
    tables = []
    for name, comparison in comparisons.items():
        changes = comparison.estimates
        columns = {"variant": pa.array([name] * changes.num_rows, pa.string())}
        for option, value in asdict(variants[name]).items():
            columns[option] = pa.array([value] * changes.num_rows, pa.type_for_alias(_VARIANT_TYPES[option]))
        columns |= dict(zip(changes.column_names, changes.columns, strict=True))
        for side, estimates in (("before", comparison.before.estimates), ("after", comparison.after.estimates)):
            bounds = {_key(row): row for row in estimates.to_pylist()}
            for bound in ("low", "high"):
                values = [bounds.get(_key(row), {}).get(bound) for row in changes.to_pylist()]
                columns[f"{side}_{bound}"] = pa.array(values, pa.float64())
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _in_todays_words(table: pa.Table, folder: Path) -> pa.Table:
    """Rename the column ``arm`` of an older study, and add the options that it did not have."""
    if "arm" in table.column_names:
        warn(
            f"{folder}: the column arm of study.parquet is now called variant; save the result to rename it",
            FutureWarning,
        )
        table = table.rename_columns(["variant" if name == "arm" else name for name in table.column_names])
    if "training" not in table.column_names:
        users = pa.array(["users"] * table.num_rows, pa.string())
        table = table.add_column(table.column_names.index("recipe") + 1, "training", users)
    return table


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["task"], row["metric"], row["subset"]


def _side(table: pa.Table, side: str) -> pa.Table:
    """Return before, after or change of whole tasks as estimates by task and metric; their subsets are the variants."""
    rows = [row for row in table.to_pylist() if row["subset"] == "all" and row["metric"] in STUDY_METRICS]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    rows.sort(key=lambda row: (tasks.index(row["task"]), STUDY_METRICS.index(row["metric"])))
    bounds = {} if side == "value" else {"low": f"{side}_low", "high": f"{side}_high"}
    names = {name: name for name in (CHANGE_COLUMNS if side == "value" else COLUMNS)} | {
        "subset": "variant",
        "value": side,
    }
    if side != "value":
        rows = [row | {"method": None, "reason": None} for row in rows]  # the change's, which its own column tells
    columns = CHANGE_COLUMNS if side == "value" else COLUMNS
    made = [{name: row.get(source) for name, source in (names | bounds).items()} for row in rows]
    return estimates_table(made, columns=columns)
