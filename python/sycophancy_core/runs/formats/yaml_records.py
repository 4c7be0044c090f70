"""Records of options from what a YAML file holds, with a sentence for every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sycophancy_core.errors import DataError


def record_of(kind: Any, value: Any, where: str, **made: Any) -> Any:
    """Make a record of options from a mapping.

    Parameters
    ----------
    kind
        A dataclass. Its fields are texts, numbers, literals, tuples or optional values of these, or such records.
    where
        What errors call the mapping.
    made
        Fields that are made already, which the mapping may not name.

    Raises
    ------
    DataError
        If a key is unknown, or a value is of a wrong type or out of range.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{where} must hold keys with values, got {value!r}")
    kinds = {key: one for key, one in get_type_hints(kind).items() if key not in made}
    unknown = [key for key in value if key not in kinds]
    if unknown:
        near = get_close_matches(str(unknown[0]), kinds, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise DataError(f"{where} has the unknown key {unknown[0]!r}; {meant}wanted some of {', '.join(kinds)}")
    return kind(**made, **{key: _converted(kinds[key], item, key) for key, item in value.items()})


def _converted(kind: Any, value: Any, where: str) -> Any:
    """Return a YAML value as the type of its field."""
    if is_dataclass(kind):
        return record_of(kind, value, where)
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DataError(f"{where} must be a list, got {value!r}")
        return tuple(_converted(parts[0], item, f"each of {where}") for item in value)
    if get_origin(kind) is Literal:
        if value not in parts:
            raise DataError(f"{where} must be one of {', '.join(map(str, parts))}, got {value!r}")
        return value
    if NoneType in parts:
        return None if value is None else _converted(parts[0], value, where)
    return _number_or_text(kind, value, where)


def _number_or_text(kind: type, value: Any, where: str) -> Any:
    words = {str: "a text", int: "a whole number", float: "a number"}
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3, without a point, as a text
        except (ValueError, OverflowError):
            pass
    if isinstance(value, bool) or not isinstance(value, kind):
        raise DataError(f"{where} must be {words[kind]}, got {value!r}")
    return value
