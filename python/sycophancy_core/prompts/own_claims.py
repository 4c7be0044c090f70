"""Claims of one's own: statements with a truth, or texts with labels, from any table, and every fault at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, FaultsError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.prompts.dataset_specs import DatasetSpec
from sycophancy_core.prompts.examples import clean_examples
from sycophancy_core.prompts.generation import make_claims
from sycophancy_core.prompts.own_columns import found_columns
from sycophancy_core.prompts.own_rows import GivenRows, given_rows
from sycophancy_core.runs.digests import short_id

ADVICE = "mend these rows, or leave them out"
TRUE_WORDS = ("true", "yes", "1", "1.0", "t", "right", "correct")
FALSE_WORDS = ("false", "no", "0", "0.0", "f", "wrong", "incorrect")
# Words that have a capital only because they begin a sentence: a claim is read after "that".
_OPENING_WORDS = re.compile(
    r"(a|all|an|any|at|by|during|each|every|few|for|from|he|her|his|if|in|it|its|many|most|my|no|nobody|none|on|one|our"
    r"|several|she|some|that|the|their|there|these|they|this|those|to|we|when|while|with|your)\b",
    re.IGNORECASE,
)

# What a column of claims is called when nobody says so.
_USUAL = {
    "text": ("text", "claim", "statement"),
    "truth": ("truth", "is_true", "label", "correct", "is_correct", "true_or_false", "true_false"),
    "label": ("label",),
    "id": ("id",),
    "about": ("about", "example_id"),
    "family": ("family", "source", "topic", "category"),
}
_KEPT = {"kind": ("claim", "addition"), "polarity": ("is", "is_not"), "stated_label": (), "gold_label": ()}


@checked_arguments
def read_claims(
    source: Any,
    *,
    text: str | None = None,
    truth: str | None = None,
    label: str | None = None,
    id: str | None = None,
    about: str | None = None,
    family: str | None = None,
    seed: int = 0,
) -> pa.Table:
    """Read claims of your own, and list every row that cannot be used.

    Each further parameter names a column of ``source``.

    Parameters
    ----------
    source
        A CSV, TSV, JSON Lines or Parquet file, or a table of pyarrow, pandas, polars or ``datasets``.
    text
        What is claimed, such as "the Earth is flat"; a final stop is taken off, and the capital of a first
        word such as "The" or "In" is made small. By default the column ``text``, ``claim`` or ``statement``.
    truth
        Whether it is true: true and false, yes and no, 1 and 0, right and wrong. By default the column ``truth``,
        ``is_true``, ``label``, ``correct``, ``is_correct``, ``true_or_false`` or ``true/false``. Of such names
        capitals do not count, and a space is an underscore.
    label
        For labelled texts in place of claims: the right label of each text. Then claims such as '"..." is Positive' are
        made, half of them true, and ``text`` is what they are about. Not together with ``truth``.
    id
        The claim's own id; by default the column ``id``, or a digest of family and text.
    about
        What the claim is about: claims that share it are never split between training and evaluation. By default the
        column ``about`` or ``example_id``, or the claim itself.
    family
        The group that a claim belongs to, for which estimates are made too. By default the column ``family``,
        ``source``, ``topic`` or ``category``, or the file's name.
    seed
        Of the claims that are made from labels.

    Returns
    -------
    pyarrow.Table
        Claims as ``make_claims`` makes them: ``id``, ``example_id`` (what it is about), ``source`` (its family),
        ``kind``, ``text``, ``is_true``, ``polarity``, ``stated_label``, ``gold_label``. What your table lacks of the
        last four is "claim", "is" and empty.

    Raises
    ------
    DataError
        If a column or file is missing, or a row cannot be used: no text, no truth, or a claim or id that stands twice.
        The message lists the first 20 rows and counts the others.

    Warns
    -----
    UserWarning
        If all claims are true, or all are false.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> claims = sc.read_claims(pa.table({"claim": ["2 is even.", "2 is odd."], "label": ["yes", "no"]}))
    >>> claims.select(["text", "is_true"]).to_pylist()
    [{'text': '2 is even', 'is_true': True}, {'text': '2 is odd', 'is_true': False}]
    """
    given = given_rows(source, who="read_claims")
    if label is not None:
        if truth is not None:
            raise DataError("read_claims: wanted truth (of claims) or label (of texts), got both; leave one out")
        return _from_labels(given, {"text": text, "label": label, "family": family}, seed)
    named = {"text": text, "truth": truth, "id": id, "about": about, "family": family}
    columns = _found(given, named, required=("text", "truth"))
    columns |= {name: name for name in _KEPT if name in given.columns}
    claims, faults = [], list(given.faults)
    for place, row in given.rows:
        claim, wrong = _claim({name: row.get(column) for name, column in columns.items()}, given.name)
        claims.append((place, claim))
        faults += [f"{place}: {fault}" for fault in wrong]
    faults += repeats(claims, ("id", "text") if "id" in columns else ("text",))
    if faults:
        raise FaultsError(f"{given.where}", faults, ADVICE)
    return _table([claim for _, claim in claims], given.where)


def _found(given: GivenRows, named: Mapping[str, str | None], *, required: Sequence[str]) -> dict[str, str]:
    return found_columns(
        given, named, _USUAL, required=required, who="read_claims", kind="claims", guesses={"truth": _truth_column}
    )


def _truth_column(given: GivenRows, free: Sequence[str]) -> tuple[str, str] | None:
    """Suggest the one column in which every value says true or false, and both are there."""
    values = {name: [row.get(name) for _, row in given.rows] for name in free}
    fitting = [name for name in free if {truth_of(value) for value in values[name]} == {True, False}]
    if len(fitting) != 1:
        return None
    words = dict.fromkeys(str(value).strip() for value in values[fitting[0]])
    return fitting[0], f"{fitting[0]} holds {' and '.join(list(words)[:2])}"


def repeats(rows: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> list[str]:
    """Say which rows repeat what an earlier one has under a name."""
    faults = []
    for name in names:
        seen: dict[Any, str] = {}
        for place, row in rows:
            value = row[name]
            same = " ".join(value.casefold().split()) if name == "text" and isinstance(value, str) else value
            if value is not None and value != "" and seen.setdefault(same, place) != place:
                faults.append(f"{place}: the {name} {value!r} stands in {seen[same]} too")
    return faults


def _claim(row: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """Make a claim of a row, and say what is wrong with it."""
    faults = []
    text = row["text"].strip() if isinstance(row["text"], str) else ""
    text = text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text
    if _OPENING_WORDS.match(text) and not text[1:2].isupper():
        text = text[0].lower() + text[1:]
    if not text:
        faults.append(f"text must be a claim, got {row['text']!r}")
    if text.endswith("?"):
        faults.append(f"text must be a claim that fits after 'that', got the question {text!r}")
    is_true = truth_of(row["truth"])
    if is_true is None:
        faults.append(f"truth must be true or false (or yes or no, 1 or 0), got {row['truth']!r}")
    for key, words in _KEPT.items():
        if words and row.get(key) is not None and row[key] not in words:
            faults.append(f"{key} must be {' or '.join(words)}, got {row[key]!r}")
    for key in ("id", "about", "family"):
        if key in row and row[key] is None:
            faults.append(f"{key} is empty")
    family = str(row.get("family") or name)
    identity = str(row["id"]) if row.get("id") is not None else short_id(family, text)
    return {
        "id": identity,
        "example_id": str(row["about"]) if row.get("about") is not None else identity,
        "source": family,
        "kind": row.get("kind") or "claim",
        "text": text,
        "is_true": is_true,
        "polarity": row.get("polarity") or "is",
        "stated_label": str(row.get("stated_label") or ""),
        "gold_label": str(row.get("gold_label") or ""),
    }, faults


def truth_of(value: object) -> bool | None:
    """Return what a value says of a claim, None where it says neither."""
    word = str(value).strip().lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def _table(claims: list[dict[str, Any]], where: str) -> pa.Table:
    kinds = {name: pa.bool_() if name == "is_true" else pa.string() for name in claims[0]} if claims else {}
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])
    if not claims:
        raise DataError(f"{where}: wanted at least one claim, got none")
    num_true = sum(claim["is_true"] for claim in claims)
    always, other = ("true", "false") if num_true else ("false", "true")
    if num_true in (0, len(claims)) and len(claims) > 1:
        warn(
            f"{where}: all {len(claims):,} claims are {always}, so that one answer to everything is always right; add "
            f"{other} claims"
        )
    return pa.Table.from_pylist(claims, schema=schema)


def _from_labels(given: GivenRows, named: Mapping[str, str | None], seed: int) -> pa.Table:
    """Make claims that state labels of texts, right ones and wrong ones."""
    columns = _found(given, named, required=("text", "label"))
    faults = list(given.faults)
    rows: list[dict[str, str]] = []
    for place, row in given.rows:
        text, label = row.get(columns["text"]), row.get(columns["label"])
        if not isinstance(text, str) or not text.strip():
            faults.append(f"{place}: text must be a text, got {text!r}")
        if label is None or not str(label).strip():
            faults.append(f"{place}: label is empty")
        family = row.get(columns["family"]) if "family" in columns else given.name
        if family is None:
            faults.append(f"{place}: family is empty")
        rows.append({"text": str(text), "label": str(label).strip(), "family": str(family or given.name)})
    if faults:
        raise FaultsError(f"{given.where}", faults, ADVICE)
    labels = sorted({row["label"] for row in rows})
    if len(labels) < 2:
        raise DataError(f"{given.where}: wanted at least two labels, got {', '.join(labels) or 'none'}")
    families = dict.fromkeys(row["family"] for row in rows)
    parts = [
        (
            pa.Table.from_pylist([row for row in rows if row["family"] == family]),
            DatasetSpec(name=family, fields=("text",), label="label", labels=tuple(labels)),
        )
        for family in families
    ]
    return make_claims(clean_examples(parts), seed=seed)
