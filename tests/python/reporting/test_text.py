"""Text from data cannot command a terminal, break XML or reorder what stands beside it."""

from __future__ import annotations

import html.parser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycophancy_core.reporting.text import clean_text, display_width, escape, fit, fit_name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("an \x1b] that never ends", "an  that never ends"),
        ("a\r\nb\tc", "a  b c"),
        ("NUL\0bell\x07", "NUL\ufffdbell\ufffd"),
        ("abc\u202edef\u2066", "abcdef"),
        ("\ud800", "\ufffd"),
        ("naïve ≥ 日本", "naïve ≥ 日本"),
    ],
)
def test_escape_sequences_and_controls_are_gone(text: str, shown: str) -> None:
    assert clean_text(text) == shown


@given(st.text())
def test_cleaned_text_is_well_formed_xml_once_escaped(text: str) -> None:
    document = f"<r>{escape(text)}</r>"
    assert ElementTree.fromstring(document).text in (clean_text(text), None)
    assert not {"\x1b", "\0", "\x9b"} & set(clean_text(text))


@given(st.text())
def test_escaped_text_opens_no_tag_and_leaves_no_attribute(text: str) -> None:
    seen: list[tuple[str, object]] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Parser().feed(f'<p title="{escape(text)}">{escape(text)}</p>')
    assert seen == [("p", {"title": clean_text(text)})]


@given(st.text(), st.integers(2, 30))
def test_fitted_text_takes_the_columns_it_is_given(text: str, width: int) -> None:
    assert display_width(fit(clean_text(text), width)) == width


def test_wide_letters_take_two_columns() -> None:
    assert display_width("日本") == 4
    assert fit("日本語", 5) == "日本…"


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("model-a", 7, "model-a"),
        ("model-a", 9, "model-a  "),
        ("my-model-tuned", 9, "my-m…uned"),
        ("日本語日本語", 8, "日本… 語"),
    ],
)
def test_a_name_is_cut_in_its_middle(name: str, width: int, shown: str) -> None:
    assert fit_name(name, width) == shown
    assert display_width(shown) == width
    assert fit("ab", 4, right=True) == "  ab"
