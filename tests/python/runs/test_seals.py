"""P14: a result is whole and unchanged, or that is said; an older one is kept."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from makers.damage import each_changed_bit

from sycophancy_core.errors import DataError
from sycophancy_core.runs.seals import SEAL, check_if_sealed, check_seal, save_result, seal_more
from sycophancy_core.runs.verify import verify


def save(folder: Path, text: str, *, keep: bool = True) -> list[Path]:
    def write(made: Path) -> None:
        (made / "a.txt").write_text(f"a {text}")
        (made / "part").mkdir()
        (made / "part/b.txt").write_text("b")

    return save_result(folder, "letters", write, keep=keep)


def test_a_result_is_its_files_and_a_seal(tmp_path: Path) -> None:
    assert save(tmp_path, "1") == [tmp_path / "a.txt", tmp_path / "part/b.txt", tmp_path / SEAL]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b.txt", "part", SEAL]
    assert check_seal(tmp_path)["kind"] == "letters"
    assert verify(tmp_path) == []


def test_an_equal_result_is_left_alone_and_another_one_is_kept(tmp_path: Path) -> None:
    save(tmp_path, "1")
    before = (tmp_path / "a.txt").stat().st_ino
    save(tmp_path, "1")
    assert (tmp_path / "a.txt").stat().st_ino == before
    save(tmp_path, "2")
    save(tmp_path, "3")
    texts = [(tmp_path / name / "a.txt").read_text() for name in ("previous-1", "previous-2", "")]
    assert texts == ["a 1", "a 2", "a 3"]
    for folder in (tmp_path, tmp_path / "previous-1", tmp_path / "previous-2"):
        assert verify(folder) == []
    save(tmp_path, "4", keep=False)
    assert not (tmp_path / "previous-3").exists()


def test_further_files_come_under_the_seal(tmp_path: Path) -> None:
    save(tmp_path, "1")
    (tmp_path / "report.html").write_text("r")
    seal_more(tmp_path, [tmp_path / "report.html"])
    save(tmp_path, "1")  # an equal result keeps what came later
    assert verify(tmp_path) == []
    (tmp_path / "report.html").write_text("changed")
    assert "report.html was changed after it was written" in verify(tmp_path)[0]
    check_seal(tmp_path, "a.txt")
    save(tmp_path, "2")
    assert (tmp_path / "previous-1/report.html").read_text() == "changed"


@pytest.mark.parametrize("name", ["a.txt", "part/b.txt", SEAL])
def test_p14_every_changed_bit_is_seen(name: str, tmp_path: Path) -> None:
    save(tmp_path, "1")
    for changed in each_changed_bit((tmp_path / name).read_bytes()):
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(DataError):
            check_if_sealed(tmp_path)


def test_a_missing_file_and_a_missing_seal_are_said(tmp_path: Path) -> None:
    save(tmp_path, "1")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match=r"a\.txt is missing; make the result once more"):
        check_seal(tmp_path)
    (tmp_path / SEAL).unlink()
    with pytest.raises(DataError, match=r"wanted a whole result, got no seal\.json; saving it was interrupted"):
        check_seal(tmp_path)
    check_if_sealed(tmp_path)  # it may be another program's


KILLED = """
import os, signal, sys
from pathlib import Path
from sycophancy_core.runs import seals
steps, real = int(sys.argv[2]), (os.replace, Path.replace, Path.rename, Path.unlink)
def counted(function):
    def call(*arguments, **options):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
Path.replace, Path.rename, Path.unlink = map(counted, real[1:])
def write(made):
    (made / "a.txt").write_text("a 2")
    (made / "b.txt").write_text("b 2")
seals.save_result(sys.argv[1], "letters", write)
"""


def test_a_kill_between_two_files_leaves_no_mixture_that_passes_for_a_result(tmp_path: Path) -> None:
    """The kill comes before every step that changes a name, one after the other."""

    def write(made: Path) -> None:
        (made / "a.txt").write_text("a 1")
        (made / "b.txt").write_text("b 1")

    outcomes = []
    for step in range(100):
        folder = tmp_path / str(step)
        save_result(folder, "letters", write)
        done = subprocess.run([sys.executable, "-c", KILLED, folder, str(step)], check=False)
        assert done.returncode in (0, -signal.SIGKILL)
        try:
            check_seal(folder)
        except DataError:
            outcomes.append("not whole")
            # All that the older result held is there still.
            kept = [path.read_text() for path in folder.rglob("*.txt")]
            assert {"a 1", "b 1"} <= set(kept)
        else:
            texts = {(folder / name).read_text()[-1] for name in ("a.txt", "b.txt")}
            assert len(texts) == 1
            outcomes.append(texts.pop())
        if done.returncode == 0:
            break
    assert outcomes[0] == "1"
    assert "not whole" in outcomes
    assert outcomes[-1] == "2"
