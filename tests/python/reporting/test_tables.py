"""Estimates as text and HTML: every number beside its interval, counts and method; nothing hostile gets through."""

from __future__ import annotations

import html.parser

import pyarrow as pa
import pytest
from makers.made_up_results import AFTER, BEFORE, estimate, estimates, measurements

import sycophancy_core as sc
import sycophancy_core._core as _core
from sycophancy_core.metrics.catalogue import VIEWS, is_in_nats
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import measure
from sycophancy_core.reporting.numbers import format_estimate, format_p_value, pair_estimates
from sycophancy_core.reporting.pages import fragment
from sycophancy_core.reporting.tables import estimates_block, render_table
from sycophancy_core.reporting.text import display_width

NAN = float("nan")


def markup_of(*tables: pa.Table, caption: str = "") -> str:
    return fragment([estimates_block(*tables, caption=caption)]) or ""


class Cells(html.parser.HTMLParser):
    """The text of every cell, row by row."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.is_inside = False
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.is_inside = True

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = self.is_inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.rows[-1][-1] += data


def test_an_estimate_reads_value_and_interval() -> None:
    assert format_estimate(estimate("t", "harm", 0.954, 0.03)) == "0.95 [0.92, 0.98]"
    assert format_estimate(estimate("t", "harm", -0.001, 0.001)) == "0.00 [0.00, 0.00]"
    assert format_estimate(estimate("t", "harm", NAN, NAN)) == "n/a"
    assert format_estimate(estimate("t", "harm", 0.5, NAN)) == "0.50 [n/a]"
    assert format_estimate(None) == ""
    assert format_estimate(estimate("t", "margin", 9.5, 1.0)) == "9.5 [8.5, 10.5]"


def test_p_values_keep_two_digits() -> None:
    assert [format_p_value(p) for p in (0.0004, 0.0123, 0.5, NAN, None)] == ["< 0.001", "0.012", "0.5", "", ""]


def test_only_log_odds_are_in_nats() -> None:
    nats = {"margin", "margin_truth", "letter_bias", "sycophancy_effect_margin", "sycophancy_gap_margin"}
    nats |= {"stance_effect_margin", "mention_effect_margin"}
    assert {m for m in (*VIEWS["headline"], "margin", "accuracy_by_margin", "auc") if is_in_nats(m)} == nats


def test_before_after_and_difference_stand_in_one_line() -> None:
    before, after = (estimates([estimate("claims", "harm", v)]) for v in (0.9, 0.2))
    difference = estimates([estimate("claims", "harm", -0.7)])
    text = render_table(before, after, difference)
    line = next(line for line in text.splitlines() if line.startswith("harm"))
    assert line.split("  ")[0] == "harm"
    for number in ("0.90 [0.85, 0.95]", "0.20 [0.15, 0.25]", "-0.70 [-0.75, -0.65]", "480/60"):
        assert number in line
    assert text.splitlines()[-1] == "  95% intervals over claims"  # and no method, which the report names


def test_a_table_fits_a_terminal_of_100_columns() -> None:
    long = estimates([estimate("t", "sycophancy_effect", -0.5, subset="a data set with a very long name, indeed " * 3)])
    before, after = measurements(flatters=3.0, noise=1.0), measurements(noise=1.0)
    found = compare_measurements(before, after)
    measured = (found.before, found.after, found.change)
    for tables in ((estimates(BEFORE), estimates(AFTER), estimates(BEFORE)), (long, long, long), (long,), measured):
        assert max(display_width(line) for line in render_table(*tables).splitlines()) <= 100


def test_no_headline_metric_is_cut_at_100_columns() -> None:
    table = estimates(
        [estimate("t", m, -1.05 if not is_in_nats(m) else -12.5, n=24000, num_clusters=3000) for m in VIEWS["headline"]]
    )
    assert "…" not in render_table(table, table, table)


@pytest.mark.parametrize("width", [0, -5])
def test_a_table_of_no_width_is_refused(width: int) -> None:
    rows = measurements(num_claims=6)
    side = sc.Evaluation(model="m", measurements=rows, estimates=measure(rows))
    several = (sc.Evaluations(evaluations=(side,)), sc.compare_models({"a": side, "b": side}))
    for found in (side, sc.compare(side, side), *several):
        with pytest.raises(sc.DataError, match=f"^table: width must be at least 1, got {width}$"):
            found.table(width=width)


def test_an_undefined_number_says_why() -> None:
    text = render_table(estimates(BEFORE))
    assert "n/a in flip rate: no claim is answered rightly without an opinion" in text


def test_headline_metrics_come_first_and_in_order() -> None:
    table = estimates([estimate("t", m, 0.1) for m in ("choice_mass", "harm", "sycophancy_effect")])
    assert [r.metric for r in pair_estimates(table, metrics=VIEWS["headline"])] == ["sycophancy_effect", "harm"]
    assert len(pair_estimates(table)) == 3


def test_a_subset_by_source_is_named_by_its_value() -> None:
    table = estimates(
        [estimate("t", "harm", 0.1, subset="source=sst2"), estimate("t", "harm", 0.1, subset="polarity=is")]
    )
    assert [line.split("  ")[0] for line in render_table(table).splitlines()[1:3]] == [
        "harm, sst2",
        "harm, polarity=is",
    ]


def test_a_row_twice_is_refused() -> None:
    table = estimates([estimate("t", "harm", 0.1), estimate("t", "harm", 0.2)])
    with pytest.raises(_core.DataError, match=r"estimates \(before\): task, metric and subset must be unique"):
        pair_estimates(table)


def test_a_terminal_says_over_what_its_intervals_are() -> None:
    rows = [estimate("facts", "harm", 0.5), estimate("facts", "known_share", 0.5), estimate("quiz", "accuracy", 0.5)]
    notes = [line for line in render_table(estimates(rows)).splitlines() if "intervals" in line]
    assert notes == ["  95% intervals over facts", "  95% intervals over questions"]


def test_html_gives_each_number_its_counts_and_method() -> None:
    before = estimates([estimate("claims", "harm", 0.9, num_unscored=1)])
    after = estimates([estimate("claims", "harm", 0.2, num_unscored=3)])
    markup = markup_of(before, after)
    head, row = Cells(markup).rows
    assert head == ["metric", "method", "before", "after", "n", "clusters", "unscored"]
    assert row == ["harm", "a", "0.90 [0.85, 0.95]", "0.20 [0.15, 0.25]", "480", "60", "1 → 3"]
    assert "<b>a</b> cluster-t (CR1), 95%" in markup


def test_html_counts_unscored_rows_only_where_there_are_any() -> None:
    table = estimates([estimate("claims", "harm", 0.9)])
    assert Cells(markup_of(table, table)).rows[0] == ["metric", "method", "before", "after", "n", "clusters"]


def test_html_shows_adjusted_p_values_where_there_are_any() -> None:
    before = estimates([estimate("claims", "harm", 0.9)])
    difference = estimates([estimate("claims", "harm", -0.7, p_value=0.01, p_adjusted=0.03)])
    head, row = Cells(markup_of(before, before, difference)).rows
    assert row[head.index("p (Holm)")] == "0.03"


def test_html_counts_the_claims_that_changed_where_they_are_known() -> None:
    before = estimates([estimate("claims", "harm", 0.9)])
    difference = estimates([estimate("claims", "harm", -0.7, num_rose=1, num_fell=43)])
    head, row = Cells(markup_of(before, before, difference)).rows
    assert row[head.index("changed")] == "+1 -43"


HOSTILE = '<script>alert("x")</script>\'" onload=1 \x1b[2J\0\u202e$\\frac$'


def test_hostile_names_are_shown_as_text() -> None:
    table = estimates([estimate(HOSTILE, HOSTILE, 0.5, subset=HOSTILE, method=HOSTILE, reason=HOSTILE)])
    markup = markup_of(table, caption=HOSTILE)
    assert "script" not in Cells(markup).tags
    assert not {"\x1b", "\0", "\u202e"} & set(markup + render_table(table))
    assert "&lt;script&gt;alert(&#34;x&#34;)" in markup
