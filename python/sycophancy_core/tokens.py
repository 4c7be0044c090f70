"""Prompts with their choices as token sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sycophancy_core._core import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sycophancy_core.models import LanguageModel

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

    def sequence(self, s: int) -> NDArray[np.int32]:
        """Token ids of sequence ``s``."""
        return self.tokens[self.offsets[s] : self.offsets[s + 1]]


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


def tokenize_prompts(model: LanguageModel, prompts: pa.Table) -> TokenBatch:
    """Tokenize a table of prompts: columns ``prompt``, ``choices`` and, where it has them, ``id`` and ``turns``."""
    optional = {
        parameter: prompts[column].to_pylist() if column in prompts.column_names else None
        for parameter, column in (("ids", "id"), ("turns", "turns"))
    }
    return tokenize(model, prompts["prompt"].to_pylist(), prompts["choices"].to_pylist(), **optional)


def tokenize(
    model: LanguageModel,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    *,
    ids: Sequence[str] | None = None,
    turns: Sequence[Sequence[str] | None] | None = None,
) -> TokenBatch:
    """Tokenize each prompt together with each of its choices.

    With a chat template a prompt is the user's turn, and the choice the beginning of the assistant's. A prompt with
    ``turns`` is a conversation instead: what user and assistant said by turns, and last what the assistant begins its
    reply with, which may be empty, before the choice. Without a chat template ``turns`` are not looked at.

    Prompt and choice are tokenized as one text, as the model has seen text in training. Where a choice merges with the
    end of the prompt, the border between context and choice moves left, for all choices of that prompt alike.

    For an encoder-decoder the two are tokenized apart, as lm-evaluation-harness does it: the prompt with the special
    tokens that its tokenizer adds (T5: end of sequence), the choice without any, so that a choice's end is not scored.
    White space at the prompt's end opens the choice.

    Raises
    ------
    DataError
        If there is no prompt, a prompt has no choice or no tokens, a choice has no tokens, or a prompt with a choice is
        longer than the model's context.
    """
    if not prompts:
        raise DataError("score: the table of prompts is empty; wanted at least one row")
    encode = Encoder(
        model.tokenizer,
        chat_template=model.chat_template,
        system_prompt=model.system_prompt,
        is_encoder_decoder=model.is_encoder_decoder,
    )
    check_length = _LengthCheck(model)
    sequences: list[list[int]] = []
    num_context: list[int] = []
    moved = 0
    for start in range(0, len(prompts), _SLICE_PROMPTS):
        texts, options = prompts[start : start + _SLICE_PROMPTS], choices[start : start + _SLICE_PROMPTS]
        said = None if turns is None else turns[start : start + _SLICE_PROMPTS]
        for row, (alone, whole) in enumerate(encode.rows(texts, options, said), start):
            border = _border(_row_name(row, ids), alone, whole, options[row - start], check_length)
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
        is_encoder_decoder=model.is_encoder_decoder,
    )


def _row_name(row: int, ids: Sequence[str] | None) -> str:
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
    """Refuses prompts that, with a choice, are longer than the model's context; reads the model's config once."""

    def __init__(self, model: LanguageModel) -> None:
        self._name, self._limit, self._in_two = model.name, model.context_length, model.is_encoder_decoder

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


def common_prefix(a: list[int], b: list[int]) -> int:
    """Count the tokens with which both begin."""
    if a == b[: len(a)]:
        return len(a)
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


class Encoder:
    """Texts to token ids, for scoring and training alike: as plain text, or in the turns of the chat template.

    Only the template's own role tokens become special tokens; what a prompt or choice says is always text.

    Parameters
    ----------
    tokenizer
        The model's fast tokenizer.
    chat_template, system_prompt
        As of ``load_model``.
    is_encoder_decoder
        Whether prompts and choices go to two parts of the model.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: bool = False,
        system_prompt: str | None = None,
        is_encoder_decoder: bool = False,
    ) -> None:
        self._tokenizer: Any = tokenizer
        opening = self._tokenizer("a").input_ids
        end = self._tokenizer.eos_token_id
        self._is_encoder_decoder = is_encoder_decoder
        # A decoder goes on where the prompt ends; an encoder has learned to see the end.
        self._drop_last = not self._is_encoder_decoder and len(opening) > 1 and opening[-1] == end
        self._has_chat_template = chat_template
        self._system_prompt = system_prompt
        self._parts: dict[int, list[str]] = {}  # the template's text around system prompt and turns, by their number
        self._special = [about.content for about in tokenizer.added_tokens_decoder.values() if about.special]

    def rows(
        self,
        prompts: Sequence[str],
        choices: Sequence[Sequence[str]],
        turns: Sequence[Sequence[str] | None] | None = None,
    ) -> list[tuple[list[int], list[list[int]]]]:
        """Ids of each prompt alone, and of each prompt with each choice."""
        if self._has_chat_template:
            given = turns or [None] * len(prompts)
            conversations = [said or (prompt, "") for prompt, said in zip(prompts, given, strict=True)]
            return self._chat_rows(conversations, choices)
        if self._is_encoder_decoder:
            return self._two_part_rows(prompts, choices)
        wholes = self._ids([prompt + choice for prompt, row in zip(prompts, choices, strict=True) for choice in row])
        return self._regroup(self._ids(prompts), wholes, choices)

    def end_of_reply(self) -> list[int]:
        """Ids that end an instruction's answer in training: the end-of-sequence token, if there is one.

        In the chat template, what it puts after the assistant's text, up to its first special token, instead.
        """
        if self._has_chat_template:
            text = _closing(self._tokenizer)
            ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
            special = [token for token, about in self._tokenizer.added_tokens_decoder.items() if about.special]
            for position, token in enumerate(ids, 1):
                if token in special:
                    return ids[:position]
        end = self._tokenizer.eos_token_id
        return [] if end is None else [end]

    def _chat_rows(
        self, conversations: Sequence[Sequence[str]], choices: Sequence[Sequence[str]]
    ) -> list[tuple[list[int], list[list[int]]]]:
        before = self._before_replies([turns[:-1] for turns in conversations])
        # A reply begins after a role token or a new line: a leading space has no place there.
        begun = self._ids([turns[-1].lstrip(" ") for turns in conversations], special=False)
        replies = [
            (turns[-1] + choice).lstrip(" ")
            for turns, row in zip(conversations, choices, strict=True)
            for choice in row
        ]
        rows = self._regroup(before, self._ids(replies, special=False), choices)
        return [
            (start + opening, [start + reply for reply in group])
            for (start, group), opening in zip(rows, begun, strict=True)
        ]

    def _two_part_rows(
        self, prompts: Sequence[str], choices: Sequence[Sequence[str]]
    ) -> list[tuple[list[int], list[list[int]]]]:
        heads = [prompt.rstrip() for prompt in prompts]
        spaces = [prompt[len(head) :] for prompt, head in zip(prompts, heads, strict=True)]
        answers = self._ids(
            [space + choice for space, row in zip(spaces, choices, strict=True) for choice in row], special=False
        )
        rows = self._regroup(self._ids(heads), answers, choices)
        return [(start, [start + answer for answer in group]) for start, group in rows]

    def _regroup(
        self, alone: list[list[int]], flat: list[list[int]], choices: Sequence[Sequence[str]]
    ) -> list[tuple[list[int], list[list[int]]]]:
        position, rows = 0, []
        for ids, row in zip(alone, choices, strict=True):
            rows.append((ids, flat[position : position + len(row)]))
            position += len(row)
        return rows

    def _ids(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(
            list(texts), add_special_tokens=special, split_special_tokens=True, return_attention_mask=False
        ).input_ids
        return [row[:-1] for row in ids] if special and self._drop_last else ids

    def _before_replies(self, conversations: Sequence[Sequence[str]]) -> list[list[int]]:
        """Ids of the chat template up to where the assistant's reply begins.

        They are those of its text as a whole, as ``apply_chat_template`` makes them. Where a turn holds the text of a
        special token, the turns are tokenized apart from what the template says around them.
        """
        system = [] if self._system_prompt is None else [self._system_prompt]
        said = [[*system, *turns] for turns in conversations]
        parts = [self._template_parts(len(turns)) for turns in conversations]
        is_plain = [not any(special in text for text in texts for special in self._special) for texts in said]
        wholes = [
            first + "".join(text + part for text, part in zip(texts, after, strict=True))
            for texts, (first, *after), plain in zip(said, parts, is_plain, strict=True)
            if plain
        ]
        ids = iter(self._template_ids(wholes))
        return [
            next(ids) if plain else self._apart(texts, around)
            for texts, around, plain in zip(said, parts, is_plain, strict=True)
        ]

    def _apart(self, texts: list[str], parts: list[str]) -> list[int]:
        first, *after = self._template_ids(parts)
        inside = self._ids(texts, special=False)
        return first + [token for text, part in zip(inside, after, strict=True) for token in text + part]

    def _template_ids(self, texts: list[str]) -> list[list[int]]:
        """Ids of texts of the template's own, in which its role tokens are special."""
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False).input_ids
        return ids

    def _template_parts(self, num_turns: int) -> list[str]:
        if num_turns not in self._parts:
            if num_turns % 2 == 0:
                raise DataError(
                    f"turns: got {num_turns} before the reply; wanted the user's, or the user's and the assistant's in "
                    "turn, the user's last"
                )
            has_system = self._system_prompt is not None
            self._parts[num_turns] = _chat_parts(self._tokenizer, num_turns, has_system=has_system)
        return self._parts[num_turns]


def _closing(tokenizer: Any) -> str:
    """Text of the chat template after the assistant's last reply."""
    from jinja2 import TemplateError

    mark = "\u2402reply\u2403"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    try:
        *before, after = str(tokenizer.apply_chat_template(turns, tokenize=False)).split(mark)
    except TemplateError as error:
        raise DataError(f"chat_template: the tokenizer's template refuses an assistant's turn: {error}") from error
    if len(before) != 1:
        raise DataError("chat_template: the tokenizer's template does not hold the reply exactly once; use plain text")
    return after


def _chat_parts(tokenizer: Any, num_turns: int, *, has_system: bool) -> list[str]:
    """Text of the chat template around what is filled in: the system's turn, if asked for, and the others'."""
    from jinja2 import TemplateError

    roles = ["system"] * has_system + ["assistant" if i % 2 else "user" for i in range(num_turns)]
    marks = [f"\u2402text {i} of the {role}\u2403" for i, role in enumerate(roles)]
    turns = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    try:
        rest = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(f"chat_template: the tokenizer's template refuses these turns: {error}") from error
    parts = []
    for role, mark in zip(roles, marks, strict=True):
        before, *after = rest.split(mark)
        if len(after) != 1:
            raise DataError(
                f"chat_template: the tokenizer's template does not hold the {role}'s text exactly once; "
                + ("leave system_prompt out" if role == "system" else "use plain text")
            )
        parts.append(before)
        rest = after[0]
    return [*parts, rest]
