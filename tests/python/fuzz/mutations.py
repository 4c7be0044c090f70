"""What goes wrong with bytes, JSON, tables, arrays and numbers, drawn at random."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SMALL = (0, 1, -1, 2, 3, 127, 128, 255, 2**31 - 1, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1, -(2**63))
WHOLE = (*SMALL, 2**64, 10**400)
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 0.95, 1.5, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"))
STRANGE = (
    None,
    True,
    -1,
    2**70,
    0.5,
    float("nan"),
    "x",
    b"x",
    (),
    [3],
    [None],
    {},
    {"a": 3},
    {1: 2},
    object(),
    "a\0b",
)
TEXTS = (
    "",
    " ",
    "x",
    "\0",
    "\ud800",
    "\U0010ffff",
    "agree",
    "train",
    "../../x",
    "\x1b[31m",
    "{",
    "[" * 3000,
    "a" * 70_000,
    "{x}",
)
ODD = (None, True, False, *WHOLE, *REAL, *TEXTS, [], [[]], {}, {"a": 1}, ["x"], [None], [1, 2])
MARKS = (
    *(b'"', b"[", b"{", b"null", b"1e999", b"\\ud800", b"\xff", b"\n", b"{}\n", b",", b"\xef\xbb\xbf", b"\0"),
    *(b"[" * 60, b"1" * 5000),
)
YAML_TAGS = (b"!!int ", b"!!float ", b"!!python/object:os.system ", b"!!timestamp ", b"!!binary ", b"!!set ")
YAML_MARKS = (
    *YAML_TAGS,
    *(b"&a ", b"*a ", b"<<: ", b"2001-99-99", b"1:99:99", b"0o9", b".inf", b".nan", b": ", b"- ", b"? ", b"| ", b"'"),
    *(b"\t", b"%YAML 9\n---\n", b"---\n"),
)
KINDS = ("F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "X", 3, None)


def mutated_bytes(data: bytes, rng: random.Random, marks: Sequence[bytes] = MARKS) -> bytes:
    """Change some bytes: flips, cuts, repeats, other numbers, and marks of the format put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, size = rng.randrange(len(found) + 1), rng.randrange(1, 33)
        kind = rng.randrange(8)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at : at + 1] = rng.randbytes(1)
        elif kind == 2:
            found[at:at] = rng.randbytes(size % 9)
        elif kind == 3:
            del found[at : at + size]
        elif kind == 4:
            del found[at:]
        elif kind == 5:
            found[at:at] = found[at // 2 : at]
        elif kind == 6:
            found[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 2**31, 2**62, 2**63, 2**64 - 1, len(found))))
        else:
            found[at:at] = rng.choice(marks)
    return bytes(found[: 1 << 20])


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def mutated_value(value: Any, rng: random.Random) -> Any:
    """Replace, remove, rename or add something in a value of JSON."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return copy.deepcopy(rng.choice(ODD))
        node, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node, dict):
            node[rng.choice(("x", "", "\0", "name", "path", *node))] = node.pop(key)
        elif kind == 2 and isinstance(node, list):
            node.insert(key, copy.deepcopy(rng.choice((*ODD, node[key]))))
        else:
            node[key] = copy.deepcopy(rng.choice(ODD))
    return value


def mutated_json(value: Any, rng: random.Random) -> bytes:
    """Write a value of JSON with something changed in it, or in its bytes."""
    if rng.random() < 0.4:
        return mutated_bytes(json.dumps(value).encode(), rng)
    return json.dumps(mutated_value(value, rng)).encode()


def mutated_lines(rows: Sequence[Any], rng: random.Random) -> bytes:
    """Write rows as JSON Lines, some of them changed."""
    whole = rng.random() < 0.4
    lines = [json.dumps(row if whole or rng.random() < 0.5 else mutated_value(row, rng)).encode() for row in rows]
    text = b"".join(line + b"\n" for line in lines)
    return mutated_bytes(text, rng) if whole else text


def mutated_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header's table of tensors, the numbers, or any bytes of a safetensors file."""
    if rng.random() < 0.3:
        return mutated_bytes(data, rng)
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = rng.choice([key for key in header if key != "__metadata__"])
    kind = rng.randrange(8)
    if kind == 0:
        header[name]["dtype"] = rng.choice(KINDS)
    elif kind == 1:
        header[name]["shape"] = rng.choice(([], [0], [1], [2**62, 4], [-1, 8], [8, 2], [2**64], "x", None, [1.5]))
    elif kind == 2:
        header[name]["data_offsets"] = rng.choice(
            ([0, 0], [0, 2**63], [4, 0], [1, 2], [0], "x", [-1, 3], [0, len(body) + 4])
        )
    elif kind == 3:
        header[rng.choice(("x", "", "\0", f"{name}.more", f"model.{name}"))] = header.pop(name)
    elif kind == 4:
        del header[name]
    elif kind == 5:
        header["__metadata__"] = rng.choice(({"a": 1}, 3, [], {"a": "b"}, {"format": "tf"}, None))
    elif kind == 6:
        odd = np.full(len(body) // 4, rng.choice(REAL[-3:]), np.float32).tobytes()
        body = rng.choice((b"", body + b"x" * 9, body[:-1], bytes(len(body)), odd))
    else:
        return mutated_value_of_header(mutated_value(header, rng), body)
    return mutated_value_of_header(header, body)


def mutated_value_of_header(header: Any, body: bytes) -> bytes:
    """Write a safetensors file of any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _dictionary(column: pa.Array) -> pa.Array:
    """Return a column as a dictionary; lists, of which Arrow makes none, as they are."""
    return column if pa.types.is_nested(column.type) else column.dictionary_encode()


def _strings(table: pa.Table, name: str, kind: Any) -> Any:
    column = table[name]
    return column.cast(kind) if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) else column


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _random_list(rng: random.Random) -> list[str | None]:
    return [rng.choice(("a", "", "\0", None)) for _ in range(rng.randrange(4))]


COLUMNS: tuple[Callable[[pa.Table, str, random.Random], Any], ...] = (
    lambda t, name, rng: pa.array([None] * len(t), t[name].type),
    lambda t, name, rng: pa.nulls(len(t)),
    lambda t, name, rng: pa.array([rng.choice(SMALL) for _ in range(len(t))], pa.int64()),
    lambda t, name, rng: pa.array([rng.choice(REAL) for _ in range(len(t))]),
    lambda t, name, rng: pa.array([rng.choice([*TEXTS[:4], *TEXTS[5:]]) for _ in range(len(t))]),
    lambda t, name, rng: pa.array([_random_list(rng) for _ in range(len(t))], pa.list_(pa.string())),
    lambda t, name, rng: pa.array([b"\xff"] * len(t), pa.binary()),
    lambda t, name, rng: pa.array([{"role": "user", "content": rng.choice(("x", None))}] * len(t)),
    lambda t, name, rng: _dictionary(t[name].combine_chunks()),
    lambda t, name, rng: _strings(t, name, pa.large_string()),
    lambda t, name, rng: _strings(t, name, pa.string_view()),
    lambda t, name, rng: pa.array(t[name].to_pylist()[::-1], t[name].type),
    lambda t, name, rng: pa.array([rng.choice((value, None)) for value in t[name].to_pylist()], t[name].type),
    lambda t, name, rng: pa.array(t[name].to_pylist()[:1] * len(t), t[name].type),
    lambda t, name, rng: pa.array([0] * len(t), pa.timestamp("s")),
    lambda t, name, rng: pa.array([True] * len(t)),
)


def mutated_table(table: pa.Table, rng: random.Random) -> Any:
    """Change a table's rows, columns, types or layout, or return something that is no table."""
    if not table.num_columns:
        return None
    name = rng.choice(table.column_names)
    if table.column_names.count(name) > 1:  # a column that an earlier change doubled
        return table
    kind = rng.randrange(10)
    if kind == 0:
        return table.slice(rng.randrange(len(table) + 1), rng.randrange(len(table) + 1))
    if kind == 1:
        return pa.concat_tables([table.slice(0, 1), table.slice(0, 0), table.slice(1)])
    if kind == 2:
        return table.drop_columns([name])
    if kind == 3:
        return rng.choice((table.append_column(name, table[name]), pa.concat_tables([table, table.slice(0, 2)])))
    if kind == 4:
        return rng.choice(
            (table.to_reader(), pa.table({}), pa.record_batch({"x": [1]}), None, 3, "x", [], table.to_pylist())
        )
    if kind == 5:
        return table.replace_schema_metadata(
            {b"sycophancy_core.labels": rng.choice((b"", b"{", b"[]", b'{"x": 3}', b"\xff"))}
        )
    values = rng.choice(COLUMNS)(table, name, rng)
    return _with(table, name, values)


def mutated_array(array: np.ndarray[Any, Any], rng: random.Random) -> Any:
    """Change an array's length, type, strides or values."""
    draws, n = np.random.default_rng(rng.randrange(2**32)), len(array)
    kind = rng.randrange(11)
    if kind == 0:
        return array[: rng.randrange(n + 1)]
    if kind == 1:
        return np.concatenate([array, array])[:: rng.choice((1, 2, -1))]
    if kind == 2:
        return draws.integers(-(2**63), 2**63 - 1, n, np.int64)
    if kind == 3:
        return np.array([rng.choice(REAL) for _ in range(n)])
    if kind == 4:
        return draws.integers(-2, max(3, n), n)
    if kind == 5:
        return np.frombuffer(bytes(8 * n + 1), np.uint8)[1:].view(np.float64) if n else array
    if kind == 6:
        return rng.choice((np.array(["x"] * n), np.array([None] * n, object), np.zeros(n, ">i4"), np.zeros(n, complex)))
    if kind == 7:
        return rng.choice((np.zeros((n, 2)), np.zeros((n, 0)), np.zeros((n, 2))[:, 0], np.float64(1), None, "x", []))
    if kind == 8:
        return [rng.choice(SMALL) for _ in range(n)]
    found = array.copy()
    for _ in range(rng.choice((1, 2, 5)) if n else 0):
        found[rng.randrange(n)] = rng.choice((0, -1, 1, 2, 127, 100))
    return found
