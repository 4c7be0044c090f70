"""How to read labelled data sets: which columns hold text and label, what the labels are called, where the set lies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sycophancy_core.errors import DataError
from sycophancy_core.runs.json_files import read_json

_KEYS = {"name", "fields", "label", "labels", "hub", "old_hub", "path"}


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One labelled data set.

    Attributes
    ----------
    name
        What examples call their source.
    fields
        String columns; two or more are joined by `` and ``.
    label
        Column with the index of the label in ``labels``, or its name; null or -1 means unlabelled.
    labels
        The labels' wording, as it stands in claims.
    hub
        Id and configuration on the Hugging Face hub.
    old_hub
        The id that the set had before it moved under an owner.
    path
        A JSONL or Parquet file.
    """

    name: str
    fields: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    hub: tuple[str, str | None] | None = None
    old_hub: str | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Check what a type checker cannot see in JSON."""
        where = f"data set '{self.name}'"
        if not self.name or not self.fields or not self.label:
            raise DataError(f"{where}: name, fields and label must not be empty")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise DataError(f"{where}: labels must be at least two different texts, got {list(self.labels)}")


def packaged_specs(name: str) -> list[DatasetSpec]:
    """Return the specs of ``"samples"`` (the packaged sample) or ``"datasets17"`` (Wei et al. 2023, appendix A)."""
    folder = Path(__file__).parents[1] / "data"
    path = folder / "samples" / "datasets.json" if name == "samples" else folder / "protocols" / f"{name}.json"
    return parse_specs(path)


def parse_specs(spec: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | os.PathLike[str]) -> list[DatasetSpec]:
    """Read specs from a dict, a list of dicts, or a JSON file with either (or with a list under ``datasets``).

    Raises
    ------
    DataError
        If a key is missing, unknown or of another type than :class:`DatasetSpec` says, or a name stands twice.
    """
    folder = Path()
    content: Any = spec
    if not isinstance(spec, Mapping | list | tuple):
        path = Path(cast("str | os.PathLike[str]", spec))
        folder = path.parent
        if not path.is_file():
            raise DataError(f"data set spec: there is no file {path}")
        content = read_json(path)
    if isinstance(content, Mapping):
        content = content.get("datasets", [content])
    if not isinstance(content, list | tuple) or not content:
        raise DataError(f"data set spec: wanted an object or a list of objects, got {type(content).__name__}")
    specs = [_parse_spec(entry, folder) for entry in content]
    names = [entry.name for entry in specs]
    if len(set(names)) < len(names):
        raise DataError(f"data set spec: a name occurs twice in {names}")
    return specs


def _parse_spec(entry: object, folder: Path) -> DatasetSpec:
    if not isinstance(entry, Mapping):
        raise DataError(f"data set spec: wanted an object, got {entry!r}")
    where = f"data set spec {entry.get('name', entry)!r}"
    missing = {"name", "fields", "label", "labels"} - set(entry)
    unknown = set(entry) - _KEYS
    if missing or unknown:
        wrong = f"lacks {sorted(missing)}" if missing else f"has the unknown keys {sorted(unknown)}"
        raise DataError(f"{where} {wrong}; the keys are {sorted(_KEYS)}")
    for key in ("fields", "labels"):
        if not isinstance(entry[key], list | tuple) or not all(isinstance(text, str) for text in entry[key]):
            raise DataError(f"{where}: '{key}' must be a list of texts, got {entry[key]!r}")
    for key in ("name", "label", "old_hub", "path"):
        if not isinstance(entry.get(key, ""), str):
            raise DataError(f"{where}: '{key}' must be a text, got {entry[key]!r}")
    return DatasetSpec(
        name=entry["name"],
        fields=tuple(entry["fields"]),
        label=entry["label"],
        labels=tuple(entry["labels"]),
        hub=_parse_hub(entry.get("hub"), where),
        old_hub=entry.get("old_hub"),
        path=folder / entry["path"] if "path" in entry else None,
    )


def _parse_hub(hub: object, where: str) -> tuple[str, str | None] | None:
    if hub is None:
        return None
    if isinstance(hub, str):
        return hub, None
    if isinstance(hub, list | tuple) and len(hub) == 2 and isinstance(hub[0], str) and isinstance(hub[1], str | None):
        return hub[0], hub[1]
    raise DataError(f"{where}: 'hub' must be an id or [id, configuration], got {hub!r}")
