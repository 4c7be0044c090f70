"""What stands in a GGUF file before the weights, and where each weight is."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.foreign import translated

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_FLOAT32 = 0


class GgufTensor(NamedTuple):
    """Where a tensor is in its file.

    Attributes
    ----------
    shape
        Its sizes, the slowest dimension first.
    kind
        Its number type, in GGUF's numbers.
    start
        Its first byte, counted from the beginning of the file.
    """

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class GgufHeader:
    """What stands in a GGUF file before the weights.

    Attributes
    ----------
    fields
        Its values by their names.
    tensors
        Where each tensor is.
    factors
        The tensors by which rotary frequencies are divided.
    """

    fields: dict[str, Any]
    tensors: dict[str, GgufTensor]
    factors: dict[str, NDArray[np.float32]]

    @property
    def family(self) -> str:
        """The architecture that the file names."""
        return str(self.fields.get("general.architecture", ""))

    @property
    def kinds(self) -> set[int]:
        """The number types of the tensors, in GGUF's numbers."""
        return {tensor.kind for tensor in self.tensors.values()}


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
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _header(_Cursor(content), file)


class _Cursor:
    """Reads one value after the other."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.place = content, 4

    def numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(f"<{form}")))

    def text(self) -> str:
        return self._take(self.numbers("Q")[0]).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind in _FORMATS:
            return self.numbers(_FORMATS[kind])[0]
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(f"a value of type {kind} at byte {self.place}")
        element, count = self.numbers("IQ")
        if element in _FORMATS:
            return list(self.numbers(f"{count}{_FORMATS[element]}"))
        if element != _TEXT:
            raise ValueError(f"an array of type {element} at byte {self.place}")
        return [self.text() for _ in range(count)]

    def _take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            raise EOFError(f"it ends at byte {len(self.content)}")
        self.place += size
        return self.content[self.place - size : self.place]


def _header(cursor: _Cursor, file: Path) -> GgufHeader:
    version, num_tensors, num_fields = cursor.numbers("IQQ")
    if version & 0xFFFF == 0:
        raise ModelError(f"load_model: {file} is big-endian; fetch a little-endian file")
    if version not in (2, 3):
        raise ModelError(f"load_model: {file} is of version {version} of GGUF; wanted 2 or 3")
    fields = {cursor.text(): cursor.value(cursor.numbers("I")[0]) for _ in range(num_fields)}
    places: dict[str, GgufTensor] = {}
    for _ in range(num_tensors):
        name = cursor.text()
        (num_dimensions,) = cursor.numbers("I")
        shape = cursor.numbers(f"{num_dimensions}Q")[::-1]
        places[name] = GgufTensor(shape, *cursor.numbers("IQ"))
    if (len(fields), len(places)) != (num_fields, num_tensors):
        raise ValueError("it names something twice")
    alignment = int(fields.get("general.alignment", 32))
    start = -(-cursor.place // alignment) * alignment
    tensors = {name: place._replace(start=start + place.start) for name, place in places.items()}
    factors = {
        name: _factors(cursor, name, tensor)
        for name, tensor in tensors.items()
        if name.startswith(("rope_freqs.", "rope_factors_"))
    }
    return GgufHeader(fields=fields, tensors=tensors, factors=factors)


def _factors(cursor: _Cursor, name: str, tensor: GgufTensor) -> NDArray[np.float32]:
    shape, kind, start = tensor
    if kind != _FLOAT32 or len(shape) != 1:
        raise ModelError(f"load_model: the GGUF file's {name} is of type {kind} and shape {shape}; wanted float32s")
    cursor.place = start
    return np.array(cursor.numbers(f"{shape[0]}f"), np.float32)
