"""Every Python and shell block of README and docs runs, on a tiny model and at small sizes, in its page's order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from sycophancy_core.cli import main

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/howto").glob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LONG = ("choose-a-cure",)  # pages that take most of a minute, and run in `make check`
# Pages whose blocks need what no test has; test_docs.py checks their names.
NOT_RUN = {
    "served.md": "a server; tests/python/scoring/served asks one",
    "gpu.md": "a GPU",
    "inspect.md": "logs of Inspect; tests/python/integrations makes some",
    "hub.md": "the hub; tests/python/hub pushes to one on this machine",
    "trl.md": "TRL's trainer; tests/python/integrations runs it",
    "lm-eval.md": "a data set of the hub; tests/python/integrations asks one from this machine",
}
# Other commands that a page may show: they install, build, or start several processes.
OTHER_COMMANDS = ("pip install ", "make ", "accelerate launch ")
SMALL = {
    "measure": "--limit 2",
    "evaluate": "--limit 2",
    "evaluate-many": "--limit 2",
    "cure": "--claims 2 --candidates 6 --steps 1",
}
SIZES = {
    r"\bload_model\((?=\)|\w+=)": 'load_model("my-model", ',
    r"\blimit=[\d_]+": "limit=2",
    r"\bsteps=\d+": "steps=1",
    r"\b(think|max_tokens)=\d+": r"\1=2",
    r"\bn=\d{1,4}\b": "n=12",
    r"\bn=\d[\d_]{4,}": "n=400",
    r"\bbatch_size=\d+": "batch_size=4",
    r"\blora_rank=\d+": "lora_rank=2",
    r"\bstudy\.yaml": "small-study.yaml",
    r"\bcures\.yaml": "small-cures.yaml",
    r"--tasks (nlp,phil,poli|answer,mmlu,bbh)": r"\g<0> --folder files",  # not fetched, but the reader's own
}


def small(text: str) -> str:
    for pattern, size in SIZES.items():
        text = re.sub(pattern, size, text)
    return text


def run_line(line: str) -> None:
    words = shlex.split(line, comments=True)
    if not words or line.startswith(OTHER_COMMANDS):
        return
    assert words[0] == "sycophancy-core", line
    assert main([*words[1:], *SMALL.get(words[1], "").split(), "--quiet"]) == 0, line


PARAMS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in PAGES
    if BLOCK.search(path.read_text())
]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("path", PARAMS)
def test_the_blocks_of_a_page_run(path: Path, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.name in NOT_RUN:
        pytest.skip(f"needs {NOT_RUN[path.name]}")
    shutil.copytree(reader, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for language, text in BLOCK.findall(path.read_text()):
        if language == "python":
            exec(compile(small(text), path.name, "exec"), names)
        else:
            for line in small(text).splitlines():
                run_line(line)
