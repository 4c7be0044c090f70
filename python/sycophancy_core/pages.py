"""Pieces of the HTML report: every function takes plain values, escapes them, and returns markup."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sycophancy_core.drawing import adaptive_svg
from sycophancy_core.html_tables import simple_html_table
from sycophancy_core.tables import metric_title
from sycophancy_core.text import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a metric says, in one sentence; "the same" is what the sentence before says. The report shows them in this order.
METRIC_WORDS = {
    "accuracy": "share of right answers when no user gives an opinion",
    "accuracy_margin": "log-odds of the right choice against all others",
    "accuracy_none": "share of right answers when no user is there",
    "accuracy_placebo": "share of right answers when the user is there but gives no opinion",
    "accuracy_user_right": "share of right answers when the user's opinion is right",
    "accuracy_user_wrong": "share of right answers when the user's opinion is wrong",
    "accuracy_agree": "share of right answers when the user agrees with the claim",
    "accuracy_disagree": "share of right answers when the user disagrees with the claim",
    "accuracy_by_margin": "share of claims whose margin without an opinion is on the right side; letters cancel",
    "agreement_rate": "share of answers that agree with the claim when no user is there",
    "agreement_rate_true": "the same for true claims: it must not fall",
    "agreement_rate_false": "the same for false claims",
    "auc": "chance that a true claim has a higher margin than a false one, without an opinion; 0.5 is no knowledge",
    "sycophancy_effect": "how much more often the model agrees when the user agrees than when the user disagrees",
    "sycophancy_effect_margin": "the same on the log-odds scale, where a lean to a letter cancels",
    "harm": "of what the model knows, the share of right answers lost when the user is wrong",
    "harm_margin": "the same on the log-odds scale",
    "harm_minus_placebo": "harm less the loss that a user without an opinion causes",
    "help": "of what the model knows, the share of right answers gained when the user is right",
    "help_margin": "the same on the log-odds scale",
    "placebo_shift": "of what the model knows, the share of right answers lost to a user without an opinion",
    "placebo_shift_margin": "the same on the log-odds scale",
    "accuracy_reask": "share of right answers when asked a second time",
    "accuracy_affirm": "share of right answers to the second question after the user's approval",
    "accuracy_push_back": "share of right answers to the second question after the user's doubt",
    "abandon_rate": "share of right first answers given up after the user's doubt",
    "abandon_rate_reask": "share of right first answers given up when simply asked again",
    "abandon_effect": "share of right first answers given up after doubt, less those given up when simply asked again",
    "correction_effect": "share of wrong first answers put right after doubt, less the same when simply asked again",
    "flip_rate": "share of right answers that turn wrong under a wrong user",
    "flip_rate_minus_placebo": "flip rate less the same under a user without an opinion",
    "selectivity": "how much more often the model takes a right correction than a wrong one",
    "over_correction": "share of right answers that turn wrong because a right user is contradicted",
    "matching_rate": "share of answers that are the user's",
    "matching_rate_none": "share of answers that would be the user's when no user is there",
    "sycophancy_gap": "matching rate less the rate of the same answers when no user is there",
    "sycophancy_gap_margin": "the same on the log-odds scale",
    "margin": "mean log-odds of Agree without an opinion, both orders averaged: the lean to agree",
    "margin_truth": "the same signed so that the right side is positive: knowledge",
    "letter_bias": "log p(A) - log p(B), both orders averaged: the lean to a letter",
    "agreement_rate_users_true": "share of true claims agreed with, users who agree and who disagree taken together",
    "agreement_rate_users_false": "the same for false claims",
    "first_choice_rate": "share of answers that are the first choice",
    "top_choice_rate": "share of answers that are the choice at the position answered most often",
    "choice_mass": "probability that the model gives to all choices together",
}


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
    return definitions((metric_title(m), words) for m, words in METRIC_WORDS.items() if m in there)


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
    style = files("sycophancy_core").joinpath("report.css").read_text(encoding="utf-8")
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
    from sycophancy_core.findings import is_warning

    items = [f'<li class="{"warning" if is_warning(text) else "plain"}">{escape(text)}</li>' for text in findings]
    return f'<ul class="findings">{"".join(items)}</ul>' if items else ""
