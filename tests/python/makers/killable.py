"""Processes to be killed at any moment. None is a fork of the suite, whose pools of threads it would lack.

Commands start in milliseconds: a fresh interpreter, which has imported all and computed nothing, forks for each.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_SERVER = Path(__file__).parent / "programs/command_server.py"


def exit_of_fresh_process(work: Callable[..., object], *arguments: Any) -> int:
    """Run a module's function in a new interpreter; return its exit status, negative for the signal that ended it."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def wait_for(moment: float | Path) -> None:
    """Wait for some seconds, or for a file."""
    if not isinstance(moment, Path):
        time.sleep(moment)
        return
    end = time.monotonic() + 300
    while not moment.exists():
        assert time.monotonic() < end, moment
        time.sleep(0.002)


class Commands:
    """Runs commands of the command line, whole or killed.

    Parameters
    ----------
    log
        Where the commands' output goes.
    """

    def __init__(self, log: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        self.log = log
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(_SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._read() == "ready"

    def run(self, words: Sequence[object], *, after: float | Path | None = None, number: int = signal.SIGKILL) -> int:
        """Run a command; return its exit status, negative for the signal that ended it.

        Parameters
        ----------
        words
            Of the command.
        after
            Send a signal after so many seconds, or when this file is there.
        number
            Of the signal.
        """
        self.log.unlink(missing_ok=True)
        self._write(json.dumps({"words": [str(word) for word in words], "log": str(self.log)}))
        child = int(self._read())
        if after is not None:
            wait_for(after)
            os.kill(child, number)
        self._write("wait")
        return os.waitstatus_to_exitcode(int(self._read()))

    def _write(self, line: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()

    def _read(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def __enter__(self) -> "Commands":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate("")
