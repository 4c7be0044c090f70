"""The day on which a result is made."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime


def today() -> str:
    """Return the day in UTC, as in ``2025-01-31``; the environment's ``SOURCE_DATE_EPOCH`` stands in for the clock."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()
