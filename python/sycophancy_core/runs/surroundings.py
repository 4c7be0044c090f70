"""What a result was made with and when: versions of packages, and the day."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from importlib import metadata

from sycophancy_core._build_info import VERSION

VERSIONED = ("sycophancy-core", "torch", "transformers", "peft", "accelerate", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers may depend on, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "sycophancy-core":
                found[name] = VERSION
    return found


def today() -> str:
    """Return the day in UTC, as in ``2025-01-31``; the environment's ``SOURCE_DATE_EPOCH`` stands in for the clock."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()
