"""What stands in a GGUF file before the weights."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.foreign import translated

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_FLOAT32 = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class GgufHeader:
    """What stands in a GGUF file before the weights.

    Attributes
    ----------
    fields
        Its values; of an array of texts, how many they are.
    tensors
        Shape of each tensor, the slowest dimension first.
    factors
        The tensors by which rotary frequencies are divided.
    kinds
        The number types of the tensors, in GGUF's numbers.
    """

    fields: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]
    factors: dict[str, NDArray[np.float32]]
    kinds: set[int]


def read_header(file: Path) -> GgufHeader:
    """Read what stands in a GGUF file before the weights.

    Raises
    ------
    ModelError
        If it is no whole GGUF file of version 2 or 3.
    """
    with file.open("rb") as opened, translated(f"load_model: {file} is damaged; fetch it again"):
        if opened.read(4) != b"GGUF":
            raise ModelError(f"load_model: {file} is no GGUF file: it does not begin with GGUF; fetch it again")
        version, num_tensors, num_fields = _numbers(opened, "IQQ")
        if version not in (2, 3):
            raise ModelError(f"load_model: {file} is of version {version} of GGUF; wanted 2 or 3")
        fields = {_text(opened): _value(opened, _numbers(opened, "I")[0]) for _ in range(num_fields)}
        places: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(num_tensors):
            tensor = _text(opened)
            (num_dimensions,) = _numbers(opened, "I")
            shape = _numbers(opened, f"{num_dimensions}Q")[::-1]
            places[tensor] = (shape, *_numbers(opened, "IQ"))
        alignment = int(fields.get("general.alignment", 32))
        start = -(-opened.tell() // alignment) * alignment
        factors = {
            tensor: _floats(opened, tensor, place, start)
            for tensor, place in places.items()
            if tensor.startswith(("rope_freqs.", "rope_factors_"))
        }
    return GgufHeader(
        fields=fields,
        tensors={name: shape for name, (shape, *_) in places.items()},
        factors=factors,
        kinds={kind for _, kind, _ in places.values()},
    )


def _numbers(opened: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(f"<{form}")
    found = opened.read(min(size, os.fstat(opened.fileno()).st_size + 1))
    if len(found) < size:
        raise EOFError(f"it ends at byte {opened.tell()}")
    return struct.unpack(f"<{form}", found)


def _text(opened: BinaryIO) -> str:
    (length,) = _numbers(opened, "Q")
    (found,) = _numbers(opened, f"{length}s")
    return str(found.decode("utf-8"))


def _value(opened: BinaryIO, kind: int) -> Any:
    if kind in _FORMATS:
        return _numbers(opened, _FORMATS[kind])[0]
    if kind == _TEXT:
        return _text(opened)
    if kind != _ARRAY:
        raise ValueError(f"a value of type {kind} at byte {opened.tell()}")
    element, count = _numbers(opened, "IQ")
    if element in _FORMATS:
        return list(_numbers(opened, f"{count}{_FORMATS[element]}"))
    if element != _TEXT:
        raise ValueError(f"an array of type {element} at byte {opened.tell()}")
    for _ in range(count):
        _text(opened)
    return count


def _floats(opened: BinaryIO, name: str, place: tuple[Any, int, int], start: int) -> NDArray[np.float32]:
    shape, kind, offset = place
    if kind != _FLOAT32 or len(shape) != 1:
        raise ModelError(f"load_model: the GGUF file's {name} is of type {kind} and shape {shape}; wanted float32s")
    opened.seek(start + offset)
    return np.array(_numbers(opened, f"{shape[0]}f"), np.float32)
