"""Training rows to token batches of few shapes: planned once, from lengths and a seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.scoring.encoding import Encoder, common_prefix
from sycophancy_core.tables import TRAINING_ROWS, checked_table

if TYPE_CHECKING:
    IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EncodedRow:
    """One training row as tokens.

    Attributes
    ----------
    ids
        Prompt and completion.
    first_supervised
        Index of the first completion token; it and all after it are learned.
    """

    ids: tuple[int, ...]
    first_supervised: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch padded on the right, and where its supervised tokens are.

    Attributes
    ----------
    ids
        Shape (rows, width), int64.
    row, column
        Position whose output predicts each supervised token, shape (n,).
    target
        The supervised tokens, shape (n,).
    num_tokens
        Tokens without the padding.
    """

    ids: IntArray
    row: IntArray
    column: IntArray
    target: IntArray
    num_tokens: int


def encode_rows(rows: pa.Table, encode: Encoder, *, max_tokens: int) -> list[EncodedRow]:
    """Tokenize prompt and completion of each row as one text, as scoring does; no text is read as a special token.

    Where the tokenizer merges the prompt's end with the completion's start, the merged token is supervised too. Rows of
    origin ``instruction`` end with the end-of-sequence token, so that the model goes on learning where an answer ends;
    a choice does not, even if the tokenizer adds one by itself.

    With a chat template the prompt is the user's turn, or the row's ``turns`` are the conversation, as in scoring, and
    the completion is learned where the assistant replies; an instruction's answer then ends with what the template puts
    after it, up to the first special token.

    Raises
    ------
    DataError
        If there is no row, or a column is missing; if a row has no supervised token, starts with one, or is longer than
        ``max_tokens``.
    """
    rows = checked_table(rows, TRAINING_ROWS, who="training rows")
    if rows.num_rows == 0:
        raise DataError("training rows: wanted at least one row, got an empty table")
    prompts, completions = rows["prompt"].to_pylist(), rows["completion"].to_pylist()
    turns = rows["turns"].to_pylist() if "turns" in rows.column_names else None
    pairs = encode.rows(prompts, [[completion] for completion in completions], turns)
    end = encode.end_of_reply()
    encoded = []
    for index, (origin, (alone, (whole,))) in enumerate(zip(rows["origin"].to_pylist(), pairs, strict=True)):
        shared = common_prefix(alone, whole)
        name = f"row {rows['id'][index].as_py()!r}"
        if not completions[index] or shared == len(whole):
            raise DataError(f"encode_rows: {name} has no supervised token: its completion is {completions[index]!r}")
        ids = whole + end if origin == "instruction" else whole
        if shared == 0:
            raise DataError(f"encode_rows: {name} has no prompt token before its completion {completions[index]!r}")
        if len(ids) > max_tokens:
            raise DataError(
                f"encode_rows: {name} has {len(ids)} tokens, wanted at most {max_tokens}; shorten or drop it"
            )
        encoded.append(EncodedRow(ids=tuple(ids), first_supervised=shared))
    return encoded


def digest_rows(encoded: Sequence[EncodedRow]) -> str:
    """Return the SHA-256 of the rows' tokens and of which of them are learned, in hexadecimal."""
    digest = hashlib.sha256()
    for row in encoded:
        digest.update(np.array([len(row.ids), row.first_supervised, *row.ids], np.int64).tobytes())
    return digest.hexdigest()


def plan_batches(lengths: IntArray, *, num_batches: int, batch_size: int, seed: int, window: int = 8) -> IntArray:
    """Decide which rows make each batch: shuffled by epochs, rows of like length together.

    Rows are taken in random order, each once before any comes again. Every ``window`` batches are sorted by length, cut
    into batches and shuffled: batches hold rows of like length, so little padding is computed, and no row moves more
    than a window.

    Returns
    -------
    numpy.ndarray
        Row indices, int64, shape (num_batches, batch_size).
    """
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    wanted = num_batches * batch_size
    epochs = -(-wanted // len(lengths))
    order = np.concatenate([np.argsort(random.random(len(lengths)), kind="stable") for _ in range(epochs)])[:wanted]
    plan = np.empty((num_batches, batch_size), np.int64)
    for start in range(0, num_batches, window):
        rows = order[start * batch_size : (start + window) * batch_size]
        grouped = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, batch_size)
        plan[start : start + len(grouped)] = grouped[np.argsort(random.random(len(grouped)), kind="stable")]
    return plan


def make_batch(rows: list[EncodedRow], *, pad_id: int, multiple: int) -> Batch:
    """Pad rows on the right to the next multiple; a causal model never sees what is on the right."""
    longest = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), -(-longest // multiple) * multiple), pad_id, np.int64)
    row_index: list[int] = []
    column: list[int] = []
    target: list[int] = []
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        supervised = range(row.first_supervised, len(row.ids))
        row_index += [index] * len(supervised)
        column += [position - 1 for position in supervised]
        target += row.ids[row.first_supervised :]
    return Batch(
        ids=ids,
        row=np.array(row_index, np.int64),
        column=np.array(column, np.int64),
        target=np.array(target, np.int64),
        num_tokens=sum(len(row.ids) for row in rows),
    )
