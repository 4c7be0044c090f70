"""Names of files, folders and models on the command line: a dot in a folder's name is no ending."""

from argparse import Namespace
from pathlib import Path

import pytest

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.commands.inputs import files_by_name
from sycophancy_core.commands.start import _begin


def test_folders_that_differ_after_a_dot_are_two_sources(tmp_path: Path) -> None:
    for name in ("mix-0.5", "mix-0.7"):
        (tmp_path / name).mkdir()
    rows = tmp_path / "rows.v1.jsonl"
    found = files_by_name([tmp_path / "mix-0.5", tmp_path / "mix-0.7", rows], "--instructions")
    assert list(found) == ["mix-0.5", "mix-0.7", "rows.v1"]
    with pytest.raises(sc.DataError, match="wanted files of different names"):
        files_by_name([rows, tmp_path / "rows.v1.parquet"], "--instructions")


@pytest.mark.parametrize(("model", "named"), [("org/Tiny-0.5B", "Tiny-0.5B"), ("tiny-0.5b.gguf", "tiny-0.5b")])
def test_a_result_is_named_after_the_whole_name_of_its_model(
    model: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = Namespace(model=model, out=None, command="sycophancy-core measure")
    _begin("measure", asked)
    assert asked.out == Path(f"measure-{named}-2023-11-14")
    assert main(["measure", model, "--quiet"]) == 2  # there is no such model
    assert "results go to" not in capsys.readouterr().out
