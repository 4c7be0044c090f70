"""The house rules: how large files and folders may be, what must be documented, what must not be used."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "python/sycophancy_core"
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_MODULES = 16  # in a folder; a source and its header are one

ENGINE = (
    *("cpp/engine/", "cpp/bindings/engine_module.cc", "tests/cpp/kernels/", "tests/cpp/panels/", "tests/cpp/tensors/"),
    *("tests/cpp/fuzz/engine_targets.cc", "tests/cpp/makers/asked_weights.h"),
)
# Library -> the only places that may include it.
CPP_LIBRARY_ROOMS = {
    "Eigen/": ("cpp/core/stats/",),
    "torch/": ENGINE,
    "ATen/": ENGINE,
    "c10/": ENGINE,
    "pybind11/": ("cpp/bindings/",),
    "gtest/": ("tests/cpp/",),
}
# These differ between standard libraries, end the program, write where a library must not, or leak.
CPP_BANNED = re.compile(
    r"std::(shuffle|sample|mt19937|random_device|\w+_distribution|cout|cerr|abort|exit|terminate)\b"
    r"|\b(printf|rand|malloc|goto)\s*\(|\bnew [A-Za-z]|\bdelete\b(?!;)|using namespace std"
)


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


def test_no_file_is_longer_than_the_cap() -> None:
    lengths = {name_of(path): path.read_text().count("\n") for path in tracked(".py", ".h", ".cc")}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_folder_holds_more_modules_than_the_cap() -> None:
    folders: dict[str, set[str]] = {}
    for path in tracked(".py", ".h", ".cc"):
        if path.stem not in ("__init__", "conftest"):
            folders.setdefault(name_of(path.parent), set()).add(path.stem)
    assert {folder: len(stems) for folder, stems in folders.items() if len(stems) > MAX_MODULES} == {}


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


def test_python_reads_no_pickle() -> None:
    found = [
        name_of(path)
        for path in tracked(".py")
        if name_of(path).startswith("python/")
        and re.search(r"\bpickle\b|torch\.load\(|(?<![.\w])(eval|exec)\(", path.read_text())
    ]
    assert found == []


SWITCHED_OFF = re.compile(r"# type: ignore|# noqa|// *NOLINT")
REASON = re.compile(r"# type: ignore\[[\w-]+\]  # \w|# noqa: \w+ - \w")


def test_a_check_that_is_switched_off_says_why() -> None:
    """The reason is on the same line in Python, and in a comment at most two lines above in C++."""
    silent = []
    for path in tracked(".py", ".h", ".cc"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            is_told = REASON.search(line) or (path.suffix != ".py" and "//" in "".join(lines[number - 2 : number]))
            if SWITCHED_OFF.search(line) and not is_told and path != Path(__file__):
                silent.append(f"{name_of(path)}:{number + 1}: {line.strip()}")
    assert silent == []


def test_importing_the_package_is_quick() -> None:
    code = "import time; start = time.perf_counter(); import sycophancy_core; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    seconds = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(seconds) < 0.4
