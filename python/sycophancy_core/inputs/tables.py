"""The one check of tables that enter: columns and their types, nulls, ids, and words of which only some are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError

Kind = Literal["any", "prompt", "text", "texts", "whole", "number", "truth"]
MAX_CHOICES = 128  # positions of choices are kept as int8


@dataclass(frozen=True)
class Column:
    """A column that a table must have, or may.

    Attributes
    ----------
    name
        As in the table.
    kind
        ``"any"`` (only looked for), ``"prompt"`` (a text or messages), ``"text"``, ``"texts"`` (a list of texts a row),
        ``"whole"`` (a whole number), ``"number"`` or ``"truth"``.
    is_required
        Whether the table must have it.
    may_be_null
        Whether rows may lack a value.
    words
        The only texts that it may hold; empty for any.
    """

    name: str
    kind: Kind
    is_required: bool = True
    may_be_null: bool = False
    words: tuple[str, ...] = ()


TEXTS = ("prompt", "turns", "thought")  # which results keep apart from their measurements
ASKED = (Column("prompt", "any"), Column("choices", "any"))  # whose rows are read one by one
PROMPTS = (
    Column("prompt", "prompt"),
    Column("choices", "texts"),
    Column("id", "text", is_required=False),
)
_ASKED_HOW = (
    Column("claim_id", "text"),
    *(Column(name, "whole", is_required=False, may_be_null=True) for name in ("target", "user_choice")),
    *(Column(name, "text", is_required=False, may_be_null=True) for name in ("arm", "order", "template")),
)
QUESTIONS = (*PROMPTS, *_ASKED_HOW)
ANSWERS = (Column("task", "text"), Column("id", "text"), *_ASKED_HOW)  # of an evaluation, next to scores or replies
TRAINING_ROWS = (  # of mix, or chats, which may lack all of these
    Column("id", "text", is_required=False),
    Column("origin", "text", is_required=False, words=("synthetic", "instruction")),
    Column("prompt", "prompt", is_required=False),
    Column("completion", "prompt", is_required=False),
)
INSTRUCTIONS = (
    Column("instruction", "text"),
    Column("input", "text", is_required=False),
    Column("output", "text"),
)
CLAIMS = (
    Column("id", "text"),
    Column("source", "text"),
    Column("kind", "text", words=("claim", "addition")),
    Column("text", "text"),
    Column("is_true", "truth"),
    Column("polarity", "text", words=("is", "is_not")),
    Column("example_id", "text", is_required=False),
)
JUDGED_CLAIMS = (  # of a filter, or facts
    *(Column(name, "text") for name in ("id", "source")),
    Column("is_true", "truth"),
    *(Column(name, "number", may_be_null=True) for name in ("margin", "letter_bias")),
    Column("status", "text", words=("kept", "filtered", "failed")),
    Column("reason", "text", may_be_null=True),
)
FACTS = (
    *(Column(name, "text") for name in ("id", "family", "question", "lead_in", "right", "statement")),
    Column("wrong", "texts"),
)
EXAMPLES = (
    Column("id", "text"),
    Column("source", "text"),
    Column("input", "text"),
    Column("label", "whole"),
)


class ArrowResult(ABC):
    """What a result is to other libraries: a table of pyarrow, pandas, polars, or anything that reads Arrow."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """Return the result's table."""

    def to_pandas(self) -> Any:
        """Return the result's table as a pandas frame."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return the result's table as a polars frame."""
        import polars

        return polars.from_arrow(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand out the result's table as an Arrow stream, for ``polars.DataFrame(result)`` and its like."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


def table_of(stream: Any) -> pa.Table:
    """Return the table of an Arrow stream, as the compiled core gives it.

    ``pyarrow.table`` would first import pandas, to ask whether it is one of its frames.
    """
    return pa.RecordBatchReader.from_stream(stream).read_all()


def checked_table(value: Any, columns: Sequence[Column], *, who: str) -> pa.Table:
    """Return what was given as a table, after checking its columns.

    Parameters
    ----------
    value
        A table of pyarrow, or anything that hands out an Arrow stream, such as a frame of pandas or polars.
    columns
        What to check; other columns are left as they are.
    who
        With what the message begins.

    Returns
    -------
    pyarrow.Table
        As :func:`as_table` returns it.

    Raises
    ------
    DataError
        If it is no table, columns are missing (all are named) or there twice, or a row holds what its column may not.
    """
    table = as_table(value, who=who)
    missing = [column.name for column in columns if column.is_required and column.name not in table.column_names]
    if missing:
        got = ", ".join(table.column_names) or "none"
        raise DataError(f"{who}: wanted a table with the columns {', '.join(missing)} as well; got the columns {got}")
    for column in columns:
        if column.name in table.column_names:
            position = table.column_names.index(column.name)
            given = table[column.name]
            values = _checked_column(given, column, who)
            if values is not given:
                table = table.set_column(position, column.name, values)
    return table


def as_table(value: Any, *, who: str) -> pa.Table:
    """Return a table of pyarrow, made of anything that hands out an Arrow stream; categories and views are decoded."""
    if not isinstance(value, pa.Table):
        if not hasattr(value, "__arrow_c_stream__") and hasattr(value, "with_format"):  # a data set of `datasets`
            value = _of_dataset(value, who)
        if not hasattr(value, "__arrow_c_stream__"):
            got = type(value).__name__
            read = "; read it first, as by sc.read_claims, sc.read_questions or sc.load_facts"
            how = read if isinstance(value, str | PathLike) else ""
            raise DataError(f"{who}: wanted a table (pyarrow, pandas, polars, datasets), got {got}{how}")
        try:
            value = pa.table(value)
        except (pa.ArrowException, TypeError, ValueError) as error:
            said = "; ".join(map(str, error.args))
            raise DataError(f"{who}: the table cannot be read as Arrow columns: {said}") from error
    twice = sorted({name for name in value.column_names if value.column_names.count(name) > 1})
    if twice:
        raise DataError(f"{who}: the table has the column {twice[0]!r} twice; rename or drop one")
    for position, field in enumerate(value.schema):
        plain = _plain_type(field.type)
        if plain != field.type:  # views, of polars, can neither be filtered nor taken; categories not be compared
            value = value.set_column(position, field.name, value.column(position).cast(plain))
    return value


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type with texts in place of views of them, and values in place of categories; in lists too."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type else pa.large_list(inner)
    if pa.types.is_struct(kind):
        inner = [_plain_type(field.type) for field in kind]
        same = all(new == field.type for new, field in zip(inner, kind, strict=True))
        return kind if same else pa.struct([(field.name, new) for field, new in zip(kind, inner, strict=True)])
    return kind


def _of_dataset(value: Any, who: str) -> Any:
    """Return the Arrow table of a data set of the library ``datasets``, with the rows that it has now."""
    if hasattr(value, "keys"):
        raise DataError(
            f"{who}: wanted one split of the data set, got {', '.join(map(str, value))}; choose one of them"
        )
    found = value.with_format("arrow")
    return found[:] if hasattr(found, "__getitem__") else value


def check_choices(table: pa.Table, *, who: str, least: int = 1) -> None:
    """Refuse rows with too few or too many choices, or with one twice, of which neither is the answer.

    Raises
    ------
    DataError
        If a row has fewer than ``least`` choices, more than 128, or the same one twice.
    """
    counts = pc.list_value_length(table["choices"])
    for is_wrong, wanted in (
        (pc.less(counts, least), f"at least {least}"),
        (pc.greater(counts, MAX_CHOICES), f"at most {MAX_CHOICES}"),
    ):
        row = _first(is_wrong)
        if row is not None:
            got = counts[row].as_py()
            raise DataError(f"{who}: row {row} has {got} choices; wanted {wanted}")
    for row, choices in enumerate(table["choices"].to_pylist()):
        if len(set(choices)) < len(choices):
            twice = next(choice for choice in choices if choices.count(choice) > 1)
            raise DataError(f"{who}: row {row} has the choice {twice!r} twice; wanted different choices")


def _checked_column(values: pa.ChunkedArray, column: Column, who: str) -> pa.ChunkedArray:
    if column.kind == "any":
        return values
    where = f"{who}: the column {column.name!r}"
    plain = _plain(values, column, where)
    if plain.null_count and not column.may_be_null:
        row = _first(pc.is_null(plain))
        raise DataError(f"{where} has null in row {row}; give every row a value, or leave the row out")
    if column.kind == "texts" and not pa.types.is_null(plain.type) and pc.list_flatten(plain).null_count:
        row = next(row for row, items in enumerate(plain.to_pylist()) if items is not None and None in items)
        raise DataError(f"{where} has a list with null in row {row}; wanted texts")
    if column.words and not pa.types.is_null(plain.type):
        row = _first(pc.invert(pc.is_in(plain, value_set=pa.array(column.words, plain.type))))
        if row is not None:
            raise DataError(
                f"{where} must be one of {', '.join(column.words)}, got {plain[row].as_py()!r} in row {row}"
            )
    return plain


def _plain(values: pa.ChunkedArray, column: Column, where: str) -> pa.ChunkedArray:
    """Return a column's values in one layout, and refuse another kind of value than the column's."""
    kind = values.type
    if pa.types.is_null(kind):  # every value is null, or there is none
        return values
    if column.kind == "prompt" and _is_list(kind):  # messages, which are read row by row
        return values
    if column.kind == "texts" and _is_list(kind) and (_is_text(kind.value_type) or pa.types.is_null(kind.value_type)):
        simple = pa.types.is_list(kind) and pa.types.is_string(kind.value_type)
        return values if simple else values.cast(pa.list_(pa.string()))
    if column.kind in ("prompt", "text") and _is_text(kind):
        return values
    if column.kind in ("whole", "number") and pa.types.is_integer(kind):
        return values
    if column.kind == "whole" and pa.types.is_floating(kind):  # of pandas, where a value is missing
        return _whole(values, where)
    if column.kind == "number" and pa.types.is_floating(kind):
        return values
    if column.kind == "truth" and pa.types.is_boolean(kind):
        return values
    wanted = {
        "prompt": "texts or messages",
        "text": "texts",
        "texts": "lists of texts",
        "whole": "whole numbers",
        "truth": "true or false",
    }
    raise DataError(f"{where} must hold {wanted.get(column.kind, 'numbers')}, got {values.type}")


def _whole(values: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Return whole floating-point numbers as integers, and NaN as null."""
    numbers = values.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    wrong = _first(pc.or_(pc.not_equal(pc.floor(numbers), numbers), pc.greater_equal(pc.abs(numbers), 2.0**63)))
    if wrong is not None:
        raise DataError(f"{where} must hold whole numbers, got {numbers[wrong].as_py()} in row {wrong}")
    return numbers.cast(pa.int64())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _first(mask: pa.ChunkedArray) -> int | None:
    """Return the first position where a mask is true."""
    found = pc.index(mask.fill_null(False) if hasattr(mask, "fill_null") else mask, True).as_py()
    return None if found < 0 else int(found)
