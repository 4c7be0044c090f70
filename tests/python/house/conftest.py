"""The reader's folder, once for all tests of what readers are shown."""

from pathlib import Path

import pytest
import reader_folder


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny models, tables and the files of docs/ that pages name."""
    return reader_folder.fill(tmp_path_factory.mktemp("reader"))
