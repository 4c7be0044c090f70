"""Every notebook runs from its first cell to its last."""

import asyncio
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CELL_SECONDS = 900
QUICK = {"05_statistics.ipynb"}  # the others, minutes together, are run by `make check`
NOTEBOOKS = [
    pytest.param(path, id=path.name, marks=[] if path.name in QUICK else [pytest.mark.slow])
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]


@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_the_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(tmp_path)}})
    asyncio.run(client.async_execute())
