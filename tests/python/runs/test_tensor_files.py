"""Tensors with their digest: every changed bit, and every cut, is seen."""

import random
from pathlib import Path

import pytest
import torch
from makers.damage import each_changed_bit
from safetensors.torch import load_file

from sycophancy_core.errors import DataError
from sycophancy_core.runs.formats.tensor_files import check_tensors, save_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int8)}


def test_tensors_and_texts_come_back(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "t.safetensors", TENSORS, metadata={"log": '{"x": 1}'})
    assert check_tensors(path) == {"log": '{"x": 1}'}
    found = load_file(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_p14_every_changed_bit_is_seen(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "t.safetensors", TENSORS, metadata={"log": "x"})
    for changed in each_changed_bit(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"t\.safetensors: wanted tensors with their digest, got a damaged file"):
            check_tensors(path)


def test_p14_every_cut_and_other_files_are_seen(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "t.safetensors", TENSORS, metadata={})
    whole = path.read_bytes()
    draws = random.Random(0)
    others = [draws.randbytes(draws.randrange(200)) for _ in range(200)]
    for content in (*(whole[:size] for size in range(len(whole))), whole + b"0", *others):
        path.write_bytes(content)
        with pytest.raises(DataError, match="got a damaged file"):
            check_tensors(path)
