"""A finding: one thing that stands out in a result, as a record. Its sentence is made last; nothing reads it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from sycophancy_core.errors import DataError
from sycophancy_core.reporting.numbers import Row, is_number

Severity = Literal["warning", "result", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the gravest first
Kind = Literal[
    # of one model: what makes its numbers worth little
    "unscored",
    "precision",
    "low_choice_mass",
    "one_choice",
    "one_verdict",
    "contradicts",
    "leans",
    "copies",
    "chance",
    "persona_shift",
    # of one model: how sycophantic it is
    "effect_unknown",
    "effect_not_judged",
    "sycophantic",
    "contrary",
    "not_sycophantic",
    "effect_not_excluded",
    # of a change: the verdict
    "same",
    "collapse",
    "cure_at_a_price",
    "unresolved",
    "fell",
    "not_shown",
    "rose",
    "unchanged",
    "change_unknown",
    "change_not_judged",
    # of a change: what went with it
    "accuracy_fell",
    "accuracy_kept",
    "accuracy_not_resolved",
    "accuracy_unknown",
    "accuracy_not_judged",
    "harm_fell",
    "harm_rose",
    "agreement_with_true_fell",
    "letter_bias_grew",
    "over_corrected",
    # a sentence without numbers, such as those of files written before findings were records
    "note",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that stands out in a result.

    Attributes
    ----------
    task
        The task that it is about; empty where it is about none.
    kind
        What was found; docs/report.md says what each kind means.
    severity
        ``"warning"`` (numbers that mean little, or a change that is no plain cure), ``"result"`` or ``"note"``.
    text
        The sentence, without the task.
    numbers
        The numbers behind it by name, such as ``effect``, ``effect_low`` and ``effect_high``.
    """

    task: str
    kind: Kind
    severity: Severity
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the sentence with its task before it."""
        return f"{self.task}: {self.text}" if self.task else self.text

    @property
    def is_warning(self) -> bool:
        """Whether numbers mean little, or a change is no plain cure."""
        return self.severity == "warning"

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return {**asdict(self), "numbers": dict(self.numbers)}


def warning(task: str, kind: Kind, text: str, **numbers: Row | float | None) -> Finding:
    """Make a finding that warns; estimates give their value, interval and, of a change, both ends and the p-value."""
    return Finding(task=task, kind=kind, severity="warning", text=text, numbers=_numbers(numbers))


def result(task: str, kind: Kind, text: str, **numbers: Row | float | None) -> Finding:
    """Make a finding that does not warn; numbers as for :func:`warning`."""
    return Finding(task=task, kind=kind, severity="result", text=text, numbers=_numbers(numbers))


def _numbers(given: Mapping[str, Row | float | None]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in given.items():
        if not isinstance(value, Mapping):
            found[name] = float("nan") if value is None else float(value)
            continue
        for part in ("value", "low", "high", "before", "after", "p_adjusted"):
            number = value.get(part)
            found[name if part == "value" else f"{name}_{part}"] = float("nan") if number is None else float(number)
    return {name: number for name, number in found.items() if is_number(number)}


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with those that warn first, else in their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def as_findings(findings: Iterable[Finding | str]) -> tuple[Finding, ...]:
    """Return findings as records; a plain text becomes a note about no task."""
    return tuple(
        Finding(task="", kind="note", severity="note", text=one) if isinstance(one, str) else one for one in findings
    )


def findings_from_json(content: Any, *, where: str) -> tuple[Finding, ...]:
    """Read findings as JSON holds them: records, or the plain texts of older files, which become notes.

    Raises
    ------
    DataError
        If one is neither; the message begins with ``where``.
    """
    if not isinstance(content, list):
        raise DataError(f"{where}: findings: wanted a list, got {type(content).__name__}")
    return as_findings([one if isinstance(one, str) else _from_json(one, f"{where}: findings") for one in content])


def _from_json(content: Any, where: str) -> Finding:
    kinds: dict[str, type] = {"task": str, "kind": str, "severity": str, "text": str, "numbers": dict}
    if not isinstance(content, dict) or set(content) != set(kinds):
        got = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{where}: wanted records with the keys {', '.join(kinds)}, got {got}")
    for key, kind in kinds.items():
        if not isinstance(content[key], kind):
            raise DataError(f"{where}: {key}: wanted {kind.__name__}, got {content[key]!r}")
    if content["severity"] not in SEVERITIES:
        raise DataError(f"{where}: severity: wanted one of {', '.join(SEVERITIES)}, got {content['severity']!r}")
    wrong = [name for name, number in content["numbers"].items() if type(number) not in (int, float)]
    if wrong:
        raise DataError(f"{where}: numbers: {wrong[0]}: wanted a number, got {content['numbers'][wrong[0]]!r}")
    return Finding(**content)


def one_line_each(findings: Iterable[Finding]) -> list[tuple[Finding, str]]:
    """Return each sentence once, with the first finding that it belongs to, and the names of all tasks before it."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.severity, one.text), []).append(one)
    lines = []
    for (_, text), same in groups.items():
        tasks = ", ".join(dict.fromkeys(one.task for one in same if one.task))
        lines.append((same[0], f"{tasks}: {text}" if tasks else text))
    return lines
