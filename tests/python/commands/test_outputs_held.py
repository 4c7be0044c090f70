"""A stop says how to resume wherever a folder of work is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from sycophancy_core.commands.outputs import result_folder
from sycophancy_core.runs.interrupts import kept_by
from sycophancy_core.runs.journal import Journal


def test_a_stop_before_the_first_batch_keeps_the_folder_that_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt) as stopped, result_folder(out, "evaluation"):
        raise KeyboardInterrupt
    assert (out.exists(), kept_by(stopped.value)) == (False, None)
    with pytest.raises(KeyboardInterrupt) as stopped, result_folder(out, "evaluation"):
        with Journal(out / "facts.journal") as journal:
            journal.append(b"identity")
        raise KeyboardInterrupt
    assert (out.exists(), kept_by(stopped.value)) == (True, out)
