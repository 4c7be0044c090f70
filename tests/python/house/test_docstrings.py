"""Every public function shows its use, and what it shows is so."""

from __future__ import annotations

import doctest
import inspect
import shutil
import sys
from pathlib import Path

import pytest

import sycophancy_core as sc

FUNCTIONS = [name for name in sc.__all__ if inspect.isroutine(getattr(sc, name))]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_function_runs(
    name: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(reader, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    function = inspect.unwrap(getattr(sc, name))
    names = dict(vars(sys.modules[function.__module__]))
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
    assert example.examples, "no example"
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert "".join(told) == ""
