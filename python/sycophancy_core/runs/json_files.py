"""JSON and JSON Lines, read with a sentence for every fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_json
from sycophancy_core.runs.files import replace_file

MAX_JSON_BYTES = 64 * 1024 * 1024
DIGEST = "digest"  # of the other keys of a sealed object


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as JSON with sorted keys, so that equal values give equal bytes; NaN is refused."""
    content = _canonical_bytes(value)
    return replace_file(path, lambda file: file.write(content))


def _canonical_bytes(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return text.encode() + b"\n"


def write_sealed_json(path: str | Path, value: Mapping[str, Any]) -> Path:
    """Write an object together with its own digest, so that :func:`read_sealed_json` sees every changed bit."""
    return write_json(path, {**value, DIGEST: digest_json(value)})


def read_sealed_json(path: str | Path) -> dict[str, Any]:
    """Read what :func:`write_sealed_json` wrote, without the digest.

    Raises
    ------
    DataError
        If it is no such file, or was changed.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: wanted a JSON object, got {type(value).__name__}")
    body = {key: item for key, item in value.items() if key != DIGEST}
    if DIGEST not in value:
        raise DataError(f"{path}: wanted the key {DIGEST!r}, got no such key; it is cut, or of another version")
    try:
        # The bytes too, since a number may be written in two ways.
        is_whole = value[DIGEST] == digest_json(body) and Path(path).read_bytes() == _canonical_bytes(value)
    except ValueError:  # NaN or an infinity, which no sealed file was written with
        is_whole = False
    if not is_whole:
        raise DataError(f"{path} was changed after it was written: its digest differs from the one in it")
    return body


def read_json(path: str | Path) -> Any:
    """Read a JSON file of at most 64 MiB.

    Raises
    ------
    DataError
        If the file is larger, is not JSON in UTF-8, holds half a surrogate pair, or is nested too deeply.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise DataError(f"{path}: wanted at most {MAX_JSON_BYTES} bytes of JSON, got {size}")
    content = path.read_bytes()
    try:
        value = json.loads(content)
        written = _with_half_pairs(value, content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _not_utf8(error, f"{path}, line {line}") from error
    except (ValueError, RecursionError) as error:
        raise _not_json(error, str(path), "the file") from error
    _refuse_half_pairs(written, str(path))
    return value


def parse_json_line(line: bytes, where: str) -> Any:
    """Parse a line of a JSON Lines file; a byte order mark may stand before it.

    Raises
    ------
    DataError
        If the line is not JSON in UTF-8, holds half a surrogate pair, or is nested too deeply; the message begins with
        ``where``.
    """
    text = decode_line(line, where)
    try:
        value = json.loads(text)
        written = _with_half_pairs(value, line)
    except (ValueError, RecursionError) as error:
        raise _not_json(error, where, "the line") from error
    _refuse_half_pairs(written, where)
    return value


def decode_line(line: bytes, where: str) -> str:
    """Decode a line of a text file; a byte order mark may stand before it.

    Raises
    ------
    DataError
        If the line is not UTF-8; the message begins with ``where``.
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(error, where) from error


def text_at(value: Any, *keys: str | int, where: str) -> str:
    """Return the text that a value read from JSON holds under keys and places, each inside the one before.

    Raises
    ------
    DataError
        If nothing or no text stands there, or half a surrogate pair in it; the message begins with ``where``.
    """
    name = ".".join(map(str, keys))
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            raise DataError(
                f"{where}: wanted a text at {name}, got nothing there; mend the row, or leave it out"
            ) from None
    if not isinstance(value, str):
        raise DataError(f"{where}: wanted a text at {name}, got {json_kind(value)}; mend the row, or leave it out")
    _refuse_half_pairs(value, where)
    return value


def json_kind(value: Any) -> str:
    """Name the kind of a value that was read from JSON, as its reader knows it."""
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


def _not_utf8(error: UnicodeDecodeError, where: str) -> DataError:
    return DataError(f"{where}: wanted UTF-8, got the byte 0x{error.object[error.start]:02x}; save the file as UTF-8")


def _not_json(error: ValueError | RecursionError, where: str, what: str) -> DataError:
    got = "too deep a nesting" if isinstance(error, RecursionError) else error
    return DataError(f"{where}: wanted JSON, got {got}; mend or remove {what}")


def _with_half_pairs(value: Any, content: bytes) -> str:
    """Return a value's texts where an escape may be of half a pair, which no UTF-8 can hold; else nothing."""
    return json.dumps(value, ensure_ascii=False) if b"\\ud" in content.lower() else ""


def _refuse_half_pairs(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(
            f"{where}: wanted text, got half a surrogate pair ({half!a}); write the character whole, or remove it"
        ) from error


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file, whose values stay what they are: a date in a text is a text.

    Raises
    ------
    DataError
        If a line that is not blank is no JSON object; the message names file and line.
    """
    rows = []
    with Path(path).open("rb") as lines:  # as bytes, a line ends at a newline only, never at U+2028
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            row = parse_json_line(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number}: wanted a JSON object, got {type(row).__name__}")
            rows.append(row)
    return rows
