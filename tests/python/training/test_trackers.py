"""Trackers get loss, rate, tokens a second and the curve with its intervals: read back from TensorBoard's own files."""

import signal
from pathlib import Path

import pyarrow as pa
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
