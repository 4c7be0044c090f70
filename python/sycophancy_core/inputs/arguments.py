"""What kind each argument of a public function must be of: read from its annotations, and checked before it begins."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from sycophancy_core.errors import MAX_SEED, DataError, require_seed
from sycophancy_core.inputs.tables import as_table

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Kind:
    """One alternative of an annotation.

    Attributes
    ----------
    words
        What a message calls it.
    holds
        Tells whether a value is of it.
    plural
        What a message calls several.
    name
        Of a class of this package.
    """

    words: str
    holds: Callable[[Any], bool]
    plural: str = ""
    name: str = ""


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _is_text(value: Any) -> bool:
    """Tell whether a value is a text, without halves of surrogate pairs."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_path(value: Any) -> bool:
    """Tell whether a value can be the path of a file: on some systems a name may hold bytes that are no text."""
    try:
        return isinstance(value, str | PathLike) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    """Tell whether a value is a number that a float can be."""
    try:
        return _is_number(value, Real) and isinstance(float(value), float)
    except OverflowError:
        return False


def _classes(value: Any) -> set[str]:
    return {one.__name__ for one in type(value).__mro__}


_CURES = {"Prompted", "Steered", "Trained"}
_ANYTHING = Kind("anything", lambda value: True)
_TABLE = Kind(
    "a table", lambda value: any(hasattr(value, name) for name in ("__arrow_c_stream__", "with_format")), "tables"
)
_LIST = Kind("a list", _is_list, "lists")
_MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping), "mappings")
_PATH = Kind("a path", _is_path, "paths")
_METHODS = "options of methods (Prompted, Steered, Synthetic, ...)"
_KINDS = {
    "None": Kind("None", lambda value: value is None),
    "bool": Kind("True or False", lambda value: type(value).__name__ in ("bool", "bool_")),
    "int": Kind("a whole number", lambda value: _is_number(value, Integral) and value <= MAX_SEED, "whole numbers"),
    "float": Kind("a number", _is_real, "numbers"),
    "str": Kind("a text", _is_text, "texts"),
    "Path": _PATH,
    "PathLike": _PATH,
    "Mapping": _MAPPING,
    "Sequence": _LIST,
    "Collection": _LIST,
    "tuple": _LIST,
    "Callable": Kind("a function", callable, "functions"),
    "Progress": Kind("a function of done and total", callable),
    "LanguageModel": Kind("a loaded model", lambda value: hasattr(value, "score"), "loaded models"),
    "Result": Kind("a result (Evaluation, Comparison, Evaluations, ...)", lambda value: hasattr(value, "sides")),
    "Method": Kind("the options of a method", lambda value: bool(_CURES & _classes(value)), _METHODS),
    "TextIO": Kind("an open file", lambda value: hasattr(value, "write")),
    "Table": _TABLE,
}


def checked_arguments(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a public function refuse arguments of other kinds than its annotations say, and read frames as tables.

    Where a table is wanted, the function gets one of pyarrow, whatever library the caller's is of.

    Raises
    ------
    DataError
        When the function is called: which argument it is, what was wanted and what it got. Or it asks for more than
        memory holds.
    """
    bind = _checker(function)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        bound = bind(*args, **kwargs)
        try:
            return function(*bound.args, **bound.kwargs)
        except MemoryError as error:
            who = function.__qualname__
            raise DataError(f"{who}: memory does not hold what was asked for; ask for less") from error

    return call


def checked_fields(record: type[_T]) -> type[_T]:
    """Make a data class refuse fields of other kinds than its annotations say, where its own checks let them pass.

    Raises
    ------
    DataError
        When a record is made.
    """
    make = record.__init__
    check = _checker(make)

    @functools.wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            make(self, *args, **kwargs)
        except DataError:
            raise
        except Exception:  # of a check that took a field for what it is not
            check(self, *args, **kwargs)
            raise
        check(self, *args, **kwargs)

    record.__init__ = made  # type: ignore[method-assign]  # as a decorator of it would
    return record


def _checker(function: Callable[..., Any]) -> Callable[..., inspect.BoundArguments]:
    """Return what binds a function's arguments and checks them."""
    signature = inspect.signature(function)
    kinds = {name: _of_parameter(one.annotation, function.__globals__) for name, one in signature.parameters.items()}
    owner = function.__qualname__.removesuffix(".__init__")

    def bind(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = _checked(owner, name, value, kinds[name])
        return bound

    return bind


def _checked(owner: str, name: str, value: Any, kinds: Sequence[Kind]) -> Any:
    """Return an argument that is of one of the kinds; a frame as a table."""
    if name == "seed" and _KINDS["int"] in kinds:
        require_seed(owner, value)
    if any(kind.holds(value) for kind in kinds if kind is not _TABLE):
        return value
    if _TABLE in kinds:
        return as_table(value, who=f"{owner} ({name})")
    if _KINDS["int"] in kinds and _is_number(value, Integral):
        raise DataError(f"{owner}: {name} must be at most {MAX_SEED}, got {value}")
    wanted = " or ".join(dict.fromkeys(kind.words for kind in kinds))
    got = repr(value) if isinstance(value, str | bytes | int | float | None) else _with_article(type(value).__name__)
    raise DataError(f"{owner}: {name} must be {wanted}, got {got[:80]}{_advice(value, kinds)}")


def _advice(value: Any, kinds: Sequence[Kind]) -> str:
    """Return what to do where a path stands for what is in it, or a mapping for a record of options."""
    if isinstance(value, str | PathLike):
        if _KINDS["LanguageModel"] in kinds:
            return f"; give sc.load_model({str(value)!r})"
        loaded = any(kind.name == "Evaluation" or kind is _KINDS["Result"] for kind in kinds)
        return f"; give sc.Evaluation.load({str(value)!r})" if loaded else ""
    names = (
        [str(one) for one in value.values() if isinstance(one, str | PathLike)] if isinstance(value, Mapping) else []
    )
    if names and any(kind.words.endswith("loaded models") for kind in kinds):
        return f"; give sc.load_model({names[0]!r})"
    options = next((kind.name for kind in kinds if kind.name.endswith("Options")), None)
    return f"; give sc.{options}(...)" if options and isinstance(value, Mapping) else ""


def _of_parameter(annotation: Any, names: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Return the alternatives of a parameter; a text that may be a path has to be one."""
    kinds = kinds_of(annotation, names)
    return tuple(kind for kind in kinds if kind is not _KINDS["str"]) if _PATH in kinds else kinds


def kinds_of(annotation: Any, names: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Return the alternatives that an annotation names.

    Parameters
    ----------
    annotation
        A text, as ``from __future__ import annotations`` leaves it, or a type.
    names
        Those of the function's module. A class that is imported for the type checker alone is known by its name.
    """
    if annotation is inspect.Parameter.empty:
        return (_ANYTHING,)
    if isinstance(annotation, str):
        return _kinds_of_node(ast.parse(annotation, mode="eval").body, names)
    origin = typing.get_origin(annotation) or annotation
    if origin is typing.Literal:
        return tuple(_kind_of(type(one).__name__) for one in typing.get_args(annotation)) or (_ANYTHING,)
    if origin in (typing.Union, types.UnionType):
        return tuple(kind for one in typing.get_args(annotation) for kind in kinds_of(one, names))
    if not isinstance(origin, type):
        return (_ANYTHING,)
    return (_kind_of(origin.__name__.removesuffix("Type") if origin is types.NoneType else origin.__name__),)


def _kinds_of_node(node: ast.expr, names: Mapping[str, Any]) -> tuple[Kind, ...]:
    if isinstance(node, ast.BinOp):
        return (*_kinds_of_node(node.left, names), *_kinds_of_node(node.right, names))
    if isinstance(node, ast.Constant):
        return kinds_of(node.value, names) if isinstance(node.value, str) else (_KINDS["None"],)
    if isinstance(node, ast.Subscript):
        return tuple(_with_contents(kind, node.slice, names) for kind in _kinds_of_node(node.value, names))
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    if name in names and name not in _KINDS:
        return kinds_of(names[name], names)
    return (_kind_of(name),)


def _kind_of(name: str) -> Kind:
    """Return the kind of a name: one of those above, or the class of this package that is called so."""
    if name in _KINDS or not name[:1].isupper() or name == "Any":
        return _KINDS.get(name, _ANYTHING)

    def is_one(value: Any) -> bool:
        return name in _classes(value)

    return Kind(_with_article(name), is_one, f"{name}s", name)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _with_contents(outer: Kind, contents: ast.expr, names: Mapping[str, Any]) -> Kind:
    """Return a list or a mapping narrowed to what all its entries are; other kinds as they are."""
    parts = [part for part in getattr(contents, "elts", [contents]) if ast.unparse(part) != "..."]
    if outer is not _MAPPING and (outer is not _LIST or len(parts) > 1):
        return outer if outer is not _LIST else _ANYTHING  # a pair of two kinds, which the function checks
    inner = [_kinds_of_node(part, names) for part in parts]
    words = " to ".join(" or ".join(dict.fromkeys(kind.plural or kind.words for kind in kinds)) for kinds in inner)

    def holds(value: Any) -> bool:
        if not outer.holds(value) or not isinstance(value, Collection):
            return outer.holds(value)  # what can be gone over only once is not looked into
        columns: tuple[Collection[Any], ...] = (value,)
        if isinstance(value, Mapping):
            columns = (value.keys(), value.values())
        entries = ((one, kinds) for column, kinds in zip(columns, inner, strict=True) for one in column)
        return all(any(kind.holds(one) for kind in kinds) for one, kinds in entries)

    return Kind(f"{outer.words} of {words}", holds, outer.plural)
