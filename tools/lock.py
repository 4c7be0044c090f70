"""Write the hashes of what pip would install: tools/lock.py REPORT LOCK, where pip's --report wrote REPORT.

torch is left out: each platform has builds of its own, and the project's other pins hold for all of them.
"""

import json
import platform
import sys
from pathlib import Path

HEAD = """\
# for {place}
# The packages of constraints.txt without torch, each with the hash of the one file that pip takes there.
# `make lock` wrote this. There, SYCO_LOCKED=1 makes `make` take no other file of these packages. It checks neither
# torch nor the tools that build a package that comes as sources.
"""


def place() -> str:
    """Name the Python and platform whose files pip takes."""
    return f"{sys.implementation.name}{sys.version_info[0]}.{sys.version_info[1]} {sys.platform} {platform.machine()}"


def main(report: Path, lock: Path) -> None:
    """Write the lock, one package a line, in alphabetical order."""
    lines = []
    for package in json.loads(report.read_text())["install"]:
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        sha256 = package["download_info"]["archive_info"]["hashes"]["sha256"]
        if name != "torch":
            lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    lock.write_text(HEAD.format(place=place()) + "".join(sorted(lines, key=str.lower)))


if __name__ == "__main__":
    if sys.argv[1:] == ["--place"]:
        print(place())
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
