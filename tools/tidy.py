"""Run clang-tidy over the sources that changed since they last passed: tools/tidy.py BUILD JOBS.

A source is read again only if it, a header of ours that it includes, its compile command or .clang-tidy is new. The
record of what passed is build/tidy.json.
"""

import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PASSED = ROOT / "build/tidy.json"
# What only GCC knows, or, for OpenMP, what needs its headers.
GCC_ONLY = re.compile(r" (-fno-thread-jumps|-fno-tree-pre|-Wno(-error=|-)maybe-uninitialized)(?= )")
OUR_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def files_read(source: Path, seen: dict[Path, str]) -> dict[Path, str]:
    """Return `source` and every header of ours below it, each with its text."""
    if source in seen or not source.is_file():
        return seen
    seen[source] = source.read_text()
    for name in OUR_INCLUDE.findall(seen[source]):
        files_read(ROOT / "cpp" / name, seen)
        files_read(ROOT / "tests/cpp" / name, seen)
    return seen


def fingerprint(source: Path, command: str) -> str:
    """Hash all that decides what clang-tidy says about `source`."""
    texts = [command, (ROOT / ".clang-tidy").read_text()]
    texts += [text for _, text in sorted(files_read(source, {}).items())]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def complaints(source: Path, build: Path) -> str:
    """Return what clang-tidy finds in `source`; the empty string if nothing."""
    command = ["clang-tidy", "--quiet", "-p", str(build), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout or done.stderr


def main(build: Path, jobs: int) -> int:
    """Check every source that the build folder compiles; return 1 if any fails."""
    entries = json.loads((build / "compile_commands.json").read_text())
    for entry in entries:
        entry["command"] = GCC_ONLY.sub("", entry["command"])
    build = ROOT / "build/tidy"
    build.mkdir(exist_ok=True)
    (build / "compile_commands.json").write_text(json.dumps(entries))
    wanted = {}
    for entry in entries:
        source = Path(entry["file"])
        is_ours = source.is_relative_to(ROOT / "cpp") or source.is_relative_to(ROOT / "tests")
        if is_ours:
            wanted[source] = fingerprint(source, entry["command"])
    passed = set(json.loads(PASSED.read_text())) if PASSED.exists() else set()
    changed = [source for source, key in wanted.items() if key not in passed]
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        for source, found in zip(changed, pool.map(lambda source: complaints(source, build), changed), strict=True):
            if found:
                failed.append(source)
                print(found)
    now = {key for source, key in wanted.items() if source not in failed}
    PASSED.write_text(json.dumps(sorted(now)))
    print(f"clang-tidy: {len(changed)} of {len(wanted)} sources read, {len(failed)} with complaints")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(ROOT / sys.argv[1], int(sys.argv[2])))
