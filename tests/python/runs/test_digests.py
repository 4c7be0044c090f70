"""Digests of tables: by their values, whatever the layout, and never by addresses of Python's objects."""

import hashlib
import subprocess
import sys
from datetime import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sycophancy_core.runs.digests import digest_table

TEXTS = ["agree", None, "disagree", "agree", ""]


def texts(kind: pa.DataType) -> pa.Array:
    return pa.array(TEXTS).cast(kind)


LAYOUTS: dict[str, Any] = {
    "string": texts(pa.string()),
    "large string": texts(pa.large_string()),
    "string view": texts(pa.string_view()),
    "category": texts(pa.string()).dictionary_encode(),
    "category in another order": pa.DictionaryArray.from_arrays(
        pa.array([2, None, 1, 2, 0], pa.int8()), ["", "disagree", "agree"]
    ),
    "chunks": pa.chunked_array([texts(pa.string()).slice(0, 2), texts(pa.string()).slice(2)]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_texts_have_one_digest_in_every_layout(layout: str) -> None:
    assert digest_table(pa.table({"t": LAYOUTS[layout]})) == digest_table(pa.table({"t": TEXTS}))


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
@pytest.mark.parametrize("inner", [pa.string(), pa.string_view(), pa.large_string()])
def test_equal_lists_have_one_digest_in_every_layout(kind: Any, inner: pa.DataType) -> None:
    values = [["a", None], [], None, ["bc"]]
    assert digest_table(pa.table({"t": pa.array(values, kind(inner))})) == digest_table(pa.table({"t": values}))


VALUES: dict[str, tuple[pa.DataType | None, list[Any], list[Any]]] = {
    "text": (None, ["a", "b"], ["a", "c"]),
    "text and null": (None, ["a", None], ["a", ""]),
    "number": (None, [1, 2], [1, 3]),
    "boolean": (None, [True, None], [True, False]),
    "list": (None, [[1, 2], [3]], [[1], [2, 3]]),
    "struct": (None, [{"k": 1, "l": "x"}], [{"k": 1, "l": "y"}]),
    "struct and null": (pa.struct({"k": pa.int64()}), [None], [{"k": None}]),
    "names of a struct": (None, [{"k": 1}], [{"m": 1}]),
    "list of structs": (None, [[{"k": 1}, {"k": 2}]], [[{"k": 1}, {"k": 3}]]),
    "pairs": (pa.list_(pa.int64(), 2), [[1, 2], [3, 4]], [[1, 2], [4, 3]]),
    "bytes": (None, [b"a"], [b"b"]),
    "views of bytes": (pa.binary_view(), [b"a"], [b"b"]),
    "decimal": (None, [Decimal("1.5")], [Decimal("1.6")]),
    "time": (None, [time(1, 2)], [time(1, 3)]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", 1)]], [[("a", 2)]]),
    "category of numbers": (pa.dictionary(pa.int8(), pa.int64()), [1, 2], [1, 3]),
    "null": (pa.null(), [None], [None, None]),
}


@pytest.mark.parametrize("name", VALUES)
def test_equal_values_have_one_digest_and_others_another(name: str, tmp_path: Any) -> None:
    kind, values, others = VALUES[name]
    tables = [pa.table({"t": pa.array(rows, kind)}) for rows in (values, list(values), others)]
    digests = [digest_table(table) for table in tables]
    assert digests[0] == digests[1] != digests[2]
    pq.write_table(tables[0], tmp_path / "t.parquet")
    if name not in ("views of bytes",):
        assert digest_table(pq.read_table(tmp_path / "t.parquet")) == digests[0]


def test_a_digest_is_the_same_in_every_process() -> None:
    code = (
        "import sys; ballast = [str(i) * 40 for i in range(int(sys.argv[1]))]\n"
        "import pyarrow as pa; from decimal import Decimal; from sycophancy_core.runs.digests import digest_table\n"
        "columns = {'c': pa.array(['s', 't']).dictionary_encode(), 'v': pa.array(['s', 't']).cast(pa.string_view()),\n"
        "  's': pa.array([{'k': 'x'}, {'k': 'y'}]), 'd': pa.array([Decimal('1.5'), None])}\n"
        "print(digest_table(pa.table(columns)))"
    )
    found = {subprocess.check_output([sys.executable, "-c", code, count], text=True) for count in ("0", "3000")}
    assert len(found) == 1


def test_a_digest_is_sha256_of_names_nulls_lengths_and_values() -> None:
    table = pa.table({"t": ["a", None], "n": [1.5, 2.5], "b": [True, None], "l": [["xy", "z"], []]})
    digest = hashlib.sha256()
    for part in (
        *(b"t\0", b"2\0", bytes([0, 1]), b"text", np.int64([1]), b"a"),
        *(b"n\0", b"2\0", bytes([0, 0]), b"double", np.array([1.5, 2.5])),
        *(b"b\0", b"2\0", bytes([0, 1]), b"bool", bytes([1])),
        *(b"l\0", b"2\0", bytes([0, 0]), b"list", np.int64([2, 0])),
        *(b"2\0", bytes([0, 0]), b"text", np.int64([2, 1]), b"xyz"),
    ):
        digest.update(part)
    assert digest_table(table) == digest.hexdigest()
