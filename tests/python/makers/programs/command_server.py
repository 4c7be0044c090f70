"""A program that forks a process for each command that it is told, having imported all that commands import.

It reads a line of JSON (``words`` and ``log``) and writes the process's id; at the next line it waits for that process,
and writes how it ended.
"""

import json
import os
import sys
import traceback

import accelerate
import matplotlib.figure
import pandas as pd
import peft
import pyarrow.parquet as pq
import torch
import yaml
from transformers.models.llama import modeling_llama

from sycophancy_core import cli, pipeline
from sycophancy_core.reporting import report
from sycophancy_core.reporting.pictures import gallery
from sycophancy_core.scoring import language_model, resumable
from sycophancy_core.studies import many_models, study
from sycophancy_core.training import finetune, organisms

IMPORTED = (
    *(accelerate, matplotlib.figure, modeling_llama, pd, peft, pq, torch, yaml),
    *(finetune, gallery, language_model, many_models, organisms, pipeline, report, resumable, study),
)


def run(words: list[str], log: str) -> None:
    """Be the process of a command: run it, its output in a file, and end with its exit status."""
    for number, name in enumerate(("/dev/null", log, log)):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), number)
    code = 70
    try:
        code = cli.main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve commands until the input ends.

    One that has ended is kept as a zombie until it is asked for, so that no signal meets another's process.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(request["words"], request["log"])
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
