"""What a command prints reaches any terminal, file or pipe, or is dropped: its result and its code are as always."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sycophancy_core.runs.files import read_table

NAME = "modèle-日本.parquet"
COMMAND = 'exec "$0" -m sycophancy_core additions --n 3 -o "$1"'


@pytest.mark.parametrize(
    ("shell", "environment"),
    [
        ("", {"PYTHONIOENCODING": "ascii"}),
        ("", {"PYTHONIOENCODING": "latin-1"}),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        (">&-", {}),
        ("2>&-", {}),
        (">&- 2>&-", {}),
        (">/dev/full", {}),
        ("> >(true)", {}),  # a reader that has gone
    ],
)
def test_a_result_is_whole_whatever_the_terminal_takes(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    command = ["bash", "-c", f"{COMMAND} {shell}", sys.executable, str(tmp_path / NAME)]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert len(read_table(tmp_path / NAME)) == 3
    if "PYTHONIOENCODING" in environment:
        assert rb"-\u65e5\u672c.parquet" in done.stdout


def test_a_full_disk_behind_standard_output_is_said(tmp_path: Path) -> None:
    command = ["bash", "-c", f"{COMMAND} >/dev/full", sys.executable, str(tmp_path / NAME)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "standard output could not be written: No space left on device" in done.stderr
