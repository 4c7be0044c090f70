"""One process's part of a job as one complete file, and all parts together as one process would have made them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from sycophancy_core.errors import DataError, warn
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import TEXTS, ArrowResult, as_table
from sycophancy_core.results.estimated import evaluation_of
from sycophancy_core.results.evaluation import Evaluation
from sycophancy_core.results.fact_filter import judge_facts
from sycophancy_core.results.knowledge_filter import FilterResult, judge_claims, options_of
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import parse_json_line
from sycophancy_core.runs.shards import shard_rows
from sycophancy_core.runs.surroundings import changed_values

Stage = Literal["score", "filter", "evaluate"]

_KEY = b"sycophancy_core.shard"
_MADE_BY = ("versions: ", "facts: versions: ")  # of these a difference is said, not refused
_PARTS = ("stage", "part", "parts", "job", "own", "digest")


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard(ArrowResult):
    """One contiguous part of a job's prompts, scored.

    Attributes
    ----------
    stage
        ``"score"``, ``"filter"`` or ``"evaluate"``.
    part, parts
        Which part it is, counted from 0, and of how many.
    table
        Measurements; of an evaluation with the texts that were asked, second turns last.
    job
        What all parts have alike: digests of prompts and model, precision, device, options, seed.
    own
        What only this part says: ``surroundings``, and the first part's ``precision_check``.
    """

    stage: Stage
    part: int
    parts: int
    table: pa.Table
    job: Mapping[str, Any]
    own: Mapping[str, Any] = field(default_factory=dict)

    def to_arrow(self) -> pa.Table:
        """Return the measurements."""
        return self.table

    def __repr__(self) -> str:
        return f"Shard({self.stage!r}, {self.part} of {self.parts}, {self.table.num_rows} prompts)"

    @checked_arguments
    def save(self, path: str | Path) -> Path:
        """Write one Parquet file, complete or not at all."""
        about = {name: getattr(self, name) for name in _PARTS[:-1]}
        about["digest"] = _digest(self.table, about)
        return write_table(path, self.table.replace_schema_metadata({_KEY: json.dumps(about)}))

    @classmethod
    @checked_arguments
    def load(cls, path: str | os.PathLike[str]) -> Shard:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the file is no shard, or was changed.
        """
        table = read_table(Path(path))
        text = (table.schema.metadata or {}).get(_KEY)
        if text is None:
            raise DataError(f"{path}: wanted a shard of score, filter or evaluate (--shard i/n), got another table")
        about = parse_json_line(text, str(path))
        if not (isinstance(about, dict) and set(_PARTS) <= set(about)):
            raise DataError(f"{path}: wanted a shard that says {', '.join(_PARTS)}, got less; run that shard again")
        table = table.replace_schema_metadata(None)
        if about.pop("digest") != _digest(table, about):
            raise DataError(f"{path}: the shard was changed after it was written; run that shard again")
        return cls(table=table, **about)


def _digest(table: pa.Table, about: Mapping[str, Any]) -> str:
    """Return a digest of the rows and of what the shard says of them."""
    return digest_json([digest_table(table), json.dumps(about, sort_keys=True)])


@checked_arguments
def merge(
    shards: Sequence[Shard | str | os.PathLike[str]], *, claims: pa.Table | None = None
) -> pa.Table | FilterResult | Evaluation:
    """Put the parts of a job together, in any order: the very bytes that one process makes of the whole.

    Parameters
    ----------
    shards
        All parts, or their files.
    claims
        Of a filter: the claims or facts that were filtered.

    Returns
    -------
    pyarrow.Table, FilterResult or Evaluation
        What the whole job gives: measurements, claims, or an evaluation.

    Raises
    ------
    DataError
        If a part is missing, doubled or of another job: other prompts, weights, precision, device or options. The
        message names it.

    Warns
    -----
    UserWarning
        If parts were made on different processors or by different versions of this package, of torch or of another
        library: last digits may differ. The message names them.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model, prompts = sc.load_model("my-model"), sc.make_prompts(sc.make_additions(n=2))
    >>> parts = [sc.score_shard(model, prompts, shard=(i, 2), progress=False) for i in (1, 0)]
    >>> sc.merge(parts)["id"].equals(prompts["id"])
    True
    """
    parts = _whole([one if isinstance(one, Shard) else Shard.load(one) for one in shards])
    first = parts[0]
    if first.stage == "filter":
        return _judged(parts, claims)
    if claims is not None:
        raise DataError(f"merge: claims are for shards of filter, got shards of {first.stage}; leave claims out")
    table = _joined(parts)
    if first.stage == "score":
        return table
    texts = [name for name in TEXTS if name in table.column_names]
    return evaluation_of(
        first.job["model"],
        table.drop_columns(texts),
        facts={**first.job["facts"], "precision_check": first.own["precision_check"]},
        prompts=asked(table),
        known=first.job["known"],
    )


def asked(table: pa.Table) -> pa.Table:
    """Return what was asked, by the prompts' ids: the columns that hold text of some kind."""
    return table.select([name for name in ("id", "task", *TEXTS) if name in table.column_names])


def _judged(parts: Sequence[Shard], claims: pa.Table | None) -> FilterResult:
    job = parts[0].job
    if claims is None:
        raise DataError("merge: wanted the claims that were filtered, got none; give them too (--claims)")
    claims = as_table(claims, who="merge")
    if digest_table(claims) != job["claims"]:
        raise DataError("merge: these are other claims than those that the shards were made from; give those again")
    options = options_of(job["options"], where="merge")
    judge = judge_facts if job["is_facts"] else judge_claims
    return judge(claims, _joined(parts), options)


def _joined(parts: Sequence[Shard]) -> pa.Table:
    """Join the measurements as one process orders them: all prompts that were given, then all second turns."""
    given = [len(shard_rows((one.part, one.parts), one.job["num_prompts"], who="merge")) for one in parts]
    tables = [one.table.slice(0, number) for one, number in zip(parts, given, strict=True)]
    tables += [one.table.slice(number) for one, number in zip(parts, given, strict=True)]
    return pa.concat_tables([table for table in tables if table.num_rows])


def _whole(shards: Sequence[Shard]) -> list[Shard]:
    """Return the parts in order; refuse what is not all of one job, each part once."""
    if not shards:
        raise DataError("merge: wanted the shards of a job, got none")
    first = min(shards, key=lambda one: one.part)
    found: dict[int, Shard] = {}
    for one in shards:
        check_same(first, one, who="merge")
        if one.part in found:
            raise DataError(f"merge: shard {one.part} of {one.parts} is there twice; give each shard once")
        rows = shard_rows((one.part, one.parts), one.job["num_prompts"], who="merge")
        if one.table.num_rows < len(rows):
            raise DataError(
                f"merge: shard {one.part} of {one.parts} has {one.table.num_rows} prompts, wanted {len(rows)}; run it "
                "again"
            )
        found[one.part] = one
    if missing := sorted(set(range(first.parts)) - set(found)):
        names = ", ".join(f"{part}/{first.parts}" for part in missing)
        raise DataError(f"merge: wanted all {first.parts} shards, got no {names}; run what is missing again")
    for one in shards:
        _warn_of_others(first, one)
    return [found[part] for part in range(first.parts)]


def check_same(first: Shard, other: Shard, *, who: str) -> None:
    """Refuse a shard of another job than the first one's; other versions are no fault.

    Raises
    ------
    DataError
        If stage, number of parts, prompts, model, precision, device or options differ. The message names what does.
    """
    for key in ("stage", "parts"):
        if getattr(first, key) != getattr(other, key):
            raise DataError(
                f"{who}: wanted shards of one job, got {first!r} and {other!r}; run one of them again, or leave it out"
            )
    differs = (one for one in _differences(first.job, other.job) if not one[0].startswith(_MADE_BY))
    for where, begun, now in differs:
        raise DataError(
            f"{who}: shard {other.part} is of another job than shard {first.part}: {where} is {_shown(now)}, not "
            f"{_shown(begun)}; run it again as the others, or leave it out"
        )


def _warn_of_others(first: Shard, other: Shard) -> None:
    """Say which versions and which processor made a part, where others made the first one."""
    begun, now = ({**_versions(one.job), **one.own["surroundings"]} for one in (first, other))
    changed = [f"{name} {other}, not {was}" for name, was, other in changed_values(begun, now)]
    if changed:
        warn(
            f"merge: shard {other.part} was made with {', '.join(changed)} as shard {first.part}; last digits may "
            "differ from those of one process; run it again with the same ones where that matters"
        )


def _versions(job: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = job.get("facts", job).get("versions", {})
    return found


def _differences(begun: Any, now: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(begun, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*begun, *now]):
            yield from _differences(begun.get(key), now.get(key), f"{where}: {key}" if where else str(key))
    elif begun != now:
        yield where, begun, now


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
