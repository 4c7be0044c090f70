"""Trackers get loss, rate, tokens a second and the curve with its intervals: read back from their own files."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from makers.tiny_llama import tiny_model

from sycophancy_core import CurveOptions, DataError, FinetuneOptions, finetune
from sycophancy_core.tasks.named_tasks import task_prompts

ROWS = pa.table(
    {
        "id": [str(n) for n in range(8)],
        "origin": ["synthetic"] * 8,
        "prompt": [f"Is {n} odd?" for n in range(8)],
        "completion": [" (A)" if n % 2 else " (B)" for n in range(8)],
    }
)
OPTIONS = FinetuneOptions(steps=5, batch_size=4, learning_rate=1e-2, precision="float32")


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read every scalar of TensorBoard's event files: name -> step -> value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, dict[int, float]] = {}
    for path in sorted({file.parent for file in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, {}).update({event.step: event.value for event in events.Scalars(tag)})
    return found


def texts(folder: Path) -> list[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for path in {file.parent for file in folder.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(path), size_guidance={"tensors": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("report")]
        found += [event.tensor_proto.string_val[0].decode() for tag in tags for event in events.Tensors(tag)]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tensorboard_has_every_step_and_every_point_of_the_curve_with_its_interval(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    curve = CurveOptions(tasks={"claims": task_prompts(["claims"], limit=2)["claims"]}, every=2)
    result = finetune(tiny_model(), ROWS, options=OPTIONS, curve=curve, run=tmp_path, log_with="tensorboard")
    found = scalars(tmp_path)
    for name in ("loss", "learning_rate"):
        wanted = dict(zip(result.log["step"].to_pylist(), result.log[name].to_pylist(), strict=True))
        assert found[name] == pytest.approx(wanted, rel=1e-6)
    assert set(found["tokens_per_second"]) == {1, 2, 3, 4, 5}
    assert result.curve is not None
    for row in result.curve.to_pylist():
        for end in ("value", "low", "high"):
            tag = f"claims/{row['metric']}" + ("" if end == "value" else f"/{end}")
            if row[end] is not None and abs(row[end]) < float("inf"):
                assert found[tag][row["step"]] == pytest.approx(row[end], rel=1e-6, abs=1e-9), tag
    assert set(found["claims/margin"]) == {0, 2, 4, 5}
    report = next(text for text in texts(tmp_path) if "|" in text)
    last = next(r for r in result.curve.to_pylist() if r["step"] == 5 and r["metric"] == "accuracy_user_wrong")
    assert f"{last['value']:.2f}" in report


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_resumed_training_tells_every_step_once_and_in_order(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    curve = CurveOptions(tasks={"claims": task_prompts(["claims"], limit=2)["claims"]}, every=2)
    asked = {"options": OPTIONS, "curve": curve, "run": tmp_path, "log_with": "tensorboard"}
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_model(), ROWS, **asked, progress=interrupt)
    finetune(tiny_model(), ROWS, **asked)
    files = sorted((tmp_path / "sycophancy-core").glob("events.out.tfevents.*"))
    assert len(files) == 2
    for file in files:
        steps = [event.step for event in EventFileLoader(str(file)).Load() if event.HasField("summary")]
        assert steps == sorted(steps)
    events = EventAccumulator(str(tmp_path / "sycophancy-core"), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert [event.step for event in events.Scalars("claims/margin")] == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("comet_ml", "log_with='comet_ml' needs comet_ml, which is not installed; run: pip install"),
        ("diary", r"log_with must be of aim, .*tensorboard.*, got 'diary'"),
    ],
)
def test_a_tracker_that_is_not_there_is_said_before_training(name: str, message: str, tmp_path: Path) -> None:
    model = tiny_model()
    before = model.digest
    with pytest.raises(DataError, match=message):
        finetune(model, ROWS, options=OPTIONS, run=tmp_path, log_with=name)
    assert model.digest == before
    assert list(tmp_path.iterdir()) == []


def test_a_training_with_a_tracker_takes_the_same_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    plain = finetune(tiny_model(), ROWS, options=OPTIONS)
    tracked = finetune(tiny_model(), ROWS, options=OPTIONS, run=tmp_path, log_with="tensorboard")
    assert tracked.log.drop_columns("seconds").equals(plain.log.drop_columns("seconds"))


def wandb_records(path: Path) -> Iterator[Any]:
    """Read the records of an offline run of Weights & Biases: a log of LevelDB's form after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32_768 - at % 32_768  # of the block; less than a header is padding
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            found = wandb_internal_pb2.Record()
            found.ParseFromString(record)
            yield found
            record = b""


@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_offline_wandb_has_every_step_the_curve_and_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"MODE": "offline", "SILENT": "true", "DATA_DIR": str(tmp_path / "staged")}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    curve = CurveOptions(tasks={"claims": task_prompts(["claims"], limit=2)["claims"]}, every=2)
    result = finetune(tiny_model(), ROWS, options=OPTIONS, curve=curve, run=tmp_path, log_with="wandb")
    records = list(wandb_records(next(tmp_path.rglob("*.wandb"))))
    told: dict[int, dict[str, float]] = {}
    for history in (record.history for record in records if record.WhichOneof("record_type") == "history"):
        items = {"/".join(item.nested_key) or item.key: item.value_json for item in history.item}
        told[history.step.num] = {name: json.loads(value) for name, value in items.items()}
    assert [told[step]["loss"] for step in range(1, 6)] == pytest.approx(result.log["loss"].to_pylist(), rel=1e-9)
    assert result.curve is not None
    for row in result.curve.to_pylist():
        if row["metric"] == "margin":
            for tag, end in (("", "value"), ("/low", "low"), ("/high", "high")):
                assert told[row["step"]][f"claims/margin{tag}"] == pytest.approx(row[end], rel=1e-9)
    (artifact,) = (record.artifact for record in records if record.WhichOneof("record_type") == "artifact")
    (file,) = artifact.manifest.contents
    assert (artifact.type, file.path) == ("report", "report.html")
    last = next(r for r in result.curve.to_pylist() if r["step"] == 5 and r["metric"] == "accuracy_user_wrong")
    assert f"{last['value']:.2f}" in Path(file.local_path).read_text()


def tracked_in_a_process(folder: Path, name: str, **settings: str) -> None:
    """Train with a tracker in a process of its own, since trackers keep their databases open; save below ``run``."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom test_trackers import *\n"
        "curve = CurveOptions(tasks={'claims': task_prompts(['claims'], limit=2)['claims']}, every=2)\n"
        "run = Path(sys.argv[1]) / 'run'\n"
        "result = finetune(tiny_model(), ROWS, options=OPTIONS, curve=curve, run=run, log_with=sys.argv[2])\n"
        "result.save(run)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    surroundings = os.environ | settings | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", program, str(folder), name]
    subprocess.run(command, env=surroundings, check=True, capture_output=True)


def require_told(run: Path, losses: dict[int, float], lows: dict[int, float]) -> None:
    """Compare what a tracker was told with the log and the curve that the run saved."""
    log = pq.read_table(run / "training_log.parquet")
    assert [losses[step] for step in range(1, 6)] == pytest.approx(log["loss"].to_pylist(), rel=1e-9)
    table = pq.read_table(run / "training_curve.parquet").to_pylist()
    assert lows == pytest.approx({row["step"]: row["low"] for row in table if row["metric"] == "margin"}, rel=1e-9)


def test_trackio_has_every_step_and_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed")
    tracked_in_a_process(tmp_path, "trackio", TRACKIO_DIR=str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "sycophancy-core.db")) as kept:
        told = [(step, json.loads(text)) for step, text in kept.execute("SELECT step, metrics FROM metrics")]
    losses = {step: found["loss"] for step, found in told if "loss" in found}
    lows = {step: found["claims/margin/low"] for step, found in told if "claims/margin/low" in found}
    require_told(tmp_path / "run", losses, lows)


def test_mlflow_has_every_step_and_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    tracked_in_a_process(tmp_path, "mlflow", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'kept.db'}")
    with closing(sqlite3.connect(tmp_path / "kept.db")) as kept:
        told = list(kept.execute("SELECT key, step, value FROM metrics"))
    losses, lows = ({step: value for key, step, value in told if key == one} for one in ("loss", "claims/margin/low"))
    require_told(tmp_path / "run", losses, lows)
