"""Commands that start in milliseconds, to be killed at any moment: a process that has imported all forks for each."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

# Nothing is computed before the fork: a child of a process that has run a parallel region may hang.
_SERVER = """
import json, os, sys, traceback
import matplotlib.figure, pandas, pyarrow.parquet, torch, transformers.models.llama.modeling_llama
import accelerate, yaml
from sycophancy_core import cli, pipeline
from sycophancy_core.reporting import gallery, report
from sycophancy_core.scoring import language_model, resumable
from sycophancy_core.studies import many_models, study
from sycophancy_core.training import finetune, organisms
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        for number, name in enumerate(("/dev/null", request["log"], request["log"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), number)
        code = 70
        try:
            code = cli.main(request["words"])
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


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
            [sys.executable, "-W", "ignore", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._read() == "ready"

    def run(self, words: Sequence[object], *, after: float | None = None, number: int = signal.SIGKILL) -> int:
        """Run a command, and send it a signal after some seconds; return its exit status, negative for a signal's."""
        self.log.unlink(missing_ok=True)
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps({"words": [str(word) for word in words], "log": str(self.log)}) + "\n")
        self._server.stdin.flush()
        child = int(self._read())
        if after is not None:
            time.sleep(after)
            os.kill(child, number)  # a process that has ended waits to be asked how
        return os.waitstatus_to_exitcode(int(self._read()))

    def _read(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def __enter__(self) -> "Commands":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate("")
