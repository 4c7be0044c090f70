"""What a page is made of, as plain values: text, tables, figures. The templates escape them and make the markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sycophancy_core.reporting.finding import Finding, Severity, one_line_each


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its text, a smaller text after it, and how it is set."""

    text: str
    small: str = ""
    is_number: bool = False
    is_head: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that scrolls sideways where it is wider than the page, with notes below it, each under its mark."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as SVG in base64, with its caption, and another for narrow screens, where there is one."""

    kind: ClassVar[str] = "picture"
    svg: str
    caption: str
    narrow: str = ""


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """Names with what they stand for."""

    kind: ClassVar[str] = "definitions"
    pairs: Sequence[tuple[str, object]]


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading within a section, which may lead to a file next to the page."""

    kind: ClassVar[str] = "heading"
    text: str
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Text whose lines and indents are kept."""

    kind: ClassVar[str] = "lines"
    lines: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FindingList:
    """Findings as sentences; those that warn stand out."""

    kind: ClassVar[str] = "findings"
    sentences: Sequence[tuple[Severity, str]]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that the reader opens by a click on their summary."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Large numbers of one task, each with its name and a smaller text, under a verdict."""

    task: str
    about: str
    verdict: str
    severity: Severity
    numbers: Sequence[tuple[str, str, str]]  # name, number, smaller text


@dataclass(frozen=True, kw_only=True)
class Glance:
    """The cards of all tasks, next to each other."""

    kind: ClassVar[str] = "glance"
    cards: Sequence[Card]


Block = Table | Picture | Definitions | Paragraph | Heading | Lines | FindingList | Folded | Glance


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under its heading; one without blocks is left out."""

    heading: str
    blocks: Sequence[Block]


def finding_list(findings: Iterable[Finding]) -> list[Block]:
    """Return findings as a list, each sentence once; nothing where there are none."""
    sentences = [(finding.severity, text) for finding, text in one_line_each(findings)]
    return [FindingList(sentences=sentences)] if sentences else []


def records_table(rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> Table:
    """Return records as a table; columns in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    body = [[_cell(row.get(name)) for name in names] for row in rows]
    return Table(head=[name.replace("_", " ") for name in names], rows=body, caption=caption)


def _cell(value: object) -> Cell:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return Cell(text=text, is_number=isinstance(value, int | float))


def json_lines(value: object) -> Lines:
    """Return a value as indented JSON; what JSON lacks is shown as its text."""
    return Lines(lines=json.dumps(value, ensure_ascii=False, indent=2, default=str).split("\n"))


def text_lines(text: str) -> Lines:
    """Return text with its lines kept, whatever ends them."""
    return Lines(lines=text.splitlines())
