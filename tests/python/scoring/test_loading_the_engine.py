"""The engine loads with the torch it was built with, and otherwise says why not."""

import subprocess
import sys

import pytest

import sycophancy_core._build_info as _build_info

needs_engine = pytest.mark.skipif(not _build_info.TORCH_VERSION, reason="built without torch")

LOAD = """
from sycophancy_core._core import ModelError
from sycophancy_core.scoring.native_scorer import load_engine
try:
    print(load_engine().__name__)
except ModelError as error:
    print(error)
"""


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@needs_engine
def test_the_engine_loads_with_the_torch_it_was_built_with() -> None:
    assert printed_by(LOAD) == "sycophancy_core._engine"


@needs_engine
def test_another_minor_version_of_torch_is_named_in_one_sentence() -> None:
    fake = "import sys, types; sys.modules['torch'] = types.SimpleNamespace(__version__='1.4.0+cpu')"
    message = printed_by(fake + LOAD)
    assert "was built with torch 2." in message
    assert "but torch 1.4.0+cpu is installed; install torch 2." in message


@needs_engine
def test_an_absent_torch_is_named_in_one_sentence() -> None:
    message = printed_by("import sys; sys.modules['torch'] = None" + LOAD)
    assert message.startswith("engine: on a device it needs torch 2.")
    assert message.endswith("install it")


def test_a_build_without_torch_says_so() -> None:
    message = printed_by("from sycophancy_core import _build_info; _build_info.TORCH_VERSION = ''" + LOAD)
    assert message.startswith("engine: this build of sycophancy_core has none for devices, as torch was absent; ")
