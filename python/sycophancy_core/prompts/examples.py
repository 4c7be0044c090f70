"""Labelled examples: from the package, from folders, from the hub. Alone may touch the network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import sycophancy_core._core as _core
from sycophancy_core.errors import DataError, require_whole, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import table_of
from sycophancy_core.prompts.dataset_specs import DatasetSpec, packaged_specs, parse_specs
from sycophancy_core.runs.files import read_table, require_folder

LABELS_KEY = "sycophancy_core.labels"
DROPPED_KEY = "sycophancy_core.dropped"

_SAMPLES = Path(__file__).parents[1] / "data/samples"
_SUFFIXES = (".jsonl", ".parquet")


@checked_arguments
def load_examples(
    source: str | Sequence[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    spec: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> pa.Table:
    """Load labelled examples, cleaned as published.

    Without arguments: the packaged sample, written for this package.

    Parameters
    ----------
    source
        Names of the data sets to load; None: all there are. Without ``folder`` and ``spec``, a name of the packaged
        sample, or one of the 17 published sets, which then come from the Hugging Face hub (train split).
    folder
        Folder of ``<name>.jsonl`` or ``<name>.parquet`` files in the hub's schema. The names are those of the 17
        published sets, of ``spec``, or of a ``datasets.json`` in the folder.
    spec
        Own data sets: a dict (or list of dicts, or JSON file) with the keys ``name``, ``fields``, ``label``,
        ``labels``, and ``path`` or ``hub`` unless the file lies in ``folder``. With a folder, nothing comes from a hub.
    limit
        At most this many examples of every set, drawn by ``seed``.

    Returns
    -------
    pyarrow.Table
        Columns ``id``, ``source``, ``input``, ``label``. The schema's metadata holds, as JSON, the labels of every
        source (``sycophancy_core.labels``) and the number of rows dropped by reason (``sycophancy_core.dropped``):
        unlabelled, empty_text, conflicting_label, duplicate.

    Raises
    ------
    DataError
        If a set is unknown or named twice, the file of a set that was asked for or that a spec names is missing, a file
        is damaged, a label's name is unknown, a label's index is out of range, no example is left, or the limit is
        below 1.

    Warns
    -----
    UserWarning
        If the folder holds files of no set, such as one whose name is misspelt.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> examples = sc.load_examples()  # the packaged sample
    >>> examples.column_names
    ['id', 'source', 'input', 'label']

    References
    ----------
    Wei et al. 2023, section 4.1 and appendix A.
    """
    require_whole("examples", "limit", limit, least=1, none="None, for all examples")
    specs = _select(_available(folder, spec, source), source)
    loaded = [_load_set(entry, limit, seed) for entry in specs]
    return _join(loaded, {entry.name: list(entry.labels) for entry in specs})


def labels_of(examples: pa.Table) -> dict[str, list[str]]:
    """Return the labels of every source of an examples table."""
    labels: dict[str, list[str]] = _metadata(examples, LABELS_KEY)
    return labels


def dropped_of(examples: pa.Table) -> dict[str, dict[str, int]]:
    """Return the number of dropped rows of every source of an examples table, by reason."""
    dropped: dict[str, dict[str, int]] = _metadata(examples, DROPPED_KEY)
    return dropped


def _metadata(table: pa.Table, key: str) -> Any:
    content = (table.schema.metadata or {}).get(key.encode())
    if content is None:
        raise DataError(f"examples: the schema has no metadata '{key}'; make the table with load_examples")
    return json.loads(content)


def _available(folder: Any, spec: Any, source: Any) -> list[DatasetSpec]:
    """Return every set that could be loaded, with the path of its file where it is known."""
    specs = None if spec is None else parse_specs(spec)
    if folder is not None:
        found = _in_folder(Path(folder), specs)
        if source is None:
            _warn_unclaimed(Path(folder), found)
        return found
    if specs is not None:
        return specs
    samples = _in_folder(_SAMPLES, None)
    return samples if source is None else samples + packaged_specs("datasets17")


def _in_folder(folder: Path, specs: list[DatasetSpec] | None) -> list[DatasetSpec]:
    require_folder(folder)
    own = folder / "datasets.json"
    if specs is None and own.is_file():
        specs = parse_specs(own)
    listed = packaged_specs("datasets17") if specs is None else specs
    files = {entry.name: _files_of(entry, folder) for entry in listed}
    if not any(files.values()):
        raise DataError(f"examples: {folder} has no .jsonl or .parquet file of the data sets {', '.join(files)}")
    if any(len(paths) > 1 for paths in files.values()):
        raise DataError(f"examples: {folder} has a data set as JSONL and as Parquet; keep one")
    there = listed if specs is not None else [entry for entry in listed if files[entry.name]]
    # What a spec names but the folder lacks lies at the spec's own path, or is missed once it is read.
    return [
        _with_path(entry, *files[entry.name] or [entry.path or folder / f"{entry.name}{_SUFFIXES[0]}"])
        for entry in there
    ]


def _files_of(spec: DatasetSpec, folder: Path) -> list[Path]:
    paths = [folder / f"{spec.name}{suffix}" for suffix in _SUFFIXES]
    return [path for path in paths if path.is_file()]


def _warn_unclaimed(folder: Path, found: Sequence[DatasetSpec]) -> None:
    claimed = {entry.path.resolve() for entry in found if entry.path is not None}
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.resolve() not in claimed)
    if files:
        warn(
            f"examples: {folder}: passed over {', '.join(path.name for path in files)}, named after no known data set; "
            "rename them, give a spec, or name the sets that are wanted"
        )


def _with_path(spec: DatasetSpec, path: Path) -> DatasetSpec:
    return replace(spec, path=path)


def _select(available: list[DatasetSpec], source: str | Sequence[str] | None) -> list[DatasetSpec]:
    if source is None:
        return available
    wanted = [source] if isinstance(source, str) else list(source)
    by_name = {entry.name: entry for entry in available}
    unknown = [name for name in wanted if name not in by_name]
    if unknown or not wanted:
        raise DataError(f"examples: there is no data set {unknown}; there are {', '.join(by_name)}")
    twice = [name for at, name in enumerate(wanted) if name in wanted[:at]]
    if twice:
        raise DataError(f"examples: wanted each data set once, got {twice[0]!r} twice")
    return [by_name[name] for name in wanted]


def clean_examples(parts: Sequence[tuple[pa.Table, DatasetSpec]]) -> pa.Table:
    """Make one table of examples from tables of texts and labels, as :func:`load_examples` does from files."""
    cleaned = [_cleaned(_plain(table, spec), spec) for table, spec in parts]
    return _join(cleaned, {spec.name: list(spec.labels) for _, spec in parts})


def _load_set(spec: DatasetSpec, limit: int | None, seed: int) -> tuple[pa.Table, dict[str, int]]:
    examples, dropped = _cleaned(_read_set(spec), spec)
    if limit is not None and limit < len(examples):
        drawn = _core.sample_positions(len(examples), limit, seed)
        examples = examples.take(pa.array(drawn, pa.int64()))
    return examples, dropped


def _cleaned(raw: pa.Table, spec: DatasetSpec) -> tuple[pa.Table, dict[str, int]]:
    table, dropped = _core.clean_examples(
        raw, source=spec.name, fields=list(spec.fields), label=spec.label, labels=list(spec.labels)
    )
    if dropped.pop("label_out_of_range"):
        found = {label for label in raw[spec.label].unique().to_pylist() if label not in (None, -1)}
        raise DataError(
            f"data set '{spec.name}': labels run {min(found)} to {max(found)}, wanted 0 to {len(spec.labels) - 1}, the "
            f"places in {list(spec.labels)}; an unlabelled row has -1 or null"
        )
    return table_of(table), dropped


def _read_set(spec: DatasetSpec) -> pa.Table:
    if spec.path is not None:
        return _read_table(spec.path, spec.fields, spec)
    if spec.hub is None:
        raise DataError(f"data set '{spec.name}': wanted a path or a hub id, got neither; add one to its spec")
    import datasets

    return _plain(read_hub(spec, datasets.load_dataset), spec)


def _read_table(path: Path, texts: Sequence[str], spec: DatasetSpec | None = None) -> pa.Table:
    if not path.is_file():
        of = "" if spec is None else f" of data set '{spec.name}'"
        raise DataError(f"examples: there is no file {path}{of}")
    if path.suffix == ".parquet":
        table = read_table(path)
        return table if spec is None else _plain(table, spec)
    label, labels = ("", []) if spec is None else (spec.label, list(spec.labels))
    content: Any = path.read_bytes()  # taken as they are, where the stub speaks of str
    return table_of(_core.read_jsonl(content, texts=list(texts), label=label, labels=labels, where=str(path)))


def _plain(table: pa.Table, spec: DatasetSpec) -> pa.Table:
    """Return a table whose texts are strings and whose labels are indices, whatever tool wrote it."""
    if spec.label not in table.column_names:
        raise DataError(f"data set '{spec.name}': there is no column '{spec.label}' among {table.column_names}")
    where = f"data set '{spec.name}': {spec.path or f'hub {spec.hub}'}: column"
    for name in table.column_names:
        kind = table[name].type
        if name == spec.label:
            column = _label_index(table[name], list(spec.labels), f"{where} '{name}'")
        elif name not in spec.fields or _is_text(kind) or pa.types.is_dictionary(kind):
            continue
        elif pa.types.is_null(kind):
            column = table[name].cast(pa.string())
        else:
            raise DataError(f"{where} '{name}' must hold strings, got {kind}; cast it, or name another field")
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _label_index(column: pa.ChunkedArray, labels: list[str], where: str) -> pa.ChunkedArray:
    """Replace names of labels by their indices, and whole floating-point numbers by integers; NaN is no label."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind):
        return column
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    if _is_text(kind):
        column = column.cast(pa.large_string())
        index = pc.index_in(column, value_set=pa.array(labels, pa.large_string()))
        unknown = pc.filter(column, pc.and_(pc.is_null(index), pc.is_valid(column)))
        if len(unknown):
            raise DataError(f"{where} has the unknown label {unknown[0].as_py()!r}; there are {labels}")
        return index
    if not pa.types.is_floating(kind):
        raise DataError(f"{where} must hold indices or names of labels, got {kind}; cast it to integers or strings")
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    is_index = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**31))
    wrong = pc.filter(numbers, pc.invert(is_index))
    if len(wrong):
        raise DataError(f"{where} must hold indices of labels, got {wrong[0].as_py()} ({kind}); write whole numbers")
    return numbers.cast(pa.int64())


def read_hub(spec: DatasetSpec, load_dataset: Callable[..., Any]) -> pa.Table:
    """Read a set's train split from the hub.

    Its present id is tried first, then the id it had before it moved, then the hub's Parquet conversion of both: sets
    that have only a loading script can be read in no other way since ``datasets`` 4.

    Parameters
    ----------
    spec
        A set with a hub id.
    load_dataset
        ``datasets.load_dataset``, or a stand-in.

    Raises
    ------
    DataError
        If every way fails; the message holds each way's reason.
    """
    name, config = spec.hub or ("", None)
    ids = [name] if spec.old_hub is None else [name, spec.old_hub]
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((id_, config), {}) for id_ in ids]
    for id_ in ids:
        pattern = f"hf://datasets/{id_}@refs%2Fconvert%2Fparquet/{config or '*'}/train/*.parquet"
        ways.append((("parquet",), {"data_files": {"train": pattern}}))
    reasons = []
    for arguments, options in ways:
        try:
            table: pa.Table = load_dataset(*arguments, split="train", **options).with_format("arrow")[:]
        except Exception as error:  # what `datasets` raises differs by way and version
            reasons.append(f"{options or arguments}: {type(error).__name__}: {str(error).splitlines()[:1]}")
        else:
            return table
    raise DataError(f"data set '{spec.name}' cannot be read from the hub: {'; '.join(reasons)}")


def _join(loaded: list[tuple[pa.Table, dict[str, int]]], labels: dict[str, list[str]]) -> pa.Table:
    examples = pa.concat_tables([table for table, _ in loaded])
    dropped = {name: counts for name, (_, counts) in zip(labels, loaded, strict=True)}
    if not len(examples):
        raise DataError(f"examples: no usable example is left; dropped: {dropped}")
    metadata = {LABELS_KEY: json.dumps(labels, ensure_ascii=False), DROPPED_KEY: json.dumps(dropped)}
    return examples.replace_schema_metadata(metadata)
