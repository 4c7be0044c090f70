"""What a result depends on besides its inputs, versions of libraries and the processor; and the day it is made on."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import warn

VERSIONED = ("sycophancy-core", "torch", "transformers", "peft", "accelerate", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python, this package, and the libraries that it computes with."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "sycophancy-core":
                found[name] = VERSION
    return found


def processor() -> str:
    """Name the processor, as the system does."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def surroundings(device: str = "cpu") -> dict[str, str]:
    """Return what may move the last digits of a score or a step: libraries that multiply, and where they do it."""
    found = versions()
    here: dict[str, str] = {name: found[name] for name in ("torch", "transformers") if name in found}
    here["processor"] = processor()
    if device != "cpu":
        here["device"] = device
    return here


def warn_of_changes(what: object, begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Say where work goes on in other surroundings than it was begun in.

    Warns
    -----
    UserWarning
        If any differ.
    """
    changed = [f"{name} {was}, now {other}" for name, was, other in changed_values(begun, now)]
    if changed:
        warn(
            f"{what}: it was begun with {'; '.join(changed)}; it goes on, but last digits may differ from those of a "
            "run in one place"
        )


def today() -> str:
    """Return the day in UTC, as in ``2025-01-31``; the environment's ``SOURCE_DATE_EPOCH`` stands in for the clock."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()


def changed_values(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return name, first and second value of what differs between two records, by name; "none" where one lacks it."""
    names = sorted(begun.keys() | now.keys())
    return [
        (name, begun.get(name, "none"), now.get(name, "none")) for name in names if begun.get(name) != now.get(name)
    ]
