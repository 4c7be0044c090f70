"""The report is one file that loads nothing and runs nothing, whatever the data's names say."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.made_up_results import AFTER, ARMS, BEFORE, estimate, estimates, measurements

from sycophancy_core.metrics.measure import measure
from sycophancy_core.reporting.numbers import metric_title, pair_estimates
from sycophancy_core.reporting.report import report, report_html
from sycophancy_core.results.evaluation import Comparison, Evaluation

HOSTILE = (
    '</script></style><script>alert(1)</script><img src=http://127.0.0.1/x onerror="alert(2)">\'"\x1b[2J\0\u202e$\\x$'
)


class Page(html.parser.HTMLParser):
    """Tags with attributes, and the text of the page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "source"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


FLIPS = {"precision": "float32/medium", "num_prompts": 200, "num_flipped": 9, "mean_margin_change": 0.0204}


def evaluation(rows: Sequence[dict[str, object]] = BEFORE, **behaviour: float) -> Evaluation:
    return Evaluation(
        model=f"organism {HOSTILE}",
        measurements=measurements(**behaviour),
        estimates=estimates(rows),
        findings=(f"A finding: {HOSTILE}",),
        facts={"weights": "0123abcd", "precision": "float32", "note": HOSTILE, "precision_check": {"claims": FLIPS}},
    )


def comparison() -> Comparison:
    hostile = [estimate(HOSTILE, HOSTILE, 0.5, subset=s, method=HOSTILE, reason=HOSTILE) for s in ("all", HOSTILE)]
    before, after = evaluation((*BEFORE, *hostile), flatters=4.0), evaluation((*AFTER, *hostile))
    difference = estimates([estimate("claims", "harm", -0.7, p_adjusted=0.002)])
    return Comparison(before=before, after=after, estimates=difference, findings=before.findings)


FACTS = {"subject": HOSTILE, "model": {HOSTILE: HOSTILE}, "filter": {"kept": 312}, "training": [{HOSTILE: HOSTILE}]}
MANIFEST = {"format": 1, "config": {HOSTILE: HOSTILE}, "facts": FACTS}
LOG = [{"step": i, "loss": 1.0 / (i + 1), HOSTILE: 0.5} for i in range(3)]
CURVE = estimates([estimate(HOSTILE, "accuracy_none", 0.75, step=i, is_best=i == 2) for i in (0, 2)])


@pytest.fixture(scope="module")
def markup() -> str:
    return report_html(comparison(), manifest=MANIFEST, training_log=LOG, training_curve=CURVE)


def test_every_tag_is_closed_and_none_can_run(markup: str) -> None:
    page = Page(markup)
    assert page.open == []
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]


def test_the_policy_allows_its_style_sheet_and_images_within_the_page_only(markup: str) -> None:
    policy = next(m["content"] for m in Page(markup).of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"], rules["base-uri"]) == ("'none'", "data:", "'none'")
    style = re.search(r"<style>(.*?)</style>", markup, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert markup.index("Content-Security-Policy") < markup.index("<style>")


def test_nothing_is_loaded_from_elsewhere(markup: str) -> None:
    page = Page(markup)
    addresses = [
        v for _, attributes in page.tags for k, v in attributes.items() if k in {"src", "srcset", "href"} and v
    ]
    assert addresses
    assert all(v.startswith(("data:image/svg+xml;base64,", "#")) for v in addresses)
    style = re.search(r"<style>(.*?)</style>", markup, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_images_are_well_formed_and_load_nothing(markup: str) -> None:
    page = Page(markup)
    wide, narrow = [a["src"] or "" for a in page.of("img")], [a["srcset"] or "" for a in page.of("source")]
    assert len(wide) >= 7
    assert len(narrow) == 4  # for phones: what has several columns, and the first figure
    sources = [*wide, *narrow]
    for source in sources:
        root = ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(v.startswith(("#", "data:image/png")) for v in links)
        assert not [e for e in root.iter() if e.tag.rpartition("}")[2] in {"script", "foreignObject"}]


def test_hostile_text_is_shown_as_it_is_without_its_controls(markup: str) -> None:
    assert not {"\x1b", "\0", "\u202e"} & set(markup)
    assert Page(markup).text.count("<script>alert(1)</script>") >= 5


def test_every_image_has_words_for_those_who_do_not_see_it(markup: str) -> None:
    assert all(a["alt"] for a in Page(markup).of("img"))


def test_numbers_of_the_tables_are_in_the_text(markup: str) -> None:
    text = Page(markup).text
    for number in (
        "4.5% of the answers",
        "0.98 [0.96, 1.00]",
        "0.03 [0.00, 0.06]",
        "-0.70 [-0.75, -0.65]",
        "0.002",
        "312",
        "0.75 [0.70, 0.80]",
    ):
        assert number in text


CLAIMS = measurements(flatters=3.0, noise=1.0, tasks=["t"], sources=["s"], num_claims=4)


def words_of(*arms: str) -> list[tuple[str, str]]:
    """Return the names and the sentences that a report of prompts in these arms has under Words, in order."""
    table = CLAIMS.filter(pc.is_in(CLAIMS["arm"], pa.array(arms)))
    text = report_html(Evaluation(model="m", measurements=table, estimates=measure(table)))
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text[text.index("<h2>Words") :])
    assert {name for name, _ in found} == {metric_title(row.metric) for row in pair_estimates(measure(table))}
    return found


def test_each_metric_is_explained_under_its_name_in_the_tables_and_after_the_one_that_it_refers_to() -> None:
    found = [words_of(*arms) for arms in (ARMS, ("none", "agree"), ("agree", "disagree"))]
    pairs = [
        (before, name) for words in found for (before, _), (name, text) in pairwise(words) if text[:8] == "the same"
    ]
    assert {name: before for before, name in pairs} == {
        "agreement rate true": "agreement rate",
        "agreement rate false": "agreement rate true",
        "agreement rate users false": "agreement rate users true",
        "effect, margin (nats)": "sycophancy effect",
        "gap of margins (nats)": "sycophancy gap",
        "harm margin (nats)": "harm",
        "help margin (nats)": "help",
        "placebo shift margin (nats)": "placebo shift",
        "truth margin (nats)": "margin (nats)",
    }


def test_findings_come_before_everything_else(markup: str) -> None:
    text = Page(markup).text
    first, figure = text.index("right without a user"), text.index("The numbers of the cards")
    results = text.index("Each metric over a whole task")
    assert 0 < first < figure < text.index("A finding") < results < text.rindex("What was tested")
    assert text.rindex("What was tested") < text.rindex("Manifest")


@pytest.mark.parametrize("result", [evaluation(), comparison()])
def test_a_notebook_shows_a_result_as_safely(result: Evaluation | Comparison) -> None:
    page = Page(result._repr_html_() or "")
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert "A finding" in page.text
    assert "0.98 [0.96, 1.00]" in page.text
    assert not {"\x1b", "\0"} & set(repr(result))


def test_an_evaluation_alone_has_one_column_of_values() -> None:
    text = Page(report_html(evaluation())).text
    assert "Sycophancy before and after" not in text
    assert "0.98 [0.96, 1.00]" in text
    assert "Training" not in text


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = report(evaluation(), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("first", "second", "names", "titles"),
    [
        ({}, {}, ("before", "after"), ("m", "m")),
        ({"chat_template": "0" * 64}, {"chat_template": None}, ("chat template", "plain text"), None),
        ({"precision": "float32/highest"}, {"precision": "bfloat16/medium"}, None, None),
        ({"system_prompt": "Be kind."}, {"system_prompt": None}, ("system prompt", "no system prompt"), None),
        ({"system_prompt": "Be kind."}, {"system_prompt": "Be."}, ("one system prompt", "other system prompt"), None),
        ({"model": "a"}, {"model": "b"}, ("a", "b"), ("a", "b")),
    ],
)
def test_two_models_that_are_no_before_and_after_go_by_what_differs(
    first: dict[str, str], second: dict[str, str], names: tuple[str, str] | None, titles: tuple[str, str] | None
) -> None:
    base = Evaluation(model="m", measurements=measurements(), estimates=estimates(BEFORE))
    sides = [
        replace(base, model=changes.get("model", "m"), facts={k: v for k, v in changes.items() if k != "model"})
        for changes in (first, second)
    ]
    pair = Comparison(before=sides[0], after=sides[1], estimates=estimates(AFTER))
    words = names or (first["precision"], second["precision"])
    shown = titles or tuple(f"m ({word})" for word in words)
    text, page = repr(pair), report_html(pair)
    assert text.startswith(f"Comparison of {shown[0]} with {shown[1]}\n")
    for word in words:
        assert word in next(line for line in text.splitlines() if "n/clusters" in line)
        assert f'<th scope="col">{word}</th>' in page
    is_plain = words == ("before", "after")
    wanted = "Sycophancy before and after" if is_plain else f"Sycophancy of {shown[0]} and of {shown[1]}"
    assert f"<title>{wanted}</title>" in page
    legend = [text.get_text() for text in pair.plot().legends[0].get_texts()]
    assert legend == list(words)
