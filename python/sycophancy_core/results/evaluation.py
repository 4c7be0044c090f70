"""What an evaluation and a comparison found: frozen tables that print, save and load themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import ANSWERS, ArrowResult, Column, checked_table
from sycophancy_core.metrics.answers.sampled import is_sampled
from sycophancy_core.metrics.catalogue import VIEWS, metric_name
from sycophancy_core.metrics.estimates import checked_estimates
from sycophancy_core.reporting.blocks import finding_list
from sycophancy_core.reporting.finding import Finding, as_findings, findings_from_json, one_line_each
from sycophancy_core.reporting.pages import fragment
from sycophancy_core.reporting.pictures.figures import before_after
from sycophancy_core.reporting.sides import BEFORE_AFTER, Sides, side_names, side_titles
from sycophancy_core.reporting.tables import estimates_block, render_table
from sycophancy_core.reporting.text import clean_text
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import read_table, require_folder, write_table
from sycophancy_core.runs.json_files import json_kind, read_json, write_json
from sycophancy_core.runs.seals import SEAL, check_seal, save_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class _Estimated(ArrowResult):
    """What an evaluation and a comparison do alike: they give away their estimates and keep findings as records."""

    estimates: pa.Table
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", as_findings(self.findings))

    @checked_arguments
    def estimate(self, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
        """Return one row of the estimates as a record.

        Raises
        ------
        DataError
            If there is no such estimate.
        """
        return find_estimate(self.estimates, task, metric, subset=subset)

    def to_arrow(self) -> pa.Table:
        """Return the estimates: of a comparison those of the change."""
        return self.estimates


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(_Estimated):
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
        What stands out, the gravest first; a plain text is taken as a note.
    facts
        Where the numbers come from: digests of weights, tokenizer and chat template, system prompt, precision, seed,
        limit, versions and, for each task, what it asks, two prompts as the model read them, their number and digest.
    prompts
        What was asked: ``id``, ``task`` and ``prompt``, and what a chat model reads in its place; None where it was not
        kept.
    made
        When and how the numbers were made: ``date`` (UTC) and, from the command line, ``command``. No digest depends on
        it.
    """

    model: str
    measurements: pa.Table
    facts: Mapping[str, Any] = field(default_factory=dict)
    prompts: pa.Table | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(dict.fromkeys(self.measurements["task"].to_pylist()))

    @property
    def num_unscored(self) -> int:
        """How many prompts have no finite log-probability."""
        column = self.measurements["unscored"]
        return len(column) - int(column.null_count)

    @checked_arguments
    def table(self, *, width: int = 100, every_metric: bool = False) -> str:
        """Return the estimates as text, one block a task."""
        return render_table(
            whole_tasks(self.estimates), width=width, metrics=None if every_metric else VIEWS["headline"]
        )

    def __repr__(self) -> str:
        """Show findings and headline metrics."""
        return _text(f"Evaluation of {self.model}", self.findings, self.table())

    def _repr_html_(self) -> str | None:
        return _html(f"Evaluation of {self.model}", self.findings, whole_tasks(self.estimates))

    def to_dict(self) -> dict[str, Any]:
        """Return model, findings and estimates, for JSON."""
        findings = [{**finding.to_json(), "sentence": str(finding)} for finding in self.findings]
        return {"model": self.model, "findings": findings, "estimates": self.estimates.to_pylist()}

    def sides(self) -> Sides:
        """Return what a report shows of it."""
        return Sides(before=self, after=None, difference=None, findings=self.findings)

    def made_by(self, command: str) -> Evaluation:
        """Return the same evaluation with the command line that made it."""
        return replace(self, made={**self.made, "command": command})

    def plot(self) -> Figure:
        """Return the headline metrics as a figure; ``gallery.gallery`` draws the others."""
        return before_after(self.estimates)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write ``measurements``, ``estimates`` and ``prompts`` (Parquet) and ``evaluation.json``, under a seal.

        Date and command go to ``made.json``, outside of the seal, so that no digest of a run depends on the day.
        Another result that the folder holds is kept in its folder ``previous-1``.
        """
        written = self.save_sealed(folder)
        self.save_made(folder)
        return written

    def save_sealed(self, folder: str | Path) -> list[Path]:
        """Write all but date and command, for a result that this one is a part of; see :meth:`save_made`."""
        findings = [finding.to_json() for finding in self.findings]
        about = {"model": self.model, "findings": findings, "facts": dict(self.facts)}
        tables = {"measurements": self.measurements, "estimates": self.estimates, "prompts": self.prompts}

        def write(scratch: Path) -> None:
            for name, table in tables.items():
                if table is not None:
                    write_table(scratch / f"{name}.parquet", table)
            write_json(scratch / "evaluation.json", about)

        return save_result(folder, "evaluation", write)

    def save_made(self, folder: str | Path) -> None:
        """Write date and command next to what :meth:`save_sealed` wrote."""
        path = Path(folder) / "made.json"
        if self.made:
            write_json(path, dict(self.made))
        else:
            path.unlink(missing_ok=True)  # another evaluation's

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what :meth:`save` wrote; earlier versions kept no prompts, and findings as texts: these become notes.

        Raises
        ------
        DataError
            If the folder holds no whole evaluation, a file of it was changed, or a key is missing.
        """
        folder = Path(folder)
        path = folder / "evaluation.json"
        about = _read_about(path, what="evaluation", keys={"model": str, "findings": list, "facts": dict})
        sealed = _check(path, about, "measurements.parquet", "estimates.parquet")
        if "prompts.parquet" in sealed:
            check_seal(folder, "prompts.parquet")
        return cls(
            model=about["model"],
            measurements=_checked_answers(folder / "measurements.parquet"),
            estimates=checked_estimates(
                read_table(folder / "estimates.parquet"), who=str(folder / "estimates.parquet")
            ),
            findings=findings_from_json(about["findings"], where=str(path)),
            facts=about["facts"],
            prompts=read_table(folder / "prompts.parquet") if "prompts.parquet" in sealed else None,
            made=_read_made(folder / "made.json"),
        )


def _checked_answers(path: Path) -> pa.Table:
    """Read measurements, in which every evaluation names its prompts and has their answers."""
    answers = read_table(path)
    scores = () if is_sampled(answers) else (Column("log_prob", "any"),)
    return checked_table(answers, (*ANSWERS, *scores), who=str(path))


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(_Estimated):
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
        What changed, the gravest first; a plain text is taken as a note.
    """

    before: Evaluation
    after: Evaluation

    @checked_arguments
    def table(self, *, width: int = 100, every_metric: bool = False) -> str:
        """Return before, after and the change as text, one block a task."""
        metrics = None if every_metric else VIEWS["headline"]
        names = side_names(self.before, self.after)
        return render_table(*map(whole_tasks, self._sides()), width=width, metrics=metrics, names=names)

    def __repr__(self) -> str:
        """Show findings, and before, after and change of the headline metrics."""
        return _text(self._title(), self.findings, self.table())

    def _repr_html_(self) -> str | None:
        names = side_names(self.before, self.after)
        return _html(self._title(), self.findings, *map(whole_tasks, self._sides()), names=names)

    def to_dict(self) -> dict[str, Any]:
        """Return both models, findings, and before, after and change of every metric, for JSON."""
        findings = [{**finding.to_json(), "sentence": str(finding)} for finding in self.findings]
        names = {"before": self.before.model, "after": self.after.model}
        return {**names, "findings": findings, "changes": self.estimates.to_pylist()}

    def sides(self) -> Sides:
        """Return what a report shows of it."""
        return Sides(before=self.before, after=self.after, difference=self.estimates, findings=self.findings)

    def plot(self) -> Figure:
        """Return the headline metrics before and after as a figure; ``gallery.gallery`` draws the others."""
        names = side_names(self.before, self.after)
        return before_after(self.before.estimates, self.after.estimates, names=names)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write the evaluations into ``before`` and ``after``, ``changes.parquet`` and ``comparison.json``, sealed."""
        about = {"findings": [finding.to_json() for finding in self.findings]}

        def write(folder: Path) -> None:
            self.before.save_sealed(folder / "before")
            self.after.save_sealed(folder / "after")
            write_table(folder / "changes.parquet", self.estimates)
            write_json(folder / "comparison.json", about)

        written = save_result(folder, "comparison", write)
        self.before.save_made(Path(folder) / "before")
        self.after.save_made(Path(folder) / "after")
        return written

    @classmethod
    @checked_arguments
    def load(cls, folder: str | Path) -> Comparison:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the folder holds no whole comparison, a file of it was changed, or a key is missing.
        """
        folder = Path(folder)
        path = folder / "comparison.json"
        about = _read_about(path, what="comparison", keys={"findings": list})
        _check(path, about, "changes.parquet", f"before/{SEAL}", f"after/{SEAL}")
        return cls(
            before=Evaluation.load(folder / "before"),
            after=Evaluation.load(folder / "after"),
            estimates=checked_estimates(read_table(folder / "changes.parquet"), who=str(folder / "changes.parquet")),
            findings=findings_from_json(about["findings"], where=str(path)),
        )

    def _title(self) -> str:
        return "Comparison of {} with {}".format(*side_titles(self.before, self.after))

    def _sides(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        return self.before.estimates, self.after.estimates, self.estimates


def find_estimate(estimates: pa.Table, task: str, metric: str, *, subset: str = "all") -> dict[str, Any]:
    """Return the row of an estimates table with this task, metric and subset.

    A metric is called by its name, or as it is printed, unit included.

    Raises
    ------
    DataError
        If there is none; the message says which there are.
    """
    rows = estimates.to_pylist()
    for column, wanted in (("task", task), ("subset", subset)):
        there = list(dict.fromkeys(row[column] for row in rows))
        if wanted not in there:
            raise DataError(f"estimates: there is no {column} {wanted!r}; there are {', '.join(there)}")
        rows = [row for row in rows if row[column] == wanted]
    metrics = {row["metric"]: row for row in rows}
    name = metric_name(metric)
    if name not in metrics:
        raise DataError(
            f"estimates: there is no metric {metric!r} of task {task!r}, subset {subset!r}; there are "
            f"{', '.join(metrics)}"
        )
    return dict(metrics[name])


def whole_tasks(estimates: pa.Table) -> pa.Table:
    """Return the rows about whole tasks, leaving out those about subsets."""
    return estimates.filter(pc.equal(estimates["subset"], "all"))


def same_results(first: Evaluation, second: Evaluation) -> bool:
    """Tell whether two evaluations hold the same measurements and estimates, to the bit."""
    pairs = ((first.measurements, second.measurements), (first.estimates, second.estimates))
    return all(digest_table(a) == digest_table(b) for a, b in pairs)


def _read_about(path: Path, *, what: str, keys: Mapping[str, type]) -> dict[str, Any]:
    """Read what a result says of itself, and refuse a file that lacks a key or holds another kind of value under it."""
    if not path.is_file():
        require_folder(path.parent)
        inside = [str(found.parent) for found in sorted(path.parent.glob(f"*/{path.name}"))[:4]]
        there = f"; give one of the folders in it: {', '.join(inside)}" if inside else ""
        raise DataError(f"{path.parent}: wanted a folder with a saved {what}, got no {path.name}{there}")
    about = read_json(path)
    if not isinstance(about, dict):
        raise DataError(f"{path}: wanted a JSON object, got {json_kind(about)}; save the {what} again")
    for key, kind in keys.items():
        if key not in about:
            raise DataError(f"{path}: wanted the key {key!r}, got no such key; save the {what} again")
        if not isinstance(about[key], kind):
            raise DataError(f"{path}: {key}: wanted {_KINDS[kind]}, got {json_kind(about[key])}; save the {what} again")
    return about


def _read_made(path: Path) -> dict[str, str]:
    """Read date and command, which no seal covers; nothing where there is no such file."""
    made = read_json(path) if path.is_file() else {}
    if not isinstance(made, dict) or not all(isinstance(value, str) for value in made.values()):
        raise DataError(f"{path}: wanted an object of texts (date, command), got something else; remove the file")
    return made


def _check(path: Path, about: Mapping[str, Any], *others: str) -> Mapping[str, str]:
    """Check what a result says of itself and other files of it, and return the digests under its seal.

    Earlier versions, which kept findings as texts, had no seal.

    Warns
    -----
    UserWarning
        If the result is of an earlier version: then nothing tells whether its files belong together.
    """
    texts = about["findings"]
    if texts and all(isinstance(text, str) for text in texts) and not (path.parent / SEAL).is_file():
        warn(
            f"{path.parent}: is of an earlier version, so nothing tells whether its files belong together; its "
            "findings are shown as they were written"
        )
        return {}
    files: dict[str, str] = check_seal(path.parent, path.name, *others)["files"]
    return files


_KINDS: dict[type, str] = {str: "a text", list: "a list", dict: "an object"}


def _text(head: str, findings: tuple[Finding, ...], table: str) -> str:
    lines = [clean_text(line) for _, line in one_line_each(findings)]
    bullets = [fill(f"- {line}", width=100, subsequent_indent="  ") for line in lines]
    return "\n".join([clean_text(head), *bullets, "", table])


def _html(
    head: str, findings: tuple[Finding, ...], *estimates: pa.Table, names: tuple[str, str] = BEFORE_AFTER
) -> str | None:
    table = estimates_block(*estimates, caption=head, metrics=VIEWS["headline"], names=names)
    return fragment([*finding_list(findings), table])
