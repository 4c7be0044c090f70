"""Prompts to token ids: as plain text, or in the turns of a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from sycophancy_core.errors import DataError, ModelError, warn
from sycophancy_core.scoring.chat_template import END_OF_THOUGHT, ThoughtMarks, thought_marks
from sycophancy_core.scoring.messages import Turn, plain_text
from sycophancy_core.scoring.tokenizing.around_turns import Around, after_reply, around_turns, written

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
    """Prompts to token ids, for scoring and training alike: as plain text, or in the turns of the chat template.

    Here alone turns become a text. Only the template's own role tokens become special tokens; what a prompt or choice
    says is always text.

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
        self.is_encoder_decoder = is_encoder_decoder
        self.context_length = context_length
        self.name = name
        self._closing = _added_at_end(tokenizer)
        self.has_chat_template = chat_template
        self._system_prompt = system_prompt
        # What the template says around turns, by their roles and whether it thinks.
        self._around: dict[tuple[tuple[str, ...], bool], Around] = {}
        self._marks: ThoughtMarks | None = None
        self._special = [about.content for about in tokenizer.added_tokens_decoder.values() if about.special]

    def rows(
        self,
        prompts: Sequence[str | Sequence[Turn]],
        choices: Sequence[Sequence[str]],
        *,
        thoughts: Sequence[str | None] | None = None,
    ) -> list[tuple[list[int], list[list[int]]]]:
        """Ids of each prompt alone, and of each prompt with each choice.

        Parameters
        ----------
        prompts
            Texts, each of which is all that a user says, or turns, of which the last may be the beginning of the reply.
        thoughts
            What the assistant thinks before each reply, in a template that is told to think; None where it is told not
            to.
        """
        if thoughts is None:
            thoughts = [None] * len(prompts)
        prompts = [self.asked(prompt) for prompt in prompts]
        if self.has_chat_template:
            _warn_of_dialogues(prompts)
            return self._chat_rows([_conversation(prompt) for prompt in prompts], thoughts, choices)
        if any(thought is not None for thought in thoughts):
            _ = self._thought_marks
        texts = [plain_text(prompt) for prompt in prompts]
        if self.is_encoder_decoder:
            return self._two_part_rows(texts, choices)
        wholes = self._ids([text + choice for text, row in zip(texts, choices, strict=True) for choice in row])
        return self._regroup(self._ids(texts), wholes, choices)

    def asked(self, prompt: str | Sequence[Turn]) -> str | Sequence[Turn]:
        """Return what is asked in place of a prompt; here, the prompt."""
        return prompt

    def before_thoughts(self, prompts: Sequence[str | Sequence[Turn]]) -> list[list[int]]:
        """Ids of each prompt up to where the assistant's thought begins.

        Raises
        ------
        ModelError
            If the model has no chat template, or one without a thinking block.
        """
        before = [self._before_thought(_conversation(self.asked(prompt))[0]) for prompt in prompts]
        return [ids for (ids,) in self._conversations([(start, [""]) for start in before])]

    def end_of_reply(self) -> list[int]:
        """Ids that end an instruction's answer in training: the end-of-sequence token, or else what ends every text.

        In the chat template, what it puts after the assistant's text, up to its first special token, instead.
        """
        if self.has_chat_template:
            text = after_reply(self._tokenizer)
            (ids,) = self._template_ids([text])
            special = [token for token, about in self._tokenizer.added_tokens_decoder.items() if about.special]
            for position, token in enumerate(ids, 1):
                if token in special:
                    return ids[:position]
        end = self._tokenizer.eos_token_id
        return self._closing if end is None else [end]

    def _chat_rows(
        self,
        conversations: Sequence[tuple[Sequence[Turn], str]],
        thoughts: Sequence[str | None],
        choices: Sequence[Sequence[str]],
    ) -> list[tuple[list[int], list[list[int]]]]:
        before = [
            self._before_reply(turns) if thought is None else self._after_thought(turns, thought)
            for (turns, _), thought in zip(conversations, thoughts, strict=True)
        ]
        # A reply begins after a role token or a new line: a leading space has no place there.
        begun = [reply.lstrip(" ") for _, reply in conversations]
        replies = [
            [(reply + choice).lstrip(" ") for choice in row]
            for (_, reply), row in zip(conversations, choices, strict=True)
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
        if not special or self.is_encoder_decoder or not self._closing:
            return ids
        # A decoder goes on where the prompt ends; an encoder has learned to see the end.
        return [row[: -len(self._closing)] for row in ids]

    def _before_reply(self, turns: Sequence[Turn], *, thinking: bool = False) -> list[str]:
        """Texts up to the assistant's reply, the template's own and those of the turns by turns.

        Joined, they are what the template writes; where it looks into the texts, they are not told apart.
        """
        if self._system_prompt is not None:
            if turns[0]["role"] == "system":
                raise DataError(
                    f"model {self.name}: got a system prompt, and a prompt with a system message of its own; leave one "
                    "of them out"
                )
            turns = [{"role": "system", "content": self._system_prompt}, *turns]
        around = self._around_turns(tuple(turn["role"] for turn in turns), thinking)
        texts = [trim(turn["content"]) for trim, turn in zip(around.trims, turns, strict=True)]
        found = [part for pair in zip(around.parts, [*texts, around.gap], strict=True) for part in pair]
        whole = written(self._tokenizer, turns, thinking=thinking) + around.white
        if "".join(found[:-1]) == whole:
            return found
        # The template looks into the texts, so that what it says around others is not what it says around these.
        if any(special in turn["content"] for turn in turns for special in self._special):
            raise DataError(
                "chat_template: the tokenizer's template changes a text that holds the text of a special token; use "
                "plain text, or take the special token's text out"
            )
        return [whole, around.gap]

    def _before_thought(self, turns: Sequence[Turn]) -> list[str]:
        """Texts as of :meth:`_before_reply` up to the assistant's thought, which the last one of the template opens."""
        marks = self._thought_marks
        *before, _ = self._before_reply(turns, thinking=True)
        if before[-1].rstrip().endswith(END_OF_THOUGHT):
            raise DataError(
                f"model {self.name}: its chat template keeps the thought of a prompt closed, though it is told to "
                "think; take out what switches thinking off (such as /no_think), or ask without thoughts"
            )
        before[-1] += marks.opening
        return [*before, ""]

    def _after_thought(self, turns: Sequence[Turn], thought: str) -> list[str]:
        """Texts up to what the assistant says after its thought, the thought's text among them."""
        *before, _ = self._before_thought(turns)
        return [*before, thought.strip(), self._thought_marks.closing, ""]

    @property
    def _thought_marks(self) -> ThoughtMarks:
        if self._marks is None:
            if not self.has_chat_template:
                raise ModelError(
                    f"model {self.name} is asked as plain text, in which it cannot think; load it with "
                    "chat_template=True, or leave the thoughts out"
                )
            self._marks = thought_marks(self._tokenizer)
            if self._marks is None:
                raise ModelError(
                    f"model {self.name}: its chat template has no thinking block (<think>), so that it cannot think "
                    "before it answers; leave the thoughts out"
                )
        return self._marks

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

    def _around_turns(self, roles: tuple[str, ...], thinking: bool) -> Around:
        if (roles, thinking) not in self._around:
            self._around[roles, thinking] = around_turns(self._tokenizer, roles, thinking)
        return self._around[roles, thinking]


def _conversation(prompt: str | Sequence[Turn]) -> tuple[Sequence[Turn], str]:
    """Return the turns before the assistant's reply, and the beginning of the reply."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}], ""
    if prompt[-1]["role"] == "assistant":
        return prompt[:-1], prompt[-1]["content"]
    return prompt, ""


def _warn_of_dialogues(prompts: Sequence[str | Sequence[Turn]]) -> None:
    """Warn of texts without roles that spell out a dialogue, as prompts of version 0.1 do."""
    if any(isinstance(text, str) and text.startswith("Human: ") and "\n\nAssistant:" in text for text in prompts):
        warn(
            "prompts that spell out a dialogue of Human and Assistant are put whole into the user's turn of the chat "
            "template; give messages instead, or make the prompts again, so that they have turns"
        )


def _added_at_end(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer itself puts after a text: T5's end of a text, BERT's [SEP]."""
    with _ASKING:
        whole, plain = (tokenizer("a", add_special_tokens=special).input_ids for special in (True, False))
    for start in range(len(whole) - len(plain) + 1):
        if plain and whole[start : start + len(plain)] == plain:
            return list(whole[start + len(plain) :])
    return []
