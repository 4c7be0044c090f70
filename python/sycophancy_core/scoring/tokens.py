"""Prompts with their choices as token sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.tables import ASKED, checked_table
from sycophancy_core.scoring.encoding import Encoder, common_prefix
from sycophancy_core.scoring.messages import (
    Prompt,
    read_choices,
    read_prompt,
    require_list,
    table_prompts,
    table_thoughts,
    without_thoughts,
)

_SLICE_PROMPTS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBatch:
    """Ragged token sequences, one for each choice of each prompt, in order.

    Attributes
    ----------
    tokens
        All sequences one after the other, int32.
    offsets
        Sequence s is ``tokens[offsets[s]:offsets[s + 1]]``; int64, one more than there are sequences.
    num_context
        How many tokens of each sequence are its context; the others are scored. At least one of each.
    prompt_index, choice_index
        Which choice of which prompt a sequence is.
    num_moved_borders
        Prompts whose context is shorter than the prompt, since a choice merges with the prompt's last token.
    is_encoder_decoder
        Whether the context goes to an encoder, and the scored tokens to a decoder, where each is predicted from those
        before it: the first from the model's start token, the last is not run.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    num_context: NDArray[np.int32]
    prompt_index: NDArray[np.int64]
    choice_index: NDArray[np.int64]
    num_moved_borders: int
    is_encoder_decoder: bool = False

    @property
    def num_sequences(self) -> int:
        """Number of sequences."""
        return len(self.num_context)

    @property
    def num_tokens_unshared(self) -> int:
        """Tokens to run if every sequence were run alone: all but the last of each, and a decoder's start token."""
        return len(self.tokens) - (0 if self.is_encoder_decoder else self.num_sequences)

    @property
    def choice_tokens(self) -> NDArray[np.int32]:
        """How many tokens of each choice are scored, shape (prompts, most choices); 0 where there is no choice."""
        counts = np.zeros((int(self.prompt_index.max()) + 1, int(self.choice_index.max()) + 1), dtype=np.int32)
        counts[self.prompt_index, self.choice_index] = np.diff(self.offsets) - self.num_context
        return counts

    @property
    def shared_tokens(self) -> NDArray[np.int32]:
        """With how many scored tokens all choices of a prompt begin, shape (prompts,)."""
        shared: NDArray[np.int32] = self.choice_tokens.max(axis=1)
        scored = [self.sequence(s)[self.num_context[s] :] for s in range(self.num_sequences)]
        first: dict[int, NDArray[np.int32]] = {}
        for prompt, ids in zip(self.prompt_index.tolist(), scored, strict=True):
            ours = first.setdefault(prompt, ids)
            length = min(len(ours), len(ids))
            same = int(np.argmin(np.append(ours[:length] == ids[:length], False)))
            shared[prompt] = min(int(shared[prompt]), same)
        return shared

    def sequence(self, s: int) -> NDArray[np.int32]:
        """Token ids of sequence ``s``."""
        return self.tokens[self.offsets[s] : self.offsets[s + 1]]

    def part(self, start: int, stop: int) -> TokenBatch:
        """Return the sequences of some prompts, counted from 0; the moved borders stay the whole batch's."""
        first, last = np.searchsorted(self.prompt_index, [start, stop])
        begin = self.offsets[first]
        return replace(
            self,
            tokens=self.tokens[begin : self.offsets[last]],
            offsets=self.offsets[first : last + 1] - begin,
            num_context=self.num_context[first:last],
            prompt_index=self.prompt_index[first:last] - start,
            choice_index=self.choice_index[first:last],
            num_moved_borders=0,
        )


class TokenScores(NamedTuple):
    """What a scorer says about a batch of token sequences.

    Attributes
    ----------
    log_prob
        Log-probability of each sequence's scored tokens, summed, in nats.
    num_tokens
        Tokens that were run.
    is_greedy
        Whether no token is likelier than any of the sequence's scored ones: whether greedy decoding gives them.
    """

    log_prob: NDArray[np.float64]
    num_tokens: int
    is_greedy: NDArray[np.bool_]


def tokenize_prompts(encoder: Encoder, prompts: pa.Table) -> TokenBatch:
    """Tokenize a table of prompts: columns ``prompt``, ``choices`` and, where it has them, ``id`` and ``turns``.

    A prompt is a text or messages. With a chat template, a row's ``turns`` are asked in its place, and its ``thought``,
    where it has one, stands before the reply.
    """
    prompts = checked_table(prompts, ASKED, who="score")
    ids = prompts["id"].to_pylist() if "id" in prompts.column_names else None
    asked = table_prompts(without_thoughts(prompts), by_turns=encoder.has_chat_template)
    return tokenize(encoder, asked, prompts["choices"].to_pylist(), ids=ids, thoughts=table_thoughts(prompts))


def tokenize(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    choices: Sequence[Sequence[str]],
    *,
    ids: Sequence[str] | None = None,
    thoughts: Sequence[str | None] | None = None,
) -> TokenBatch:
    """Tokenize each prompt together with each of its choices.

    A prompt is a text, or messages of ``role`` and ``content``: maybe one of the system, then user and assistant by
    turns; the last may be what the assistant's reply begins with, before the choice. With a chat template a text is all
    that the user says; without one, messages are written out as a dialogue of Human and Assistant.

    Prompt and choice are tokenized as one text, as the model has seen text in training. Where a choice merges with the
    end of the prompt, the border between context and choice moves left, for all choices of that prompt alike.

    For an encoder-decoder the two are tokenized apart, as lm-evaluation-harness does it: the prompt with the special
    tokens that its tokenizer adds (T5: end of sequence), the choice without any, so that a choice's end is not scored.
    White space at the prompt's end opens the choice.

    Parameters
    ----------
    ids
        What errors call the prompts.
    thoughts
        What the assistant thinks before each reply, as of :meth:`Encoder.rows`.

    Raises
    ------
    DataError
        If there is no prompt, a prompt is neither text nor messages, has no choice or no tokens, a choice is not a text
        or has no tokens, or a prompt with a choice is longer than the model's context.
    """
    require_list(prompts, "score", "prompts")
    require_list(choices, "score", "choices")
    if not prompts:
        raise DataError("score: the table of prompts is empty; wanted at least one row")
    check_length = _LengthCheck(encoder)
    sequences: list[list[int]] = []
    num_context: list[int] = []
    moved = 0
    for start in range(0, len(prompts), _SLICE_PROMPTS):
        rows = range(start, min(start + _SLICE_PROMPTS, len(prompts)))
        asked = [read_prompt(prompts[row], f"score: {row_name(row, ids)}") for row in rows]
        options = [read_choices(choices[row], f"score: {row_name(row, ids)}") for row in rows]
        thought = None if thoughts is None else thoughts[start : rows.stop]
        for row, (alone, whole) in enumerate(encoder.rows(asked, options, thoughts=thought), start):
            border = _border(row_name(row, ids), alone, whole, options[row - start], check_length)
            sequences += whole
            num_context += [border] * len(whole)
            moved += border < len(alone)
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    counts = [len(row) for row in choices]
    return TokenBatch(
        tokens=np.fromiter(chain.from_iterable(sequences), dtype=np.int32, count=int(lengths.sum())),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        num_context=np.array(num_context, dtype=np.int32),
        prompt_index=np.repeat(np.arange(len(prompts)), counts),
        choice_index=np.concatenate([np.arange(count) for count in counts]),
        num_moved_borders=moved,
        is_encoder_decoder=encoder.is_encoder_decoder,
    )


def row_name(row: int, ids: Sequence[str] | None) -> str:
    """Return what an error calls a prompt: its row from 0 on, and its id where it has one."""
    return f"prompt {row}" if ids is None else f"prompt {row} (id {ids[row]})"


def _border(
    where: str, alone: list[int], whole: list[list[int]], options: Sequence[str], check_length: _LengthCheck
) -> int:
    """Check one prompt and return the number of its context tokens."""
    if not whole:
        raise DataError(f"score: {where} has no choices; wanted at least one")
    if not alone:
        raise DataError(f"score: {where} has no tokens; wanted a text that the choices can follow")
    for option, ids in zip(options, whole, strict=True):
        if not option or (len(ids) <= len(alone) and ids == alone[: len(ids)]):
            raise DataError(f"score: {where}: choice {option!r} has no tokens; wanted a text that adds at least one")
        check_length(where, option, len(alone), len(ids))
    border = min(common_prefix(alone, ids) for ids in whole)
    if border == 0:
        raise DataError(f"score: {where}: a choice merges with the whole prompt; wanted a longer prompt")
    return border


class _LengthCheck:
    """Refuses prompts that, with a choice, are longer than the model's context; no limit, no check."""

    def __init__(self, encoder: Encoder) -> None:
        self._name, self._limit = encoder.name, encoder.context_length
        self._in_two = encoder.is_encoder_decoder

    def __call__(self, where: str, option: str, num_prompt: int, num_whole: int) -> None:
        limit = self._limit
        if limit is None:
            return
        if self._in_two:
            if max(num_prompt, num_whole - num_prompt) > limit:
                raise DataError(
                    f"score: {where} with choice {option!r} has {num_prompt} and {num_whole - num_prompt} tokens, but "
                    f"{self._name} takes at most {limit} in its encoder and in its decoder; shorten or drop the prompt"
                )
        elif num_whole - 1 > limit:
            raise DataError(
                f"score: {where} with choice {option!r} has {num_whole} tokens, but {self._name} takes at most "
                f"{limit + 1}; shorten or drop the prompt"
            )


def as_read(tokenizer: Any, encoder: Encoder, prompts: pa.Table) -> list[str]:
    """Return each prompt as the model reads it before its choices: in its chat template, where it is asked in one.

    The text is that of the very tokens that are scored, so what it shows is what was asked.
    """
    batch = tokenize_prompts(encoder, prompts)
    texts: dict[int, str] = {}
    for sequence, prompt in enumerate(batch.prompt_index.tolist()):
        if prompt not in texts:
            context = batch.sequence(sequence)[: batch.num_context[sequence]].tolist()
            texts[prompt] = str(
                tokenizer.decode(context, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            )
    return [texts[prompt] for prompt in range(prompts.num_rows)]
