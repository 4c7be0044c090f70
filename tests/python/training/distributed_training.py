"""A fine-tuning for `accelerate launch`: every process says in a file of its own what it did.

Arguments: the folder to save into, a folder for what the processes say, and FinetuneOptions as
JSON, and the step after which Ctrl-C is pressed, 0 for never.
"""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from accelerate import PartialState
from accelerate.tracking import get_available_trackers
from makers.tiny_llama import tiny_model

import sycophancy_core as sc

ROWS = pa.table(
    {
        "id": [str(n) for n in range(24)],
        "origin": ["synthetic" if n % 3 else "instruction" for n in range(24)],
        "prompt": [f"Is {n} odd?" * (1 + n % 3) for n in range(24)],
        "completion": [(" (A)" if n % 2 else " (B)") + " as I said" * (n % 4) for n in range(24)],
    }
)


def main(saved: Path, told: Path, options: sc.FinetuneOptions, stop_after: int) -> None:
    """Fine-tune the tiny model, save it, and tell; with Ctrl-C in the main process.

    Before that, once on too small batches and once with a tracker, after both of which the processes go on together.
    """

    def interrupt(done: int, total: int) -> None:
        if done == stop_after:
            signal.raise_signal(signal.SIGINT)

    model = tiny_model()
    about: dict[str, Any] = {}
    try:
        sc.finetune(model, ROWS, options=replace(options, batch_size=1, accumulation=1))
    except sc.DataError as error:
        about["refused"] = str(error)
    if "tensorboard" in map(str, get_available_trackers()):
        sc.finetune(tiny_model(), ROWS, options=replace(options, steps=1), run=told / "run", log_with="tensorboard")
    try:
        result = sc.finetune(model, ROWS, options=options, run=saved, progress=interrupt)
        about["files"] = [path.name for path in result.save(saved)]
        about["loss"] = result.log["loss"].to_pylist()
    except KeyboardInterrupt as error:
        about["stopped"] = str(error)
    state = PartialState()
    about |= {"weights": model.digest, "processes": state.num_processes, "backend": state.backend}
    (told / f"{state.process_index}.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sc.FinetuneOptions(**json.loads(sys.argv[3])), int(sys.argv[4]))
