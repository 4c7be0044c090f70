"""How far a cure moves text that has nothing to do with users: the divergence of replies to ordinary instructions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError
from sycophancy_core.metrics.stats import Estimate, clustered_mean
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import table_prompts
from sycophancy_core.scoring.sampled.generated import generated_tokens
from sycophancy_core.scoring.tokens import TokenBatch
from sycophancy_core.training.instructions import load_instructions
from sycophancy_core.training.mixing import instruction_rows

_EVERY = 3  # of the packaged instructions one in three is kept for measuring; trainings have the others
_DRAWS = 3  # replies to each prompt, drawn together
_MAX_TOKENS = 32


class OtherText(NamedTuple):
    """Replies that the untreated model drew.

    Attributes
    ----------
    prompts
        Rows of instructions: columns ``prompt`` and ``turns``.
    replies
        Of each prompt its replies, as token ids.
    log_prob
        Log-probability of each reply under the model that drew it, shape (replies,), in nats.
    """

    prompts: pa.Table
    replies: list[list[list[int]]]
    log_prob: NDArray[np.float64]


def training_instructions() -> pa.Table:
    """Return the packaged instructions that trainings of cures are mixed with."""
    rows = load_instructions()
    return rows.take([i for i in range(rows.num_rows) if i % _EVERY])


def instructions_apart(n: int, *, seed: int) -> pa.Table:
    """Draw packaged instructions that no training of a cure is mixed with.

    Raises
    ------
    DataError
        If there are not as many.
    """
    rows = load_instructions()
    kept = rows.take([i for i in range(rows.num_rows) if i % _EVERY == 0])
    if n > kept.num_rows:
        raise DataError(f"other_prompts must be at most {kept.num_rows}, got {n}")
    return instruction_rows(kept, n=n, seed=seed).select(["prompt", "turns"])


def draw_other_text(model: LanguageModel, prompts: pa.Table, *, seed: int) -> OtherText:
    """Draw replies to prompts at temperature 1 from all tokens."""
    replies = generated_tokens(
        model,
        [np.array(context, np.int32) for context in _contexts(model, prompts)],
        draws=_DRAWS,
        temperature=1.0,
        max_tokens=_MAX_TOKENS,
        seed=seed,
    )
    return OtherText(prompts, replies, _log_prob(model, prompts, replies))


def divergence(text: OtherText, model: LanguageModel) -> Estimate:
    """Estimate the Kullback-Leibler divergence of a model from the one that drew the replies, in nats a token.

    That is how much likelier the replies are under the model that drew them, in all, over their tokens, in all. The
    interval is over prompts, of the ratio's linear form.

    References
    ----------
    Cochran 1977, Sampling Techniques, section 6.3 (ratios).
    """
    lengths = np.array([len(reply) for some in text.replies for reply in some], np.float64)
    prompts = np.repeat(np.arange(len(text.replies)), [len(some) for some in text.replies])
    less = text.log_prob - _log_prob(model, text.prompts, text.replies)
    ratio = less.sum() / lengths.sum()
    return clustered_mean(ratio + (less - ratio * lengths) / lengths.mean(), clusters=prompts)


def _contexts(model: LanguageModel, prompts: pa.Table) -> list[list[int]]:
    asked = table_prompts(prompts, by_turns=model.chat_template)
    return [alone for alone, _ in model.encoder.rows(asked, [[]] * len(asked))]


def _log_prob(model: LanguageModel, prompts: pa.Table, replies: list[list[list[int]]]) -> NDArray[np.float64]:
    """Score replies as the tokens that they were drawn as; a text might be cut into others."""
    rows: list[tuple[int, int, list[int], list[int]]] = [
        (prompt, draw, context, reply)
        for prompt, (context, some) in enumerate(zip(_contexts(model, prompts), replies, strict=True))
        for draw, reply in enumerate(some)
    ]
    wholes: list[Any] = [np.array(context + reply, np.int32) for _, _, context, reply in rows]
    batch = TokenBatch(
        tokens=np.concatenate(wholes),
        offsets=np.cumsum([0, *map(len, wholes)], dtype=np.int64),
        num_context=np.array([len(context) for _, _, context, _ in rows], np.int32),
        prompt_index=np.array([prompt for prompt, *_ in rows], np.int64),
        choice_index=np.array([draw for _, draw, *_ in rows], np.int64),
        num_moved_borders=0,
    )
    return model.score_tokens(batch).log_prob
