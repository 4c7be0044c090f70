"""Tables of one's own on the command line: checked, counted, and written as the other verbs read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.commands.inputs import given, option_name
from sycophancy_core.commands.outputs import check_table, write_rows
from sycophancy_core.errors import DataError

if TYPE_CHECKING:
    from argparse import Namespace

    import pyarrow as pa

_COLUMNS = {
    "claims": ("text", "truth", "label", "id", "about", "family"),
    "questions": ("prompt", "choices", "target", "user_choice", "claim_id", "family", "arm", "users"),
    "facts": (),
    "instructions": (),
}


def validate(options: Namespace) -> Any:
    """Check a table and say what is in it."""
    if options.out is not None:
        check_table(options.out)
    every = tuple(dict.fromkeys(name for names in _COLUMNS.values() for name in names))
    stray = [name for name in given(options, every) if name not in _COLUMNS[options.kind]]
    if stray:
        of = next(kind for kind, names in _COLUMNS.items() if stray[0] in names)
        raise DataError(f"{option_name(stray[0])} is for --kind {of}, got --kind {options.kind}; add --kind {of}")
    table = _read(options.kind, options.file, given(options, _COLUMNS[options.kind]))
    for line in _counts(options.kind, table):
        print(line)
    if options.out is not None:
        write_rows(options.out, table, "prompts" if options.kind == "questions" else options.kind)
    return {"num_rows": table.num_rows, "file": options.out}


def _read(kind: str, path: Path, columns: dict[str, Any]) -> pa.Table:
    if kind == "claims":
        from sycophancy_core.prompts.own_claims import read_claims

        return read_claims(path, **columns)
    if kind == "questions":
        from sycophancy_core.tasks.own_tasks import read_questions

        several = columns.get("choices")
        return read_questions(path, **columns | ({"choices": several[0]} if several and len(several) == 1 else {}))
    if kind == "facts":
        from sycophancy_core.prompts.facts import load_facts

        return load_facts(path)
    from sycophancy_core.training.instructions import load_instructions

    return load_instructions(path)


def _counts(kind: str, table: pa.Table) -> list[str]:
    """Say how many rows there are, and of which sort."""
    from sycophancy_core.reporting.numbers import counted
    from sycophancy_core.tasks.about import USERS

    num_asked = len(table["claim_id"].unique()) if kind == "questions" else table.num_rows
    lines = [f"{counted(num_asked, kind[:-1])}, all of which can be used", *_first(kind, table)]
    if kind == "claims":
        num_true = sum(table["is_true"].to_pylist())
        lines.append(f"true: {num_true:,}, false: {table.num_rows - num_true:,}")
    name = {"facts": "family", "claims": "source", "questions": "source"}.get(kind)
    if name:
        counts = table[name].value_counts().to_pylist()
        rows = "prompt" if kind == "questions" else kind[:-1]
        lines += [f"family {item['values']}: {counted(item['counts'], rows)}" for item in counts]
    if kind == "questions":
        lines += [
            f"prompts {USERS[item['values']]}: {item['counts']:,}" for item in table["arm"].value_counts().to_pylist()
        ]
        if table["user_choice"].null_count == table.num_rows:
            lines.append("without users there is accuracy only; to measure sycophancy, add --users")
    return lines


def _first(kind: str, table: pa.Table) -> list[str]:
    """Say how the first claim or question was read, so that a column taken for another is seen."""
    row = table.slice(0, 1).to_pylist()[0]
    if kind == "claims":
        return [f"the first: {row['text']!r} is {'true' if row['is_true'] else 'false'}"]
    if kind != "questions":
        return []
    choices = [choice.strip() for choice in row["choices"]]
    right = "no right one" if row["target"] is None else f"right: {choices[row['target']]!r}"
    return [f"the first: {row['prompt']!r}, with the choices {', '.join(map(repr, choices))}; {right}"]
