"""What the verbs of the command line share: reading their options, tables and models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import CLAIMS
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.outputs import require_installed
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.tables import read_rows

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    import pyarrow as pa

    from sycophancy_core.scoring.language_model import LanguageModel


SCORING = ("engine", "matmul_precision", "dtype")
"""Flags that say how a model's scores are computed."""


def given(options: Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of the options that were given, by their names."""
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def option_name(name: str) -> str:
    """Return an option as it is written."""
    return f"--{name.replace('_', '-')}"


def refuse(options: Namespace, names: tuple[str, ...], *, wanted: str, got: str) -> None:
    """Refuse options of which the verb would take no notice."""
    for option in (option_name(name) for name, value in given(options, names).items() if value is not False):
        raise DataError(f"{option} is for {wanted}, got {got}; add {wanted}, or leave {option} out")


def read_kind(path: Path, what: str, columns: tuple[str, ...]) -> pa.Table:
    """Read a table that may be one of another kind."""
    from sycophancy_core.prompts.prompt_table import read_prompts

    table = read_prompts(path) if what == "prompts" else read_rows(path)
    if not set(columns) <= set(table.column_names):
        got = ", ".join(table.column_names)
        raise DataError(f"{path}: wanted {what} with the columns {', '.join(columns)}, got the columns {got}")
    return table


def files_by_name(paths: Sequence[Path], option: str) -> dict[str, Path]:
    """Return files by their names without folder and ending, by which sources and tasks are told apart."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in named:
            raise DataError(f"{option}: wanted files of different names, got {named[name]} and {path}; rename one")
        named[name] = path
    return named


def claims_of(path: Path) -> pa.Table:
    """Read claims as the package writes them, or those of one's own."""
    from sycophancy_core.prompts.own_claims import read_claims

    if not path.exists():
        raise DataError(f"--claims: there is no file {path}")
    if path.suffix == ".parquet" or not path.is_file():
        table = read_table(path)
        if {column.name for column in CLAIMS if column.is_required} <= set(table.column_names):
            return table
    return read_claims(path)


def examples_of(options: Namespace) -> pa.Table:
    """Read the examples that were given, or the packaged sample."""
    from sycophancy_core.prompts.examples import load_examples

    return load_examples() if options.examples is None else read_rows(options.examples)


def task_options(options: Namespace) -> dict[str, Any]:
    """Return what `evaluate` and `evaluate_many` take of the tasks."""
    from sycophancy_core.tasks.named_tasks import DEFAULT_TASKS, TaskOptions, task_prompts

    tasks = options.tasks or DEFAULT_TASKS
    if options.claims is not None and "claims" not in tasks:
        raise DataError(f"--claims: wanted the task claims, which asks them, among --tasks, got {', '.join(tasks)}")
    held_out = None if options.claims is None else claims_of(options.claims)
    wanted = {
        "tasks": tasks,
        "options": TaskOptions(claims=held_out, folder=options.folder, users=options.users),
        "limit": options.limit,
        "seed": options.seed,
    }
    task_prompts(**wanted)  # what is wrong with them is found before a model is loaded
    return wanted


def require_figures(verb: str) -> None:
    """Refuse to begin what draws figures at its end, where they cannot be drawn."""
    require_installed("matplotlib", extra="report", what=f"{verb}: its report")


def is_adapter(source: str) -> bool:
    """Tell whether a folder holds an adapter and no model."""
    return (Path(source) / "adapter_config.json").is_file() and not (Path(source) / "config.json").is_file()


def load(
    options: Namespace, source: str | None = None, adapter: str | None = None, *, is_trained: bool = False
) -> LanguageModel:
    """Load a model, by default the one that was given, and say how it is asked and how else it could be.

    One that is trained gets weights in float32 where no number type was asked for.
    """
    from sycophancy_core.scoring.loading import load_model

    names = ("adapter", "tokenizer", "concurrency", *SCORING, "device", "system_prompt", "chat_template")
    settings = given(options, names)
    if adapter is not None:
        settings["adapter"] = adapter
    if is_trained and settings.get("dtype", "auto") == "auto":
        settings["dtype"] = "float32"
    chosen = getattr(options, "model", None) if source is None else source
    model = load_model(chosen, **{"chat_template": "auto", **settings})
    other = "; for plain text: --no-chat-template" if model.chat_template and options.chat_template is None else ""
    print(f"{model.name}: prompts are asked {model.asked_as}{other}", flush=True)
    return model


def printer(options: Namespace) -> ProgressPrinter:
    """Return what shows the progress, on standard error."""
    stream: Any = sys.stderr  # which the command line cleans of what a bar is drawn with
    return ProgressPrinter(stream=stream.bare() if hasattr(stream, "bare") else stream, quiet=options.quiet)
