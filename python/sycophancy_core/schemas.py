"""The columns of tables that are made in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def prompt_schema() -> pa.Schema:
    """Return the columns of a prompts table."""
    import pyarrow as pa

    text, index = pa.string(), pa.int8()
    return pa.schema(
        [
            *((name, text) for name in ("id", "claim_id", "pair_id", "source", "template", "arm", "order")),
            ("prompt", pa.large_string()),
            ("choices", pa.list_(text)),
            ("target", index),
            ("user_choice", index),
            ("is_true", pa.bool_()),
            ("claim_offset", pa.int64()),
        ]
    )
