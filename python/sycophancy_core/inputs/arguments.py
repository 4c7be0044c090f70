"""What kind each argument of a public function must be of: read from its annotations, and checked before it begins."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from sycophancy_core.errors import MAX_SEED, DataError, require_seed
from sycophancy_core.inputs.tables import as_table

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


def _as_given(value: Any, who: str) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """One alternative of an annotation.

    Attributes
    ----------
    words
        What a message calls it.
    holds
        Tells whether a value is of it; of a list or a mapping, whatever it contains.
    plural
        What a message calls several.
    name
        Of a class of this package.
    taken
        Makes what the function gets: Python's own numbers and tuples, tables of pyarrow. Its second argument begins
        the message about a table that cannot be read.
    inner
        Of a list, what its entries may be; of a mapping, what its keys and what its values may be.
    """

    words: str
    holds: Callable[[Any], bool]
    plural: str = ""
    name: str = ""
    taken: Callable[[Any, str], Any] = _as_given
    inner: tuple[tuple[Kind, ...], ...] = ()


class _StrangeError(Exception):
    """A value of another kind than those wanted: an argument, or what is in one."""

    def __init__(self, value: Any, kinds: Sequence[Kind]) -> None:
        self.value, self.kinds = value, kinds


def _is_list(value: Any) -> bool:
    """Tell whether a value has entries; the columns of a frame are none."""
    if isinstance(value, str | bytes | Mapping) or hasattr(value, "columns"):
        return False
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0


def _is_ordered(value: Any) -> bool:
    """Tell whether a value has entries in an order; that of a set changes from run to run."""
    return _is_list(value) and not isinstance(value, set | frozenset)


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


def _is_table(value: Any) -> bool:
    return not isinstance(value, Mapping) and any(hasattr(value, of) for of in ("__arrow_c_stream__", "with_format"))


def _classes(value: Any) -> set[str]:
    return {one.__name__ for one in type(value).__mro__}


def _entries(value: Any, who: str) -> tuple[Any, ...]:
    """Return a list's entries as Python's own values; they are gone over once, as a generator's must be."""
    for name in ("to_pylist", "tolist"):  # of pyarrow; of NumPy, pandas and torch
        if hasattr(value, name):
            return tuple(getattr(value, name)())
    return tuple(value)


_CURES = {"Prompted", "Steered", "Trained"}
_ANYTHING = Kind("anything", lambda value: True)
_TABLE = Kind("a table", _is_table, "tables", taken=lambda value, who: as_table(value, who=who))
_LIST = Kind("a list", _is_ordered, "lists", taken=_entries)
_SET = Kind("a list", _is_list, "lists", taken=lambda value, who: frozenset(_entries(value, who)))
_MAPPING = Kind("a mapping", lambda value: isinstance(value, Mapping), "mappings")
_PATH = Kind("a path", _is_path, "paths")
_METHODS = "options of methods (Prompted, Steered, Synthetic, ...)"
_KINDS = {
    "None": Kind("None", lambda value: value is None),
    "bool": Kind(
        "True or False", lambda value: type(value).__name__ in ("bool", "bool_"), taken=lambda value, who: bool(value)
    ),
    "int": Kind(
        "a whole number",
        lambda value: _is_number(value, Integral) and value <= MAX_SEED,
        "whole numbers",
        taken=lambda value, who: int(value),
    ),
    "float": Kind(
        "a number",
        _is_real,
        "numbers",
        taken=lambda value, who: int(value) if isinstance(value, Integral) else float(value),
    ),
    "str": Kind("a text", _is_text, "texts"),
    "Path": _PATH,
    "PathLike": _PATH,
    "Mapping": _MAPPING,
    "Sequence": _LIST,
    "tuple": _LIST,
    "Collection": _SET,
    "frozenset": _SET,
    "Callable": Kind("a function", callable, "functions"),
    "Progress": Kind("a function of done and total", callable),
    "LanguageModel": Kind("a loaded model", lambda value: hasattr(value, "score"), "loaded models"),
    "Result": Kind("a result (Evaluation, Comparison, Evaluations, ...)", lambda value: hasattr(value, "sides")),
    "Method": Kind("the options of a method", lambda value: bool(_CURES & _classes(value)), _METHODS),
    "TextIO": Kind("an open file", lambda value: hasattr(value, "write")),
    "Table": _TABLE,
}


def checked_arguments(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a public function refuse arguments of other kinds than its annotations say.

    The function gets Python's own values, whatever library the caller's are of: a frame comes as a table of pyarrow, an
    array, a column or a generator as a tuple, a NumPy number as a number.

    Raises
    ------
    DataError
        When the function is called: which argument it is, what was wanted and what it got. Or it asks for more than
        memory holds.
    """
    bind = _binder(function)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        bound = bind(*args, **kwargs)
        if bound is None:
            return function(*args, **kwargs)
        try:
            return function(*bound.args, **bound.kwargs)
        except MemoryError as error:
            who = function.__name__
            raise DataError(f"{who}: memory does not hold what was asked for; ask for less") from error

    return call


def checked_fields(record: type[_T]) -> type[_T]:
    """Make a data class refuse fields of other kinds than its annotations say, before its own checks.

    Raises
    ------
    DataError
        When a record is made.
    """
    make = record.__init__
    bind = _binder(make)

    @functools.wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = bind(self, *args, **kwargs)
        if bound is None:
            make(self, *args, **kwargs)
        else:
            make(*bound.args, **bound.kwargs)

    record.__init__ = made  # type: ignore[method-assign]  # as a decorator of it would
    return record


def _binder(function: Callable[..., Any]) -> Callable[..., inspect.BoundArguments | None]:
    """Return what binds a function's arguments and checks them; None where they do not fit, which Python says best."""
    signature = inspect.signature(function)
    kinds = {name: _of_parameter(one.annotation, function.__globals__) for name, one in signature.parameters.items()}
    owner = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    def bind(*args: Any, **kwargs: Any) -> inspect.BoundArguments | None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return None
        for name, value in bound.arguments.items():
            bound.arguments[name] = _checked(owner, name, value, kinds[name])
        return bound

    return bind


def _checked(owner: str, name: str, value: Any, kinds: Sequence[Kind]) -> Any:
    """Return an argument as the function gets it."""
    if name == "seed" and _KINDS["int"] in kinds:
        require_seed(owner, value)
    try:
        return _taken(value, kinds, f"{owner} ({name})")
    except _StrangeError as error:
        strange, wanted = error.value, error.kinds
    if _KINDS["int"] in wanted and _is_number(strange, Integral):
        raise DataError(f"{owner}: {name} must be at most {MAX_SEED}, got {strange}")
    if _KINDS["str"] in wanted and isinstance(strange, str):
        raise DataError(f"{owner}: {name} holds half a surrogate pair, got {strange!r}; write the character whole")
    if _TABLE in kinds and strange is value:
        as_table(value, who=f"{owner} ({name})")
    words = " or ".join(dict.fromkeys(kind.words for kind in kinds))
    got = _described(value) + ("" if strange is value else f" with {_described(strange)} in it")
    raise DataError(f"{owner}: {name} must be {words}, got {got}{_advice(strange, wanted)}")


def _taken(value: Any, kinds: Sequence[Kind], who: str) -> Any:
    """Return a value as the function gets it; a _StrangeError names what is of none of the kinds."""
    strange = _StrangeError(value, kinds)
    for kind in kinds:
        if kind.holds(value):
            try:
                return kind.taken(value, who)
            except _StrangeError as error:
                strange = error
    raise strange


def _described(value: Any) -> str:
    if value is None or isinstance(value, str | bytes | int | float):
        return repr(value)[:80]
    return f"the class {value.__name__}" if isinstance(value, type) else _with_article(type(value).__name__)


def _advice(value: Any, kinds: Sequence[Kind]) -> str:
    """Return what to give in place of what was given, where that is likely."""
    if isinstance(value, str | PathLike):
        if _KINDS["LanguageModel"] in kinds:
            return f"; give sc.load_model({str(value)!r})"
        loaded = any(kind.name == "Evaluation" or kind is _KINDS["Result"] for kind in kinds)
        return f"; give sc.Evaluation.load({str(value)!r})" if loaded else ""
    if isinstance(value, set | frozenset) and any(kind.holds is _is_ordered for kind in kinds):
        return "; a set has no order, so give a list"
    if _is_table(value) and any(_TABLE in inner for kind in kinds for inner in kind.inner):
        return '; give it a name, as in {"mine": table}'
    options = next((kind.name for kind in kinds if kind.name.endswith("Options")), None)
    return f"; give sc.{options}(...)" if options and isinstance(value, Mapping) else ""


def _of_parameter(annotation: Any, names: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Return the alternatives of a parameter: a text that may be a path has to be one, and a stream stays one."""
    kinds = list(kinds_of(annotation, names))
    if _PATH in kinds:
        is_name = any(kind.inner for kind in kinds)  # of something packaged, or a path
        path = replace(_PATH, words="a text or a path") if is_name else _PATH
        kinds = [path if kind is _PATH else kind for kind in kinds if kind is not _KINDS["str"]]
    return tuple(sorted(kinds, key=lambda kind: kind is _TABLE))


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
        outer = _kinds_of_node(node.value, names)
        return tuple(kind for one in outer for kind in _with_contents(one, node.slice, names))
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


def _with_contents(outer: Kind, contents: ast.expr, names: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Return a list or a mapping narrowed to what all its entries are; other kinds as they are."""
    if outer not in (_LIST, _SET, _MAPPING):
        return (outer,)
    parts = [part for part in getattr(contents, "elts", [contents]) if ast.unparse(part) != "..."]
    inner = tuple(_kinds_of_node(part, names) for part in parts)
    if outer is _MAPPING or len(parts) == 1:
        return (_narrowed(outer, inner),)
    # A pair, which the function checks; of a wrong one it is to say more than what kind each part is.
    return (_narrowed(outer, ((*(kind for one in inner for kind in one), _ANYTHING),)), _ANYTHING)


def _narrowed(outer: Kind, inner: tuple[tuple[Kind, ...], ...]) -> Kind:
    def taken(value: Any, who: str) -> Any:
        if isinstance(value, Mapping):
            keys, values = inner
            return {_taken(key, keys, who): _taken(one, values, who) for key, one in value.items()}
        entries = outer.taken(value, who)
        return type(entries)(_taken(one, inner[0], who) for one in entries)

    words = " to ".join(" or ".join(dict.fromkeys(kind.plural or kind.words for kind in kinds)) for kinds in inner)
    return replace(outer, words=f"{outer.words} of {words}", taken=taken, inner=inner)
