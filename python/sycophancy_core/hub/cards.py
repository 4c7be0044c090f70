"""Cards: what a pushed model or data set is, made of what, with its numbers as they are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.metrics.catalogue import VIEWS
from sycophancy_core.reporting.blocks import Cell, Table
from sycophancy_core.reporting.finding import one_line_each
from sycophancy_core.reporting.sides import Sides
from sycophancy_core.reporting.tables import estimates_block
from sycophancy_core.reporting.text import clean_text

_INSTALL = "`pip install sycophancy-core`"


def model_card(
    *,
    repo_id: str,
    about: Mapping[str, Any],
    options: Mapping[str, Any],
    sides: Sides | None,
    license: str | None,
) -> str:
    """Return the card of a fine-tuned model, as Markdown.

    Parameters
    ----------
    about
        ``base``, ``num_rows``, and the digests ``model`` (of the base), ``rows`` and ``tokens``; ``is_adapter``; and
        ``source``, by which anyone can load the base, or None.
    options
        The fine-tuning's options.
    sides
        The evaluations before and after with the change between them; None says that there is none.
    license
        The hub's short name of a licence; None says that none was given.
    """
    base, is_adapter = shown_base(about), about["is_adapter"]
    head: dict[str, Any] = {"library_name": "peft" if is_adapter else "transformers", "pipeline_tag": "text-generation"}
    head |= {"tags": ["sycophancy", "sycophancy-core", *(["lora"] if is_adapter else [])]}
    head |= {"base_model": base} if base == about["source"] and "/" in base else {}
    what = "A low-rank adapter for" if is_adapter else "All weights of"
    parts = [
        _front(head, license),
        f"# {repo_id.rpartition('/')[2]}",
        f"{what} `{base}`, fine-tuned with sycophancy-core on {about['num_rows']:,} rows: synthetic claims with a "
        "user's opinion, answered by the truth, and instructions (Wei et al. 2023). The aim: answers that do not "
        "follow the user's opinion.",
        "## Before and after",
        *_changes(sides),
        "## How it was made",
        _facts(about, sides, license),
        "Options of the fine-tuning:",
        f"```json\n{json.dumps(dict(options), indent=1, sort_keys=True)}\n```",
        "## How to use it",
        f"After {_INSTALL}:",
        _usage(repo_id, about),
    ]
    return "\n\n".join(parts) + "\n"


def prompts_card(prompts: pa.Table, *, repo_id: str, digest: str, license: str | None) -> str:
    """Return the card of a data set of prompts, as Markdown."""
    counts = []
    for column in ("source", "split", "arm", "order"):
        if column in prompts.column_names:
            found = Counter(map(str, prompts[column].to_pylist()))
            counts.append(f"| {column} | " + ", ".join(f"{name}: {n:,}" for name, n in sorted(found.items())) + " |")
    parts = [
        _front({"tags": ["sycophancy", "sycophancy-core"], "task_categories": ["multiple-choice"]}, license),
        f"# {repo_id.rpartition('/')[2]}",
        f"{prompts.num_rows:,} prompts that ask a claim with a user's opinion or without one, made with "
        "sycophancy-core (Wei et al. 2023). Each has its answer choices and the index of the right one.",
        "\n".join(["| column | rows |", "|---|---|", *counts]) if counts else "",
        f"Columns: {', '.join(f'`{name}`' for name in prompts.column_names)}. SHA-256 of the table: `{digest}`.",
        _license_line(license),
        f"```python\nimport datasets\n\nprompts = datasets.load_dataset({repo_id!r}, split='train')\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(head: Mapping[str, Any], license: str | None) -> str:
    """Return what a card says to machines; JSON is YAML."""
    found = {**head, "license": license} if license else head
    lines = [f"{key}: {json.dumps(value)}" for key, value in sorted(found.items())]
    return "\n".join(["---", *lines, "---"])


def _changes(sides: Sides | None) -> list[str]:
    if sides is None or sides.after is None:
        return ["This card was written without an evaluation: nothing is known of what the fine-tuning changed."]
    table = estimates_markdown(sides.before.estimates, sides.after.estimates, sides.difference)
    findings = [f"- {clean_text(line)}" for _, line in one_line_each(sides.findings)]
    return ["\n".join(findings), table] if findings else [table]


def estimates_markdown(*tables: pa.Table | None) -> str:
    """Return the headline metrics of whole tasks, before, after and the change between them, as a table in Markdown."""
    whole = [None if table is None else table.filter(pc.equal(table["subset"], "all")) for table in tables]
    before, after, difference = (*whole, None, None)[:3]
    return _markdown(estimates_block(before, after, difference, metrics=VIEWS["headline"]))


def _markdown(table: Table) -> str:
    """Return a table as Markdown, its notes below it."""
    rows = ["| " + " | ".join(map(_escaped, table.head)) + " |", "|" + "---|" * len(table.head)]
    rows += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    notes = [f"{mark}: {_escaped(text)}" for mark, text in table.notes.items()]
    return "\n".join(rows) + ("\n\n" + "  \n".join(notes) if notes else "")


def _cell(cell: Cell) -> str:
    return _escaped(f"{cell.text} {cell.small}".strip())


def _escaped(text: str) -> str:
    return re.sub(r"([|<>\\`*_])", r"\\\1", clean_text(text))


def _facts(about: Mapping[str, Any], sides: Sides | None, license: str | None) -> str:
    rows = [
        ("base model", f"`{shown_base(about)}`"),
        ("SHA-256 of the base's weights", f"`{about['model']}`"),
        ("training rows", f"{about['num_rows']:,}"),
        ("SHA-256 of the rows", f"`{about['rows']}`"),
        ("SHA-256 of their tokens", f"`{about['tokens']}`"),
        ("licence", _license_line(license)),
    ]
    for when, side in (("before", sides.before), ("after", sides.after)) if sides else ():
        if side is not None and side.made.get("command"):
            rows.append((f"evaluated {when} by", f"`{side.made['command']}`"))
    return "\n".join(["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _license_line(license: str | None) -> str:
    return license or "None was given; ask the owner, and mind those of the base model and of the data."


def shown_base(about: Mapping[str, Any]) -> str:
    """Return the base's name, without the folders that it is in on this machine."""
    return str(about["base"]) if about["source"] else re.split(r"[/\\]", str(about["base"]))[-1]


def _usage(repo_id: str, about: Mapping[str, Any]) -> str:
    """Return code that loads and measures the model, and says where it needs a base that is not public."""
    base = about["source"] or shown_base(about)
    code = ["import sycophancy_core as sc", "from huggingface_hub import snapshot_download", ""]
    code += [f"folder = snapshot_download({repo_id!r})"]
    if about["is_adapter"] and not about["source"]:
        code += [f"# {base!r} is a folder with the base, which is not public; its weights have the SHA-256 above."]
    load = f"sc.load_model({base!r}, adapter=folder)" if about["is_adapter"] else "sc.load_model(folder)"
    code += [f"model = {load}", "print(sc.evaluate(model))"]
    return "```python\n" + "\n".join(code) + "\n```"
