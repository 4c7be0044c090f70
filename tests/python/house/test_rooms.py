"""Who may look at whom: each folder of the sources is a room, which imports only what its row of the table says.

An import counts wherever it stands: at the top, inside a function, or for the type checker alone.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "python/sycophancy_core"
CPP = ROOT / "cpp"
MAX_CHAIN = 10  # imports from room to room, one after the other

# Room (a folder, or a file at the top) -> the rooms that it may import. Nothing is imported upwards.
PYTHON_ROOMS = {
    "errors": "",
    "inputs": "errors",
    "flags": "errors",
    "runs": "errors inputs",
    "metrics": "errors inputs",
    "prompts": "errors inputs runs",
    "scoring": "errors inputs runs",
    "reporting": "errors inputs runs metrics",
    "tasks": "errors inputs runs prompts scoring",
    "results": "errors inputs runs metrics reporting",
    "hub": "errors inputs runs metrics reporting",
    "training": "errors inputs runs metrics prompts scoring reporting tasks results hub",
    "pipeline": "errors inputs runs metrics prompts scoring reporting tasks results training",
    "cures": "errors inputs runs metrics prompts scoring reporting tasks results training pipeline",
    "studies": "errors inputs runs metrics prompts scoring reporting tasks results training pipeline",
    "commands": "errors inputs flags runs metrics prompts scoring reporting tasks results training pipeline cures"
    " studies",
    "cli": "errors inputs runs reporting flags commands",
    "__main__": "cli",
    "integrations": "errors inputs runs prompts scoring tasks results training pipeline studies",
}
COMPILED = {"_core", "_engine", "_build_info"}  # which every room may use
FRONT_DOOR = "__init__"  # the flat public list: sees all, and no room sees it

CPP_ROOMS = {
    "core/base": "",
    "core/tables": "core/base",
    "core/stats": "core/base",
    "core/plan": "core/base",
    "core/generation": "core/base core/tables",
    "core/metrics": "core/base core/stats",
    "engine/kernels": "core/base core/plan",
    "engine/model": "core/base engine/kernels",
    "engine/job": "core/base core/plan engine/model",  # a job is laid out for a model: its vocabulary, its context
    "engine/panels": "core/base core/plan engine/kernels engine/model engine/job",
    "engine/tensors": "core/base core/plan engine/kernels engine/model engine/job",
    "bindings": "core/base core/tables core/stats core/plan core/generation core/metrics"
    " engine/kernels engine/model engine/job engine/panels engine/tensors",
}


def python_room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def python_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.stem not in COMPILED)


def imported_rooms(tree: ast.AST) -> Iterator[str]:
    """Yield the rooms that a module of the package imports anywhere in it; the front door for the package itself."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [node.module or ""]
            if node.module == "sycophancy_core":
                names = [f"sycophancy_core.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == "sycophancy_core":
                room = name.split(".")[1] if "." in name else FRONT_DOOR
                yield room if room in PYTHON_ROOMS or room in COMPILED else FRONT_DOOR


def python_edges() -> set[tuple[str, str, str]]:
    """Return (file, its room, room that it imports), without imports inside a room and of compiled modules."""
    found = set()
    for path in python_files():
        room = python_room(path)
        for other in imported_rooms(ast.parse(path.read_text())):
            if other != room and other not in COMPILED and room != FRONT_DOOR:
                found.add((path.relative_to(PACKAGE).as_posix(), room, other))
    return found


def cpp_room(name: str) -> str:
    parts = name.split("/")
    return parts[0] if parts[0] == "bindings" else "/".join(parts[:2]).partition(".")[0]  # engine/job.h: engine/job


def cpp_files() -> list[Path]:
    return sorted([*CPP.rglob("*.h"), *CPP.rglob("*.cc")])


def cpp_edges() -> set[tuple[str, str, str]]:
    found = set()
    for path in cpp_files():
        name = path.relative_to(CPP).as_posix()
        for other in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
            if cpp_room(other) != cpp_room(name):
                found.add((name, cpp_room(name), cpp_room(other)))
    return found


def wrong_edges(edges: Iterable[tuple[str, str, str]], rooms: Mapping[str, str]) -> list[str]:
    return sorted(f"{name}: {room} -> {other}" for name, room, other in edges if other not in rooms[room].split())


def longest_chain(rooms: Mapping[str, str]) -> int:
    """Count the imports of the longest way down; a circle has no end and fails."""

    def below(room: str, above: tuple[str, ...]) -> int:
        assert room not in above, f"a circle: {' -> '.join((*above, room))}"
        return max((1 + below(other, (*above, room)) for other in rooms[room].split()), default=0)

    return max(below(room, ()) for room in rooms)


def test_every_python_file_is_in_a_room() -> None:
    lost = [str(path) for path in python_files() if python_room(path) not in (*PYTHON_ROOMS, FRONT_DOOR)]
    assert lost == []


def test_every_cpp_file_is_in_a_room() -> None:
    lost = [name for path in cpp_files() if cpp_room(name := path.relative_to(CPP).as_posix()) not in CPP_ROOMS]
    assert lost == []


@pytest.mark.parametrize("rooms", [PYTHON_ROOMS, CPP_ROOMS], ids=["python", "cpp"])
def test_the_table_of_rooms_has_no_circle_and_no_unknown_room(rooms: dict[str, str]) -> None:
    assert {other for row in rooms.values() for other in row.split()} - set(rooms) == set()
    longest_chain(rooms)


def test_python_rooms_import_only_what_their_row_says() -> None:
    assert wrong_edges(python_edges(), PYTHON_ROOMS) == []


def test_cpp_rooms_include_only_what_their_row_says() -> None:
    assert wrong_edges(cpp_edges(), CPP_ROOMS) == []


def test_only_the_engine_for_devices_includes_torch() -> None:
    torch = re.compile(r"^#include <(ATen|c10|torch)/", re.MULTILINE)
    found = {path.relative_to(ROOT).as_posix() for path in cpp_files() if torch.search(path.read_text())}
    assert found
    assert {name for name in found if not name.startswith("cpp/engine/tensors/")} == {"cpp/bindings/engine_module.cc"}


def test_the_longest_chain_of_imports_through_rooms_is_short() -> None:
    seen: dict[str, set[str]] = {room: set() for room in PYTHON_ROOMS}
    for _, room, other in python_edges():
        seen[room].add(other)
    assert longest_chain({room: " ".join(others) for room, others in seen.items()}) <= MAX_CHAIN


@pytest.mark.parametrize("folder", sorted(room for room in PYTHON_ROOMS if (PACKAGE / room).is_dir()))
def test_a_room_says_its_job_in_one_line(folder: str) -> None:
    tree = ast.parse((PACKAGE / folder / "__init__.py").read_text())
    assert len(tree.body) == 1
    assert "\n" not in (ast.get_docstring(tree) or "\n")


def test_tests_mirror_the_rooms() -> None:
    rooms = {room for room in PYTHON_ROOMS if (PACKAGE / room).is_dir()}
    folders = {path.name for path in (ROOT / "tests/python").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders - rooms == {"fuzz", "house", "makers", "twins"}
