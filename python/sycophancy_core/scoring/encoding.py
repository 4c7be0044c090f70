"""Texts to token ids: as plain text, or in the turns of a chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sycophancy_core.errors import DataError

# A tokenizer remembers from call to call what is special to it, so that one thread at a time may ask.
_ASKING = Lock()


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
    context_length
        Most tokens that the model takes; None where there is no limit.
    name
        The model's name in errors.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: bool = False,
        system_prompt: str | None = None,
        is_encoder_decoder: bool = False,
        context_length: int | None = None,
        name: str = "the model",
    ) -> None:
        self._tokenizer: Any = tokenizer
        opening = self._tokenizer("a").input_ids
        end = self._tokenizer.eos_token_id
        self.is_encoder_decoder = is_encoder_decoder
        self.context_length = context_length
        self.name = name
        # A decoder goes on where the prompt ends; an encoder has learned to see the end.
        self._drop_last = not self.is_encoder_decoder and len(opening) > 1 and opening[-1] == end
        self._has_chat_template = chat_template
        self._system_prompt = system_prompt
        self._around: dict[int, _Around] = {}  # what the template says around system prompt and turns, by their number
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
        if self.is_encoder_decoder:
            return self._two_part_rows(prompts, choices)
        wholes = self._ids([prompt + choice for prompt, row in zip(prompts, choices, strict=True) for choice in row])
        return self._regroup(self._ids(prompts), wholes, choices)

    def end_of_reply(self) -> list[int]:
        """Ids that end an instruction's answer in training: the end-of-sequence token, if there is one.

        In the chat template, what it puts after the assistant's text, up to its first special token, instead.
        """
        if self._has_chat_template:
            text = _closing(self._tokenizer)
            (ids,) = self._template_ids([text])
            special = [token for token, about in self._tokenizer.added_tokens_decoder.items() if about.special]
            for position, token in enumerate(ids, 1):
                if token in special:
                    return ids[:position]
        end = self._tokenizer.eos_token_id
        return [] if end is None else [end]

    def _chat_rows(
        self, conversations: Sequence[Sequence[str]], choices: Sequence[Sequence[str]]
    ) -> list[tuple[list[int], list[list[int]]]]:
        before = [self._before_reply(turns[:-1]) for turns in conversations]
        # A reply begins after a role token or a new line: a leading space has no place there.
        begun = [turns[-1].lstrip(" ") for turns in conversations]
        replies = [
            [(turns[-1] + choice).lstrip(" ") for choice in row]
            for turns, row in zip(conversations, choices, strict=True)
        ]
        alone = self._conversations([(start, [reply]) for start, reply in zip(before, begun, strict=True)])
        wholes = self._conversations(list(zip(before, replies, strict=True)))
        return [(prompt, row) for (prompt,), row in zip(alone, wholes, strict=True)]

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
        with _ASKING:
            ids: list[list[int]] = self._tokenizer(
                list(texts), add_special_tokens=special, split_special_tokens=True, return_attention_mask=False
            ).input_ids
        return [row[:-1] for row in ids] if special and self._drop_last else ids

    def _before_reply(self, turns: Sequence[str]) -> list[str]:
        """Texts up to the assistant's reply, the template's own and those of the turns by turns."""
        around = self._around_turns(len(turns))
        said = [*([] if self._system_prompt is None else [self._system_prompt]), *turns]
        texts = [trim(text) for trim, text in zip(around.trims, said, strict=True)]
        return [part for pair in zip(around.parts, [*texts, around.gap], strict=True) for part in pair]

    def _conversations(self, rows: Sequence[tuple[list[str], Sequence[str]]]) -> list[list[list[int]]]:
        """Ids of what is before the reply with each of some replies.

        They are those of the text as a whole, as ``apply_chat_template`` makes them. Where a turn or a reply holds the
        text of a special token, the turns are tokenized apart from what the template says around them.
        """
        plain = [
            not any(special in text for text in (*before[1::2], *replies) for special in self._special)
            for before, replies in rows
        ]
        joined = [
            "".join(before if reply else before[:-1]) + reply
            for (before, replies), is_plain in zip(rows, plain, strict=True)
            if is_plain
            for reply in replies
        ]
        ids = iter(self._template_ids(joined))
        return [
            [next(ids) for _ in replies] if is_plain else self._apart(before, replies)
            for (before, replies), is_plain in zip(rows, plain, strict=True)
        ]

    def _apart(self, before: list[str], replies: Sequence[str]) -> list[list[int]]:
        around, inside = self._template_ids(before[0::2]), self._ids(before[1:-1:2], special=False)
        start = [token for pair in zip(around, [*inside, []], strict=True) for part in pair for token in part]
        return [start + reply for reply in self._ids(replies, special=False)]

    def _template_ids(self, texts: list[str]) -> list[list[int]]:
        """Ids of texts of the template's own, in which its role tokens are special."""
        if not texts:
            return []
        with _ASKING:
            ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False).input_ids
        return ids

    def _around_turns(self, num_turns: int) -> _Around:
        if num_turns not in self._around:
            if num_turns % 2 == 0:
                raise DataError(
                    f"turns: got {num_turns} before the reply; wanted the user's, or the user's and the assistant's in "
                    "turn, the user's last"
                )
            has_system = self._system_prompt is not None
            self._around[num_turns] = _around_turns(self._tokenizer, num_turns, has_system=has_system)
        return self._around[num_turns]


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


_PAD = "   "  # stands around a turn's mark, to see whether the template takes it away


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What a chat template makes of turns up to the assistant's reply."""

    parts: list[str]  # its own text: before each turn, and before the reply
    trims: list[Callable[[str], str]]  # what it does to each turn's text
    gap: str  # spaces before the reply


def _around_turns(tokenizer: Any, num_turns: int, *, has_system: bool) -> _Around:
    """See what the chat template makes of the system's turn, if asked for, and the others."""
    from jinja2 import TemplateError

    roles = ["system"] * has_system + ["assistant" if i % 2 else "user" for i in range(num_turns)]
    marks = [f"\u2402text {i} of the {role}\u2403" for i, role in enumerate(roles)]
    turns = [{"role": role, "content": f"{_PAD}{mark}{_PAD}"} for role, mark in zip(roles, marks, strict=True)]
    try:
        rest = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(f"chat_template: the tokenizer's template refuses these turns: {error}") from error
    opening = _reply_opening(tokenizer, turns, rest)
    parts, trims = [], []
    for role, mark in zip(roles, marks, strict=True):
        before, *after = rest.split(mark)
        if len(after) != 1:
            raise DataError(
                f"chat_template: the tokenizer's template does not hold the {role}'s text exactly once; "
                + ("leave system_prompt out" if role == "system" else "use plain text")
            )
        trims.append(_trim(left=not before.endswith(_PAD), right=not after[0].startswith(_PAD)))
        parts.append(before.removesuffix(_PAD))
        rest = after[0].removeprefix(_PAD)
    white = opening.rstrip(" ")
    return _Around(parts=[*parts, rest + white], trims=trims, gap=opening[len(white) :])


def _trim(*, left: bool, right: bool) -> Callable[[str], str]:
    if left:
        return str.strip if right else str.lstrip
    return str.rstrip if right else str


def _reply_opening(tokenizer: Any, turns: list[dict[str, str]], prompt: str) -> str:
    """White space that the chat template puts between the prompt for a reply and the reply."""
    from jinja2 import TemplateError

    mark = "\u2402reply\u2403"
    try:
        whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": mark}], tokenize=False)
    except TemplateError:
        return ""
    opening = whole.partition(mark)[0].removeprefix(prompt)
    return "" if opening.strip() else opening
