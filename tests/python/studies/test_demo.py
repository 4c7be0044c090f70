"""The demo's run folder: P1 a kill at any moment changes nothing in the end; its files hold its table's numbers."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

from sycophancy_core import Comparison, DataError, verify
from sycophancy_core.runs import run_folder as runs
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.runs.progress import Progress, ProgressPrinter
from sycophancy_core.studies.demo import DemoOptions, run_demo

pytestmark = pytest.mark.filterwarnings("ignore:filter_known. the model is at chance:UserWarning")


class KillingPrinter(ProgressPrinter):
    """Kills its own process at a stage's first sign of progress."""

    def __init__(self, stage: str) -> None:
        super().__init__(quiet=True)
        self._fatal = stage

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Kill at the chosen stage."""
        with super().stage(name) as show:

            def kill(done: int, total: int) -> None:
                if name == self._fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
                show(done, total)

            yield kill


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> DemoOptions:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return DemoOptions(model=str(folder), claims=3, candidates=8, max_error=None, steps=4, batch_size=6, lora_rank=2)


@pytest.fixture(scope="module")
def whole(options: DemoOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    run_demo(folder, options=options, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "timings.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run_in_child(folder: Path, options: DemoOptions, printer: ProgressPrinter) -> int:
    child = os.fork()
    if child == 0:
        run_demo(folder, options=options, printer=printer, out=io.StringIO())
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("stage", ["evaluate before", "filter", "fine-tune", "evaluate after"])
def test_p1_a_kill_at_any_stage_changes_nothing_in_the_end(
    stage: str, options: DemoOptions, whole: Path, tmp_path: Path
) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert run_in_child(tmp_path / "run", options, KillingPrinter(stage)) == signal.SIGKILL
    finally:
        torch.set_num_threads(threads)
    run_demo(tmp_path / "run", options=options, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    assert content(tmp_path / "run") == content(whole)


def test_p1_a_stop_between_the_training_and_the_manifest_loses_no_step(
    options: DemoOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = runs.digest_file

    def stop(path: Path) -> str:
        if path.name == "adapter_model.safetensors":
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(runs, "digest_file", stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "run", options=options, printer=ProgressPrinter(quiet=True), out=io.StringIO())
    assert (tmp_path / "run/tuned/finetune.checkpoint.safetensors").is_file()


def test_a_finished_run_is_only_read_again(options: DemoOptions, whole: Path) -> None:
    before = content(whole)
    out = io.StringIO()
    found = run_demo(whole, options=options, printer=ProgressPrinter(quiet=True), out=out)
    assert content(whole) == before
    assert verify(whole) == []
    assert repr(Comparison.load(whole / "comparison")) == repr(found)
    assert repr(found) in out.getvalue()


def test_the_run_folder_says_how_it_was_made(options: DemoOptions, whole: Path) -> None:
    manifest = read_json(whole / "manifest.json")
    assert manifest["config"]["steps"] == 4
    assert list(manifest["stages"]) == sorted(
        ["evaluate before", "filter", "mix", "finetune", "evaluate after", "compare", "audit", "report"]
    )
    report = (whole / "report.html").read_text()
    assert len(report) > 10_000
    assert "shortcut audit: wanted at least 50 prompts" in report  # twenty are too few to judge


def test_p10_other_options_are_refused_by_name(whole: Path) -> None:
    with pytest.raises(DataError, match="begun with"):
        run_demo(whole, options=DemoOptions(model=None), printer=ProgressPrinter(quiet=True), out=io.StringIO())


def test_it_says_first_what_the_model_is(options: DemoOptions, whole: Path) -> None:
    out = io.StringIO()
    run_demo(whole, options=options, printer=ProgressPrinter(quiet=True), out=out)
    assert out.getvalue().startswith("This demo starts from the model tiny, as it is.")
