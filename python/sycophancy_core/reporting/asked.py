"""What the report says before its tables: the numbers at a glance, what was asked, and sample prompts with answers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.reporting.blocks import (
    Block,
    Card,
    Cell,
    Definitions,
    Folded,
    Glance,
    Heading,
    Paragraph,
    Table,
    text_lines,
)
from sycophancy_core.reporting.finding import Kind
from sycophancy_core.reporting.findings import FAULTS
from sycophancy_core.reporting.numbers import PairedRow, counted, format_estimate, format_number
from sycophancy_core.reporting.samples import Asked, Sample, samples
from sycophancy_core.reporting.sides import Side, Sides

NUM_SAMPLES = 4  # a task
_SHORT_DIGEST = 12  # characters
_THOUGHT_ENDS = 200  # characters of a thought's beginning, and of its end

# What a person looks at first in a task: of each line the first metric that is there, under these words.
_GLANCE: tuple[dict[str, str], ...] = (
    {
        "sycophancy_effect": "how far the user's opinion moves the answer",
        "sycophancy_gap": "how far the user's view moves the answer",
        "abandon_effect": "right answers given up under doubt",
        "stance_effect": "how far a user's stance moves the answer",
    },
    {"accuracy_none": "right without a user", "accuracy": "right without a user"},
    {"accuracy_user_wrong": "right when the user is wrong", "accuracy_push_back": "right after the user's doubt"},
)
GLANCE_METRICS = tuple(metric for line in _GLANCE for metric in line)
_VERDICTS: Mapping[Kind, str] = {
    "sycophantic": "sycophantic",
    "contrary": "contrary",
    "not_sycophantic": "not sycophantic",
    "effect_not_excluded": "not clear",
    "effect_unknown": "unknown",
    "effect_not_judged": "not judged",
    "same": "the same evaluation",
    "collapse": "collapse",
    "cure_at_a_price": "a cure at a price",
    "unresolved": "unresolved",
    "fell": "fell",
    "not_shown": "not shown",
    "rose": "rose",
    "unchanged": "no change found",
    "change_unknown": "unknown",
    "change_not_judged": "not judged",
    "accuracy_fell": "accuracy fell",
    "accuracy_kept": "accuracy kept",
    "accuracy_not_resolved": "unresolved",
}
_GOOD: tuple[Kind, ...] = ("not_sycophantic", "fell", "accuracy_kept")


def glance(sides: Sides) -> list[Block]:
    """Return the largest numbers of each task, with the verdict on it."""
    cards = [_card(sides, task) for task in sides.tasks]
    return [Glance(cards=cards)] if cards else []


def _card(sides: Sides, task: str) -> Card:
    rows = {row.metric: row for row in sides.rows if row.task == task and row.subset == "all"}
    mine = [finding for finding in sides.findings if finding.task == task]
    found = [(words, rows[metric]) for line in _GLANCE for metric, words in _first(line, rows)]
    warnings = sum(finding.is_warning for finding in mine)
    numbers = [(words, *_large(row)) for words, row in found]
    numbers.append(("can it be trusted?", counted(warnings, "warning"), "see below" if warnings else ""))
    verdict = next((finding for finding in mine if finding.kind in _VERDICTS), None)
    words = [] if verdict is None else [_VERDICTS[verdict.kind]]
    if any(finding.kind in FAULTS for finding in mine):
        words.append("trust is low")
    return Card(
        task=task or "all tasks",
        about=_about(sides.before, task),
        verdict=" · ".join(words),
        severity="warning" if warnings else "result" if verdict and verdict.kind in _GOOD else "note",
        numbers=numbers,
    )


def _first(line: Mapping[str, str], rows: Mapping[str, PairedRow]) -> list[tuple[str, str]]:
    return [(metric, words) for metric, words in line.items() if metric in rows][:1]


def _large(row: PairedRow) -> tuple[str, str]:
    """Return a metric's value, or its values before and after, and the interval of it, or of its change."""
    sides = [side for side in (row.before, row.after) if side is not None]
    number = " → ".join(format_number(side["value"]) for side in sides)
    if row.difference is not None:
        return number, f"change {format_estimate(row.difference)}"
    return number, format_estimate(sides[0]).partition(" ")[2] if len(sides) == 1 else ""


def _about(side: Side, task: str) -> str:
    return str(_task_facts(side, task).get("about") or "")


def _task_facts(side: Side, task: str) -> Mapping[str, Any]:
    tasks = side.facts.get("tasks")
    found = tasks.get(task) if isinstance(tasks, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def made_blocks(name: str, side: Side) -> Iterator[Block]:
    """Yield what one side's numbers were made from: model, prompts, precision, template, digests, command and date.

    Parameters
    ----------
    name
        What the side is called, such as ``before``.
    """
    rows = side.measurements
    unscored = len(rows["unscored"]) - rows["unscored"].null_count
    questions = len(rows["claim_id"].unique())
    size = f"{counted(rows.num_rows, 'prompt')} on {questions:,} claims or questions, {unscored:,} unscored"
    about = [(key.replace("_", " "), _short(value)) for key, value in side.facts.items() if not _is_long(value)]
    versions = side.facts.get("versions")
    if isinstance(versions, Mapping):
        about.append(("versions", ", ".join(f"{key} {value}" for key, value in versions.items())))
    thinking = side.facts.get("thinking")
    if isinstance(thinking, Mapping):
        about.append(("thinking", thinking_words(thinking)))
    about += [(key, value) for key, value in side.made.items() if value]
    yield Definitions(pairs=[(name, side.model), ("asked", size), *about])


def thinking_words(thinking: Mapping[str, Any]) -> str:
    """Say for how long a model thought before its replies, and how often it came to an end by itself."""
    number, ended, most = (thinking.get(name) for name in ("num_thoughts", "num_ended", "max_tokens"))
    words = [counted(number, "thought") if isinstance(number, int) else "before each reply"]
    if isinstance(most, int):
        words.append(f"at most {counted(most, 'token')} each, seed {thinking.get('seed')}")
    if isinstance(number, int) and isinstance(ended, int) and number > 0:
        words.append(f"{ended:,} ({100 * ended / number:.0f}%) ended by themselves, the others were cut")
    return "; ".join(words)


def _is_long(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _short(value: object) -> object:
    """Return a digest's beginning, which tells two apart; the manifest holds it whole."""
    if value is None:
        return "none"
    return f"{value[:_SHORT_DIGEST]}…" if _is_digest(value) else value


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def asked_blocks(sides: Sides) -> Iterator[Block]:
    """Yield what each task asks, with examples as the model read them."""
    for task in sides.tasks:
        about = _task_facts(sides.before, task)
        if not about:
            continue
        yield Heading(text=task)
        if about.get("about"):
            yield Paragraph(text=str(about["about"]))
        examples = about.get("examples")
        if isinstance(examples, Sequence) and not isinstance(examples, str) and examples:
            blocks: list[Block] = [text_lines(str(text)) for text in examples]
            summary = f"{counted(len(blocks), 'prompt')} as the model read {'it' if len(blocks) == 1 else 'them'}"
            yield Folded(summary=summary, blocks=blocks)


def sample_blocks(sides: Sides) -> Iterator[Block]:
    """Yield sample prompts of each task: what each user says, what was answered, how surely; largest flips first."""
    found = [(task, chosen) for task in sides.tasks if (chosen := _chosen(sides, task))]
    if not found:
        return
    yield Paragraph(
        text="One question a table, asked by each user, those with the largest flips first. The margin is the log-odds "
        "of the right choice or, where no choice is right, of the user's choice, in nats: above 0 it is the model's "
        "answer, and the larger the surer."
    )
    for task, chosen in found:
        yield Heading(text=task)
        for pair in chosen:
            yield _sample_table(pair, sides.names)
            if (texts := _texts(sides.before, pair[0])) is not None:
                yield Folded(summary="its prompts", blocks=texts)


def _chosen(sides: Sides, task: str) -> list[list[Sample]]:
    """Return the samples to show, one a claim; each on every side."""
    every = [{one.asked[0].identity: one for one in samples(side, task)} for side in sides.each]
    both = [[side[key] for side in every] for key in every[0] if all(key in side for side in every)]
    both.sort(key=lambda pair: (not any(one.has_flipped for one in pair), -max(one.flip for one in pair)))
    by_claim: dict[str, list[Sample]] = {}
    for pair in both:
        by_claim.setdefault(pair[0].claim_id, pair)
    return list(by_claim.values())[:NUM_SAMPLES]


def _sample_table(pair: Sequence[Sample], names: tuple[str, str]) -> Table:
    first = pair[0]
    sides = [""] if len(pair) == 1 else list(names)
    head = ["user", "the user's choice", *(f"{what} {side}".strip() for side in sides for what in ("answer", "margin"))]
    others = [{asked.identity: asked for asked in one.asked} for one in pair]
    rows = [
        [
            Cell(text=asked.user, is_head=True),
            Cell(text=asked.user_choice),
            *(cell for side in others for cell in _answer_cells(side.get(asked.identity))),
        ]
        for asked in first.asked
    ]
    right = f"; right: {first.right}" if first.right else ""
    return Table(head=head, rows=rows, caption=f"{first.name}{right}")


def _answer_cells(asked: Asked | None) -> list[Cell]:
    if asked is None:
        return [Cell(text=""), Cell(text="")]
    margin = "" if math.isnan(asked.margin) else f"{asked.margin:+.2f}"
    return [Cell(text=asked.answer or "none"), Cell(text=margin, is_number=True)]


def _as_read(row: Mapping[str, Any], *, template: str | None) -> str:
    """Return a prompt as the model read it: in a chat its turns, each under its role, and before the reply its thought.

    Parameters
    ----------
    template
        The digest of the chat template, other words for that of a server, or None for plain text.
    """
    spoken, begun = [str(row["prompt"])], []
    if template and row.get("turns"):
        turns = [_role_and_text(turn, place) for place, turn in enumerate(row["turns"])]
        begun = [f"{_begun(template)}: {turns.pop()[1]}"] if turns[-1][0] == "assistant" else []
        spoken = [f"{role}: {text}" for role, text in turns]
    thought = row.get("thought")
    return "\n".join([*spoken, *([] if thought is None else [f"[thought: {_ends(thought)}]"]), *begun])


def _role_and_text(turn: Any, place: int) -> tuple[str, str]:
    """Read a turn; files of version 0.1 hold texts alone, of user and assistant in turn."""
    return (("user", "assistant")[place % 2], turn) if isinstance(turn, str) else (turn["role"], turn["content"])


def _begun(template: str) -> str:
    """Say where the beginning of a reply stands: a server gets it at the end of the user's message."""
    return "assistant, begun" if _is_digest(template) else "user, at the end"


def _ends(thought: str) -> str:
    """Return a thought, of a long one its beginning and its end."""
    if len(thought) <= 2 * _THOUGHT_ENDS:
        return thought
    return f"{thought[:_THOUGHT_ENDS]} … {thought[-_THOUGHT_ENDS:]}"


def _texts(side: Side, sample: Sample) -> list[Block] | None:
    """Return the prompts of a sample, each under its user; None where they were not kept."""
    prompts: pa.Table | None = side.prompts
    if prompts is None:
        return None
    wanted = pa.array([asked.identity for asked in sample.asked])
    columns = [name for name in ("id", "prompt", "turns", "thought") if name in prompts.column_names]
    mine = prompts.filter(pc.is_in(prompts["id"].cast("string"), value_set=wanted)).select(columns).to_pylist()
    texts = {str(row["id"]): _as_read(row, template=side.facts.get("chat_template")) for row in mine}
    blocks: list[Block] = []
    for asked in sample.asked:
        blocks += [Paragraph(text=f"{asked.user}:"), text_lines(texts.get(asked.identity, ""))]
    return blocks
