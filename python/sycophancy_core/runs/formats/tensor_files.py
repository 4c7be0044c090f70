"""Safetensors files that carry the digest of all their bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import replace_path

if TYPE_CHECKING:
    import torch

_BLANK = b"0" * 64  # what stands for the digest while it is taken
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')
_CHUNK = 1 << 20


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str]) -> Path:
    """Write tensors and texts, and under ``digest`` of the metadata the SHA-256 of the file with 64 zeros there."""
    from safetensors.torch import save_file

    def write(made: Path) -> None:
        save_file(dict(tensors), str(made), metadata={**metadata, "digest": _BLANK.decode()})
        with made.open("r+b") as file:
            _, at, digest = _digest_of(file)
            file.seek(at)
            file.write(digest)

    return replace_path(path, write)


def check_tensors(path: Path) -> dict[str, str]:
    """Read every byte of a file that :func:`save_tensors` wrote, and return its metadata without the digest.

    Raises
    ------
    DataError
        If it is no such file, or was changed or cut.
    """
    with path.open("rb") as file:
        try:
            kept, _, digest = _digest_of(file)
            file.seek(0)
            metadata: dict[str, str] = json.loads(_header(file))["__metadata__"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: wanted tensors with their digest, got a damaged file ({error})") from error
    if kept != digest:
        raise DataError(f"{path}: wanted tensors with their digest, got a damaged file (its SHA-256 is another)")
    return {key: text for key, text in metadata.items() if key != "digest"}


def _header(file: BinaryIO) -> bytes:
    size = int.from_bytes(file.read(8), "little")
    if not 0 < size < 100_000_000:
        raise ValueError(f"its header has {size} bytes")
    return file.read(size)


def _digest_of(file: BinaryIO) -> tuple[bytes, int, bytes]:
    """Return the digest that the file says, where it stands, and the one that the file has with zeros there."""
    header = _header(file)
    found = _DIGEST.search(header)
    if found is None:
        raise ValueError("its header names no digest")
    digest: Any = hashlib.sha256(len(header).to_bytes(8, "little"))
    digest.update(header[: found.start(1)] + _BLANK + header[found.end(1) :])
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return found[1], 8 + found.start(1), digest.hexdigest().encode()
