"""Facts to prompts that separate a user's stance from the mere mention of an answer; the wording is data.

The arms of one fact differ in what stands before the question, and in nothing else. ``endorse`` and ``deny`` use the
same words, but for "not": what differs between them is stance. ``mention`` names an answer and takes no side: what it
changes is copying.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields
from sycophancy_core.inputs.tables import FACTS, checked_table
from sycophancy_core.prompts.facts import answer_faults
from sycophancy_core.prompts.prompt_table import prompt_schema
from sycophancy_core.prompts.protocols import packaged_wording
from sycophancy_core.prompts.splits import uniform_of
from sycophancy_core.runs.digests import short_id

_SLOT = re.compile(r"\{(\w+)\}")
_T = TypeVar("_T")

ANSWER_ARMS = ("mention", "endorse", "deny", "third_person")  # each once with the right answer, once with a wrong one
ARMS = ("none", "persona", *ANSWER_ARMS, "check")
FORMS = ("content", "letters", "yes_no", "agree")
SPLITS = ("train", "test")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class FactOptions:
    """How facts become prompts.

    Attributes
    ----------
    form
        What the choices are. ``"content"``: the two answers themselves, after the beginning of a reply. ``"letters"``:
        (A) and (B), in both orders. ``"yes_no"`` and ``"agree"``: a verdict on the claim with the right answer, and on
        that with the wrong one.
    split
        ``"train"`` or ``"test"``: wordings of one are never in the other.
    arms
        What the user says first. ``none``: nothing. ``persona``: only who the user is, as in all arms that follow.
        ``mention``: names an answer without taking a side. ``endorse``: thinks that it is right. ``deny``: the same
        words with "not". ``third_person``: somebody else thinks so. These four are asked for the right and for a wrong
        answer. ``check``: nothing either, in two other wordings of the question, which tell what the model knows.
    """

    form: str = "content"
    split: str = "test"
    arms: tuple[str, ...] = ARMS

    def __post_init__(self) -> None:
        """Refuse words that are none of those above."""
        for name, value, known in (("form", self.form, FORMS), ("split", self.split, SPLITS)):
            if value not in known:
                raise DataError(f"FactOptions: {name} must be one of {', '.join(known)}, got {value!r}")
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms or len(set(self.arms)) < len(self.arms):
            raise DataError(f"FactOptions: arms must be of {', '.join(ARMS)}, each once; got {self.arms!r}")


def stance_wording() -> dict[str, Any]:
    """Return the wording: what users say (``wordings``), and how each of the ``forms`` asks."""
    return packaged_wording("stance")


@checked_arguments
def fact_prompts(facts: pa.Table, *, options: FactOptions | None = None, seed: int = 0) -> pa.Table:
    """Ask facts in every arm.

    Which wrong answer, which wording of user and question and which persona a fact gets is drawn by seed and fact, so
    that a part of the facts gives the same prompts as the whole.

    Parameters
    ----------
    facts
        As :func:`load_facts` returns them.

    Returns
    -------
    pyarrow.Table
        Prompts, a fact's rows together. ``claim_id`` is the fact's, ``source`` its family, ``user_choice`` the choice
        that the user favours: whoever denies one of two answers favours the other. Next to the columns of every
        prompts table: ``fact_id``, ``form`` and ``stated`` (``right`` or ``wrong``: the answer that the user speaks
        of). ``order`` tells which answer is (A), or which one the claim holds.

    Raises
    ------
    DataError
        If there is no fact, or a row is none: a column is missing, a text is null, an answer is not there, or one
        is another one or its beginning.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 1))
    >>> prompts["arm"].to_pylist()[:2], sorted(prompts["choices"][0].as_py())
    (['none', 'persona'], [' Dublin', ' Paris'])
    """
    options = options or FactOptions()
    facts = checked_table(facts, FACTS, who="fact_prompts")
    if facts.num_rows == 0:
        raise DataError("fact_prompts: wanted facts, got an empty table")
    _check_facts(facts)
    words = stance_wording()
    rows = [row for fact in facts.to_pylist() for row in _Asked(fact, words, options, seed).rows()]
    text = pa.string()
    added = [("fact_id", text), ("form", text), ("stated", text)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*prompt_schema(), *(pa.field(*item) for item in added)]))


def _check_facts(facts: pa.Table) -> None:
    columns = (facts[name].to_pylist() for name in ("right", "wrong", "statement"))
    for row, (right, wrong, statement) in enumerate(zip(*columns, strict=True)):
        for fault in answer_faults([right, *wrong]):
            raise DataError(f"fact_prompts: row {row}: {fault}")
        if not wrong:
            raise DataError(f"fact_prompts: the column 'wrong' holds no answer in row {row}; wanted at least one")
        if unknown := set(_SLOT.findall(statement)) - {"answer"}:
            raise DataError(f"fact_prompts: the statement of row {row} has the unknown slot {{{min(unknown)}}}")


def render(ask: Mapping[str, str], slots: Mapping[str, str]) -> tuple[str, list[dict[str, str]]]:
    """Return a prompt as plain text, and as turns: the user's, and what the assistant's reply begins with."""
    user, reply = _fill(ask["user"], slots), _fill(ask["reply"], slots)
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return user + ask["between"] + reply, turns if reply else turns[:1]


def _fill(template: str, slots: Mapping[str, str]) -> str:
    """Fill a template in one pass: what a slot holds is never taken for a slot."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


class User:
    """Somebody who speaks before a question: a name, an age and a wording, drawn by key."""

    def __init__(self, words: Mapping[str, Any], key: str, split: str) -> None:
        self._wording = draw("wording", key, _of_split(words["wordings"], split))
        low, high = words["ages"]
        names = _names()
        self._persona = {
            "name": f"{draw('first name', key, names['first'])} {draw('last name', key, names['last'])}",
            "age": str(draw("age", key, range(low, high + 1))),
        }

    @property
    def wording(self) -> str:
        """The id of the wording."""
        return str(self._wording["id"])

    def says(self, stance: str | None, **slots: str) -> str:
        """Return what the user says, and a space: who it is, and then such a stance, with its slots filled."""
        opening = _fill(self._wording["opening"], self._persona)
        return f"{opening} " if stance is None else f"{opening} {_fill(self._wording[stance], slots)} "


def draw(what: str, key: str, values: Sequence[_T]) -> _T:
    """Draw one of some values by what it is for and a key, such as seed and id."""
    return values[int(uniform_of(f"{what}\0{key}") * len(values))]


class _Asked:
    """One fact, and what was drawn for it."""

    def __init__(self, fact: Mapping[str, Any], words: Mapping[str, Any], options: FactOptions, seed: int) -> None:
        self._fact, self._options = fact, options
        self._form = words["forms"][options.form]
        content = [fact[name] for name in ("family", "question", "lead_in", "right", "statement")]
        self._version = f"facts\0{words['version']}"
        self._claim_id = short_id(self._version, *content, *fact["wrong"])
        key = f"{seed}\0{self._claim_id}"
        self._answers = {"right": fact["right"], "wrong": draw("wrong answer", key, fact["wrong"])}
        self._is_flipped = draw("first choice", key, (False, True))
        self._user = User(words, key, options.split)
        asks = _of_split(self._form["asks"], options.split)
        first = draw("ask", key, range(len(asks)))
        self._asks = asks[first:] + asks[:first]

    def rows(self) -> Iterator[dict[str, Any]]:
        for arm in self._options.arms:
            asks = self._asks[1:3] if arm == "check" else self._asks[:1]
            for stated in self._answers if arm in ANSWER_ARMS else (None,):
                for ask in asks:
                    for shown in self._shown():
                        yield self._row(arm, stated, ask, shown)

    def _row(
        self, arm: str, stated: str | None, ask: Mapping[str, Any], shown: tuple[str | None, list[str], int, str]
    ) -> dict[str, Any]:
        order, choices, target, claim = shown
        first, second = self._answers.values() if order != "wrong_first" else [*self._answers.values()][::-1]
        slots = {"opinion": self._opinion(arm, stated), "claim": claim, "first": first, "second": second}
        prompt, turns = render(ask, slots | {name: self._fact[name] for name in ("question", "lead_in")})
        template = f"stance/{self._options.form}/{ask['id']}"
        is_said = arm not in ("none", "check")
        return {
            "id": short_id(self._version, self._claim_id, arm, str(stated), str(order), prompt, *choices),
            "claim_id": self._claim_id,
            "pair_id": self._claim_id,
            "source": self._fact["family"],
            "template": f"{template}/{self._user.wording}" if is_said else template,
            "arm": arm,
            "order": order,
            "prompt": prompt,
            "choices": choices,
            "target": target,
            "user_choice": _favoured(arm, stated, target),
            "turns": turns,
            "fact_id": self._fact["id"],
            "form": self._options.form,
            "stated": stated,
        }

    def _opinion(self, arm: str, stated: str | None) -> str:
        if arm in ("none", "check"):
            return ""
        if stated is None:
            return self._user.says(None)
        return self._user.says(arm, answer=self._answers[stated], claim=self._claim(stated))

    def _claim(self, answer: str) -> str:
        return _fill(self._fact["statement"], {"answer": self._answers[answer]})

    def _shown(self) -> list[tuple[str | None, list[str], int, str]]:
        """Return what one question shows: name of the order, choices, position of the right one, claim to judge."""
        form, choices = self._options.form, self._form["choices"]
        if form == "content":
            answers = [f" {answer}" for answer in self._answers.values()]
            return [(None, answers[::-1], 1, "") if self._is_flipped else (None, answers, 0, "")]
        what = "first" if form == "letters" else "asked"
        return [(f"{answer}_{what}", choices, int(answer == "wrong"), self._claim(answer)) for answer in self._answers]


def _favoured(arm: str, stated: str | None, target: int) -> int | None:
    """Return which of the two choices the user favours; who mentions an answer favours none."""
    if stated is None or arm == "mention":
        return None
    return target if (stated == "right") == (arm != "deny") else 1 - target


def _of_split(entries: Sequence[Mapping[str, Any]], split: str) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if entry["split"] == split]


@functools.cache
def _names() -> dict[str, Any]:
    return packaged_wording("names")
