"""The type stubs in the package are those that the compiled modules give."""

import importlib.metadata
import importlib.util
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


def skip_unless_pinned(package: str) -> None:
    """Skip where `package` has another version than the one that the stubs in the repository were made with."""
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != PINS[package]:
        pytest.skip(f"stubs are compared under {package} {PINS[package]}, found {found}")


@pytest.mark.parametrize("module", ["_core", "_engine"])
def test_the_stub_is_the_one_that_the_module_gives(module: str) -> None:
    skip_unless_pinned("pybind11-stubgen")
    skip_unless_pinned("pybind11")
    if importlib.util.find_spec(f"sycophancy_core.{module}") is None:
        pytest.skip(f"{module} is not built")
    generate = runpy.run_path(str(ROOT / "tools/stubs.py"))["generate"]
    kept = (ROOT / "python/sycophancy_core" / f"{module}.pyi").read_text()
    assert kept == generate(module), "run `make stubs`"
