"""The opinion questions of Perez et al. 2022 (arXiv:2212.09251), each with a twin that lacks the biography."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.prompt_table import prompt_schema
from sycophancy_core.prompts.protocols import packaged_wording
from sycophancy_core.prompts.splits import draw_places
from sycophancy_core.runs.digests import short_id
from sycophancy_core.runs.json_files import parse_json_line, text_at
from sycophancy_core.tasks.repeats import settle_repeats
from sycophancy_core.tasks.turns import fill_turns

FILES = {
    "nlp": "sycophancy_on_nlp_survey.jsonl",
    "phil": "sycophancy_on_philpapers2020.jsonl",
    "poli": "sycophancy_on_political_typology_quiz.jsonl",
}

# Where the question begins, after the biography. Each alternative is the whole beginning of a question of the set.
_QUESTION_STARTS = {
    "nlp": r"Do you agree or disagree with the following claim about the field of ",
    "phil": r"What is your view on the following topic: ",
    "poli": (
        r"Do you think greater social acceptance |How much more, if anything, needs |How much of a problem would you |"
        r"How much, if at all, would it bother you |Which of th(?:e following|ese) statements |How do you feel toward |"
        r"In general, (?:how much do|would you say) |If you had to choose, would you |In the future, do you think|"
        r"Overall, would you say people |Thinking about increased trade "
    ),
}
_CHOICE = re.compile(r"^ \(([A-Z])\) (.*)$", re.MULTILINE)
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class OpinionItem:
    """One question that a person with a biography asks.

    Attributes
    ----------
    biography
        The text before the question, with the space that ends it.
    question
        The question and its choices.
    choices
        ``" (A)"``, ``" (B)"``, ... as the question lists them.
    user_choice
        Index of the choice that the biography implies.
    """

    biography: str
    question: str
    choices: tuple[str, ...]
    user_choice: int


def load_perez(task: str, folder: str | Path, *, limit: int | None = None, seed: int = 0) -> pa.Table:
    """Make prompts of one of the sets ``nlp``, ``phil`` or ``poli``, with one control prompt a question.

    Parameters
    ----------
    folder
        Folder with the three JSON Lines files under their published names.
    limit
        At most this many items, drawn by ``seed``; their controls come on top.

    Returns
    -------
    pyarrow.Table
        Prompts of arm ``agree`` (biography; ``user_choice`` is the user's) and of arm ``none`` (no biography).
        ``claim_id`` is the question's, in whatever order its choices stand; ``pair_id`` is shared with the control,
        which has the same order.

    Raises
    ------
    DataError
        If the file is missing, is the same as another set's, or holds a row that cannot be split.

    Warns
    -----
    UserWarning
        If items stand twice: exact repeats are left out, and all of those with different answers.
    """
    if task not in FILES:
        raise DataError(f"load_perez: task must be one of {', '.join(FILES)}, got {task!r}")
    folder = Path(folder)
    _refuse_duplicates(task, folder)
    items = read_items(task, folder / FILES[task])
    items = settle_repeats(items, str(folder / FILES[task]), asks=_asked, group=_asked)
    return _prompts(task, [items[place] for place in draw_places(len(items), limit, seed=seed)])


def read_items(task: str, path: Path) -> list[OpinionItem]:
    """Read a JSON Lines file of one set.

    Raises
    ------
    DataError
        If a line that is not blank is not such a row; the message names file and line.
    """
    items = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{where}: wanted at most {MAX_LINE_BYTES} bytes, got {len(line)}")
            if not line.isspace():
                items.append(_item(task, parse_json_line(line, where), where))
    if not items:
        raise DataError(f"{path}: wanted rows, got an empty file")
    return items


def split_biography(task: str, text: str) -> tuple[str, str]:
    """Split a question of a set into its biography and the question with its choices.

    The question must begin where the set's questions begin, once, and no first-person word may be left in its stem.

    Raises
    ------
    DataError
        If it cannot be split so.
    """
    starts = [match.start() for match in re.finditer(_QUESTION_STARTS[task], text)]
    if len(starts) != 1:
        raise DataError(
            f"wanted one question that begins as those of {task!r} do, got {len(starts)} in {text[:60]!r}..."
        )
    biography, question = text[: starts[0]], text[starts[0] :]
    if not biography.strip():
        raise DataError(f"wanted a biography before the question, got none in {text[:60]!r}...")
    stem = _CHOICE.split(question, maxsplit=1)[0]
    if re.search(r"\b(?:I am|I'm|my name|I believe)\b", stem, re.IGNORECASE):
        raise DataError(f"wanted a question without a biography, got {stem[:80]!r}...")
    return biography, question


def _asked(item: OpinionItem) -> str:
    return item.biography + item.question


def _item(task: str, row: Any, where: str) -> OpinionItem:
    text, matching = (text_at(row, name, where=where) for name in ("question", "answer_matching_behavior"))
    name = "answer_not_matching_behavior"  # a text, or a list of texts where there are several
    places = [(name, index) for index in range(len(row[name]))] if isinstance(row.get(name), list) else [(name,)]
    others = [text_at(row, *place, where=where) for place in places]
    try:
        biography, question = split_biography(task, text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    choices = tuple(f" ({letter})" for letter, _ in _CHOICE.findall(question))
    stated = {matching, *others}
    if stated != set(choices) or len(choices) < 2:
        raise DataError(f"{where}: the answers {sorted(stated)} are not the question's choices {list(choices)}")
    user_choice = choices.index(matching)
    return OpinionItem(biography=biography, question=question, choices=choices, user_choice=user_choice)


def _prompts(task: str, items: Iterable[OpinionItem]) -> pa.Table:
    frame = packaged_wording("wei2023")["perez"][task]
    rows: list[dict[str, Any]] = []
    controls: dict[str, dict[str, Any]] = {}
    for item in items:
        rows.append(_row(task, "agree", frame, item.biography + item.question, item, item.user_choice))
        controls.setdefault(item.question, _row(task, "none", frame, item.question, item, None))
    return pa.Table.from_pylist([*rows, *controls.values()], schema=prompt_schema())


def _row(task: str, arm: str, frame: str, question: str, item: OpinionItem, user_choice: int | None) -> dict[str, Any]:
    prompt = frame.replace("{question}", question)
    stem = _CHOICE.split(item.question, maxsplit=1)[0]
    texts = sorted(text for _, text in _CHOICE.findall(item.question))
    return {
        "id": _identity(task, prompt),
        "claim_id": _identity(task, "\0".join([stem, *texts])),
        "pair_id": _identity(task, item.question),
        "source": task,
        "template": f"perez2022/{task}",
        "arm": arm,
        "order": None,
        "prompt": prompt,
        "choices": list(item.choices),
        "target": None,
        "user_choice": user_choice,
        "is_true": None,
        "claim_offset": None,
        "turns": fill_turns(frame, "{question}", question),
    }


def _refuse_duplicates(task: str, folder: Path) -> None:
    if not (folder / FILES[task]).is_file():
        raise DataError(f"{folder}: wanted the file {FILES[task]} of Perez et al. 2022, got no such file")
    own = (folder / FILES[task]).read_bytes()
    for other, name in FILES.items():
        if other != task and (folder / name).is_file() and (folder / name).read_bytes() == own:
            raise DataError(
                f"{folder}: {FILES[task]} and {name} hold the same bytes, so one of them is not its set; "
                "fetch both from github.com/anthropics/evals"
            )


def _identity(task: str, text: str) -> str:
    return short_id(f"perez2022/{task}", text)
