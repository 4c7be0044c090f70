"""Texts to token ids: as plain text, or in the turns of a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sycophancy_core._core import DataError


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

    @classmethod
    def of(cls, model: Any) -> Encoder:
        """Make the encoder of a language model."""
        return cls(
            model.tokenizer,
            chat_template=model.chat_template,
            system_prompt=model.system_prompt,
            is_encoder_decoder=bool(model.model.config.is_encoder_decoder),
        )

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
