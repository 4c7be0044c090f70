"""Safetensors files, checked before they are believed, and mapped into memory: nothing is read before it is used."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError

_MOST_HEADER_BYTES = 100_000_000  # as safetensors has it
_MOST_BYTES = (1 << 64) - 1  # no shape may count more: safetensors counts in 64 bits
# Bits of a number, by the file's name of its type.
_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
# The types that weights have here, as NumPy has them; bfloat16, which it has not, by its bits.
_MAPPED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


class TensorPlace(NamedTuple):
    """Where a tensor lies in its file.

    Attributes
    ----------
    kind
        Its number type, in the file's words.
    shape
        Its sizes.
    start, stop
        Its bytes, counted from the beginning of the file.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


def tensor_places(path: Path) -> dict[str, TensorPlace]:
    """Read the header of a safetensors file, and check that it describes every byte of the file once.

    It refuses whatever safetensors' own parser refuses.

    Raises
    ------
    ModelError
        If the file is damaged, or a pointer of Git LFS.
    """
    return _read(path)[0]


def file_notes(path: Path) -> dict[str, str]:
    """Return what a safetensors file says besides its tensors (``__metadata__``); it is checked as a whole.

    Raises
    ------
    ModelError
        As :func:`tensor_places`.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, TensorPlace], dict[str, str]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(40)
        if start.startswith(b"version https://git-lfs"):
            raise ModelError(f"{path} is a pointer of Git LFS in place of the weights; run: git lfs pull")
        try:
            length = int.from_bytes(start[:8], "little")
            _require(len(start) >= 8, f"its header needs 8 bytes, but it has {len(start)}")
            _require(length <= _MOST_HEADER_BYTES, f"its header is said to have {length} bytes")
            _require(8 + length <= size, f"its header has {length} bytes, but the file {size}")
            file.seek(8)
            header, notes = _header(file.read(length))
            return _places(header, 8 + length, size), notes
        except ValueError as error:
            raise ModelError(f"{path} is damaged or no safetensors file; fetch it again: {error}") from error


def map_tensors(path: Path, *, without: str = "") -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file as read-only arrays on its bytes; bfloat16 as its bits in uint16.

    A file that is cut while it is mapped ends the process (SIGBUS), as with any mapped file; one that is replaced as
    a whole stays mapped as it was.

    Parameters
    ----------
    without
        The end of names that are left out.

    Raises
    ------
    ModelError
        If the file is damaged, or holds other numbers than float32, float16 and bfloat16.
    """
    places = {name: place for name, place in tensor_places(path).items() if not (without and name.endswith(without))}
    for name, place in places.items():
        if place.kind not in _MAPPED:
            raise ModelError(f"{path}: tensor {name!r} is {place.kind}; wanted F32, F16 or BF16")
    with path.open("rb") as file:
        if not any(place.stop > place.start for place in places.values()):
            return {name: np.zeros(place.shape, _MAPPED[place.kind]) for name, place in places.items()}
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {name: _array(whole, place) for name, place in places.items()}


def _array(whole: mmap.mmap, place: TensorPlace) -> NDArray[Any]:
    kind = _MAPPED[place.kind]
    flat: NDArray[Any] = np.frombuffer(whole, kind, math.prod(place.shape), place.start)
    if not flat.flags.aligned:  # a header of an odd length: only then are the numbers copied
        flat = flat.copy()
        flat.flags.writeable = False
    return flat.reshape(place.shape)


def _header(text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a header says of tensors, and its metadata."""
    _require(text.startswith(b"{"), "its header does not begin with {")
    try:
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_int=_whole, parse_constant=_no_constant
        )
        json.dumps(header, ensure_ascii=False).encode("utf-8")  # which half of a surrogate pair is not
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its header is no JSON: {type(error).__name__}") from error
    notes = header.pop("__metadata__", None)
    is_text = notes is None or (isinstance(notes, dict) and all(isinstance(value, str) for value in notes.values()))
    _require(isinstance(header, dict) and is_text, "its metadata are not texts by name")
    return header, notes or {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _require(len(found) == len(pairs), "its header names something twice")
    return found


def _whole(digits: str) -> int:
    _require(digits != "-0", "its header says -0, which is not a whole number")
    return int(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"its header says {name}, which is no JSON")


def _places(header: dict[str, Any], first: int, size: int) -> dict[str, TensorPlace]:
    """Check each tensor, and that together they fill the file from ``first`` on, without overlap or hole."""
    places = {name: _place(name, about, first) for name, about in header.items()}
    position = first
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].stop)):
        _require(place.start == position, f"tensor {name!r} begins at byte {place.start}, wanted {position}")
        position = place.stop
    _require(position == size, f"its tensors end at byte {position}, the file at {size}")
    return places


def _place(name: str, about: Any, first: int) -> TensorPlace:
    _require(isinstance(about, dict), f"tensor {name!r} has no description")
    kind, shape, offsets = (about.pop(key, None) for key in ("dtype", "shape", "data_offsets"))
    _require(kind in _BITS if isinstance(kind, str) else False, f"tensor {name!r} has the unknown type {kind!r}")
    _require(not about, f"tensor {name!r} has more than a type, a shape and offsets")
    _require(_are_counts(shape), f"tensor {name!r} has no shape")
    _require(_are_counts(offsets) and len(offsets) == 2, f"tensor {name!r} has no two offsets")
    start, stop = offsets
    product = 1
    for count in shape:  # in this order, as safetensors counts: too large is too large, whatever comes after
        product *= count
        _require(product <= _MOST_BYTES, f"tensor {name!r} counts too many numbers")
    bits = product * _BITS[kind]
    _require(bits <= _MOST_BYTES, f"tensor {name!r} counts too many numbers")
    _require(start <= stop and bits == 8 * (stop - start), f"tensor {name!r} of {bits} bits has {stop - start} bytes")
    return TensorPlace(kind, tuple(shape), first + start, first + stop)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES for value in values
    )


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(otherwise)
