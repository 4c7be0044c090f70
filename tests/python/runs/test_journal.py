"""P5: the journal has length and checksum a record; a torn tail is cut and reported, damage before it is an error."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycophancy_core.errors import DataError
from sycophancy_core.runs.journal import Journal, read_journal

RECORDS = (b"first", b"", b"\x00" * 40, b"last one")


def written(folder: Path) -> Path:
    path = folder / "a.journal"
    with Journal(path) as journal:
        for record in RECORDS:
            journal.append(record)
    return path


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = read_journal(path)
    assert content.records == RECORDS
    assert (content.valid_bytes, content.torn_bytes) == (path.stat().st_size, 0)


def test_two_cannot_write_one_journal(tmp_path: Path) -> None:
    path = written(tmp_path)
    with Journal(path), pytest.raises(DataError, match=r"a\.journal: another process writes this run .*; wait for it"):
        Journal(path)
    with Journal(path) as journal:
        assert journal.records == RECORDS


def test_p13_a_full_disk_names_the_journal_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = written(tmp_path)
    code = (
        "import resource, signal, sys\nfrom sycophancy_core.runs.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "with Journal(sys.argv[1]) as journal:\n    journal.append(bytes(1000))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert f"could not write {path}: File too large; what it holds already is intact" in done.stderr
    content = read_journal(path)
    assert content.records == RECORDS
    assert content.torn_bytes > 0


def test_p5_a_torn_tail_is_cut_and_reported_wherever_it_was_torn(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    before_last = len(whole) - 12 - len(RECORDS[-1])
    for size in range(before_last, len(whole)):
        path.write_bytes(whole[:size])
        with Journal(path) as journal:
            assert journal.records == RECORDS[:-1]
            assert journal.torn_bytes == size - before_last
            journal.append(RECORDS[-1])
        assert path.read_bytes() == whole


@given(position=st.integers(min_value=0, max_value=80), flip=st.integers(min_value=1, max_value=255))
def test_p5_damage_before_the_tail_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    path = written(tmp_path_factory.mktemp("journal"))
    whole = bytearray(path.read_bytes())
    assert len(whole) == 8 + 4 * 12 + sum(map(len, RECORDS))
    tail = len(whole) - len(RECORDS[-1]) - 12
    position %= tail
    whole[position] ^= flip
    path.write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"is damaged|wanted a journal"):
        read_journal(path)


def test_zeros_that_a_crash_left_are_a_torn_tail(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(100))
    assert read_journal(path).records == RECORDS
    assert read_journal(path).torn_bytes == 100
