"""Answers that are sampled: several replies to each prompt, read by rules, for where log-probabilities are not given.

The random numbers of a local model's replies depend on the seed, the prompt and the number of draws, since all draws of
a prompt are made together; never on what else is asked. A server gets a seed for each prompt and draw.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core._build_info import VERSION
from sycophancy_core.errors import DataError, ModelError, require_counts
from sycophancy_core.inputs.arguments import checked_fields
from sycophancy_core.inputs.tables import ASKED, Column, checked_table
from sycophancy_core.runs.batches import BatchedWork, kept_batches
from sycophancy_core.runs.digests import digest_json
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.checks.limits import check_vocabulary
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import (
    Turn,
    plain_text,
    read_prompt,
    table_prompts,
    table_thoughts,
    without_thoughts,
)
from sycophancy_core.scoring.resumable import IDENTITY_WORDS, SERVED_PROMPTS
from sycophancy_core.scoring.sampled.generated import generated
from sycophancy_core.scoring.sampled.replies import read_reply
from sycophancy_core.scoring.tokens import row_name

UNPARSED = "unparsed"

# The digest of what is asked; what draws the replies to the prompts of a range; and how many prompts a batch has.
_Asked = tuple[str, Callable[[int, int, Progress | None], list[list[str]]], int]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How answers are sampled.

    Attributes
    ----------
    draws
        Replies to each prompt. With another number, a local model's may all be others.
    temperature
        What log-odds of tokens are divided by; 0 for the likeliest token each time.
    max_tokens
        Tokens of a reply, at most.
    """

    draws: int = 5
    temperature: float = 1.0
    max_tokens: int = 32

    def __post_init__(self) -> None:
        require_counts("SamplingOptions", self, ("draws", "max_tokens"))
        if not 0 <= self.temperature < float("inf"):
            raise DataError(f"SamplingOptions: temperature must be a number >= 0, got {self.temperature}")


def sample_answers(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    options: SamplingOptions | None = None,
    seed: int = 0,
    journal: str | Path | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Sample replies to prompts, and read which choice each names.

    Parameters
    ----------
    seed
        The same seed, prompt and options give the same replies, whatever else is asked; on a server, if it obeys seeds.
    journal
        File that keeps what was drawn; a later call with the same arguments goes on from there.

    Returns
    -------
    pyarrow.Table
        One row a draw, as :func:`join_replies` says; the draws of a prompt follow each other, counted from 1.

    Raises
    ------
    DataError
        If a prompt has no id or no tokens, is neither text nor messages, or with the longest reply exceeds the model's
        context; or if the journal is of other prompts, another model, seed or options.
    ModelError
        If the model is on a server that is not asked in chat, or is an encoder-decoder.
    """
    options = options or SamplingOptions()
    prompts = checked_table(prompts, (*ASKED, Column("id", "text")), who="sample_answers")
    replies = _replies(model, prompts, options, seed, journal, progress)
    rows = [row for row in range(prompts.num_rows) for _ in range(options.draws)]
    draws = [draw + 1 for _ in range(prompts.num_rows) for draw in range(options.draws)]
    return join_replies(prompts.take(rows), [reply for some in replies for reply in some], draws)


def sampler_facts(model: LanguageModel) -> dict[str, str]:
    """Return what makes the samples of a model, whatever engine scores it, and in which number type."""
    if model.device == "server":
        return {}
    return {"engine": "transformers", "precision": str(model.model.dtype).removeprefix("torch.")}


def join_replies(prompts: pa.Table, replies: Sequence[str | None], draws: Sequence[int]) -> pa.Table:
    """Join prompts with replies, row by row, into the table that metrics take of sampled answers.

    Parameters
    ----------
    replies
        None where there is none, since the request failed.
    draws
        Which reply to its prompt each is.

    Returns
    -------
    pyarrow.Table
        The columns of ``prompts``, with ids that end in ``#`` and the draw's number, and ``draw``, ``reply``,
        ``answer`` (the choice that the reply names, or null), ``unscored`` (null, or why there is no answer), and
        ``log_prob`` and, of claims, ``log_odds``, which are null.
    """
    texts = [plain_text(prompt) for prompt in table_prompts(without_thoughts(prompts), by_turns=True)]
    choices = prompts["choices"].to_pylist()
    answers = [
        None if reply is None else read_reply(reply, row, prompt=text)
        for reply, row, text in zip(replies, choices, texts, strict=True)
    ]
    unscored = [
        "the request failed" if reply is None else UNPARSED if answer is None else None
        for reply, answer in zip(replies, answers, strict=True)
    ]
    ids = [f"{identity}#{draw}" for identity, draw in zip(prompts["id"].to_pylist(), draws, strict=True)]
    table = prompts.set_column(prompts.column_names.index("id"), "id", pa.array(ids, pa.string()))
    columns: list[tuple[str, Sequence[Any], pa.DataType]] = [
        ("draw", draws, pa.int32()),
        ("reply", replies, pa.string()),
        ("answer", answers, pa.int8()),
        ("unscored", unscored, pa.string()),
        ("log_prob", [None] * len(ids), pa.list_(pa.float64())),
    ]
    if "is_true" in table.column_names:
        columns.append(("log_odds", [None] * len(ids), pa.float64()))
    for name, values, kind in columns:
        table = table.append_column(name, pa.array(values, kind))
    return table


def _replies(
    model: LanguageModel,
    prompts: pa.Table,
    options: SamplingOptions,
    seed: int,
    journal: str | Path | None,
    progress: Progress | None,
) -> list[list[str]]:
    if model.device == "server":
        asked, draw, size = _of_server(model, prompts, options, seed)
    else:
        asked, draw, size = _of_local_model(model, prompts, options, seed)
    if journal is None:
        return draw(0, prompts.num_rows, progress)
    work = BatchedWork(
        doing="sampling",
        num_prompts=prompts.num_rows,
        batch_prompts=size,
        identity=drawing_identity(model, asked, size) | asdict(options) | {"seed": seed},
        words=IDENTITY_WORDS | _WORDS,
        device=model.device,
        make=draw,
        encode=lambda replies: json.dumps(replies).encode(),
        decode=json.loads,
    )
    return [some for part in kept_batches(work, journal, progress=progress) for some in part]


_WORDS = {
    "draws": "numbers of draws",
    "temperature": "temperatures",
    "max_tokens": "lengths of replies",
    "seed": "seeds",
}


def drawing_identity(model: LanguageModel, asked: str, size: int) -> dict[str, Any]:
    """Return what tells the drawing of a model's texts from others when work goes on.

    Parameters
    ----------
    asked
        The digest of what is asked.
    size
        How many prompts a batch has.
    """
    return {
        "tokens": asked,
        **model.identity,
        "tokenizer": model.tokenizer_digest,
        "precision": model.precision,
        "engine": model.engine,
        **sampler_facts(model),
        "version": VERSION,
        "batch_prompts": size,
    }


def _of_server(model: LanguageModel, prompts: pa.Table, options: SamplingOptions, seed: int) -> _Asked:
    from sycophancy_core.scoring.served.served_chat import ServedChat

    if not isinstance(model, ServedChat):
        raise ModelError(
            f"model {model.name}: answers of a server are sampled in chat; give its URL with /v1/chat/completions"
        )
    if table_thoughts(prompts) is not None:
        raise ModelError(f"model {model.name}: a server is not asked to go on after a thought; leave the thoughts out")
    asked = _asked(prompts, by_turns=True)[1]

    def draw(start: int, stop: int, progress: Progress | None) -> list[list[str]]:
        return model.replies(asked[start:stop], **asdict(options), seed=seed, progress=progress)

    return digest_json(asked), draw, max(1, SERVED_PROMPTS // options.draws)


def _of_local_model(model: LanguageModel, prompts: pa.Table, options: SamplingOptions, seed: int) -> _Asked:
    if model.is_encoder_decoder:
        raise ModelError(f"model {model.name} is an encoder-decoder; answers are sampled from decoders")
    contexts = _contexts(model, prompts, options.max_tokens)

    def draw(start: int, stop: int, progress: Progress | None) -> list[list[str]]:
        return generated(model, contexts[start:stop], **asdict(options), seed=seed, progress=progress)

    return digest_json([context.tolist() for context in contexts]), draw, 1


def _asked(prompts: pa.Table, *, by_turns: bool) -> tuple[list[str], list[str | list[Turn]]]:
    """Return what errors call each prompt, and what is asked."""
    ids = prompts["id"].to_pylist()
    names = [row_name(row, ids) for row in range(prompts.num_rows)]
    rows = zip(table_prompts(without_thoughts(prompts), by_turns=by_turns), names, strict=True)
    return names, [read_prompt(prompt, f"sample_answers: {name}") for prompt, name in rows]


def _contexts(model: LanguageModel, prompts: pa.Table, max_tokens: int) -> list[NDArray[np.int32]]:
    """Return each prompt's tokens, without a choice: all of them, since a reply may begin with any token."""
    names, asked = _asked(prompts, by_turns=model.chat_template)
    rows = model.encoder.rows(asked, [[]] * len(asked), thoughts=table_thoughts(prompts))
    found = [np.array(alone, np.int32) for alone, _ in rows]
    limit = model.context_length
    for name, tokens in zip(names, found, strict=True):
        if not len(tokens):
            raise DataError(f"sample_answers: {name} has no tokens; wanted a text that a reply can follow")
        if limit is not None and len(tokens) + max_tokens - 1 > limit:
            raise DataError(
                f"sample_answers: {name} has {len(tokens)} tokens, which with a reply of {max_tokens} are "
                f"{len(tokens) + max_tokens}, but {model.name} takes at most {limit + 1}; shorten or drop the prompt, "
                "or lower max_tokens"
            )
        check_vocabulary(model.model, tokens, name=model.name, tokenizer=model.tokenizer)
    return found
