"""The weights of a GGUF file, written as safetensors a piece at a time: never is a whole model in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.scoring.gguf.families import Weight
from sycophancy_core.scoring.gguf.header import GgufHeader, GgufTensor

_PIECE = 1 << 22  # numbers
_KINDS = {None: ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}  # safetensors' name, bytes
_HIGH_HALF = 16  # of a float32's bits; a bfloat16 has no others

Numbers = NDArray[np.float32]


def write_weights(
    path: Path, file: Path, header: GgufHeader, weights: Mapping[str, Weight], half: str | None
) -> str | None:
    """Write the weights of a GGUF file as safetensors.

    Parameters
    ----------
    half
        A type of 16 bits, in which they are written if that changes none of them; else they are float32.

    Returns
    -------
    str | None
        ``half`` if they are written in it.

    Raises
    ------
    EOFError
        If the file ends before a tensor does.
    NotImplementedError
        If a tensor is quantized in a way that is not known.
    """
    content: NDArray[np.uint8] = np.asarray(np.memmap(file, np.uint8, "r"))
    sources = {name: (header.tensors[weight.source], weight) for name, weight in sorted(weights.items())}
    if half is not None and not all(_fits(piece, half) for one in sources.values() for piece in _pieces(content, *one)):
        half = None
    with path.open("wb") as made:
        _write_header(made, {name: weight.shape for name, (_, weight) in sources.items()}, half)
        for one in sources.values():
            for piece in _pieces(content, *one):
                made.write(_as_stored(piece, half).data)
    return half


def _pieces(content: NDArray[np.uint8], tensor: GgufTensor, weight: Weight) -> Iterator[Numbers]:
    """Yield a weight's numbers, some rows at a time; turned ones all at once, since their rows change places."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(tensor.kind)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    columns = tensor.shape[-1]
    rows, row_bytes = math.prod(tensor.shape[:-1]), columns // block * block_bytes
    if columns % block != 0:
        raise ValueError(f"{weight.source} has rows of {columns} numbers, which are not whole blocks of {block}")
    if tensor.start + rows * row_bytes > len(content):
        raise EOFError(f"the file ends before {weight.source} does")
    packed = content[tensor.start : tensor.start + rows * row_bytes].reshape(rows, row_bytes)
    step = rows if weight.num_turned else max(1, _PIECE // columns)
    for first in range(0, rows, step):
        numbers: Numbers = dequantize(packed[first : first + step], kind)
        if weight.num_turned:
            numbers = numbers.reshape(weight.num_turned, -1, 2, columns).swapaxes(1, 2)
        yield numbers - 1 if weight.is_raised else numbers


def _fits(numbers: Numbers, half: str) -> bool:
    """Tell whether a type of 16 bits holds numbers exactly."""
    if half == "bfloat16":
        return not (_bits(numbers) & ((1 << _HIGH_HALF) - 1)).any()
    with np.errstate(over="ignore"):
        return bool((numbers.astype(np.float16) == numbers).all())


def _as_stored(numbers: Numbers, half: str | None) -> NDArray[Any]:
    if half == "bfloat16":
        return (_bits(numbers) >> _HIGH_HALF).astype("<u2")
    return np.ascontiguousarray(numbers, "<f4" if half is None else "<f2")


def _bits(numbers: Numbers) -> NDArray[np.uint32]:
    return np.ascontiguousarray(numbers).view(np.uint32)


def _write_header(made: BinaryIO, shapes: Mapping[str, tuple[int, ...]], half: str | None) -> None:
    kind, num_bytes = _KINDS[half]
    about: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + num_bytes * math.prod(shape)
        about[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    made.write(len(text).to_bytes(8, "little") + text)
