"""The package as a whole: what importing it costs and gives."""

import subprocess
import sys

import sycophancy_core


def test_importing_the_package_loads_no_heavy_library() -> None:
    heavy = "torch transformers pyarrow pandas matplotlib scipy datasets"
    code = f"import sys, sycophancy_core; print(*sorted(set({heavy.split()!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == ""


def test_the_package_states_its_version() -> None:
    assert sycophancy_core.__version__.count(".") == 2
