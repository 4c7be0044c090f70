"""Scoring that a kill does not lose: batches in a fixed plan, each acknowledged by a journal record."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import DataError
from sycophancy_core.runs.digests import digest_json
from sycophancy_core.runs.interrupts import deferred_interrupt
from sycophancy_core.runs.journal import Journal
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.scores import Scores
from sycophancy_core.scoring.tokens import tokenize_prompts

BATCH_PROMPTS = 512
_COUNTS = ("choice_tokens", "shared_tokens")


def score_resumable(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    journal: str | Path,
    progress: Progress | None = None,
    batch_prompts: int = BATCH_PROMPTS,
) -> Scores:
    """Score prompts batch by batch, each kept in a journal; a later call with the same arguments goes on from there.

    The journal's first record is the identity of the work: the token ids of every prompt and choice, the digests of
    weights and tokenizer, the precision, the engine, the package's version and the batch size. The result does not
    depend on where a run was interrupted.

    Raises
    ------
    DataError
        If the journal belongs to other prompts or another model, or is damaged before its tail.
    KeyboardInterrupt
        On Ctrl-C, after the batch in hand is kept.
    """
    identity = _identity(model, prompts, batch_prompts)
    starts = range(0, prompts.num_rows, batch_prompts)
    parts: list[Scores] = []
    with Journal(journal) as kept, deferred_interrupt() as interrupt:
        if not kept.records:
            kept.append(identity.encode())
        elif kept.records[0].decode(errors="replace") != identity:
            raise DataError(
                f"{journal}: this journal was begun with other prompts, another model, precision or batch size; "
                "use those again, or another folder"
            )
        for index, start in enumerate(starts):
            if index + 1 < len(kept.records):
                parts.append(_decode(kept.records[index + 1]))
                continue
            batch = prompts.slice(start, batch_prompts)
            parts.append(model.score(batch, progress=_within(progress, start, batch.num_rows, prompts.num_rows)))
            kept.append(_encode(parts[-1]))
            if interrupt.raised:
                done = start + batch.num_rows
                raise KeyboardInterrupt(
                    f"scoring stopped after {done} of {prompts.num_rows} prompts, kept in {journal}"
                )
    return _joined(parts)


def _identity(model: LanguageModel, prompts: pa.Table, batch_prompts: int) -> str:
    batch = tokenize_prompts(model.encoder, prompts)
    tokens = hashlib.sha256()
    for array in (batch.tokens, batch.offsets, batch.num_context, batch.prompt_index, batch.choice_index):
        tokens.update(array.tobytes())
    return digest_json(
        {
            "tokens": tokens.hexdigest(),
            "weights": model.digest,
            "tokenizer": model.tokenizer_digest,
            "precision": model.precision,
            "engine": model.engine,
            "version": VERSION,
            "batch_prompts": batch_prompts,
        }
    )


def _within(progress: Progress | None, start: int, size: int, total: int) -> Progress | None:
    if progress is None:
        return None

    def show(done: int, all_tokens: int) -> None:
        progress(start + size * done // max(1, all_tokens), total)

    return show


def _encode(scores: Scores) -> bytes:
    about: dict[str, Any] = {
        name: getattr(scores, name)
        for name in ("unscored", "precision", "num_tokens", "num_tokens_unshared", "num_moved_borders", "seconds")
    }
    counts = {name: getattr(scores, name) for name in _COUNTS}
    about |= {name: None if values is None else values.tolist() for name, values in counts.items()}
    buffer = io.BytesIO()
    buffer.write(json.dumps(about).encode() + b"\n")
    np.save(buffer, scores.log_prob, allow_pickle=False)
    return buffer.getvalue()


def _decode(payload: bytes) -> Scores:
    head, _, body = payload.partition(b"\n")
    about = json.loads(head)
    counts = {name: about.pop(name, None) for name in _COUNTS}
    arrays: dict[str, Any] = {
        name: None if values is None else np.array(values, dtype=np.int32) for name, values in counts.items()
    }
    return Scores(log_prob=np.load(io.BytesIO(body), allow_pickle=False), **about, **arrays)


def _joined(parts: list[Scores]) -> Scores:
    width = max(part.log_prob.shape[1] for part in parts)

    def wide(table: Any, fill: float) -> Any:
        return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)

    tokens = [part.choice_tokens for part in parts]
    shared = [part.shared_tokens for part in parts]
    are_counted = all(counts is not None for counts in (*tokens, *shared))
    return Scores(
        log_prob=np.concatenate([wide(part.log_prob, np.nan) for part in parts]),
        unscored=[reason for part in parts for reason in part.unscored],
        precision=parts[0].precision,
        num_tokens=sum(part.num_tokens for part in parts),
        num_tokens_unshared=sum(part.num_tokens_unshared for part in parts),
        num_moved_borders=sum(part.num_moved_borders for part in parts),
        seconds=sum(part.seconds for part in parts),
        choice_tokens=np.concatenate([wide(counts, 0) for counts in tokens]) if are_counted else None,
        shared_tokens=np.concatenate([counts for counts in shared if counts is not None]) if are_counted else None,
    )
