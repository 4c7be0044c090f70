"""Fine-tuning on two processes is fine-tuning on one: the same loss and weights, written by the main process alone."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed_training import ROWS
from makers.tiny_llama import tiny_model
from safetensors.torch import load_file

import sycophancy_core as sc

HERE = Path(__file__).parent


def launch(saved: Path, told: Path, options: sc.FinetuneOptions, *, stop_after: int = 0) -> list[dict[str, Any]]:
    """Fine-tune on two CPU processes and return what each of them told."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += [str(HERE / "distributed_training.py"), str(saved), str(told), json.dumps(asdict(options))]
    path = os.pathsep.join([str(HERE.parents[2] / "python"), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    told.mkdir()
    done = subprocess.run(
        [*command, str(stop_after)], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((told / f"{process}.json").read_text()) for process in range(2)]


def test_two_processes_train_as_one_does_and_the_main_one_writes(tmp_path: Path) -> None:
    # Nine rows of unlike lengths: the processes get five and four of them, and unlike numbers of supervised tokens.
    options = sc.FinetuneOptions(steps=6, batch_size=9, accumulation=3, learning_rate=1e-2, precision="float32")
    wanted = sc.finetune(tiny_model(), ROWS, options=options)
    main, other = launch(tmp_path / "saved", tmp_path / "told", options)
    assert (main["processes"], main["backend"]) == (2, "gloo")
    assert main["refused"].startswith("finetune: got 2 processes for batches of 1 rows; start fewer")
    assert main["weights"] == other["weights"]
    assert main["loss"] == other["loss"] == pytest.approx(wanted.log["loss"].to_pylist(), rel=1e-5)
    assert other["files"] == []
    assert sorted(main["files"]) == sorted(path.name for path in (tmp_path / "saved").iterdir())
    found = load_file(tmp_path / "saved" / "model.safetensors")
    for name, parameter in wanted.model.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.data, atol=1e-4, rtol=0)


def test_p11_ctrl_c_in_one_process_stops_all_after_the_same_step_and_they_go_on(tmp_path: Path) -> None:
    options = sc.FinetuneOptions(steps=6, batch_size=8, learning_rate=1e-2, precision="float32", lora_rank=4)
    wanted = sc.finetune(tiny_model(), ROWS, options=options)
    main, other = launch(tmp_path / "saved", tmp_path / "stopped", options, stop_after=3)
    assert "fine-tuning stopped after step 3; kept in" in main["stopped"]
    assert "fine-tuning stopped after step 3; the main process says what is kept" in other["stopped"]
    main, other = launch(tmp_path / "saved", tmp_path / "told", options)
    assert main["loss"] == other["loss"] == pytest.approx(wanted.log["loss"].to_pylist(), rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "seal.json",
        "training_log.parquet",
    ]
    assert wanted.adapter is not None
    found = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    for name, tensor in wanted.adapter.tensors.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-4, rtol=0)
