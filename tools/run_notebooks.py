"""Run notebooks and store their outputs: tools/run_notebooks.py NOTEBOOK ...; standard error is left out."""

import asyncio
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path) -> None:
    """Run one in an empty folder, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    about = dict(notebook.metadata)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=3600, record_timing=False, resources={"metadata": {"path": folder}})
        asyncio.run(client.async_execute())
    notebook.metadata.clear()
    notebook.metadata.update(about)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
        print(f"{name}: run and stored", flush=True)
