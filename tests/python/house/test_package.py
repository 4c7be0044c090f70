"""The package as a whole: what importing it costs and gives."""

import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_the_links_of_the_packaged_readme_lead_to_the_repository(tmp_path: Path) -> None:
    """The address is a placeholder that pyproject.toml alone holds."""
    code = f"from scikit_build_core import build; print(build.prepare_metadata_for_build_wheel({str(tmp_path)!r}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    metadata = (tmp_path / done.stdout.split()[-1] / "METADATA").read_text()
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    shown = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", metadata.split("\n\n", 1)[1])
    own = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert shown == [
        (mark, link if "://" in link else f"{address}/{'raw' if mark else 'blob'}/main/{link}") for mark, link in own
    ]
    tracked = subprocess.run(["git", "grep", "-l", address], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert tracked in ([], ["pyproject.toml"])


@pytest.mark.parametrize("extra", ["gguf", "models"])
def test_the_extras_for_models_bring_what_the_embedded_gguf_file_is_read_with(extra: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "gguf" in {re.split("[>=]", requirement)[0] for requirement in extras[extra]}


@pytest.mark.parametrize("first", ["sycophancy_core", "huggingface_hub.constants"])
@pytest.mark.parametrize(("chosen", "is_off"), [(None, True), ("0", False)])
def test_hugging_face_sends_no_usage_data_unless_it_is_asked_to(first: str, chosen: str | None, is_off: bool) -> None:
    code = (
        f"import {first}, sycophancy_core\n"
        "from huggingface_hub import constants\n"
        "from huggingface_hub.utils import build_hf_headers\n"
        "agent = build_hf_headers(library_name='l', library_version='1')['user-agent']\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY, 'torch/' in agent)"
    )
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    environment |= {} if chosen is None else {"HF_HUB_DISABLE_TELEMETRY": chosen}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert found == [str(is_off), str(not is_off)]


def test_requirements_have_an_upper_bound_by_major_version_which_lets_the_pinned_version_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {canonicalize_name(name): version for name, version in pinned}
    extras = project["optional-dependencies"]
    (every,) = extras.pop("all")
    assert Requirement(every).extras == set(extras)
    for text in [*project["dependencies"], *itertools.chain(*extras.values())]:
        wanted = Requirement(text)
        (upper,) = (one.version for one in wanted.specifier if one.operator == "<")
        assert upper.isdigit(), text
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_the_package_states_its_version() -> None:
    assert sycophancy_core.__version__.count(".") == 2


def test_every_pin_but_torchs_has_a_hash() -> None:
    pins = {line for line in (ROOT / "constraints.txt").read_text().split() if "==" in line}
    lines = [line.split() for line in (ROOT / "requirements/locked.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", mark) for _, mark in lines)
    normal = {re.sub(r"^[^=]+", lambda name: canonicalize_name(name[0]), pin) for pin in pins}
    locked = {re.sub(r"^[^=]+", lambda name: canonicalize_name(name[0]), pin) for pin, _ in lines}
    assert {pin for pin in normal if not pin.startswith("torch==")} == locked, "run `make lock`"
