"""Which records of options the flags of a verb are made from; they are imported for the verb that is asked for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError

Records = list[tuple[type, Collection[str]]]


def option_records(verb: str) -> Records:
    """Return the records of a verb, each with the fields that have no flag or another one."""
    if verb == "claims":
        from sycophancy_core.prompts.generation import ClaimOptions

        return [(ClaimOptions, ())]
    if verb == "additions":
        from sycophancy_core.prompts.generation import AdditionOptions

        return [(AdditionOptions, ())]
    if verb == "prompts":
        from sycophancy_core.prompts.generation import PromptOptions

        return [(PromptOptions, ())]
    if verb == "filter":
        from sycophancy_core.results.knowledge_filter import FilterOptions

        return [(FilterOptions, ())]
    return _training_records(verb)


def _training_records(verb: str) -> Records:
    if verb == "finetune":
        from sycophancy_core.training.curve import CurveOptions
        from sycophancy_core.training.options import FinetuneOptions

        return [(FinetuneOptions, ("seed",)), (CurveOptions, ("tasks", "known"))]
    if verb == "organism":
        from sycophancy_core.training.organism_rows import OrganismOptions

        return [(OrganismOptions, ("families",))]
    return []


def read_options(path: Path) -> dict[str, Any]:
    """Read a file of options.

    Raises
    ------
    DataError
        If there is no such file, or it holds something else than a mapping.
    """
    from sycophancy_core.runs.formats.yaml_files import read_yaml

    if not path.is_file():
        raise DataError(f"--config: there is no file {path}")
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: wanted options by name, got {type(found).__name__}")
    return found
