"""Scoring that a kill does not lose: batches in a fixed plan, each acknowledged by a journal record."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import DataError
from sycophancy_core.runs.interrupts import Interrupt, deferred_interrupt
from sycophancy_core.runs.journal import Journal
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.surroundings import surroundings, warn_of_changes
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
    parts: list[Scores] = []
    with (
        Journal(journal) as kept,
        deferred_interrupt("finishing the current batch") as interrupt,
    ):
        _begin(kept, Path(journal), model, batch, size)
        try:
            for record in kept.records[1:]:
                parts.append(_decode(record))
            for start in range(size * len(parts), prompts.num_rows, size):
                if interrupt.raised:
                    break
                stop = min(start + size, prompts.num_rows)
                shown = _within(progress, start, stop - start, prompts.num_rows)
                found = model.score_batch(batch.part(start, stop), progress=shown)
                with interrupt.hold():
                    kept.append(_encode(found))
                    parts.append(found)
        except Interrupt:
            pass  # what it says is said below
        if interrupt.raised:
            raise _stopped(len(parts) * size, prompts.num_rows, Path(journal), interrupt.number)
    return _joined(parts, batch)


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


def _begin(kept: Journal, path: Path, model: LanguageModel, batch: TokenBatch, size: int) -> None:
    """Write the identity of the work into a new journal; refuse another one's."""
    identity, now = _identity(model, batch, size), surroundings(model.device)
    if kept.torn_bytes:
        warnings.warn(
            f"{path}: its last record was torn by a kill or a full disk; its {kept.torn_bytes} bytes are cut off, and "
            "what they held is done once more",
            UserWarning,
            stacklevel=4,
        )
    if not kept.records:
        kept.append(json.dumps({"identity": identity, "surroundings": now}).encode())
        return
    try:
        begun = json.loads(kept.records[0])
        differing = [_WORDS[key] for key in identity if not _is_same(begun["identity"].get(key), identity[key])]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: wanted the journal of a scoring, got another one; use another folder") from error
    if differing:
        raise DataError(
            f"{path}: this journal was begun with other {' and other '.join(differing)}; use those again, or another "
            "folder"
        )
    warn_of_changes(path, begun["surroundings"], now)


def _is_same(begun: Any, now: Any) -> bool:
    """Compare two parts of an identity; numbers are in units of how far they may be apart."""
    if isinstance(now, list) and isinstance(begun, list) and len(begun) == len(now):
        return all(abs(a - b) <= 1 for a, b in zip(begun, now, strict=True))
    return bool(begun == now)


_WORDS = {
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


def _stopped(done: int, total: int, journal: Path, number: int) -> Interrupt:
    kept = f", kept in {journal}; the same call goes on from there" if done else ""
    return Interrupt(
        f"scoring stopped after {min(done, total)} of {total} prompts{kept}",
        kept=journal if done else None,
        number=number,
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
