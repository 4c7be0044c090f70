"""Run folders: P7 one writer, P10 a changed configuration is refused by name, P14 verify needs only the files."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from makers.damage import each_changed_bit

from sycophancy_core.errors import DataError
from sycophancy_core.runs.interrupts import kept_by
from sycophancy_core.runs.json_files import read_json, write_json, write_sealed_json
from sycophancy_core.runs.run_folder import Run, open_run
from sycophancy_core.runs.verify import verify


def stage(run: Run, *, n: int = 3, calls: list[int] | None = None) -> int:
    path = run.path("n.json")

    def make() -> int:
        if calls is not None:
            calls.append(n)
        return n

    return run.stage(
        "count", inputs={"n": n}, make=make, save=lambda value: [write_json(path, value)], load=lambda: read_json(path)
    )


def test_a_finished_stage_is_loaded_and_not_done_again(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        with open_run(tmp_path / "run", config={"seed": 1}) as run:
            assert stage(run, calls=calls) == 3
    assert calls == [3]


def test_p7_one_writer_a_run(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", config={}),
        pytest.raises(DataError, match="another process writes this run"),
        open_run(tmp_path / "run", config={}),
    ):
        pass


def test_p10_a_changed_configuration_is_refused_by_name(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", config={"steps": 10, "seed": 1}):
        pass
    with (
        pytest.raises(DataError, match="begun with steps = 10, got 20"),
        open_run(tmp_path / "run", config={"steps": 20, "seed": 1}),
    ):
        pass


def test_p10_a_stage_with_other_inputs_is_refused_by_name(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", config={}) as run:
        stage(run, n=3)
        with pytest.raises(DataError, match="begun with n = 3, got 4"):
            stage(run, n=4)


def test_p10_another_model_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", config={}) as run:
        run.record("model", "aaa")
        run.record("model", "aaa")
        with pytest.raises(DataError, match="begun with model = 'aaa', got 'bbb'"):
            run.record("model", "bbb")


def test_p14_verify_names_missing_and_changed_files(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", config={}) as run:
        stage(run)
    assert verify(tmp_path / "run") == []
    (tmp_path / "run/n.json").write_text("4\n")
    assert "was changed after it was written" in verify(tmp_path / "run")[0]
    with open_run(tmp_path / "run", config={}) as run, pytest.raises(DataError, match="was changed after"):
        stage(run)
    (tmp_path / "run/n.json").unlink()
    assert "is missing" in verify(tmp_path / "run")[0]


WHOLE: dict[str, Any] = {"format": 2, "config": {}, "versions": {}, "facts": {}, "stages": {}, "is_whole": True}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "wanted a JSON object, got list"),
        (None, "wanted a JSON object, got NoneType"),
        ({"config": {}}, "wanted the key 'format', got no such key"),
        (WHOLE | {"format": 1}, "format: wanted 2, got 1"),
        ({"format": 2, "config": {}, "versions": {}, "facts": {}}, "wanted the key 'stages', got no such key"),
        (WHOLE | {"config": None}, "config: wanted a JSON object, got NoneType"),
        (WHOLE | {"stages": ["count"]}, "stages: wanted a JSON object, got list"),
        (WHOLE | {"stages": {"count": 3}}, "stages: count: wanted a JSON object, got int"),
        (WHOLE | {"stages": {"count": {"inputs": {}}}}, "stages: count: wanted the key 'files', got no such key"),
        (WHOLE | {"stages": {"count": {"files": {}}}}, "stages: count: wanted the key 'inputs', got no such key"),
        (
            WHOLE | {"stages": {"count": {"inputs": {}, "files": ["n.json"]}}},
            "stages: count: files: wanted a JSON object, got list",
        ),
        (
            WHOLE | {"stages": {"count": {"inputs": {}, "files": {"n.json": 7}}}},
            "stages: count: files: n.json: wanted a SHA-256 in hexadecimal, got 7",
        ),
        (WHOLE | {"results": "n.json"}, "results: wanted a JSON object, got str"),
        (WHOLE | {"results": {"n.json": None}}, "results: n.json: wanted a SHA-256 in hexadecimal, got None"),
        (WHOLE | {"results": {"../n.json": "0" * 64}}, "results: ../n.json: wanted a name inside the folder"),
    ],
)
def test_p14_a_manifest_that_no_run_wrote_is_refused_by_its_key(content: Any, sentence: str, tmp_path: Path) -> None:
    write = write_sealed_json if isinstance(content, dict) else write_json
    path = write(tmp_path / "manifest.json", content)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {sentence}')}$"):
        verify(tmp_path)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {sentence}')}$"), open_run(tmp_path, config={}):
        pass


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_p14_a_manifest_that_is_cut_off_is_refused(share: float, tmp_path: Path) -> None:
    with open_run(tmp_path, config={}) as run:
        stage(run)
    whole = (tmp_path / "manifest.json").read_bytes()
    assert json.loads(whole)["stages"].keys() == {"count"}
    (tmp_path / "manifest.json").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"manifest\.json: wanted JSON, got "):
        verify(tmp_path)


def test_p14_every_changed_bit_of_a_manifest_is_seen(tmp_path: Path) -> None:
    with open_run(tmp_path, config={"rate": 1e-05, "name": "a"}) as run:
        stage(run)
    path = tmp_path / "manifest.json"
    unseen = []
    for at, changed in enumerate(each_changed_bit(path.read_bytes(), step=3)):  # every byte
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            unseen += [3 * at] if verify(tmp_path) == [] else []
    assert unseen == []


def test_a_run_says_whether_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped, open_run(tmp_path, config={}) as run:
        raise KeyboardInterrupt
    assert kept_by(stopped.value) == tmp_path  # nothing was done yet, but the folder is there
    with pytest.raises(KeyboardInterrupt) as stopped, open_run(tmp_path, config={}) as run:
        stage(run)
        raise KeyboardInterrupt
    assert kept_by(stopped.value) == tmp_path
    (waiting,) = verify(tmp_path)
    assert waiting.endswith(
        f"not finished; to resume, repeat the command that began it with -o {tmp_path} (in Python: the same call)"
    )
    with open_run(tmp_path, config={}) as run:
        stage(run)
    assert verify(tmp_path) == []


def test_another_processor_is_said_when_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sycophancy_core.runs import run_folder

    with open_run(tmp_path, config={}):
        pass
    monkeypatch.setattr(run_folder, "processor", lambda: "another one")
    with pytest.warns(UserWarning, match="begun with processor .*, now another one"), open_run(tmp_path, config={}):
        pass
    assert verify(tmp_path) == []


def test_p14_verify_checks_what_sums_a_run_up(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with open_run(tmp_path / "run", config={}) as run:
            (tmp_path / "run/sum.txt").write_text(text)
            run.name_results([tmp_path / "run/sum.txt"])
        assert verify(tmp_path / "run") == []
    (tmp_path / "run/sum.txt").write_text("3")
    assert "sum.txt was changed after it was written" in verify(tmp_path / "run")[0]


def half_written(path: Path) -> Path:
    """Kill a process in the middle of writing a file; return what it left."""
    code = (
        "import os, signal, sys\nfrom sycophancy_core.runs.files import replace_file\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(sys.argv[1], lambda file: (file.write(b'half'), file.flush(), kill()))"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    (left,) = path.parent.glob(f".{path.name}.*.tmp")
    assert list(left.iterdir()) == [left / path.name]
    return left


@pytest.mark.parametrize("begun", [True, False])
def test_what_a_killed_process_left_half_written_is_cleared_when_the_run_goes_on(begun: bool, tmp_path: Path) -> None:
    if begun:
        with open_run(tmp_path, config={}) as run:
            stage(run)
    left = [half_written(tmp_path / "manifest.json"), half_written(tmp_path / "a stage/n.json")]
    others = [tmp_path / name for name in (f".m.json.{os.getpid()}.tmp", ".notes.tmp", ".notes.1x.tmp", ".7.tmp")]
    for path in others:
        path.touch()
    if not begun:
        shutil.rmtree(left.pop().parent)  # a new run wants an empty folder
    with open_run(tmp_path, config={}) as run:
        stage(run)
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in others)  # of a process that lives, or not ours


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with (
        pytest.raises(DataError, match=r"wanted an empty folder or a run, got 'notes\.txt'"),
        open_run(tmp_path, config={}),
    ):
        pass
    with pytest.raises(DataError, match=r"got no manifest\.json"):
        verify(tmp_path)


def test_equal_runs_have_equal_manifests(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with open_run(tmp_path / name, config={"seed": 1}) as run:
            stage(run)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def test_a_stage_that_another_run_has_finished_is_copied_with_its_neighbours(tmp_path: Path) -> None:
    def save(folder: Path) -> list[Path]:
        (folder / "stage").mkdir()
        (folder / "stage/day.json").write_text("1")  # which no manifest names
        return [write_json(folder / "stage/answer.json", 42)]

    def ask(folder: Path, others: Sequence[Path] = (), inputs: int = 1) -> list[Path]:
        def make() -> None:
            assert not others

        with open_run(folder, config={}, others=others) as run:
            stage = {"inputs": {"seed": inputs}, "make": make, "save": lambda _: save(folder), "load": lambda: None}
            run.stage("answer", **stage)
        return sorted(path for path in (folder / "stage").iterdir())

    ask(tmp_path / "first")
    found = ask(tmp_path / "second", [tmp_path / "nothing", tmp_path / "first"])
    assert [path.read_text() for path in found] == ["42\n", "1"]
    assert (tmp_path / "second/manifest.json").read_bytes() == (tmp_path / "first/manifest.json").read_bytes()
    with pytest.raises(DataError, match="first: it was begun with seed = 1, got 2"):
        ask(tmp_path / "third", [tmp_path / "first"], inputs=2)
    assert read_json(tmp_path / "third/manifest.json")["stages"] == {}
    (tmp_path / "first/stage/answer.json").write_text("43")
    with pytest.raises(DataError, match=r"first/stage/answer\.json was changed"):
        ask(tmp_path / "fourth", [tmp_path / "first"])
