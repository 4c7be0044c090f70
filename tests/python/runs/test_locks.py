"""P7: one writer a run; the lock names its holder, goes with its process, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sycophancy_core.errors import DataError
from sycophancy_core.runs.locks import is_first_process, one_writer

HOLD = """
import sys
from sycophancy_core.runs.locks import one_writer
with one_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_p7_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as child:
        said = rf"run: another process writes this run \(process {child.pid} on .* since .*\); wait for it or use a new"
        with pytest.raises(DataError, match=said), one_writer(tmp_path / "run"):
            pass
        child.communicate("")
    with one_writer(tmp_path / "run"):
        pass


def test_p7_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as child:
        child.send_signal(signal.SIGKILL)
    with one_writer(tmp_path / "run"):
        assert (tmp_path / "run/.lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_thread_may_take_its_lock_again_and_another_thread_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with one_writer(tmp_path):
                pass
        except DataError as error:
            refused.append(str(error))

    with one_writer(tmp_path):
        with one_writer(tmp_path):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(DataError, match="another process writes this run"), one_writer(tmp_path, again=False):
            pass
    assert len(refused) == 1


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    with one_writer(tmp_path / "new"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with one_writer(tmp_path / "old"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


@pytest.mark.parametrize(("ranks", "first"), [({}, True), ({"RANK": "0"}, True), ({"RANK": "3"}, False)])
def test_of_a_launchers_processes_one_writes(
    ranks: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
