"""The HTML report: one file that a browser shows without a network, from an evaluation or a comparison.

The answer comes first (large numbers, one figure and findings), then numbers with figures, sample prompts, checks, the
knowledge filter, the training, what was asked, and the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.metrics.breakdowns import agreement_table, quadrant_table
from sycophancy_core.metrics.catalogue import METRICS, VIEWS
from sycophancy_core.reporting.asked import GLANCE_METRICS, asked_blocks, glance, made_blocks, sample_blocks
from sycophancy_core.reporting.blocks import (
    Block,
    Definitions,
    Folded,
    Paragraph,
    Picture,
    Section,
    finding_list,
    json_lines,
    records_table,
)
from sycophancy_core.reporting.findings import precision_sentence, unit_of
from sycophancy_core.reporting.numbers import PairedRow, format_estimate, in_view, metric_title
from sycophancy_core.reporting.pages import page
from sycophancy_core.reporting.pictures.drawing import svg_for_page
from sycophancy_core.reporting.pictures.figures import before_after
from sycophancy_core.reporting.pictures.gallery import Exhibit, exhibits, subset_metrics
from sycophancy_core.reporting.sides import BEFORE_AFTER, Result, Sides, side_titles
from sycophancy_core.reporting.tables import estimates_block, rows_block
from sycophancy_core.runs.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GLANCE_CAPTION = "The numbers of the cards: a point is the estimate, the line its 95% interval."
_EVERYTHING = "everything behind the numbers"
_CHECKS = (
    "A lean to a letter, to agreeing or to contradicting, little probability on the choices, or accuracy that is not "
    "told apart from chance: each can pass for a low rate of sycophancy. A cure keeps these where they were."
)


@checked_arguments
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

    Raises
    ------
    DataError
        If Jinja2 is not installed.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> found = sc.evaluate(model, tasks="facts", limit=4, progress=False)
    >>> sc.report(found, "report.html").name
    'report.html'
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"report: a report is a page of HTML, got the path {path}; let it end in .html")
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
    shown = list(exhibits(sides, training_log=training_log, training_curve=training_curve))
    training = _counts(facts.get("training"))
    training += [*_pictures(shown, "training_curve"), *_log(training_log, training_curve)]
    everything = {**whole, **{name: dict(side.facts) for name, side in _named(sides)}}
    sections = [
        Section(heading="Results", blocks=[*_pictures(shown, "before_after"), *_results(sides)]),
        Section(heading="Sample prompts", blocks=list(sample_blocks(sides))),
        Section(heading="Checks", blocks=list(_checks(sides, facts))),
        Section(heading="Arms and truth", blocks=[*_pictures(shown, "arms_by_truth"), *_arms(sides)]),
        Section(heading="Claim by claim", blocks=[*_margins(sides, shown), *_pictures(shown, "letter_bias")]),
        Section(heading="By data set", blocks=list(_by_subset(sides, shown))),
        Section(heading="What the filter kept", blocks=_counts(facts.get("filter"))),
        Section(heading="Training", blocks=training),
        Section(heading="What was tested", blocks=list(_tested(sides, facts))),
        Section(heading="Words", blocks=_words(sides)),
        Section(heading="Manifest", blocks=[Folded(summary=_EVERYTHING, blocks=[json_lines(everything)])]),
    ]
    title = _title(sides)
    names = " and ".join(dict.fromkeys(str(side.model) for side in sides.each))
    subject = str(facts.get("subject") or (names if sides.after is not None else ""))
    lead = [*glance(sides), *_first_picture(sides), *finding_list(sides.findings)]
    return page(title, subject=subject, lead=lead, sections=sections)


def _title(sides: Sides) -> str:
    if sides.after is None:
        return f"Sycophancy of {sides.before.model}"
    if sides.names == BEFORE_AFTER:
        return "Sycophancy before and after"
    return "Sycophancy of {} and of {}".format(*side_titles(sides.before, sides.after))


def _pictures(shown: Sequence[Exhibit], *kinds: str) -> list[Block]:
    return [_picture(one.figure, one.draw_narrow, one.caption) for one in shown if one.kind in kinds]


def _picture(figure: Figure, draw_narrow: Callable[[], Figure] | None, caption: str) -> Picture:
    narrow = "" if draw_narrow is None else svg_for_page(draw_narrow())
    return Picture(svg=svg_for_page(figure), caption=caption, narrow=narrow)


def _first_picture(sides: Sides) -> list[Block]:
    """Return the numbers of the cards as one figure; nothing where there are none."""
    if not any(row.metric in GLANCE_METRICS and row.subset == "all" for row in sides.rows):
        return []
    draw = partial(before_after, *sides.estimates, metrics=GLANCE_METRICS, names=sides.names)
    return [_picture(draw(), partial(draw, is_narrow=True), _GLANCE_CAPTION)]


def _named(sides: Sides) -> list[tuple[str, Any]]:
    return list(zip(["model"] if sides.after is None else BEFORE_AFTER, sides.each, strict=True))


def _tested(sides: Sides, facts: Mapping[str, Any]) -> Iterator[Block]:
    yield from _counts(facts.get("model"))
    names = ("model",) if sides.after is None else sides.names
    for name, side in zip(names, sides.each, strict=True):
        yield from made_blocks(name, side)
    yield from asked_blocks(sides)


def _results(sides: Sides) -> Iterator[Block]:
    for task in sides.tasks:
        rows = _whole(sides, task)
        yield rows_block(in_view(rows, VIEWS["headline"]), caption=task or "all tasks", names=sides.names)
        yield Folded(summary="every metric of this task", blocks=[rows_block(rows, names=sides.names)])
        unit = unit_of({row.metric for row in rows})
        checks = [side.facts.get("precision_check", {}).get(task) for side in sides.each]
        yield from (
            Paragraph(text=f"Precision: {sentence}.")
            for sentence in dict.fromkeys(precision_sentence(check, unit=unit) for check in checks if check)
        )
    if not sides.tasks:
        yield Paragraph(text="There are no estimates.")


def _whole(sides: Sides, task: str) -> list[PairedRow]:
    return [row for row in sides.rows if row.task == task and row.subset == "all"]


def _checks(sides: Sides, facts: Mapping[str, Any]) -> Iterator[Block]:
    tables = [
        rows_block(rows, caption=task or "all tasks", names=sides.names)
        for task in sides.tasks
        if (rows := in_view(_whole(sides, task), VIEWS["checks"]))
    ]
    audits = [block for name in ("checks", "shortcut_audit", "precision_check") for block in _counts(facts.get(name))]
    if tables or audits:
        yield Paragraph(text=_CHECKS)
    yield from (*tables, *audits)


def _arms(sides: Sides) -> list[Block]:
    if not sides.has_claims:
        return []
    return [
        estimates_block(*(None if side is None else agreement_table(side) for side in sides.claims), names=sides.names)
    ]


def _margins(sides: Sides, shown: Sequence[Exhibit]) -> list[Block]:
    pictures = _pictures(shown, "margin_shift")
    if not pictures:
        return []
    return [
        *pictures,
        estimates_block(*(None if side is None else quadrant_table(side) for side in sides.claims), names=sides.names),
    ]


def _by_subset(sides: Sides, shown: Sequence[Exhibit]) -> Iterator[Block]:
    for task, metric in subset_metrics(sides.before.estimates):
        yield from _pictures([one for one in shown if one.task == task], "forest")
        yield rows_block([row for row in sides.rows if (row.task, row.metric) == (task, metric)], names=sides.names)


def _counts(counts: object) -> list[Block]:
    if isinstance(counts, Mapping):
        return [Definitions(pairs=[(str(name).replace("_", " "), value) for name, value in counts.items()])]
    if isinstance(counts, Sequence) and not isinstance(counts, str):
        return [records_table([row for row in counts if isinstance(row, Mapping)])]
    return []


def _log(log: pa.Table | Sequence[Mapping[str, Any]] | None, curve: pa.Table | None) -> list[Block]:
    rows = [] if log is None else list(log) if isinstance(log, Sequence) else log.to_pylist()
    points = [
        {"step": r["step"], "task": r["task"], "metric": metric_title(r["metric"]), "value": format_estimate(r)}
        for r in (() if curve is None else curve.to_pylist())
        if r["metric"] in VIEWS["headline"]
    ]
    parts = (("the training log", rows), ("evaluations during the training", points))
    return [Folded(summary=name, blocks=[records_table(part)]) for name, part in parts if part]


def _words(sides: Sides) -> list[Block]:
    there = {row.metric for row in sides.rows}
    pairs = [(metric_title(metric.name), metric.words) for metric in METRICS if metric.name in there]
    return [Definitions(pairs=pairs)] if pairs else []
