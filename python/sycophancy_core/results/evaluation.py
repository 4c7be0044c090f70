"""What an evaluation and a comparison found: frozen tables that print, save and load themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.reporting.sides import Sides
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.seals import SEAL, check_seal, save_result

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What one model answered, and the metrics of it.

    Attributes
    ----------
    model
        The model's name.
    measurements
        One row a prompt: its columns without the text, ``log_prob``, ``log_odds``, ``answer``, ``unscored``, ``task``.
    estimates
        One row a task, metric and subset: ``value``, ``low``, ``high``, ``method``, ``n``, ``num_clusters``,
        ``num_unscored``, ``reason``.
    findings
        Sentences that say what stands out, the gravest first.
    facts
        Where the numbers come from: digests of weights and tokenizer, precision, tasks, limit, seed.
    """

    model: str
    measurements: pa.Table
    estimates: pa.Table
    findings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(dict.fromkeys(self.measurements["task"].to_pylist()))

    @property
    def num_unscored(self) -> int:
        """How many prompts have no finite log-probability."""
        column = self.measurements["unscored"]
        return len(column) - int(column.null_count)

    def estimate(self, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
        """Return one estimate as a record.

        Raises
        ------
        DataError
            If there is no such estimate.
        """
        return find_estimate(self.estimates, task, metric, subset=subset)

    def table(self, *, width: int = 100, every_metric: bool = False) -> str:
        """Return the estimates as text, one block a task."""
        from sycophancy_core.metrics.catalogue import VIEWS
        from sycophancy_core.reporting.text_tables import render_table

        return render_table(
            whole_tasks(self.estimates), width=width, metrics=None if every_metric else VIEWS["headline"]
        )

    def __repr__(self) -> str:
        """Show findings and headline metrics."""
        return _text(f"Evaluation of {self.model}", self.findings, self.table())

    def _repr_html_(self) -> str:
        return _html(f"Evaluation of {self.model}", self.findings, whole_tasks(self.estimates))

    def to_arrow(self) -> pa.Table:
        """Return the estimates."""
        return self.estimates

    def to_pandas(self) -> pd.DataFrame:
        """Return the estimates as a pandas frame."""
        return self.estimates.to_pandas()

    def sides(self) -> Sides:
        """Return what a report shows of it."""
        return Sides(before=self, after=None, difference=None, findings=self.findings)

    def plot(self) -> Figure:
        """Return the headline metrics as a figure; ``gallery.gallery`` draws the others."""
        from sycophancy_core.reporting.figures import before_after

        return before_after(self.estimates)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``measurements.parquet``, ``estimates.parquet`` and ``evaluation.json`` into a folder, under a seal."""
        about = {"model": self.model, "findings": list(self.findings), "facts": dict(self.facts)}

        def write(folder: Path) -> None:
            write_table(folder / "measurements.parquet", self.measurements)
            write_table(folder / "estimates.parquet", self.estimates)
            write_json(folder / "evaluation.json", about)

        return save_result(folder, "evaluation", write)

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the folder holds no whole evaluation, or a file of it was changed.
        """
        folder = Path(folder)
        if not (folder / "evaluation.json").is_file():
            raise DataError(f"{folder}: wanted a folder with a saved evaluation, got no evaluation.json")
        check_seal(folder, "evaluation.json", "measurements.parquet", "estimates.parquet")
        about = read_json(folder / "evaluation.json")
        return cls(
            model=about["model"],
            measurements=read_table(folder / "measurements.parquet"),
            estimates=read_table(folder / "estimates.parquet"),
            findings=tuple(about["findings"]),
            facts=about["facts"],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two evaluations of the same prompts, and the paired change of every metric.

    Attributes
    ----------
    before, after
        The evaluations.
    estimates
        The change, after minus before: the columns of an evaluation's estimates, and ``before``, ``after``,
        ``p_value``, ``p_adjusted`` (Holm within task and subset), ``detectable``, and of accuracy without an opinion
        ``equivalence_margin`` and ``p_equivalence`` (two one-sided tests).
    findings
        Sentences that say what changed, the gravest first.
    """

    before: Evaluation
    after: Evaluation
    estimates: pa.Table
    findings: tuple[str, ...] = ()

    def estimate(self, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
        """Return the change of one metric as a record.

        Raises
        ------
        DataError
            If there is no such estimate.
        """
        return find_estimate(self.estimates, task, metric, subset=subset)

    def table(self, *, width: int = 100, every_metric: bool = False) -> str:
        """Return before, after and the change as text, one block a task."""
        from sycophancy_core.metrics.catalogue import VIEWS
        from sycophancy_core.reporting.text_tables import render_table

        metrics = None if every_metric else VIEWS["headline"]
        return render_table(*map(whole_tasks, self._sides()), width=width, metrics=metrics)

    def __repr__(self) -> str:
        """Show findings, and before, after and change of the headline metrics."""
        return _text(f"Comparison of {self.before.model} with {self.after.model}", self.findings, self.table())

    def _repr_html_(self) -> str:
        head = f"Comparison of {self.before.model} with {self.after.model}"
        return _html(head, self.findings, *map(whole_tasks, self._sides()))

    def to_arrow(self) -> pa.Table:
        """Return the estimates of the change."""
        return self.estimates

    def to_pandas(self) -> pd.DataFrame:
        """Return the estimates of the change as a pandas frame."""
        return self.estimates.to_pandas()

    def sides(self) -> Sides:
        """Return what a report shows of it."""
        return Sides(before=self.before, after=self.after, difference=self.estimates, findings=self.findings)

    def plot(self) -> Figure:
        """Return the headline metrics before and after as a figure; ``gallery.gallery`` draws the others."""
        from sycophancy_core.reporting.figures import before_after

        return before_after(self.before.estimates, self.after.estimates)

    def save(self, folder: str | Path) -> list[Path]:
        """Write the evaluations into ``before`` and ``after``, ``changes.parquet`` and ``comparison.json``, sealed."""

        def write(folder: Path) -> None:
            self.before.save(folder / "before")
            self.after.save(folder / "after")
            write_table(folder / "changes.parquet", self.estimates)
            write_json(folder / "comparison.json", {"findings": list(self.findings)})

        return save_result(folder, "comparison", write)

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the folder holds no whole comparison, or a file of it was changed.
        """
        folder = Path(folder)
        if not (folder / "comparison.json").is_file():
            raise DataError(f"{folder}: wanted a folder with a saved comparison, got no comparison.json")
        check_seal(folder, "comparison.json", "changes.parquet", f"before/{SEAL}", f"after/{SEAL}")
        return cls(
            before=Evaluation.load(folder / "before"),
            after=Evaluation.load(folder / "after"),
            estimates=read_table(folder / "changes.parquet"),
            findings=tuple(read_json(folder / "comparison.json")["findings"]),
        )

    def _sides(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        return self.before.estimates, self.after.estimates, self.estimates


def find_estimate(estimates: pa.Table, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
    """Return the row of an estimates table with this task, metric and subset."""
    for row in estimates.to_pylist():
        if (row["task"], row["metric"], row["subset"]) == (task, metric, subset):
            return dict(row)
    raise DataError(f"estimates: there is no {metric!r} of task {task!r}, subset {subset!r}")


def whole_tasks(estimates: pa.Table) -> pa.Table:
    """Return the rows about whole tasks, leaving out those about subsets."""
    import pyarrow.compute as pc

    return estimates.filter(pc.equal(estimates["subset"], "all"))


def same_results(first: Evaluation, second: Evaluation) -> bool:
    """Tell whether two evaluations hold the same measurements and estimates, to the bit."""
    pairs = ((first.measurements, second.measurements), (first.estimates, second.estimates))
    return all(digest_table(a) == digest_table(b) for a, b in pairs)


def _text(head: str, findings: tuple[str, ...], table: str) -> str:
    from textwrap import fill

    from sycophancy_core.reporting.text import clean_text

    bullets = [fill(f"- {clean_text(finding)}", width=100, subsequent_indent="  ") for finding in findings]
    return "\n".join([clean_text(head), *bullets, "", table])


def _html(head: str, findings: tuple[str, ...], *estimates: pa.Table) -> str:
    from sycophancy_core.metrics.catalogue import VIEWS
    from sycophancy_core.reporting.html import findings_html
    from sycophancy_core.reporting.html_tables import html_table

    return findings_html(findings) + html_table(*estimates, caption=head, metrics=VIEWS["headline"])
