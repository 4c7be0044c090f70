"""Every script of examples/ runs, on a tiny model, and uses public names only."""

from __future__ import annotations

import ast
import runpy
import shutil
import sys
from pathlib import Path

import pytest

import sycophancy_core as sc

SCRIPTS = sorted((Path(__file__).parents[3] / "examples").glob("*.py"))
ARGUMENTS = {
    "own_model": ("my-model", "3"),
    "own_claims": ("my-model", "claims.csv"),
    "own_questions": ("my-model", "questions.csv"),
    "published_task": ("my-model", "nlp", "files"),
    "compare_models": ("base", "other", "3"),
    "cure_and_save": ("my-model", "3", "1"),
    "dose_of_a_cure": ("my-model", "3", "1", "2"),
    "filter_only": ("my-model", "claims.csv", "known.csv"),
    "plan_from_pilot": ("my-model", "4"),
    "own_statistics": ("answers.csv",),
    "wei2023_8b": ("my-model", "claims.csv", "alpaca", "1", "6"),
    "study_from_yaml": ("small-study.yaml", "studied"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_runs(path: Path, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(reader, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name, *ARGUMENTS[path.stem]])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_is_short_and_uses_public_names(path: Path) -> None:
    text = path.read_text()
    assert 20 <= len(text.splitlines()) <= 40
    tree = ast.parse(text)
    named = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "sycophancy_core" in str(node.module)
    ]
    assert {(node.module, alias.name) for node in named for alias in node.names} <= {("sycophancy_core", "stats")}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sc"
    }
    assert used <= set(sc.__all__)
