"""P4: a final file name is always a complete file. P13: a failed write leaves earlier files intact."""

from pathlib import Path

import pyarrow as pa
import pytest

from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_file, digest_table
from sycophancy_core.runs.files import read_table, replace_file, write_table
from sycophancy_core.runs.json_files import read_json, write_json


def test_p4_a_final_name_is_always_a_complete_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"value": 1})

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        replace_file(path, fail)
    assert read_json(path) == {"value": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_p13_a_full_disk_is_named_and_earlier_files_stay(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"value": 1})

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"could not write .*a\.json: No space left on device; files written before it"):
        replace_file(path, full)
    assert read_json(path) == {"value": 1}


def test_equal_tables_give_equal_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    whole = pa.table({"x": [1, 2, 3], "y": ["a", None, "c"]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    first, second = write_table(tmp_path / "1.parquet", whole), write_table(tmp_path / "2.parquet", pieces)
    assert digest_file(first) == digest_file(second)
    assert digest_table(whole) == digest_table(pieces)
    assert read_table(first).equals(whole)


def test_a_tables_digest_is_that_of_its_values_and_survives_parquet(tmp_path: Path) -> None:
    columns = {
        "number": pa.array([1.5, None, float("nan")]),
        "text": pa.array(["a", None, "bc"], pa.large_string()),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int8())),
        "flag": pa.array([True, None, False]),
        "nothing": pa.array([None, None, None], pa.string()),
        "records": pa.array([[{"a": "x", "b": 1}], None, [{"a": "y", "b": None}] * 2]),
    }
    table = pa.table(columns)
    assert digest_table(read_table(write_table(tmp_path / "t.parquet", table))) == digest_table(table)
    for name, other in (
        ("number", pa.array([1.5, 0.0, float("nan")])),
        ("text", pa.array(["ab", None, "c"])),
        ("list", pa.array([[1], None, [2]], pa.list_(pa.int8()))),
        ("records", pa.array([[{"a": "y", "b": 1}], None, [{"a": "y", "b": None}] * 2])),
        ("flag", pa.array([True, False, None])),
    ):
        assert digest_table(pa.table({**columns, name: other})) != digest_table(table)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nothing of the sort")
    with pytest.raises(DataError, match="wanted a Parquet file"):
        read_table(tmp_path / "a")
    with pytest.raises(DataError, match="wanted JSON"):
        read_json(tmp_path / "a")
    with pytest.raises(DataError, match=r"none\.parquet: wanted a Parquet file, got no such file"):
        read_table(tmp_path / "none.parquet")


def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"a\.json: wanted JSON"):
        read_json(tmp_path / "a.json")
