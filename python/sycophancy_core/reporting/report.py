"""The HTML report: one file that a browser shows without a network, from an evaluation or a comparison.

Findings come first, then what was tested, numbers beside figures, the knowledge filter, the training, and the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.metrics.breakdowns import agreement_table, has_claims, quadrant_table
from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.findings import precision_sentence
from sycophancy_core.reporting.gallery import Exhibit, gallery, subset_metrics
from sycophancy_core.reporting.html import (
    definitions,
    figure_html,
    findings_html,
    folded,
    glossary,
    json_html,
    page,
    rows_html,
    scroll,
)
from sycophancy_core.reporting.html_tables import html_table
from sycophancy_core.reporting.numbers import format_estimate, metric_title, pair_estimates
from sycophancy_core.reporting.sides import Result, Sides
from sycophancy_core.reporting.text import escape
from sycophancy_core.runs.files import replace_file


def report(
    result: Result,
    path: str | Path,
    *,
    manifest: Mapping[str, Any] | None = None,
    training_log: pa.Table | Sequence[Mapping[str, Any]] | None = None,
    training_curve: pa.Table | None = None,
) -> Path:
    """Write a result as one HTML file that loads nothing from elsewhere and runs no script.

    Parameters
    ----------
    result
        An ``Evaluation`` or a ``Comparison``.
    path
        Where the file goes; it appears whole or not at all.
    manifest
        What the run was made of (options, versions, digests, counts); shown at the end. These of its entries, or of
        its ``facts``, are shown in their sections as well: ``subject`` (one sentence: what the model is), ``model``,
        ``filter`` (counts), ``checks``, ``shortcut_audit``, ``precision_check`` and ``training``; each a record or a
        list of records.
    training_log
        Rows with ``step`` and ``loss``.
    training_curve
        Evaluations made on the way, as ``FinetuneResult.curve``.

    Returns
    -------
    Path
        The path written.
    """
    text = report_html(result, manifest=manifest, training_log=training_log, training_curve=training_curve)
    return replace_file(path, lambda file: file.write(text.encode("utf-8")))


def report_html(
    result: Result,
    *,
    manifest: Mapping[str, Any] | None = None,
    training_log: pa.Table | Sequence[Mapping[str, Any]] | None = None,
    training_curve: pa.Table | None = None,
) -> str:
    """Return the report as text; parameters as for ``report``."""
    whole = dict(manifest or {})
    facts = {**whole, **whole["facts"]} if isinstance(whole.get("facts"), Mapping) else whole
    sides = result.sides()
    exhibits = list(gallery(result, training_log=training_log, training_curve=training_curve))
    sections = [
        ("What was tested", _tested(sides, facts)),
        ("Results", _figures(exhibits, "before_after") + _results(sides)),
        ("Checks", _checks(sides, facts)),
        ("Arms and truth", _figures(exhibits, "arms_by_truth") + _arms(sides)),
        ("Claim by claim", _margins(sides, exhibits) + _figures(exhibits, "letter_bias")),
        ("By data set", _by_subset(sides, exhibits)),
        ("What the filter kept", _counts(facts.get("filter"))),
        (
            "Training",
            _counts(facts.get("training")) + _figures(exhibits, "training_curve") + _log(training_log, training_curve),
        ),
        ("Words", _words(sides)),
        ("Manifest", folded("everything that made this report", json_html(whole)) if whole else ""),
    ]
    title = "Sycophancy before and after" if sides.after is not None else f"Sycophancy of {sides.before.model}"
    names = dict.fromkeys(str(side.model) for side in (sides.before, sides.after) if side is not None)
    subject = facts.get("subject") or (" and ".join(names) if sides.after is not None else "")
    return page(title, str(subject), findings_html(sides.findings), sections)


def _figures(exhibits: Sequence[Exhibit], *kinds: str) -> str:
    return "".join(figure_html(one.figure, one.caption) for one in exhibits if one.kind in kinds)


def _tested(sides: Sides, facts: Mapping[str, Any]) -> str:
    named = {"model": sides.before} if sides.after is None else {"before": sides.before, "after": sides.after}
    parts = [_counts(facts.get("model"))]
    for name, side in named.items():
        rows = side.measurements
        unscored = len(rows["unscored"]) - rows["unscored"].null_count
        num_claims = len(rows["claim_id"].unique())
        size = f"{rows.num_rows:,} prompts of {num_claims:,} claims or questions, {unscored:,} unscored"
        about = {k.replace("_", " "): v for k, v in side.facts.items() if not isinstance(v, Mapping)}
        parts.append(definitions([(name, side.model), ("asked", size), *about.items()]))
    return "".join(parts)


def _results(sides: Sides) -> str:
    parts = []
    for task in dict.fromkeys(sides.before.estimates["task"].to_pylist()):
        tables = _rows_of(sides, task=task, subset="all")
        parts.append(scroll(html_table(*tables, caption=task or "all tasks", metrics=VIEWS["headline"])))
        parts.append(folded("every metric of this task", scroll(html_table(*tables))) + _precision(sides, task))
    return "".join(parts) or "<p>There are no estimates.</p>"


def _precision(sides: Sides, task: str) -> str:
    """How many answers of a task its precision changes, beside the rates that this could move."""
    named = [side.facts.get("precision_check", {}) for side in (sides.before, sides.after) if side is not None]
    found = [checks.get(task) for checks in named]
    sentences = dict.fromkeys(precision_sentence(check) for check in found if check)
    return "".join(f"<p>Precision: {escape(sentence)}.</p>" for sentence in sentences)


def _rows_of(sides: Sides, **wanted: str) -> list[pa.Table | None]:
    tables = [*sides.estimates, sides.difference]
    for name, value in wanted.items():
        tables = [t if t is None else t.filter(pc.equal(t[name], value)) for t in tables]
    return tables


def _checks(sides: Sides, facts: Mapping[str, Any]) -> str:
    parts = []
    for task in dict.fromkeys(sides.before.estimates["task"].to_pylist()):
        mine = _rows_of(sides, task=task, subset="all")
        if pair_estimates(*mine, metrics=VIEWS["checks"]):
            parts.append(scroll(html_table(*mine, caption=task or "all tasks", metrics=VIEWS["checks"])))
    words = (
        "<p>A lean to a letter, to agreeing or to contradicting, little probability on the choices, or right answers "
        "no more frequent than by chance: each can pass for a low rate of sycophancy. A cure keeps these where they "
        "were.</p>"
    )
    audits = "".join(_counts(facts.get(name)) for name in ("checks", "shortcut_audit", "precision_check"))
    return words + "".join(parts) + audits if parts or audits else ""


def _arms(sides: Sides) -> str:
    if not has_claims(sides.before.measurements):
        return ""
    return scroll(html_table(*(None if t is None else agreement_table(t) for t in sides.measurements)))


def _margins(sides: Sides, exhibits: Sequence[Exhibit]) -> str:
    figure = _figures(exhibits, "margin_shift")
    if not figure:
        return ""
    return figure + scroll(html_table(*(None if t is None else quadrant_table(t) for t in sides.measurements)))


def _by_subset(sides: Sides, exhibits: Sequence[Exhibit]) -> str:
    parts = []
    for task, metric in subset_metrics(sides.before.estimates):
        parts.append(_figures([one for one in exhibits if one.task == task], "forest"))
        parts.append(scroll(html_table(*_rows_of(sides, task=task, metric=metric))))
    return "".join(parts)


def _counts(counts: object) -> str:
    if isinstance(counts, Mapping):
        return definitions((str(k).replace("_", " "), v) for k, v in counts.items())
    if isinstance(counts, Sequence) and not isinstance(counts, str):
        return rows_html([row for row in counts if isinstance(row, Mapping)])
    return ""


def _log(log: pa.Table | Sequence[Mapping[str, Any]] | None, curve: pa.Table | None) -> str:
    rows = [] if log is None else list(log) if isinstance(log, Sequence) else log.to_pylist()
    points = [
        {"step": r["step"], "task": r["task"], "metric": metric_title(r["metric"]), "value": format_estimate(r)}
        for r in (() if curve is None else curve.to_pylist())
        if r["metric"] in VIEWS["headline"]
    ]
    parts = (("the training log", rows), ("evaluations during the training", points))
    return "".join(folded(name, rows_html(part)) for name, part in parts if part)


def _words(sides: Sides) -> str:
    there = sides.before.estimates["metric"].to_pylist()
    return glossary(there) if there else ""
