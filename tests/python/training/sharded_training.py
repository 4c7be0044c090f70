"""Trainings with sharded weights, for `accelerate launch`: every process says in a file of its own what it found.

Arguments: a folder for what is trained; and "find", or after which step all processes are killed, 0 for never.
"""

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from accelerate import PartialState
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc

ROWS = pa.table(
    {
        "id": [str(n) for n in range(24)],
        "origin": ["synthetic" if n % 3 else "instruction" for n in range(24)],
        "prompt": [f"Is {n} odd?" * (1 + n % 3) for n in range(24)],
        "completion": [(" (A)" if n % 2 else " (B)") + " as I said" * (n % 4) for n in range(24)],
    }
)
# Nine rows of unlike lengths: the processes get five and four of them, which accumulation divides into unlike parts.
WHOLE = sc.FinetuneOptions(
    steps=6, batch_size=9, accumulation=3, learning_rate=1e-2, precision="float32", train_embeddings=True
)
ROUNDED = replace(WHOLE, steps=3, precision="bfloat16", gradient_checkpointing=True, train_embeddings=False)


def at_step(step: int, act: Callable[[], object]) -> Callable[[int, int], None]:
    return lambda done, _: act() if done == step else None


def told_by(work: Callable[[], object]) -> str:
    try:
        work()
    except (sc.DataError, sc.ModelError, OSError, KeyboardInterrupt) as error:
        return str(error)
    return ""


def odd_model() -> sc.LanguageModel:
    """Return a model with tensors that do not divide by two, so that their parts are unlike."""
    changes = {"intermediate_size": 63, "tie_word_embeddings": False}
    return sc.load_model((tiny_llama(**changes), tiny_tokenizer()), engine="transformers")


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write files that are larger, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def find(folder: Path) -> dict[str, Any]:
    """Train without a stop, in bfloat16, and stopped and taken up; and try what is refused."""
    model = tiny_model()
    result = sc.finetune(model, ROWS, options=WHOLE)
    about: dict[str, Any] = {"loss": result.log["loss"].to_pylist(), "digest": model.digest}
    about["files"] = [path.name for path in result.save(folder / "whole")]
    about["rounded"] = sc.finetune(odd_model(), ROWS, options=ROUNDED).log["loss"].to_pylist()
    again, run, before = tiny_model(), folder / "run", tiny_model().digest
    stop = at_step(3, lambda: signal.raise_signal(signal.SIGINT))
    about["stopped"] = told_by(lambda: sc.finetune(again, ROWS, options=WHOLE, run=run, progress=stop))
    about["kept"] = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    about["unchanged"] = again.digest == before
    with files_of_at_most(20_000):
        about["full"] = told_by(lambda: sc.finetune(again, ROWS, options=WHOLE, run=run))
    about["other"] = told_by(lambda: sc.finetune(again, ROWS, options=replace(WHOLE, seed=1), run=run))
    sc.finetune(again, ROWS, options=WHOLE, run=run).save(run)
    about["again"], about["left"] = again.digest, sorted(path.name for path in run.iterdir())
    curve = sc.CurveOptions(tasks={"claims": sc.training_prompts(sc.make_additions(n=4), n=2)})
    about["adapter"] = told_by(lambda: sc.finetune(tiny_model(), ROWS, options=replace(WHOLE, lora_rank=2)))
    about["curve"] = told_by(lambda: sc.finetune(tiny_model(), ROWS, options=WHOLE, curve=curve))
    mine = tiny_model(seed=PartialState().process_index)
    about["unlike"] = told_by(lambda: sc.finetune(mine, ROWS, options=WHOLE))
    return about


def take_up(folder: Path, kill_after: int) -> dict[str, Any]:
    """Train with a checkpoint every two steps, and save; killed on the way, or not."""
    steps: list[int] = []
    (folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))

    def watch(done: int, _: int) -> None:
        steps.append(done)
        if done == kill_after:
            for process in sorted(folder.glob("*.pid"), reverse=True):  # this one last
                os.kill(int(process.read_text()), signal.SIGKILL)

    options = replace(WHOLE, checkpoint_steps=2)
    sc.finetune(tiny_model(), ROWS, options=options, run=folder / "run", progress=watch).save(folder / "run")
    return {"steps": steps}


def main(folder: Path, work: str) -> None:
    """Write what this process found into ``folder``."""
    found = find(folder) if work == "find" else take_up(folder, int(work))
    (folder / f"{PartialState().process_index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
