"""The package as a whole: what importing it costs and gives."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import sycophancy_core

ROOT = Path(__file__).parents[3]


def test_importing_the_package_loads_no_heavy_library() -> None:
    heavy = "torch transformers pyarrow pandas matplotlib scipy datasets"
    code = f"import sys, sycophancy_core; print(*sorted(set({heavy.split()!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == ""


def test_the_readme_says_what_to_install_for_each_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install = (ROOT / "README.md").read_text().split("To install the package")[1].split("\n## ")[0]
    assert {name for name in extras if f"`{name}`" not in install} == set()
    for given in re.findall(r"pip install .*'\.\[(.*?)\]'", install):
        assert set(given.split(",")) <= set(extras)


def test_the_extra_for_models_brings_what_transformers_reads_the_embedded_gguf_file_with() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "gguf" in {re.split("[>=]", requirement)[0] for requirement in extras["models"]}


def test_the_package_states_its_version() -> None:
    assert sycophancy_core.__version__.count(".") == 2
