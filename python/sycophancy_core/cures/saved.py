"""What a saved cure says of itself, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from sycophancy_core.cures.cured import FILE, Cost
from sycophancy_core.cures.methods import NULLS, Method, check_null
from sycophancy_core.errors import DataError, require_seed
from sycophancy_core.runs.files import require_folder
from sycophancy_core.runs.json_files import json_kind, read_json, text_at
from sycophancy_core.runs.seals import check_seal

_KEYS = {"options": dict, "base": dict, "cost": dict, "about": dict}


class SavedCure(NamedTuple):
    """A saved cure: the fields of :class:`Cured` but for the model, and where it is."""

    folder: Path
    method: Method
    null: str | None
    seed: int
    base: dict[str, str]
    cost: Cost
    about: dict[str, Any]


def read_cure(folder: Path) -> SavedCure:
    """Read ``cure.json`` of a folder that is whole.

    Raises
    ------
    DataError
        If the folder holds no whole cure, a file of it was changed, or a key is missing or of another kind.
    """
    path = folder / FILE
    if not path.is_file():
        require_folder(folder)
        raise DataError(f"{folder}: wanted a folder with a saved cure, got no {FILE}")
    check_seal(folder)
    record = read_json(path)
    kinds: dict[str, Any] = {kind.__name__.lower(): kind for kind in NULLS}
    name = text_at(record, "method", where=str(path))
    if name not in kinds:
        raise DataError(f"{path}: method: wanted one of {', '.join(kinds)}, got {name!r}")
    for key, kind in _KEYS.items():
        if not isinstance(record.get(key), kind):
            raise DataError(f"{path}: {key}: wanted an object, got {json_kind(record.get(key))}; save the cure again")
    for key in ("name", "weights"):
        text_at(record, "base", key, where=str(path))
    options = {key: tuple(one) if isinstance(one, list) else one for key, one in record["options"].items()}
    try:
        method = kinds[name](**options)
        cost = Cost(**record["cost"])
        check_null(method, record.get("null"))
        require_seed("seed", record.get("seed"))
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: its options are not those of {name} ({error}); save the cure again") from error
    return SavedCure(folder, method, record.get("null"), record["seed"], record["base"], cost, record["about"])
