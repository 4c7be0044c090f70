"""Scoring that a kill does not lose: what a batch is, what identifies the work, and scores as journal records."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core._build_info import VERSION
from sycophancy_core.runs.batches import BatchedWork, kept_batches
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.scores import Scores
from sycophancy_core.scoring.tokens import TokenBatch, tokenize_prompts

# A batch is as much as takes seconds: parameters times tokens, by the kind of device. It never depends on a clock, so
# that an interrupted job has the batches of an uninterrupted one.
BATCH_WORK = {"cpu": 2e12, "cuda": 4e15}
SERVED_PROMPTS = 64  # a batch where a server scores, whose speed is not known
LEAST_PROMPTS = 16  # the arms and orders of a claim share their beginnings
MOST_PROMPTS = 4096
_COUNTS = ("choice_tokens", "shared_tokens")


def score_resumable(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    journal: str | Path,
    progress: Progress | None = None,
    batch_prompts: int | None = None,
) -> Scores:
    """Score prompts batch by batch, each kept in a journal; a later call with the same arguments goes on from there.

    The journal's first record is the identity of the work: the token ids of every prompt and choice, the digests of
    weights and tokenizer, the precision, the engine, the package's version and the size of the batches. The result does
    not depend on where a run was interrupted.

    Parameters
    ----------
    batch_prompts
        Prompts a batch; by default as many as take seconds, judged by the model's size and the prompts' length.

    Raises
    ------
    DataError
        If the journal belongs to other prompts or another model, or is damaged before its tail.
    KeyboardInterrupt
        On Ctrl-C, SIGTERM or SIGHUP: after the batch in hand is kept, or without it where it takes seconds.

    Warns
    -----
    UserWarning
        If the journal's last record was torn, or it was begun with other libraries or on another processor.
    """
    batch = tokenize_prompts(model.encoder, prompts)
    size = batch_prompts or _batch_prompts(model, batch)
    work = BatchedWork(
        doing="scoring",
        num_prompts=prompts.num_rows,
        batch_prompts=size,
        identity=_identity(model, batch, size),
        words=IDENTITY_WORDS,
        device=model.device,
        make=lambda start, stop, shown: model.score_batch(batch.part(start, stop), progress=shown),
        encode=_encode,
        decode=_decode,
    )
    return _joined(kept_batches(work, journal, progress=progress), batch)


def _batch_prompts(model: LanguageModel, batch: TokenBatch) -> int:
    """Return how many prompts take seconds; a power of two."""
    if model.num_parameters is None or model.device == "server":
        return SERVED_PROMPTS
    tokens = batch.num_tokens_unshared / (int(batch.prompt_index[-1]) + 1)
    wanted = BATCH_WORK.get(model.device, BATCH_WORK["cuda"]) / (model.num_parameters * tokens)
    size = LEAST_PROMPTS
    while 2 * size <= min(wanted, MOST_PROMPTS):
        size *= 2
    return size


IDENTITY_WORDS = {
    "server": "models on the server",
    "probe": "answers of the server's model",
    "tokens": "prompts",
    "weights": "weights",
    "tokenizer": "settings of the tokenizer",
    "precision": "precision",
    "engine": "engine",
    "version": "versions of this package",
    "batch_prompts": "batch sizes",
}


def _identity(model: LanguageModel, batch: TokenBatch, size: int) -> dict[str, Any]:
    tokens = hashlib.sha256()
    for array in (batch.tokens, batch.offsets, batch.num_context, batch.prompt_index, batch.choice_index):
        tokens.update(array.tobytes())
    return {
        "tokens": tokens.hexdigest(),
        **model.identity,
        "tokenizer": model.tokenizer_digest,
        "precision": model.precision,
        "engine": model.engine,
        "version": VERSION,
        "batch_prompts": size,
    }


def _encode(scores: Scores) -> bytes:
    about: dict[str, Any] = {
        name: getattr(scores, name)
        for name in ("unscored", "precision", "num_tokens", "num_tokens_unshared", "num_moved_borders", "seconds")
    }
    counts = {name: getattr(scores, name) for name in _COUNTS}
    about["log_prob_low"] = None if scores.log_prob_low is None else scores.log_prob_low.tolist()
    about |= {name: None if values is None else values.tolist() for name, values in counts.items()}
    buffer = io.BytesIO()
    buffer.write(json.dumps(about).encode() + b"\n")
    np.save(buffer, scores.log_prob, allow_pickle=False)
    return buffer.getvalue()


def _decode(payload: bytes) -> Scores:
    head, _, body = payload.partition(b"\n")
    about = json.loads(head)
    counts = {name: about.pop(name, None) for name in _COUNTS}
    low = about.pop("log_prob_low", None)
    arrays: dict[str, Any] = {
        name: None if values is None else np.array(values, dtype=np.int32) for name, values in counts.items()
    }
    arrays["log_prob_low"] = None if low is None else np.array(low)
    return Scores(log_prob=np.load(io.BytesIO(body), allow_pickle=False), **about, **arrays)


def _joined(parts: list[Scores], batch: TokenBatch) -> Scores:
    width = max(part.log_prob.shape[1] for part in parts)

    def wide(table: Any, fill: float) -> Any:
        return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)

    tokens = [part.choice_tokens for part in parts]
    shared = [part.shared_tokens for part in parts]
    low = [part.log_prob_low for part in parts]
    are_counted = all(counts is not None for counts in (*tokens, *shared))
    return Scores(
        log_prob=np.concatenate([wide(part.log_prob, np.nan) for part in parts]),
        log_prob_low=None if low[0] is None else np.concatenate([wide(one, np.nan) for one in low]),
        unscored=[reason for part in parts for reason in part.unscored],
        precision=parts[0].precision,
        num_tokens=sum(part.num_tokens for part in parts),
        num_tokens_unshared=batch.num_tokens_unshared,
        num_moved_borders=batch.num_moved_borders,
        seconds=sum(part.seconds for part in parts),
        choice_tokens=np.concatenate([wide(counts, 0) for counts in tokens]) if are_counted else None,
        shared_tokens=np.concatenate([counts for counts in shared if counts is not None]) if are_counted else None,
    )
