"""The table of what cures cost to make; its seconds stand in a file of their own, so that no digest depends on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.inputs.tables import Column
from sycophancy_core.runs.json_files import read_json

PRICES = pa.schema(
    [
        *(("cure", pa.string()), ("method", pa.string()), ("null", pa.string()), ("seed", pa.int64())),
        *(("tokens", pa.int64()), ("seconds", pa.float64()), ("prompt_tokens", pa.int64())),
        *((f"divergence{end}", pa.float64()) for end in ("", "_low", "_high")),
        *(("options", pa.string()), ("about", pa.string())),
    ]
)
FILLED = (
    *(Column(name, "text") for name in ("cure", "method", "options")),
    *(Column(name, "whole") for name in ("seed", "tokens", "prompt_tokens")),
)


def price_rows(prices: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the prices of cures and nulls as a table."""
    rows = [
        {**one, **asdict(one["cost"]), **{name: json.dumps(one[name], sort_keys=True) for name in ("options", "about")}}
        for one in prices
    ]
    return pa.Table.from_pylist([{name: row[name] for name in PRICES.names} for row in rows], schema=PRICES)


def with_seconds(prices: pa.Table, path: Path) -> pa.Table:
    """Put the seconds back, which stand in a file of their own; they are null where that is missing or of others."""
    made = read_json(path) if path.is_file() else {}
    found = made.get("seconds") if isinstance(made, dict) else None
    seconds: list[float | None] = [None] * prices.num_rows
    if isinstance(found, list) and len(found) == len(seconds) and all(isinstance(one, float) for one in found):
        seconds = found
    place = min(PRICES.get_field_index("seconds"), prices.num_columns)
    return prices.add_column(place, PRICES.field("seconds"), pa.array(seconds, pa.float64()))
