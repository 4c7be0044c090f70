"""Which part of a job is one process's own: as a user says it, or as Slurm or torchrun number their processes."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import TypeAlias

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import is_table_name

Part: TypeAlias = "tuple[int, int]"
"""``(i, n)``: the i-th of n contiguous parts, counted from 0."""


def read_shard(text: str) -> Part:
    """Read ``i/n``; or ``auto``: a task of a Slurm array, or a process of torchrun.

    Raises
    ------
    DataError
        If it is neither, or no launcher has numbered this process.
    """
    if text == "auto":
        return _launched()
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise DataError(f"--shard: wanted i/n with i from 0 to n - 1, such as 0/4, or auto, got {text!r}")
    return int(part), int(parts)


def _launched() -> Part:
    """Return this process's place among those of its Slurm array, or of torchrun."""

    def number(name: str, default: int | None = None) -> int:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
        if default is None:
            raise DataError(
                f"--shard auto: wanted a whole number in the variable {name}, got {text!r}; say --shard i/n"
            )
        return default

    if "SLURM_ARRAY_TASK_ID" in os.environ:
        first, step = number("SLURM_ARRAY_TASK_MIN", 0), number("SLURM_ARRAY_TASK_STEP", 1)
        found = (number("SLURM_ARRAY_TASK_ID") - first) // step, number("SLURM_ARRAY_TASK_COUNT")
    elif "WORLD_SIZE" in os.environ:
        found = number("RANK"), number("WORLD_SIZE")
    else:
        raise DataError(
            "--shard auto: wanted a task of a Slurm array or a process of torchrun, got neither (there is no "
            "SLURM_ARRAY_TASK_ID and no WORLD_SIZE); say --shard i/n"
        )
    check_shard(found, who="--shard auto")
    return found


def check_shard(shard: object, *, who: str) -> None:
    """Refuse what is no (i, n) with 0 <= i < n."""
    is_pair = isinstance(shard, tuple | list) and len(shard) == 2 and all(isinstance(one, Integral) for one in shard)
    if not (is_pair and 0 <= shard[0] < shard[1]):  # type: ignore[index]  # a pair, as the line above has found
        raise DataError(f"{who}: shard must be (i, n) with 0 <= i < n, got {shard!r}")


def shard_rows(shard: Part, num_rows: int, *, who: str) -> range:
    """Return the rows of a part of a table.

    Raises
    ------
    DataError
        If it is no part, or has no row since there are more parts than rows.
    """
    check_shard(shard, who=who)
    part, parts = shard
    if parts > num_rows:
        raise DataError(f"{who}: wanted at most one shard a prompt, got {parts} shards of {num_rows} prompts")
    return range(num_rows * part // parts, num_rows * (part + 1) // parts)


def shard_file(out: str | Path, shard: Part) -> Path:
    """Return the name of a part's file: next to the file that the whole is to be, or in its folder."""
    out, (part, parts) = Path(out), shard
    ending = f"{part:05}-of-{parts:05}.parquet"
    return out.with_name(f"{out.stem}-{ending}") if is_table_name(out) else out / f"shard-{ending}"
