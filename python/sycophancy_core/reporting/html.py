"""Pieces of the HTML report: every function takes plain values, escapes them, and returns markup."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sycophancy_core.metrics.catalogue import METRICS
from sycophancy_core.reporting.drawing import adaptive_svg
from sycophancy_core.reporting.findings import is_warning
from sycophancy_core.reporting.html_tables import simple_html_table
from sycophancy_core.reporting.numbers import metric_title
from sycophancy_core.reporting.text import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_html(figure: Figure, caption: str) -> str:
    """Return a figure as an image within the page (SVG in a data: address), with its caption as alternative text."""
    source = base64.b64encode(adaptive_svg(figure)).decode("ascii")
    text = escape(caption)
    return (
        f'<figure><img src="data:image/svg+xml;base64,{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
    )


def scroll(table: str) -> str:
    """Return a table in a box that scrolls sideways on a narrow screen."""
    return f'<div class="scroll">{table}</div>'


def folded(summary: str, body: str) -> str:
    """Return markup that the reader opens by a click on its summary."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def definitions(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a definition list."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs) + "</dl>"


def rows_html(rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> str:
    """Return a list of records as a table; columns in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    body = ("<tr>" + "".join(_cell(row.get(name)) for name in names) + "</tr>" for row in rows)
    return scroll(simple_html_table([name.replace("_", " ") for name in names], body, caption=caption))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="num">{escape(f"{value:.4g}")}</td>'
    kind = ' class="num"' if isinstance(value, int) else ""
    return f"<td{kind}>{'' if value is None else escape(value)}</td>"


def json_html(value: object) -> str:
    """Return a value as indented JSON; what JSON lacks is shown as its text."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return "<pre>" + "\n".join(escape_line(line) for line in text.split("\n")) + "</pre>"


def escape_line(line: str) -> str:
    """Return one line for ``<pre>``: its indent kept, the rest cleaned and escaped."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + escape(line[indent:])


def glossary(metrics: Iterable[str]) -> str:
    """Return one sentence for each metric that is known here, under its name in the tables."""
    there = set(metrics)
    return definitions((metric_title(metric.name), metric.words) for metric in METRICS if metric.name in there)


def page(title: str, subject: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the whole document: its policy allows one style sheet, known by its hash, images within the page, no more.

    Parameters
    ----------
    title, subject
        Plain text.
    lead
        Markup above the first section.
    sections
        Headings (plain text) with their markup; sections without markup are left out.
    """
    style = files("sycophancy_core.reporting").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    shown = [(f"s{i}", heading, body) for i, (heading, body) in enumerate(sections) if body]
    about = f'<p class="subject">{escape(subject)}</p>' if subject else ""
    links = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading, _ in shown)
    parts = "".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>{body}</section>\n' for name, heading, body in shown
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{about}</header>\n"
        f"<main>\n{lead}\n<nav><ul>{links}</ul></nav>\n{parts}</main>\n</body>\n</html>\n"
    )


def findings_html(findings: Iterable[str]) -> str:
    """Return findings as a list; those that warn stand out."""
    items = [f'<li class="{"warning" if is_warning(text) else "plain"}">{escape(text)}</li>' for text in findings]
    return f'<ul class="findings">{"".join(items)}</ul>' if items else ""
