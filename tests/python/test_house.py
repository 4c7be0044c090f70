"""The house rules: who may look at whom, how large a file may be, what must be documented, which words do not occur."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python/sycophancy_core"
MAX_LINES = 400
MAX_FUNCTION_LINES = 40

# Folder of cpp/ -> the folders of ours that it may include from.
CPP_MAY_SEE = {"core": {"core"}, "engine": {"core", "engine"}, "bindings": {"core", "engine", "bindings"}}
# In Python: these know nothing of each other, directly or through others.
PY_PEERS = ("examples", "models", "training", "runs", "results")
# Of these, none sees a later one, directly or through others.
PY_STOREYS = ("scoring", "tasks", "pipeline", "demo", "studies", "study_costs", "commands", "cli", "__main__")
# Library -> the only places that may include it.
CPP_LIBRARY_ROOMS = {
    "Eigen/": ("cpp/core/stats/",),
    "torch/": ("cpp/engine/", "cpp/bindings/engine_module.cc", "tests/cpp/kernels/", "tests/cpp/tensors/"),
    "ATen/": ("cpp/engine/", "cpp/bindings/engine_module.cc", "tests/cpp/kernels/", "tests/cpp/tensors/"),
    "c10/": ("cpp/engine/", "cpp/bindings/engine_module.cc", "tests/cpp/kernels/", "tests/cpp/tensors/"),
    "pybind11/": ("cpp/bindings/",),
    "gtest/": ("tests/cpp/",),
}
# These differ between standard libraries, end the program, write where a library must not, or leak.
CPP_BANNED = re.compile(
    r"std::(shuffle|sample|mt19937|random_device|\w+_distribution|cout|cerr|abort|exit|terminate)\b"
    r"|\b(printf|rand|malloc|goto)\s*\(|\bnew [A-Za-z]|\bdelete\b(?!;)|using namespace std"
)

# Written in two pieces, so that this file does not hold them.
FORBIDDEN_WORDS = [
    *("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"),
    *("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/o" + "pt/", "files.pythonhosted" + ".org", "pypi" + ".org"),
]


def tracked(*suffixes: str) -> list[Path]:
    """Return the repository's own text files, by suffix (all without one), new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def cpp_includes(path: Path) -> Iterator[tuple[bool, str]]:
    """Yield (is one of ours, name) for each #include of a C++ file."""
    for mark, name in re.findall(r'^#include ([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE):
        yield mark == '"', name


def without_comments(text: str) -> str:
    return re.sub(r'//[^\n]*|"(\\.|[^"\\\n])*"|\bR"\w*\((.|\n)*?\)\w*"', "", text)


def test_cpp_folders_look_only_down() -> None:
    wrong = []
    for path in tracked(".h", ".cc"):
        room = name_of(path).split("/")[1]
        if name_of(path).startswith("cpp/"):
            below = CPP_MAY_SEE[room]
            wrong += [
                f"{name_of(path)}: {x}" for ours, x in cpp_includes(path) if ours and x.split("/")[0] not in below
            ]
    assert wrong == []


@pytest.mark.parametrize("library", CPP_LIBRARY_ROOMS)
def test_a_cpp_library_is_included_only_in_its_rooms(library: str) -> None:
    rooms = CPP_LIBRARY_ROOMS[library]
    wrong = [
        name_of(path)
        for path in tracked(".h", ".cc")
        if not name_of(path).startswith(rooms)
        and any(not ours and name.startswith(library) for ours, name in cpp_includes(path))
    ]
    assert wrong == []


def test_cpp_headers_are_guarded_and_say_what_they_hold() -> None:
    headers = [path for path in tracked(".h") if name_of(path).startswith("cpp/")]
    unguarded = [name_of(path) for path in headers if "#pragma once" not in path.read_text()]
    silent = [name_of(path) for path in headers if not path.read_text().startswith("//")]
    assert (unguarded, silent) == ([], [])


def test_cpp_uses_nothing_banned() -> None:
    found = []
    for path in tracked(".h", ".cc"):
        if name_of(path).startswith("cpp/"):
            hit = CPP_BANNED.search(without_comments(path.read_text()).replace("= delete;", ""))
            found += [f"{name_of(path)}: {hit.group()}"] if hit else []
    assert found == []


def run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a module, without what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield node
            yield from run_time_nodes(node)


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """Return which of `modules` a file of the package imports, at its top or inside a function."""
    found = set()
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sycophancy_core":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sycophancy_core.")}
    return found & modules


def reach() -> dict[str, set[str]]:
    """Return each module of the package with all that it sees, directly or through others."""
    paths = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    seen = {name: imports_of(path, set(paths)) for name, path in paths.items()}
    for _ in seen:
        seen = {name: below.union(*(seen[other] for other in below)) for name, below in seen.items()}
    return seen


def test_python_modules_form_no_circle() -> None:
    assert [name for name, below in reach().items() if name in below] == []


def test_python_peers_know_nothing_of_each_other() -> None:
    seen = reach()
    assert {name: seen[name] & set(PY_PEERS) for name in PY_PEERS if seen[name] & set(PY_PEERS)} == {}


def test_python_storeys_look_only_down() -> None:
    seen = reach()
    wrong = {name: seen[name] & set(PY_STOREYS[i:]) for i, name in enumerate(PY_STOREYS)}
    assert {name: above for name, above in wrong.items() if above} == {}


def test_no_file_is_longer_than_the_cap() -> None:
    lengths = {name_of(path): path.read_text().count("\n") for path in tracked(".py", ".h", ".cc")}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from the first statement after the docstring to the end."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def definitions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def test_no_function_is_longer_than_the_cap() -> None:
    long = []
    for path in tracked(".py"):
        for node in definitions(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef) and body_lines(node) > MAX_FUNCTION_LINES:
                long.append(f"{name_of(path)}: {node.name} has {body_lines(node)} lines")
    assert long == []


def public_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield inner


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module itself"
    assert [node.name for node in public_definitions(tree) if not ast.get_docstring(node)] == []


def test_forbidden_words_do_not_occur() -> None:
    found = []
    for path in tracked():
        if path.name == "LICENSE" or path.suffix in {".safetensors", ".parquet", ".png", ".gguf"}:
            continue
        text = path.read_text()
        found += [f"{name_of(path)}: {word}" for word in FORBIDDEN_WORDS if word in text]
    assert found == []


def test_python_reads_no_pickle() -> None:
    found = [
        name_of(path)
        for path in tracked(".py")
        if name_of(path).startswith("python/")
        and re.search(r"\bpickle\b|torch\.load\(|(?<![.\w])(eval|exec)\(", path.read_text())
    ]
    assert found == []


def test_importing_the_package_is_quick() -> None:
    code = "import time; start = time.perf_counter(); import sycophancy_core; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    seconds = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(seconds) < 0.5
