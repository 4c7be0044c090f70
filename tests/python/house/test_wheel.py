"""A wheel holds all that an installed package needs, and nothing of the checkout's own build."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sycophancy_core._build_info as _build_info

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build a wheel from the checkout, with this interpreter's packages, and list its files."""
    folder = tmp_path_factory.mktemp("wheel")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_a_wheel_holds_sources_data_and_stubs(names: list[str]) -> None:
    package = ROOT / "python/sycophancy_core"
    left_out = (".so", "_build_info.py", ".pyc")
    kept = [path for path in package.rglob("*") if path.is_file() and not path.name.endswith(left_out)]
    missing = {f"sycophancy_core/{path.relative_to(package).as_posix()}" for path in kept} - set(names)
    assert missing == set()


@pytest.mark.slow
def test_a_wheel_holds_each_compiled_module_once(names: list[str]) -> None:
    modules = sorted(Path(name).name.split(".")[0] for name in names if name.endswith(".so"))
    assert modules == (["_core", "_engine"] if _build_info.TORCH_VERSION else ["_core"])
    assert names.count("sycophancy_core/_build_info.py") == 1
