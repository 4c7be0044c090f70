"""Mapped safetensors: the bytes that safetensors reads, and no file that it refuses."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz.mutations import mutated_safetensors
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file

from sycophancy_core import ModelError
from sycophancy_core.scoring.checkpoints.safetensors_map import map_tensors, tensor_places

TENSORS = {
    "single": torch.arange(12.0).reshape(3, 4),
    "half": torch.linspace(-3, 3, 7).half(),
    "brain": torch.linspace(-3, 3, 10).bfloat16().reshape(5, 2),
    "none": torch.zeros(0, 4),
    "scalar": torch.tensor(2.5),
}


def write(path: Path, header: Any, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_arrays_are_the_tensors_that_safetensors_reads(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    found = map_tensors(path)
    wanted = load_file(path)
    assert {name: array.shape for name, array in found.items()} == {name: tuple(t.shape) for name, t in wanted.items()}
    assert all(found[name].tobytes() == bits(tensor) for name, tensor in wanted.items())
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "single": "float32",
        "half": "float16",
        "brain": "uint16",
        "none": "float32",
        "scalar": "float32",
    }
    assert not any(array.flags.writeable for array in found.values() if array.size)
    assert all(array.flags.c_contiguous and array.flags.aligned for array in found.values())


def test_a_file_of_no_numbers_and_left_out_names(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"a": torch.zeros(0), "b.inv_freq": torch.arange(3)}, path)
    assert map_tensors(path, without=".inv_freq")["a"].shape == (0,)
    with pytest.raises(ModelError, match=r"tensor 'b\.inv_freq' is I64; wanted F32, F16 or BF16"):
        map_tensors(path)


def test_numbers_after_a_header_of_an_odd_length_are_copied_into_place(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    for padding in range(4):
        path = write(tmp_path / f"{padding}.safetensors", header + b" " * padding, struct.pack("<2f", 1.5, -2.0))
        found = map_tensors(path)["a"]
        assert found.tolist() == load_file(path)["a"].tolist() == [1.5, -2.0]
        assert found.flags.aligned and not found.flags.writeable


def test_a_replaced_file_stays_mapped_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"a": torch.ones(5)}, path)
    found = map_tensors(path)["a"]
    save_file({"a": torch.zeros(5)}, tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").replace(path)
    path.unlink()
    assert found.tolist() == [1.0] * 5


A = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
PLACES: list[tuple[Any, bytes, str]] = [
    ({"a": {**A, "data_offsets": [4, 8]}}, bytes(8), "begins at byte .*, wanted"),
    ({"a": A, "b": {**A, "data_offsets": [2, 6]}}, bytes(6), "tensor 'b' begins at byte"),
    ({"a": A}, bytes(5), "its tensors end at byte"),
    ({"a": A}, bytes(3), "its tensors end at byte"),
    ({"a": {**A, "shape": [2]}}, bytes(4), "of 64 bits has 4 bytes"),
    ({"a": {**A, "shape": [-1]}}, bytes(4), "has no shape"),
    ({"a": {**A, "shape": [True]}}, bytes(4), "has no shape"),
    ({"a": {**A, "shape": [1 << 63, 4, 0], "data_offsets": [0, 0]}}, b"", "counts too many numbers"),
    ({"a": {**A, "shape": [1 << 62], "data_offsets": [0, 0]}}, b"", "counts too many numbers"),
    ({"a": {**A, "data_offsets": [4, 0]}}, bytes(4), "of 32 bits has -4 bytes"),
    ({"a": {**A, "data_offsets": [0]}}, bytes(4), "has no two offsets"),
    ({"a": {**A, "dtype": "F33"}}, bytes(4), "the unknown type 'F33'"),
    ({"a": {**A, "dtype": 3}}, bytes(4), "the unknown type 3"),
    ({"a": 5}, bytes(4), "has no description"),
    ({"__metadata__": {"a": 1}}, b"", "its metadata are not texts"),
    ([], b"", "does not begin with {"),
    (b'{"a": {}, "a": {}}', b"", "names something twice"),
    (b'{"a": NaN}', b"", "says NaN"),
    (b'{"a": {"dtype": "F32", "shape": [-0], "data_offsets": [0, 0]}}', b"", "says -0"),
    (b'{"\\ud800": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}', b"", "is no JSON"),
    (b'{"a":' * 100000, b"", "is no JSON: RecursionError"),
    (b'{"\xff": 1}', b"", "is no JSON"),
]


@pytest.mark.parametrize(("header", "body", "message"), PLACES)
def test_a_damaged_header_is_one_sentence_and_no_file_of_safetensors_either(
    header: Any, body: bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.safetensors", header, body)
    with pytest.raises(ModelError, match=rf"t\.safetensors is damaged or no safetensors file; .*{message}") as caught:
        tensor_places(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SafetensorError):
        safe_open(path, "np").__enter__()


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 1 << 63), struct.pack("<Q", 9) + b"{}"])
def test_a_cut_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"t\.safetensors is damaged or no safetensors file; fetch it again: its"):
        tensor_places(tmp_path / "t.safetensors")


def read_by_safetensors(path: Path) -> dict[str, tuple[str, list[int]]] | None:
    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no dict
            return {name: (one.get_dtype(), one.get_shape()) for name, one in slices.items()}
    except SafetensorError:
        return None


def test_what_safetensors_refuses_is_refused_and_what_both_take_is_read_alike(tmp_path: Path) -> None:
    path, good = tmp_path / "t.safetensors", save(TENSORS, metadata={"format": "pt"})
    taken = 0
    for seed in range(3000):
        path.write_bytes(mutated_safetensors(good, random.Random(seed)))
        wanted = read_by_safetensors(path)
        try:
            found = tensor_places(path)
        except ModelError:
            continue
        assert wanted is not None, seed
        taken += 1
        assert {name: (place.kind, list(place.shape)) for name, place in found.items()} == wanted, seed
        numbers = {name: place for name, place in found.items() if place.kind in ("F32", "F16", "BF16")}
        if len(numbers) == len(found):
            whole = path.read_bytes()
            arrays = map_tensors(path)
            assert all(arrays[name].tobytes() == whole[p.start : p.stop] for name, p in numbers.items()), seed
    assert 50 < taken < 2900
