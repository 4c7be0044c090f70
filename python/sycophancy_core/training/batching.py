"""Training rows to token batches of few shapes: planned once, from lengths and a seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sycophancy_core.errors import MAX_ROWS, DataError
from sycophancy_core.inputs.tables import TRAINING_ROWS, checked_table
from sycophancy_core.scoring.checks.limits import check_vocabulary
from sycophancy_core.scoring.encoding import Encoder, common_prefix
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import Turn, read_messages, read_prompt, table_prompts

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

    With a chat template a row's ``turns``, or else its prompt as the user's, are asked as in scoring, and the
    completion is learned where the assistant replies; an instruction's answer then ends with what the template puts
    after it, up to the first special token.

    Rows may also be chats, in TRL's forms: ``prompt`` as messages, and ``completion`` as one; or ``messages``, of which
    the last answer is learned. Without the column ``origin`` they are taken for instructions.

    Raises
    ------
    DataError
        If there is no row, or a column is missing; if a prompt or completion is neither text nor messages; if a row has
        no supervised token, starts with one, or is longer than ``max_tokens``.
    """
    rows = checked_table(rows, TRAINING_ROWS, who="training rows")
    if rows.num_rows == 0:
        raise DataError("encode_rows: wanted training rows, got an empty table")
    asked = _read_rows(rows, by_turns=encode.has_chat_template)
    pairs = encode.rows([row.prompt for row in asked], [[row.completion] for row in asked])
    end = encode.end_of_reply()
    encoded = []
    for row, (alone, (whole,)) in zip(asked, pairs, strict=True):
        shared = common_prefix(alone, whole)
        name = row.name
        if not row.completion or shared == len(whole):
            raise DataError(f"encode_rows: {name} has no supervised token: its completion is {row.completion!r}")
        ids = whole + end if row.is_instruction else whole
        if shared == 0:
            raise DataError(f"encode_rows: {name} has no prompt token before its completion {row.completion!r}")
        if len(ids) > max_tokens:
            raise DataError(
                f"encode_rows: {name} has {len(ids)} tokens, wanted at most {max_tokens}; shorten or drop it"
            )
        encoded.append(EncodedRow(ids=tuple(ids), first_supervised=shared))
    return encoded


class _Row(NamedTuple):
    """A training row as it is read."""

    name: str
    prompt: str | list[Turn]
    completion: str
    is_instruction: bool


def require_training_rows(rows: pa.Table, where: str) -> None:
    """Refuse a table without the columns of training rows, or of chats.

    Raises
    ------
    DataError
        If it lacks one; ``where`` begins the message.
    """
    columns = set(rows.column_names)
    is_text = "prompt" in columns and not pa.types.is_list(rows.schema.field("prompt").type)
    wanted = {"id", "origin", "prompt", "completion"} if is_text else {"prompt", "completion"}
    if "messages" not in columns - {"prompt"} and not wanted <= columns:
        raise DataError(
            f"{where}: wanted training rows with the columns id, origin, prompt, completion, as mix makes them, or "
            f"messages, got the columns {', '.join(rows.column_names)}"
        )


def _read_rows(rows: pa.Table, *, by_turns: bool) -> list[_Row]:
    """Read training rows of :func:`mix`, or chats."""
    require_training_rows(rows, "encode_rows")
    columns = set(rows.column_names)
    is_whole = "prompt" not in columns
    ids = rows["id"].to_pylist() if "id" in columns else range(rows.num_rows)
    prompts = rows["messages"].to_pylist() if is_whole else table_prompts(rows, by_turns=by_turns)
    completions = [[]] * len(prompts) if is_whole else rows["completion"].to_pylist()
    origins = rows["origin"].to_pylist() if "origin" in columns else [None] * len(prompts)
    return [_read_row(f"row {name!r}", *parts) for name, *parts in zip(ids, prompts, completions, origins, strict=True)]


def _read_row(name: str, prompt: Any, completion: Any, origin: str | None) -> _Row:
    where = f"encode_rows: {name}"
    if isinstance(prompt, list) and isinstance(completion, list):
        *before, last = read_messages([*prompt, *completion], where)
        if last["role"] != "assistant":
            raise DataError(f"{where}: messages must end with the assistant's answer, got one of {last['role']} last")
        return _Row(name, before, f" {last['content']}", origin in (None, "instruction"))
    asked = read_prompt(prompt, where)
    if not isinstance(completion, str):
        raise DataError(f"{where}: wanted a text as its completion, got {completion!r}")
    if origin is None and isinstance(asked, str):
        raise DataError(f"{where}: wanted an origin, synthetic or instruction, got none; add the column origin")
    return _Row(name, asked, completion, origin in (None, "instruction"))


def encode_for(model: LanguageModel, rows: pa.Table, *, max_tokens: int | None = None) -> list[EncodedRow]:
    """Tokenize training rows for a model (see :func:`encode_rows`), none longer than its context or ``max_tokens``.

    Raises
    ------
    DataError
        If a row is refused, or a token of it is not in the model's vocabulary.
    """
    limits = [limit for limit in (max_tokens, model.context_length) if limit is not None]
    encoded = encode_rows(rows, model.encoder, max_tokens=min(limits, default=1 << 30))
    tokens = chain.from_iterable(row.ids for row in encoded)
    check_vocabulary(model.model, tokens, name=model.name, tokenizer=model.tokenizer)
    return encoded


def digest_rows(encoded: Sequence[EncodedRow]) -> str:
    """Return the SHA-256 of the rows' tokens and of which of them are learned, in hexadecimal."""
    digest = hashlib.sha256()
    for row in encoded:
        digest.update(np.array([len(row.ids), row.first_supervised, *row.ids], np.int64).tobytes())
    return digest.hexdigest()


def plan_batches(
    rows: Sequence[EncodedRow], *, num_batches: int, batch_size: int, seed: int, window: int = 8
) -> IntArray:
    """Decide which rows make each batch: shuffled by epochs, rows of like length together.

    Rows are taken in random order, each once before any comes again. Every ``window`` batches are sorted by length, cut
    into batches and shuffled: batches hold rows of like length, so little padding is computed, and no row moves more
    than a window.

    Returns
    -------
    numpy.ndarray
        Row indices, int64, shape (num_batches, batch_size).

    Raises
    ------
    DataError
        If that is more than 100,000,000 rows.
    """
    wanted = num_batches * batch_size
    if wanted > MAX_ROWS:
        raise DataError(f"steps x batch_size must be at most {MAX_ROWS:,} rows, got {wanted:,}; ask for less of either")
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    lengths = np.array([len(row.ids) for row in rows], np.int64)
    epochs = -(-wanted // len(rows))
    order = np.argsort(random.random((epochs, len(rows))), axis=1, kind="stable").reshape(-1)[:wanted]
    plan = np.empty((num_batches, batch_size), np.int64)
    for start in range(0, num_batches, window):
        taken = order[start * batch_size : (start + window) * batch_size]
        grouped = taken[np.argsort(lengths[taken], kind="stable")].reshape(-1, batch_size)
        plan[start : start + len(grouped)] = grouped[np.argsort(random.random(len(grouped)), kind="stable")]
    return plan


def make_batch(rows: list[EncodedRow], *, pad_id: int, multiple: int, limit: int | None = None) -> Batch:
    """Pad rows on the right to the next multiple; a causal model never sees what is on the right.

    Parameters
    ----------
    limit
        Positions that the model has: nothing is padded beyond them. None without a limit.
    """
    longest = max(len(row.ids) for row in rows)
    width = -(-longest // multiple) * multiple
    if limit is not None:
        width = max(longest, min(width, limit))
    ids = np.full((len(rows), width), pad_id, np.int64)
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
