"""P4: a final file name is always a complete file. P13: a failed write leaves earlier files intact."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from makers.damage import each_changed_bit

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.prompt_table import read_prompts
from sycophancy_core.runs.digests import digest_file, digest_table
from sycophancy_core.runs.files import clear_scratch, read_table, replace_file, scratch_folder, write_table
from sycophancy_core.runs.json_files import read_json, read_sealed_json, write_json, write_sealed_json
from sycophancy_core.runs.tables import read_rows


def test_p4_a_final_name_is_always_a_complete_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"value": 1})

    def fail(file: object) -> None:
        file.write(b"half")
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


@pytest.mark.parametrize("text", ['"\\ud800"', '[{"a\\uDFFF": 1}]'])
def test_half_a_surrogate_pair_is_no_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: wanted text, got half a surrogate pair \('\\ud"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('"\\ud83d\\ude00"')
    assert read_json(tmp_path / "a.json") == "\U0001f600"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nothing of the sort")
    with pytest.raises(DataError, match="wanted a Parquet file"):
        read_table(tmp_path / "a")
    with pytest.raises(DataError, match="wanted JSON"):
        read_json(tmp_path / "a")
    with pytest.raises(DataError, match=r"there is no file .*none\.parquet"):
        read_table(tmp_path / "none.parquet")


def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"a\.json: wanted JSON"):
        read_json(tmp_path / "a.json")


def test_a_replaced_file_keeps_its_mode_and_a_new_one_has_the_usual(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", 1)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    path.chmod(0o640)
    write_json(path, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = write_json(tmp_path / "far/target.json", 1)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_json(link, 2)
    assert link.is_symlink()
    assert read_json(target) == 2
    (tmp_path / "circle.json").symlink_to(tmp_path / "circle.json")
    with pytest.raises(OSError, match=r"could not write .*circle\.json"):
        write_json(tmp_path / "circle.json", 3)
    assert (tmp_path / "circle.json").is_symlink()


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    table, pipe = pa.table({"x": [1, 2, 3]}), tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"could not write .*pipe\.parquet: nobody reads this pipe"):
        write_table(pipe, table)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        while True:  # until it has opened the pipe
            try:
                write_table(pipe, table)
                break
            except OSError:
                continue
        got = reader.communicate()[0]
    assert pq.read_table(pa.BufferReader(got)).equals(table)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_gets_the_bytes_and_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "null.json"  # never on the machine's own by its name: a fault would replace it
    link.symlink_to("/dev/null")
    write_json(link, 1)
    assert link.is_symlink()
    assert stat.S_ISCHR(link.stat().st_mode)
    with pytest.raises(OSError, match=r"could not write .*: a folder is there"):
        write_json(tmp_path, 1)


def test_writers_of_one_name_do_not_mix_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 100_000 for i in range(8)]
    threads = [
        threading.Thread(target=lambda c=content: [replace_file(path, lambda f: f.write(c)) for _ in range(5)])
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


KILLED = """
import os, signal, sys
from sycophancy_core.runs.files import replace_file
def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
replace_file(sys.argv[1], write)
"""


def test_what_a_killed_writer_left_is_cleared_by_the_next_one_in_its_folder(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.bin"], check=False)
        assert done.returncode == -signal.SIGKILL
    (tmp_path / ".notes.tmp").mkdir()  # not ours
    write_json(tmp_path / "b.json", 1)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".notes.tmp", "b.json"]


def test_the_scratch_folder_of_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "a") as scratch:
        (scratch / "half").touch()
        clear_scratch(tmp_path)
        write_json(tmp_path / "b.json", 1)
        assert (scratch / "half").exists()
    assert not scratch.exists()


def test_an_older_file_is_kept_where_its_bytes_are_others(tmp_path: Path) -> None:
    path, tables = tmp_path / "t.parquet", [pa.table({"x": [i]}) for i in range(3)]
    for table in (tables[0], tables[0], tables[1], tables[2]):
        write_table(path, table, keep=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "t.parquet",
        "t.previous-1.parquet",
        "t.previous-2.parquet",
    ]
    found = [read_table(tmp_path / f"t{part}.parquet") for part in (".previous-1", ".previous-2", "")]
    assert found == tables


def test_the_ending_of_a_name_says_the_form(tmp_path: Path) -> None:
    table = pa.table({"text": ["a,b", None], "list": [["x"], ["y", "z"]], "number": [0.5, float("nan")]})
    write_table(tmp_path / "t.jsonl", table)
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert lines == [
        {"text": "a,b", "list": ["x"], "number": 0.5},
        {"text": None, "list": ["y", "z"], "number": None},
    ]
    assert read_rows(tmp_path / "t.jsonl").to_pylist() == lines
    write_table(tmp_path / "t.csv", table)
    found = pyarrow.csv.read_csv(tmp_path / "t.csv").to_pylist()
    assert [row["text"] for row in found] == ["a,b", ""]
    assert [json.loads(row["list"]) for row in found] == [["x"], ["y", "z"]]
    with pytest.raises(DataError, match=r"t\.csv: wanted a Parquet or JSON Lines file, got CSV"):
        read_rows(tmp_path / "t.csv")
    for name, got in (("t.txt", "'.txt'"), ("t", "a name without ending")):
        with pytest.raises(DataError, match=rf"wanted a file name that ends in \.parquet, \.jsonl, \.csv, got {got}"):
            write_table(tmp_path / name, table)


@pytest.mark.parametrize("read", [read_rows, read_prompts])
def test_a_number_in_json_lines_that_no_column_holds_is_refused(read: Any, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"prompt": "x", "target": {10**20}}}\n')
    with pytest.raises(DataError, match=r"t\.jsonl: wanted one kind of value a key, got .* too large"):
        read(tmp_path / "t.jsonl")


def test_texts_of_parquet_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    wrong = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xdf"))
    pq.write_table(pa.table({"text": wrong}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: wanted a Parquet file, got .*UTF8"):
        read_table(tmp_path / "t.parquet")


def test_the_columns_of_json_lines_are_the_keys_of_any_row(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"b": "x"}\n')
    assert read_rows(tmp_path / "t.jsonl").to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": "x"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl: wanted one kind of value a key"):
        read_rows(tmp_path / "t.jsonl")


def test_a_changed_bit_in_a_page_of_a_table_is_seen(tmp_path: Path) -> None:
    table = pa.table({"text": [f"{i:030d}" for i in range(1000)]})
    path = write_table(tmp_path / "t.parquet", table)
    whole = path.read_bytes()
    for at in range(1000, len(whole) // 2, 97):  # behind the header of the page
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"t\.parquet: wanted a Parquet file, got "):
            read_table(path)


def test_p14_every_changed_bit_of_sealed_json_is_seen(tmp_path: Path) -> None:
    value = {"small": 1e-07, "text": "\x1b é", "list": [True, None]}
    path = write_sealed_json(tmp_path / "a.json", value)
    assert read_sealed_json(path) == value
    for changed in each_changed_bit(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"a\.json"):
            read_sealed_json(path)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_sealed_file_with_a_number_that_json_does_not_have_was_changed(tmp_path: Path, number: str) -> None:
    path = write_sealed_json(tmp_path / "seal.json", {"format": 1})
    path.write_text(path.read_text().replace(": 1", f": {number}"))
    assert number in path.read_text()
    with pytest.raises(DataError, match="was changed after it was written"):
        read_sealed_json(path)


def test_views_of_texts_are_read_as_texts(tmp_path: Path) -> None:
    views = pa.table({"id": pa.array(["a", "b"], pa.string_view()), "lists": [[1], []]})
    pq.write_table(views, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found.filter([True, False]).to_pylist() == [{"id": "a", "lists": [1]}]
