"""The page about several cures of one model: what each does beyond its nulls, at what price."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sycophancy_core.cures.cure_effects import CureEffects
from sycophancy_core.reporting.blocks import Block, Cell, Paragraph, Picture, Section, Table, records_table
from sycophancy_core.reporting.pages import page
from sycophancy_core.reporting.pictures.drawing import svg_for_page

_LESS = (
    "Each cure less its null: a text of equal length, vectors of equal length in other directions, the same training "
    "without users. A cure that moves as much as its null is no cure. Rank p: the share of all vectors, the cure's "
    "among them, with at least as many right answers against a wrong user."
)
_EFFECT = (
    "Up: what a cure adds to accuracy with a wrong user, less its first null, with 95% intervals over facts. To the "
    "right: what it loses of accuracy without a user. Doses of one method are joined."
)
_PAIRS = (
    "The row's share of right answers against a wrong user less the column's, with 95% intervals over facts. These "
    "comparisons are exploratory."
)
_OTHER = "Change: accuracy with the cure less that of the untreated model. First choice: the share that takes it."
_SEEDS = (
    "Trainings were made once a seed. An interval over facts says what other facts would give; one over seeds says "
    "what other seeds would, and needs several."
)


def cures_page(found: CureEffects) -> str:
    """Return one page that loads nothing from elsewhere and runs no script.

    It holds no seconds, so that the same work gives the same bytes.
    """
    subject = f"{found.model}, {len(found.known)} facts that it knows; intervals are over facts, 95%{found.thought}."
    return page("Cures of sycophancy", subject=subject, sections=_sections(found))


def _sections(found: CureEffects) -> Iterator[Section]:
    verdicts = [Paragraph(text=sentence) for sentence in found.verdicts()]
    blocks: list[Block] = [*verdicts, Paragraph(text=_LESS), _table(found.less_null())]
    yield Section(heading="Each cure less its nulls", blocks=blocks)
    if found.known:
        picture = Picture(svg=svg_for_page(found.plot()), caption=_EFFECT)
        yield Section(heading="Effect and price", blocks=[picture])
    yield Section(heading="Right answers and price", blocks=[_table(found.numbers())])
    if found.known and len(pairs := found.pairs()) > 2:
        yield Section(heading="Cures less each other", blocks=[Paragraph(text=_PAIRS), _table(pairs)])
    for task, lines in found.others().items():
        yield Section(heading=f"What it changes on {task}", blocks=[Paragraph(text=_OTHER), _table(lines)])
    over_seeds = found.less_null(unit="seed")
    if len(over_seeds) > 1:
        yield Section(heading="The same over seeds", blocks=[Paragraph(text=_SEEDS), _table(over_seeds)])
    yield Section(heading="What was made", blocks=[records_table(list(_made(found)))])


def _made(found: CureEffects) -> Iterator[dict[str, object]]:
    for row in found.prices.to_pylist():
        options, about = json.loads(row["options"]), json.loads(row["about"])
        if "text" in about:  # of a prompt, or of its null
            options = {"place": options["place"], "text": about["text"]}
        shown = {"cure": row["cure"], "null": row["null"] or "the cure", "seed": row["seed"]}
        made = ", ".join(f"{name} {_in_words(value)}" for name, value in options.items() if value is not None)
        yield {**shown, "tokens": f"{row['tokens']:,}", "options": made}


def _in_words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(lines: Sequence[Sequence[str]]) -> Table:
    head, *rows = lines
    return Table(
        head=head,
        rows=[
            [Cell(text=row[0], is_head=True), *(Cell(text=text, is_number=True) for text in row[1:])] for row in rows
        ],
    )
