"""Answers that are sampled: several replies to each prompt, read by rules, for where log-probabilities are not given.

The random numbers of a local model's replies depend on the seed, the prompt and the number of draws, since all draws of
a prompt are made together; never on what else is asked. A server gets a seed for each prompt and draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError, ModelError, require_counts, require_numbers
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.checks.limits import check_vocabulary
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import Turn, plain_text, read_prompt, table_prompts
from sycophancy_core.scoring.sampled.replies import read_reply
from sycophancy_core.scoring.tokens import row_name
from sycophancy_core.scoring.transformers_scorer import in_evaluation
from sycophancy_core.tables import ASKED, Column, checked_table

UNPARSED = "unparsed"


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
        require_numbers("SamplingOptions", self, ("temperature",))
        if not 0 <= self.temperature < float("inf"):
            raise DataError(f"SamplingOptions: temperature must be a number >= 0, got {self.temperature}")


def sample_answers(
    model: LanguageModel,
    prompts: pa.Table,
    *,
    options: SamplingOptions | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pa.Table:
    """Sample replies to prompts, and read which choice each names.

    Parameters
    ----------
    seed
        The same seed, prompt and options give the same replies, whatever else is asked; on a server, if it obeys seeds.

    Returns
    -------
    pyarrow.Table
        One row a draw, as :func:`join_replies` says; the draws of a prompt follow each other, counted from 1.

    Raises
    ------
    DataError
        If a prompt has no id or no tokens, is neither text nor messages, or with the longest reply exceeds the model's
        context.
    ModelError
        If the model is on a server that is not asked in chat, or is an encoder-decoder.
    """
    options = options or SamplingOptions()
    prompts = checked_table(prompts, (*ASKED, Column("id", "text")), who="sample_answers")
    replies = _replies(model, prompts, options, seed, progress)
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
    texts = [plain_text(prompt) for prompt in table_prompts(prompts, by_turns=True)]
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
    model: LanguageModel, prompts: pa.Table, options: SamplingOptions, seed: int, progress: Progress | None
) -> list[list[str]]:
    if model.device == "server":
        from sycophancy_core.scoring.served.served_chat import ServedChat

        if not isinstance(model, ServedChat):
            raise ModelError(
                f"model {model.name}: answers of a server are sampled in chat; give its URL with /v1/chat/completions"
            )
        return model.replies(_asked(prompts, by_turns=True)[1], **asdict(options), seed=seed, progress=progress)
    if model.is_encoder_decoder:
        raise ModelError(f"model {model.name} is an encoder-decoder; answers are sampled from decoders")
    return _generated(model, prompts, options, seed, progress)


def _generated(
    model: LanguageModel, prompts: pa.Table, options: SamplingOptions, seed: int, progress: Progress | None
) -> list[list[str]]:
    """Generate with transformers, all draws of a prompt together."""
    import torch

    contexts = _contexts(model, prompts, options.max_tokens)
    device = next(model.model.parameters()).device
    found = []
    with in_evaluation(model.model), _only_asked(model, options) as settings:
        for row, context in enumerate(contexts):
            ids = torch.as_tensor(context, dtype=torch.long, device=device).expand(options.draws, -1)
            with torch.inference_mode(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_seed(seed, context.tobytes()))
                made = model.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
            replies = model.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
            found.append([str(reply) for reply in replies])
            if progress is not None:
                progress(row + 1, len(contexts))
    return found


def _asked(prompts: pa.Table, *, by_turns: bool) -> tuple[list[str], list[str | list[Turn]]]:
    """Return what errors call each prompt, and what is asked."""
    ids = prompts["id"].to_pylist()
    names = [row_name(row, ids) for row in range(prompts.num_rows)]
    rows = zip(table_prompts(prompts, by_turns=by_turns), names, strict=True)
    return names, [read_prompt(prompt, f"sample_answers: {name}") for prompt, name in rows]


def _contexts(model: LanguageModel, prompts: pa.Table, max_tokens: int) -> list[NDArray[np.int32]]:
    """Return each prompt's tokens, without a choice: all of them, since a reply may begin with any token."""
    names, asked = _asked(prompts, by_turns=model.chat_template)
    found = [np.array(alone, np.int32) for alone, _ in model.encoder.rows(asked, [[]] * len(asked))]
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


@contextmanager
def _only_asked(model: LanguageModel, options: SamplingOptions) -> Iterator[Any]:
    """Put the checkpoint's own generation settings aside for a while, and give those that the options ask for.

    ``generate`` fills what a caller leaves open from the model's own settings (a penalty of repetitions, say), which
    would change the probabilities that are drawn from. Which tokens end a reply stays the checkpoint's word.
    """
    from transformers import GenerationConfig

    holders = [module for module in model.model.modules() if "generation_config" in vars(module)]
    kept = [(module, module.generation_config) for module in holders]
    tokenizer, own = model.tokenizer, model.model.generation_config
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ends: dict[str, Any] = {"eos_token_id": own.eos_token_id, "pad_token_id": pad}
    drawn: dict[str, Any] = {"do_sample": False}
    if options.temperature > 0:
        drawn = {"do_sample": True, "temperature": options.temperature, "top_p": 1.0, "top_k": 0}
    for module, _ in kept:
        module.generation_config = GenerationConfig(**ends)
    try:
        yield GenerationConfig(max_new_tokens=options.max_tokens, **drawn, **ends)
    finally:
        for module, config in kept:
            module.generation_config = config


def _seed(seed: int, prompt: bytes) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0".encode() + prompt).digest()[:6], "little")
