"""Shards on a Ray cluster: a pool of workers, each with one model, scores a table of prompts.

::

    scores = score_with_ray("my-model", prompts, out="scores.parquet", shards=64, workers=8, num_gpus=1)

The folder of ``out`` has to be one that all workers see. A shard whose file is there is not scored again, so the same
call goes on where an earlier one stopped. A worker that dies is started again, with the shard that it had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.results.shard import Shard, merge
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.shards import shard_file
from sycophancy_core.scoring.language_model import load_model
from sycophancy_core.studies.shards import score_shard
from sycophancy_core.tables import PROMPTS, checked_table

try:
    import ray
    import ray.data
except ImportError as error:
    raise ImportError(
        f"sycophancy_core.integrations.ray: needs ray with its data library, which cannot be imported ({error}); "
        "pip install 'sycophancy-core[ray]'"
    ) from error


def score_with_ray(
    model: str,
    prompts: pa.Table,
    *,
    out: str | Path,
    shards: int,
    workers: int,
    num_cpus: float = 1,
    num_gpus: float = 0,
    **loading: Any,
) -> pa.Table:
    """Score a table of prompts by a pool of workers, and write what one process would write.

    Parameters
    ----------
    model
        Folder, hub id or GGUF file, that every worker can load.
    prompts
        As :func:`make_prompts` returns them; prompts of a claim next to each other share the work on their text.
    out
        File for the scores; the shards' files are next to it.
    shards
        How many contiguous parts the table is cut into. Some ten for each worker keep all of them busy to the end.
    workers
        How many models there are at once.
    num_cpus, num_gpus
        What each worker has for itself. The engine uses as many threads as processors were given.
    loading
        For :func:`load_model`: ``chat_template``, ``matmul_precision``, ``device``, ...

    Returns
    -------
    pyarrow.Table
        The scores, as ``merge`` of the shards returns them: the bytes that one process gives.

    Raises
    ------
    DataError
        If there are more shards than prompts, or a shard's file is of another job.
    ModelError
        If the model cannot be loaded or scored, as a worker says.
    """
    prompts = checked_table(prompts, PROMPTS, who="score_with_ray")
    require_whole("score_with_ray", "shards", shards, least=1)
    require_whole("score_with_ray", "workers", workers, least=1)
    if shards > prompts.num_rows:
        raise DataError(
            f"score_with_ray: wanted at most one shard a prompt, got {shards} shards of {prompts.num_rows} prompts"
        )
    out = Path(out).absolute()
    files = [shard_file(out, (part, shards)) for part in range(shards)]
    _check_done([path for path in files if path.exists()], prompts)
    missing = [{"part": part} for part, path in enumerate(files) if not path.exists()]
    if missing:
        parts = ray.data.from_items(missing, override_num_blocks=len(missing))
        settings = {"source": model, "prompts": ray.put(prompts), "shards": shards, "out": out, "loading": loading}
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(missing)))
        parts.map(
            _Worker, fn_constructor_kwargs=settings, compute=pool, num_cpus=num_cpus, num_gpus=num_gpus
        ).materialize()
    found: pa.Table = merge(files)
    write_table(out, found)
    return found


class _Worker:
    """Has a model, and scores one shard after another."""

    def __init__(self, source: str, prompts: Any, shards: int, out: Path, loading: dict[str, Any]) -> None:
        self._model = load_model(source, **loading)
        self._prompts = ray.get(prompts)
        self._shards, self._out = shards, out

    def __call__(self, row: dict[str, int]) -> dict[str, int]:
        shard = (row["part"], self._shards)
        score_shard(self._model, self._prompts, shard=shard, progress=False).save(shard_file(self._out, shard))
        return row


def _check_done(files: list[Path], prompts: pa.Table) -> None:
    """Refuse shards of other prompts before a worker is started; ``merge`` checks the rest."""
    wanted = digest_table(prompts)
    for path in files:
        if Shard.load(path).job["prompts"] != wanted:
            raise DataError(
                f"score_with_ray: {path} is a shard of other prompts than these; remove it, or write to another file"
            )
