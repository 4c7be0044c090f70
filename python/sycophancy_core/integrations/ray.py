"""Shards on a Ray cluster: a pool of workers, each with one model, scores a table of prompts.

::

    scores = score_with_ray("my-model", prompts, out="scores.parquet", shards=64, workers=8, num_gpus=1)

All workers must see the folder of ``out``. A shard that has its file already is not scored again, so a stopped call is
continued by the same call; the model is loaded all the same, to see that it is the one of these files. A worker that
dies is restarted and gets its shard again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import DataError, ModelError, require_whole
from sycophancy_core.inputs.tables import PROMPTS, checked_table
from sycophancy_core.results.shard import Shard, check_same, merge
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.shards import shard_file
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.studies.shards import score_shard
from sycophancy_core.tasks.provenance import model_facts

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
        How many contiguous parts the table is cut into. Some ten for each worker keep all of them busy to the end;
        parts of fewer than a hundred prompts lose time.
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
        If there are more shards than prompts, or a shard's file is of another job: other prompts, another model,
        precision or device. Files that are there are compared before a worker starts, and with each worker's model
        before it scores.
    ModelError
        If a worker cannot load the model, or fails. The message is the worker's own.
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
    kept = _kept([path for path in files if path.exists()], prompts)
    missing = [{"part": part} for part, path in enumerate(files) if not path.exists()]
    wanted = missing or [{"part": 0}]  # where none is missing, a worker looks at the model alone
    parts = ray.data.from_items(wanted, override_num_blocks=len(wanted))
    settings = {"source": model, "prompts": ray.put(prompts), "shards": shards, "out": out}
    settings |= {"kept": kept, "loading": loading}
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(wanted)))
    scored = parts.map(_Worker, fn_constructor_kwargs=settings, compute=pool, num_cpus=num_cpus, num_gpus=num_gpus)
    try:
        scored.materialize()
    except ray.exceptions.RayError as error:
        raise _said(error) from error
    found: pa.Table = merge(files)
    write_table(out, found)
    return found


class _Worker:
    """Has a model, and scores one shard after another."""

    def __init__(
        self, source: str, prompts: Any, shards: int, out: Path, kept: Shard | None, loading: dict[str, Any]
    ) -> None:
        self._model = load_model(source, **loading)
        if kept is not None:
            _check_model(self._model, kept)
        self._prompts = ray.get(prompts)
        self._shards, self._out = shards, out

    def __call__(self, row: dict[str, int]) -> dict[str, int]:
        shard = (row["part"], self._shards)
        path = shard_file(self._out, shard)
        if not path.exists():
            score_shard(self._model, self._prompts, shard=shard, progress=False).save(path)
        return row


def _check_model(model: LanguageModel, kept: Shard) -> None:
    """Refuse a model, or a precision or device, that is not the one of the shards that are there."""
    for name, now in {**model_facts(model), "device": model.device}.items():
        then = kept.job.get(name)
        if then != now:
            raise DataError(
                f"score_with_ray: the shards there are of another model than {model.name}: {name} is {then} there, "
                f"and {now} now; write to another file, or remove them"
            )


def _kept(files: Sequence[Path], prompts: pa.Table) -> Shard | None:
    """Return a shard that is there already, without its rows; refuse those of other prompts or of two jobs."""
    wanted, first = digest_table(prompts), None
    for path in files:
        found = Shard.load(path)
        if found.job["prompts"] != wanted:
            raise DataError(
                f"score_with_ray: {path} is a shard of other prompts than these; remove it, or write to another file"
            )
        first = first or replace(found, table=found.table.schema.empty_table())
        check_same(first, found, who="score_with_ray")
    return first


def _said(error: Exception) -> DataError | ModelError:
    """Return the error of a worker, which Ray hands on as the text of a traceback."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = re.findall(r"^(?!ray\.)((?:\w+\.)*[A-Z]\w*): (.+)$", text, re.MULTILINE)
    if not lines:
        return ModelError(f"score_with_ray: a worker failed: {text.strip().partition(chr(10))[0]}")
    name, said = lines[-1]
    kind = name.rpartition(".")[2]
    if kind == "DataError":
        return DataError(said)
    return ModelError(f"score_with_ray: a worker failed: {said if kind == 'ModelError' else f'{kind}: {said}'}")
