"""Digests of files, values and tables."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def digest_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short_id(*parts: str) -> str:
    """Return an id of 16 hexadecimal digits that depends on texts and their order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def digest_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hexadecimal: the identity of options and plans."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_table(table: pa.Table) -> str:
    """Return the SHA-256 of a table's column names and values, in hexadecimal.

    It does not depend on chunks or layout: a table that comes back from Parquet, or as pandas' categories or polars'
    views of texts, has the same digest.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0".encode())
        whole = _in_one_layout(column).combine_chunks()
        for part in whole.chunks if hasattr(whole, "chunks") else [whole]:
            _update(digest, part)
    return digest.hexdigest()


def _in_one_layout(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = _plain(column.type)
    if plain == column.type:
        return column
    if "list_view" in str(column.type):  # whose cast loses what stands after a null (pyarrow 26)
        return pa.chunked_array([pa.array(column.to_pylist(), plain)])
    return column.cast(plain)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the same values in the one layout that is digested."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_plain(kind.field(i).type)) for i in range(kind.num_fields)])
    if any(is_list(kind) for is_list in _LISTS):
        return pa.large_list(_plain(kind.value_type))
    return kind


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def _update(digest: Any, values: pa.Array) -> None:
    """Add an array's values to a digest: which are null, then numbers as bytes, texts and lists with their lengths.

    Of records, each field is an array of its own.
    """
    kind = values.type
    digest.update(f"{len(values)}\0".encode())
    digest.update(pc.is_null(values).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_large_list(kind):
        digest.update(b"list")
        digest.update(_bytes_of(pc.list_value_length(values).cast(pa.int64())))
        _update(digest, values.flatten())
    elif pa.types.is_struct(kind):
        digest.update(b"record")
        for field, part in zip(kind, values.flatten(), strict=True):  # where a record is null, its parts are
            digest.update(f"{field.name}\0".encode())
            _update(digest, part)
    elif pa.types.is_large_string(kind):
        digest.update(b"text")
        digest.update(_bytes_of(pc.binary_length(values).cast(pa.int64())))
        digest.update("".join(values.drop_null().to_pylist()).encode())
    else:
        digest.update(b"map" if pa.types.is_map(kind) else str(kind).encode())
        digest.update(_bytes_of(values.cast(pa.uint8()) if pa.types.is_boolean(kind) else values))


def _bytes_of(values: pa.Array) -> bytes:
    found = values.drop_null()
    number = found.to_numpy(zero_copy_only=False)
    if number.dtype == object:  # whose bytes are addresses: decimals, times, bytes, maps
        return repr(found.to_pylist()).encode()
    return bytes(number.tobytes())
