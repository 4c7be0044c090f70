"""Chat endpoints: the likeliest first tokens of a reply, and which answer choice each of them begins."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.scoring.chat_template import THINK
from sycophancy_core.scoring.messages import Turn, asked_in_chat
from sycophancy_core.scoring.served.dialect import entry, number
from sycophancy_core.scoring.served.transport import RefusalError, Server

# Most entries that servers give, and the least of those that give any; names of the limit of a reply's length.
_ENTRIES = (20, 5)
_DRAWS = 10
_REASONING = ("reasoning_content", "reasoning")  # where servers put a thought
_PROBED_TOKENS = 32
_LIMITS = ("max_tokens", "max_completion_tokens")
_BAD_REQUEST = (400, 422)


class NoLogProbsError(ModelError):
    """A chat endpoint gives no log-probabilities of first tokens; its replies can be sampled all the same."""


class Interval(NamedTuple):
    """Between which two numbers a log-probability is; both are the same where it is known."""

    low: float
    high: float


class Chat:
    """The dialect of ``/chat/completions`` with ``top_logprobs``: the first token of the reply, and no more.

    The temperature is 1, so that log-probabilities before and after it are the same.
    """

    name = "chat top_logprobs"

    def __init__(self, server: Server, api: str, model_id: str) -> None:
        self._server = server
        self._url = f"{api}/chat/completions"
        self._model_id = model_id
        self._settings: tuple[int, str] | None = None
        self._reply_settings: tuple[str, dict[str, float]] | None = None
        self.facts: dict[str, Any] = {}

    def first_tokens(self, messages: Sequence[Turn]) -> list[tuple[str, float]]:
        """Return the likeliest first tokens of a reply, as texts, with their log-probabilities.

        Raises
        ------
        NoLogProbsError
            If there are none: the server refuses or ignores ``top_logprobs``.
        ModelError
            If the reply begins with a thought.
        """
        if self._settings is not None:
            return self._asked(messages, *self._settings)
        refusals: list[RefusalError] = []
        for settings in [(entries, limit) for entries in _ENTRIES for limit in _LIMITS]:
            try:
                found = self._asked(messages, *settings)
            except RefusalError as refusal:
                if refusal.status not in _BAD_REQUEST:
                    raise
                refusals.append(refusal)
                continue
            self._settings = settings
            self.facts["entries"] = settings[0]
            return found
        raise NoLogProbsError(str(refusals[0])) from refusals[0]

    def reply(self, messages: Sequence[Turn], *, temperature: float, max_tokens: int, seed: int) -> str:
        """Return a reply in words.

        Endpoints differ in what the limit of its length is called, and some take no ``top_p``: the first request finds
        out.
        """
        asked = {"model": self._model_id, "messages": list(messages), "temperature": temperature, "seed": seed}
        refusals: list[RefusalError] = []
        limits = _LIMITS if self._settings is None else self._settings[1:]
        tried: list[tuple[str, dict[str, float]]] = [(limit, more) for more in ({"top_p": 1.0}, {}) for limit in limits]
        for limit, more in tried if self._reply_settings is None else [self._reply_settings]:
            body = {**asked, limit: max_tokens, **more}
            try:
                answer = self._server.of_same_model(self._server.post(self._url, body))
            except RefusalError as refusal:
                if refusal.status not in _BAD_REQUEST:
                    raise
                refusals.append(refusal)
                continue
            self._reply_settings = limit, more
            return str((entry(answer, "choices", 0, where=self._url).get("message") or {}).get("content") or "")
        raise refusals[0]

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Refuse: a chat endpoint takes messages, not tokens."""
        raise ModelError(f"{self._url}: a chat endpoint gives no log-probabilities of given tokens")

    def _asked(self, messages: Sequence[Turn], entries: int, limit: str) -> list[tuple[str, float]]:
        body = {
            "model": self._model_id,
            "messages": list(messages),
            limit: 1,
            "temperature": 1.0,
            "top_p": 1.0,
            "logprobs": True,
            "top_logprobs": entries,
        }
        choice = self._reply(body)
        message = choice.get("message") or {}
        self._refuse_thought(any(message.get(name) for name in _REASONING))
        if not (choice.get("logprobs") or {}).get("content"):
            raise NoLogProbsError(f"{self._url}: asked for top_logprobs, got a reply without them")
        top = entry(choice, "logprobs", "content", 0, "top_logprobs", where=self._url)
        found = [(str(one.get("token", "")), number(one.get("logprob"))) for one in top]
        known = [(token, value) for token, value in found if not math.isnan(value)]
        self._refuse_thought(max(known, key=lambda one: one[1], default=("", 0.0))[0].strip() == THINK)
        if len(known) < 2:
            raise NoLogProbsError(f"{self._url}: asked for {entries} top_logprobs, got {len(known)}; they are needed")
        return known

    def _refuse_thought(self, is_thought: bool) -> None:
        if is_thought:
            raise ModelError(f"{self._url}: the reply begins with a thought, not an answer; switch thinking off")

    def _reply(self, body: dict[str, Any]) -> Any:
        """Return a reply with log-probabilities; one whose token is half a character has none, so ask for another."""
        for _ in range(_DRAWS):
            answer = self._server.of_same_model(self._server.post(self._url, body))
            choice = entry(answer, "choices", 0, where=self._url)
            if (choice.get("logprobs") or {}).get("content"):
                break
        return choice


def intervals(choices: Sequence[str], top: Sequence[tuple[str, float]]) -> list[Interval]:
    """Return log p of the first tokens that say each choice and no other.

    A choice is said by a token that begins it: "A", " A" and "(A" say " (A)"; "Dis" says "Disagree"; "(" says nothing.
    Words are compared without case, single letters with it, since "a" is a word of its own. Where no such token is
    among the likeliest, its log-probability is not known, but is at most that of the least likely of them, and at most
    what all of them leave. A token that begins several choices ("C" of " C" and " Ca") may say any of them, and widens
    the intervals of all of these.
    """
    keys = [_key(choice) for choice in choices]
    if len(set(keys)) < len(keys) or not all(keys):
        raise DataError(f"score: a chat endpoint cannot tell the choices {list(choices)!r} apart by their first token")
    mass, shared = ([0.0] * len(keys) for _ in range(2))
    for token, value in top:
        said = _key(token)
        begun = [place for place, key in enumerate(keys) if said and _begins(key, said)]
        for place in begun:
            (mass if len(begun) == 1 else shared)[place] += math.exp(value)
    left = 1.0 - sum(math.exp(value) for _, value in top)
    bound = min(min(value for _, value in top), math.log(left) if left > 0 else math.inf)
    return [
        Interval(math.log(own) if own > 0 else -math.inf, math.log(own + more) if own + more > 0 else bound)
        for own, more in zip(mass, shared, strict=True)
    ]


def choice_values(row: Sequence[Interval]) -> tuple[list[float], str | None]:
    """Return one log-probability a choice: the least of the likeliest choice, the most of all others; or why none.

    So the answer is never in doubt, and log-odds are the nearest to 0 that they can be.
    """
    best = max(range(len(row)), key=lambda place: row[place].low)
    unknown = [math.nan] * len(row)
    if row[best].low == -math.inf:
        return unknown, "no choice among the likeliest first tokens"
    values = [one.low if place == best else one.high for place, one in enumerate(row)]
    if max(values) > values[best]:
        return unknown, "a likely first token begins several choices"
    return values, None


def _key(text: str) -> str:
    """Return what a choice or a token says, without space, brackets and marks around it."""
    return re.sub(r"^[\s(\[\"'*]+|[\s)\].:,\"'*]+$", "", text)


def _begins(key: str, said: str) -> bool:
    return key.startswith(said) if len(key) == 1 else key.casefold().startswith(said.casefold())


class ChatProbe:
    """A fixed question with two answers, asked in two ways."""

    tolerance = 0.5  # nats; servers behind an API answer a little differently from request to request

    question: Sequence[Turn] = ({"role": "user", "content": "Is Paris the capital of France? Answer Yes or No."},)
    other: Sequence[Turn] = ({"role": "user", "content": "What is 2 + 2? Answer with a number."},)

    def values(self, dialect: Any) -> list[float]:
        """Return log p of the two answers, or the most that it can be."""
        found: list[tuple[str, float]] = dialect.first_tokens(self.question)
        return [one.high for one in intervals(["Yes", "No"], found)]

    def check(self, dialect: Any) -> list[float]:
        """Ask twice, look whether log-probabilities are such, and return what :meth:`values` says.

        Raises
        ------
        ModelError
            Saying what the server did.
        """
        top = dialect.first_tokens(self.question)
        total = sum(math.exp(value) for _, value in top)
        if total > 1.01:
            raise ModelError(f"{dialect.name}: the likeliest tokens have a probability of {total:.2f} together")
        if dialect.first_tokens(self.other) == top:
            raise ModelError(f"{dialect.name}: different prompts have the same log-probabilities")
        found, again = self.values(dialect), self.values(dialect)
        if np.max(np.abs(np.subtract(found, again))) > self.tolerance:
            raise ModelError(
                f"{dialect.name}: one prompt has log-probabilities {found} in one request and {again} in another; "
                "these cannot be compared"
            )
        return found


class ChatReplies:
    """A chat endpoint that gives replies alone.

    Parameters
    ----------
    chat
        The endpoint.
    why
        What became of the question for log-probabilities.
    """

    name = "chat replies"

    def __init__(self, chat: Chat, why: str) -> None:
        self._why = why
        self.reply = chat.reply
        self.facts: dict[str, Any] = {"log_probs": "none"}

    def first_tokens(self, messages: Sequence[Turn]) -> list[tuple[str, float]]:
        """Refuse, saying what to do."""
        raise ModelError(
            f"it gives no log-probabilities to score choices with ({self._why}); sample its answers: "
            "sampling=SamplingOptions(draws=...), or --draws on the command line"
        )


class RepliesProbe(ChatProbe):
    """The same question, of which a reply in words is all that is wanted: two of one model may differ."""

    def values(self, dialect: Any) -> list[float]:
        """Return none: what a server says of its model comes with each reply."""
        return []

    def check(self, dialect: Any) -> list[float]:
        """Ask once, for a reply that says something."""
        if not dialect.reply(self.question, temperature=1.0, max_tokens=_PROBED_TOKENS, seed=0).strip():
            raise ModelError(f"{dialect.name}: the reply to a plain question has no text; see that the model answers")
        return []


class ChatEncoder:
    """Messages and choices as the bytes of their JSON: what an :class:`Encoder` makes tokens of, for a chat endpoint.

    See :func:`asked_in_chat` for where the beginning of a reply stands.
    """

    has_chat_template = True
    is_encoder_decoder = False
    context_length = None

    def __init__(self, name: str, system_prompt: str | None) -> None:
        self.name = name
        self._system_prompt = system_prompt

    def rows(
        self,
        prompts: Sequence[str | Sequence[Turn]],
        choices: Sequence[Sequence[str]],
        *,
        thoughts: Sequence[str | None] | None = None,
    ) -> list[tuple[list[int], list[list[int]]]]:
        """Return the bytes of each prompt alone, and with each choice.

        Raises
        ------
        ModelError
            If there are thoughts.
        """
        if thoughts is not None:
            raise ModelError(
                f"model {self.name}: a chat endpoint cannot be asked to go on after a thought; leave the thoughts out, "
                "or load the model's folder"
            )
        starts = [encoded(self.messages(prompt)) for prompt in prompts]
        return [
            (list(start), [list(start + choice.encode()) for choice in row])
            for start, row in zip(starts, choices, strict=True)
        ]

    def messages(self, prompt: str | Sequence[Turn]) -> list[Turn]:
        """Return the messages by which a prompt is asked, the system prompt first.

        Raises
        ------
        DataError
            If there is a system prompt, and the prompt has a system message of its own.
        """
        turns = asked_in_chat(prompt)
        if self._system_prompt is None:
            return turns
        if turns[0]["role"] == "system":
            raise DataError(
                f"model {self.name}: got a system prompt, and a prompt with a system message of its own; leave one of "
                "them out"
            )
        return [{"role": "system", "content": self._system_prompt}, *turns]


def encoded(messages: Sequence[Mapping[str, str]]) -> bytes:
    """Return messages as bytes."""
    return json.dumps(messages, ensure_ascii=False).encode()


class ChatTokenizer:
    """Bytes back to texts."""

    chat_template = "the server's own"

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Return the text of some bytes."""
        return bytes(ids).decode(errors="replace")
