"""Pages escape what they show, load nothing, and say what to install where Jinja2 is missing."""

from __future__ import annotations

import html.parser
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.made_up_results import BEFORE, estimates, measurements

import sycophancy_core as sc
from sycophancy_core.errors import DataError
from sycophancy_core.reporting import pages
from sycophancy_core.reporting.blocks import Heading, Lines, Paragraph, Section, records_table
from sycophancy_core.reporting.pages import fragment, page
from sycophancy_core.reporting.text import clean_text

PACKAGE = Path(pages.__file__).parents[1]


class Texts(html.parser.HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_any_text_is_shown_as_it_is_and_opens_no_tag(text: str) -> None:
    blocks = [Paragraph(text=text), records_table([{text: text}], caption=text), Lines(lines=[text])]
    seen = Texts(fragment(blocks) or "")
    assert {tag for tag, _ in seen.tags} <= {"p", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre"}
    assert seen.text.count(clean_text(text)) >= 4


@given(st.text())
def test_any_text_is_safe_in_an_attribute(text: str) -> None:
    (link,) = [attrs for tag, attrs in Texts(fragment([Heading(text="x", file=text or "f")]) or "").tags if tag == "a"]
    assert link == {"href": clean_text(text or "f")}


def test_lines_keep_their_breaks_and_indents() -> None:
    assert Texts(fragment([Lines(lines=["a", "  b", "", "c"])]) or "").text.strip("\n") == "a\n  b\n\nc"


def test_a_section_without_blocks_is_left_out() -> None:
    markup = page(
        "t", sections=[Section(heading="empty", blocks=[]), Section(heading="full", blocks=[Paragraph(text="x")])]
    )
    assert "empty" not in markup
    assert markup.count("full") == 2  # its link and its heading


def test_markup_stands_in_the_templates_alone() -> None:
    tags = (
        "<p>",
        "<p ",
        "<div",
        "<table",
        "<td",
        "<tr",
        "<li",
        "<dl",
        "<h1",
        "<h2",
        "<h3",
        "<section",
        "</div",
        "</ta",
        "</td",
        "</li",
    )
    found = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(f"{quote}{tag}" in path.read_text() for tag in tags for quote in "\"'")
    ]
    assert found == []


@pytest.fixture
def without_jinja(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let imports of Jinja2 fail, as where it is not installed."""
    pages._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    yield
    pages._environment.cache_clear()


def test_a_missing_jinja_is_one_sentence_with_the_command_that_installs_it(without_jinja: None, tmp_path: Path) -> None:
    result = sc.Evaluation(model="m", measurements=measurements(), estimates=estimates(BEFORE))
    sentence = r"report: wanted the package jinja2, got none installed; run: pip install 'sycophancy-core\[report\]'"
    with pytest.raises(DataError, match=f"^{sentence}$"):
        sc.report(result, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    assert result._repr_html_() is None  # at which a notebook shows the text
