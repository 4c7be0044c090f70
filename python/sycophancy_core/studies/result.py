"""The result of a study: one table of arms, tasks and metrics, as Parquet, text and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.runs.files import read_table, replace_file, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.seals import check_seal, save_result

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.results.evaluation import Comparison
    from sycophancy_core.studies.options import Arm

# What tells whether an arm cured the model, left it as it was, or broke it; in this order.
STUDY_METRICS = VIEWS["study"]


EFFECTS = "What each option changes after the fine-tuning, other options and seeds equal (intervals over seeds)"
_ARM_TYPES = {"filter": "string", "recipe": "string", "ratio": "float64", "steps": "int64", "seed": "int64"}


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """What the arms of a study changed.

    Attributes
    ----------
    table
        One row an arm, task, metric and subset: ``arm`` and the arm's options; the columns of a comparison's estimates,
        which are about the change; ``before_low``, ``before_high``, ``after_low``, ``after_high``.
    findings
        Each arm's findings, the gravest first.
    reports
        Each arm's report, as a path within the study's folder.
    """

    table: pa.Table
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reports: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show before, after and change of the main metrics of every task, arm by arm."""
        from sycophancy_core.reporting.text_tables import render_table

        arms = render_table(*(_side(self.table, side) for side in _SIDES), width=120, metrics=None)
        effects = self.effects()
        if not effects.num_rows:
            return arms
        return f"{arms}\n\n{EFFECTS}\n\n{render_table(None, None, effects, width=120, metrics=None)}"

    def _repr_html_(self) -> str:
        return "".join(markup for _, markup in self._sections())

    def averages(self) -> pa.Table:
        """Return the numbers after the fine-tuning, averaged over the seeds; see ``study_contrasts.seed_averages``."""
        from sycophancy_core.studies.contrasts import seed_averages

        return seed_averages(self.table, metrics=STUDY_METRICS)

    def effects(self) -> pa.Table:
        """Return what each swept option changes, over arms equal but for it; see ``study_contrasts.option_effects``."""
        from sycophancy_core.studies.contrasts import option_effects

        return option_effects(self.table, metrics=STUDY_METRICS)

    def to_pandas(self) -> Any:
        """Return the table as a pandas frame."""
        return self.table.to_pandas()

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``study.parquet``, ``study.json`` (findings and reports) and ``study.html`` into a folder."""
        from sycophancy_core.reporting.html import page

        about = {"findings": {name: list(found) for name, found in self.findings.items()}, "reports": self.reports}
        lead = f"<p>{len(self.reports)} arms; each is compared with the same unmodified model.</p>"
        text = page("Study", "", lead, [*self._sections(), ("Findings by arm", self._findings())])

        def write(folder: Path) -> None:
            write_table(folder / "study.parquet", self.table)
            write_json(folder / "study.json", about)
            replace_file(folder / "study.html", lambda file: file.write(text.encode()))

        return save_result(folder, "study", write, keep=False)  # each call sums up what the folder's stages hold

    @classmethod
    def load(cls, folder: str | Path) -> StudyResult:
        """Read what :meth:`save` wrote; DataError if it is not whole, or was changed."""
        check_seal(folder, "study.json", "study.parquet")
        about = read_json(Path(folder) / "study.json")
        table = read_table(Path(folder) / "study.parquet")
        names = table["arm"].unique().to_pylist()
        return cls(
            table=table,
            findings={name: tuple(about["findings"][name]) for name in names},
            reports={name: about["reports"][name] for name in names},
        )

    def _sections(self) -> Iterator[tuple[str, str]]:
        """Yield what the options change; then one section a task, one table a metric, one row an arm."""
        import pyarrow.compute as pc

        from sycophancy_core.reporting.html import scroll
        from sycophancy_core.reporting.html_tables import html_table

        effects = self.effects()
        if effects.num_rows:
            yield EFFECTS, scroll(html_table(None, None, effects))
        sides = [_side(self.table, side) for side in _SIDES]
        for task in sides[-1]["task"].unique().to_pylist():
            mine = [table.filter(pc.equal(table["task"], task)) for table in sides]
            parts = []
            for metric in mine[-1]["metric"].unique().to_pylist():
                parts.append(scroll(html_table(*(t.filter(pc.equal(t["metric"], metric)) for t in mine))))
            yield str(task), "".join(parts)

    def _findings(self) -> str:
        from sycophancy_core.reporting.html import findings_html
        from sycophancy_core.reporting.text import escape

        return "".join(
            f'<h3><a href="{escape(self.reports[name])}">{escape(name)}</a></h3>{findings_html(found)}'
            for name, found in self.findings.items()
        )


_SIDES = ("before", "after", "value")


def study_table(arms: Mapping[str, Arm], comparisons: Mapping[str, Comparison]) -> pa.Table:
    """Put the comparisons of all arms into one table; columns as in :class:`StudyResult`."""
    import pyarrow as pa

    tables = []
    for name, comparison in comparisons.items():
        changes = comparison.estimates
        columns = {"arm": pa.array([name] * changes.num_rows, pa.string())}
        for option, value in asdict(arms[name]).items():
            columns[option] = pa.array([value] * changes.num_rows, pa.type_for_alias(_ARM_TYPES[option]))
        columns |= dict(zip(changes.column_names, changes.columns, strict=True))
        for side, estimates in (("before", comparison.before.estimates), ("after", comparison.after.estimates)):
            bounds = {_key(row): row for row in estimates.to_pylist()}
            for bound in ("low", "high"):
                values = [bounds.get(_key(row), {}).get(bound) for row in changes.to_pylist()]
                columns[f"{side}_{bound}"] = pa.array(values, pa.float64())
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["task"], row["metric"], row["subset"]


def _side(table: pa.Table, side: str) -> pa.Table:
    """Return before, after or the change of whole tasks as estimates by task and metric; their subsets are the arms."""
    from sycophancy_core.metrics.estimates import CHANGE_COLUMNS, COLUMNS, estimates_table

    rows = [row for row in table.to_pylist() if row["subset"] == "all" and row["metric"] in STUDY_METRICS]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    rows.sort(key=lambda row: (tasks.index(row["task"]), STUDY_METRICS.index(row["metric"])))
    bounds = {} if side == "value" else {"low": f"{side}_low", "high": f"{side}_high"}
    names = {name: name for name in (CHANGE_COLUMNS if side == "value" else COLUMNS)} | {"subset": "arm", "value": side}
    if side != "value":
        rows = [row | {"method": None, "reason": None} for row in rows]  # the change's, which its own column tells
    columns = CHANGE_COLUMNS if side == "value" else COLUMNS
    made = [{name: row[source] for name, source in (names | bounds).items()} for row in rows]
    return estimates_table(made, columns=columns)
