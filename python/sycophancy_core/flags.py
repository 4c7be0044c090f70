"""Flags of the command line, made from records of options: a default lives once, and no option lacks a flag."""

from __future__ import annotations

import argparse
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from sycophancy_core.errors import DataError

Record = TypeVar("Record")


def add_flags(parser: argparse.ArgumentParser, record: type, *, leave_out: Collection[str] = ()) -> None:
    """Give a parser one flag for each field of a record of options.

    The help is the first sentence of the field's entry in the record's docstring. A flag that is not given leaves
    nothing behind, so the record's own default counts (see :func:`record_from`).

    Parameters
    ----------
    leave_out
        Fields that have no flag, or another one.
    """
    hints, words = typing.get_type_hints(record), _field_words(record.__doc__ or "")
    defaults = {field.name: field.default for field in fields(record)}
    for name, default in defaults.items():
        if name not in leave_out:
            about = f"{words[name]} (default: {_shown(default)})"
            flag = f"--{name.replace('_', '-')}"
            settings = _settings(hints[name])
            parser.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=about.replace("%", "%%"), **settings)


def record_from(record: type[Record], given: argparse.Namespace, **more: Any) -> Record:
    """Make a record of options from the flags that were given, and from ``more`` in their place."""
    names = [field.name for field in fields(typing.cast("Any", record))]
    values = {name: _value(getattr(given, name)) for name in names if hasattr(given, name)}
    return record(**{**values, **more})


class _CommaList(argparse.Action):
    """Keeps values that are parted by spaces, by commas or by both."""

    def __init__(self, *args: Any, kind: Callable[[str], Any] = str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.kind = kind

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Part and convert the values."""
        words = [word for value in values for word in value.split(",") if word]
        try:
            setattr(namespace, self.dest, [self.kind(word) for word in words])
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def comma_list(kind: Callable[[str], Any]) -> dict[str, Any]:
    """Return the settings of a flag that takes several values: ``a b``, ``a,b`` or ``a, b``."""
    return {"action": _CommaList, "nargs": "+", "kind": kind}


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def set_from_config(parser: argparse.ArgumentParser, config: Mapping[str, Any], path: Path) -> None:
    """Let a file's values stand for flags that are not on the command line.

    Raises
    ------
    DataError
        If a key is no flag, or a value is none that the flag can have.
    """
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    for key, value in config.items():
        action = actions.get(str(key).replace("-", "_"))
        if action is None:
            known = ", ".join(sorted(actions))
            raise DataError(f"{path}: there is no option {key!r}; wanted one of {known}")
        action.default = _config_value(action, value, f"{path}: {key}")
        action.required = False
        if not action.option_strings:
            action.nargs = "*" if isinstance(value, list) else "?"


def _config_value(action: argparse.Action, value: Any, where: str) -> Any:
    if isinstance(action, argparse.BooleanOptionalAction | argparse._StoreTrueAction):
        if not isinstance(value, bool):
            raise DataError(f"{where}: wanted true or false, got {value!r}")
        return value
    several = action.nargs in ("+", "*") or isinstance(action.nargs, int)
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) != several and not (several and isinstance(value, str | int | float)):
        raise DataError(f"{where}: wanted one value, got a list")
    made = [_one(action, item, where) for item in values]
    return made if several else made[0]


def _one(action: argparse.Action, value: Any, where: str) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{where}: wanted a text or a number, got {value!r}")
    convert = typing.cast("Callable[[str], Any]", getattr(action, "kind", None) or action.type or str)
    try:
        made = convert(str(value))
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise DataError(f"{where}: {error}") from error
    if action.choices is not None and made not in action.choices:
        raise DataError(f"{where}: wanted one of {', '.join(map(str, action.choices))}, got {value!r}")
    return made


def _settings(hint: Any) -> dict[str, Any]:
    """Say how argparse reads a value of this type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        if str in kinds:
            return {"type": str}
        settings = _settings(kinds[0])
        if type(None) in inner and "type" in settings:
            settings["type"] = _or_none(settings["type"])
        return settings
    if origin is Literal:
        return {"choices": inner}
    if origin is tuple:
        kind = inner[0] if inner[0] in (int, float) else str
        return comma_list(kind) if inner[-1] is Ellipsis else {"type": kind, "nargs": len(inner)}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if hint in (int, float, str):
        return {"type": hint}
    if hint is Path or hint is os.PathLike:
        return {"type": Path}
    raise TypeError(f"there is no flag for the type {hint}")


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Read "none" as None, and everything else as ``kind`` does."""

    def read(text: str) -> Any:
        return None if text.lower() == "none" else kind(text)

    read.__name__ = f"{kind.__name__} or none"  # argparse names it where a text cannot be read
    return read


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(map(str, default)) or "none"
    return "none" if default is None else str(default)


def _field_words(docstring: str) -> dict[str, str]:
    """Return the first sentence that a numpydoc docstring says of each attribute."""
    section = re.split(r"\n *Attributes\n *-+\n", docstring, maxsplit=1)[-1]
    section = re.split(r"\n *\w[\w ]*\n *---+\n", section, maxsplit=1)[0]
    words: dict[str, str] = {}
    names: list[str] = []
    margin = len(section) - len(section.lstrip(" "))
    for line in section.splitlines():
        if line.strip() and len(line) - len(line.lstrip(" ")) <= margin:
            names = [name.strip() for name in line.split(",")]
        else:
            for name in names:
                words[name] = f"{words.get(name, '')} {line.strip()}".strip()
    first = {
        name: re.split(r'(?<!et al)\. (?=[A-Z`"0-9])', text, maxsplit=1)[0].rstrip(".") for name, text in words.items()
    }
    return {name: _plain(text) for name, text in first.items()}


def _plain(text: str) -> str:
    """Return a docstring's sentence as a terminal shows it: no markup, and None as it is written in a flag."""
    return re.sub(r":\w+:`([^`]+)`", r"\1", text.replace("``", "")).replace("None", "none")
