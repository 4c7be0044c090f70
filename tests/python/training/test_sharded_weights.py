"""Weights sharded over two processes by FSDP train as whole ones do in one process."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.tiny_llama import tiny_model
from sharded_training import ROUNDED, ROWS, WHOLE, odd_model
from transformers import AutoModelForCausalLM

import sycophancy_core as sc

HERE = Path(__file__).parent


SURROUNDINGS = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(HERE.parents[2] / "python"), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    ),
    "OMP_NUM_THREADS": "1",
}


def launch(folder: Path, work: str) -> int:
    """Run `sharded_training.py` on two CPU processes, launched by the settings of the example; return its status."""
    settings = HERE.parents[2] / "examples" / "wei2023_8b.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings), "--num_processes"]
    command += ["2", "--main_process_port", "0", str(HERE / "sharded_training.py"), str(folder), work]
    return subprocess.run(command, env=SURROUNDINGS, capture_output=True, check=False).returncode


def start(folder: Path, work: str) -> None:
    """Run `sharded_training.py` on two CPU processes with what the launcher tells its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    said |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, str(HERE / "sharded_training.py"), str(folder), work]
    started = []
    for rank in ("0", "1"):
        mine = {"RANK": rank, "LOCAL_RANK": rank}
        with (folder / f"{rank}.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=SURROUNDINGS | said | mine, stdout=log, stderr=log))
    for rank, process in enumerate(started):
        assert process.wait(timeout=300) == 0, (folder / f"{rank}.log").read_text()


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{process}.json").read_text()) for process in range(2)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    start(folder, "find")
    return folder


def test_losses_are_those_of_one_process_and_the_gathered_model_loads_in_transformers(trained: Path) -> None:
    wanted = sc.finetune(tiny_model(), ROWS, options=WHOLE)
    main, other = told(trained)
    assert main["loss"] == other["loss"] == pytest.approx(wanted.log["loss"].to_pylist(), rel=1e-5)
    assert main["digest"] == other["digest"]
    assert (other["files"], "model.safetensors" in main["files"]) == ([], True)
    found = dict(AutoModelForCausalLM.from_pretrained(trained / "whole", dtype="float32").named_parameters())
    before = dict(tiny_model().model.named_parameters())
    for name, parameter in wanted.model.model.named_parameters():
        assert not torch.equal(found[name], before[name])
        torch.testing.assert_close(found[name].data, parameter.data, atol=1e-4, rtol=0)


def test_bfloat16_products_and_blocks_that_are_computed_again_give_the_losses_of_one_process(trained: Path) -> None:
    wanted = sc.finetune(odd_model(), ROWS, options=ROUNDED).log["loss"].to_pylist()
    assert told(trained)[0]["rounded"] == pytest.approx(wanted, rel=2e-3)
    in_float32 = sc.finetune(odd_model(), ROWS, options=replace(ROUNDED, precision="float32"))
    assert in_float32.log["loss"].to_pylist() != pytest.approx(wanted, rel=1e-6)


def test_p11_ctrl_c_keeps_the_parts_and_the_same_call_goes_on_to_the_same_bytes(trained: Path) -> None:
    main, other = told(trained)
    assert "fine-tuning stopped after step 3; kept in" in main["stopped"]
    assert "the main process says what is kept" in other["stopped"]
    parts = "finetune.checkpoint.parts/step-000003"
    shards = [f"{parts}/shard-0000{number}-model-00001-of-00001.safetensors" for number in (1, 2)]
    assert main["kept"] == [*shards, f"{parts}/state.json"]
    assert main["unchanged"]
    assert "made with other options, rows" in main["other"]
    for at in (main, other):
        assert at["full"].endswith("finetune.checkpoint.parts: File too large; files written before it are intact")
        assert at["again"] == main["digest"]
    assert main["left"] == sorted(main["files"])


def test_what_needs_whole_weights_is_refused_by_every_process(trained: Path) -> None:
    for at in told(trained):
        for name in ("lora_rank", "curve"):
            kind = {"lora_rank": "adapter"}.get(name, name)
            assert at[kind].startswith(f"finetune: FSDP shards the weights over the processes, and {name} needs")
        assert at["unlike"].startswith("finetune: the processes were given different weights, rows or options; load")


@pytest.mark.slow
def test_p1_killed_processes_go_on_from_the_last_checkpoint_to_the_same_bytes(tmp_path: Path) -> None:
    assert launch(tmp_path, "5") != 0
    parts = tmp_path / "run" / "finetune.checkpoint.parts"
    assert [path.name for path in parts.iterdir()] == ["step-000004"]
    assert launch(tmp_path, "0") == 0
    assert told(tmp_path)[0] == {"steps": [5, 6]}
    (tmp_path / "unbroken").mkdir()
    assert launch(tmp_path / "unbroken", "0") == 0
    one, other = ({f.name: f.read_bytes() for f in folder.iterdir()} for folder in tmp_path.rglob("run"))
    assert one == other
    assert "model.safetensors" in one


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "asks for DeepSpeed, which is not supported; .* use FSDP .accelerate"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "asks for Megatron-LM, which is not supported; .* use FSDP "),
        ({"ACCELERATE_USE_FSDP": "true"}, "asks for FSDP version 1, wanted 2; use accelerate launch --use_fsdp --fsdp"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            "sets FSDP_OFFLOAD_PARAMS, which is not supported; leave fsdp_offload_params out",
        ),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"},
            "sets FSDP_ACTIVATION_CHECKPOINTING, .*; leave fsdp_activation_checkpointing out, and set gradient_check",
        ),
    ],
)
def test_a_launcher_that_asks_for_another_way_is_refused(
    asked: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(sc.ModelError, match=f"^finetune: the launcher {message}"):
        sc.finetune(tiny_model(), ROWS, options=WHOLE)


def test_a_checkpoint_in_parts_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "finetune.checkpoint.parts" / "step-000003").mkdir(parents=True)
    with pytest.raises(sc.DataError, match=r"parts: this training was begun with FSDP; go on as it was begun, or del"):
        sc.finetune(tiny_model(), ROWS, options=WHOLE, run=tmp_path)
