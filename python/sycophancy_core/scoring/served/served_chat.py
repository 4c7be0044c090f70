"""A language model behind a chat endpoint: of each answer choice, the log-probability of its first token."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.messages import Prompt, Turn
from sycophancy_core.scoring.scores import Scores
from sycophancy_core.scoring.served.chat import ChatEncoder, Interval, choice_values, encoded, intervals
from sycophancy_core.scoring.served.served_model import ServedModel
from sycophancy_core.scoring.tokens import TokenBatch


class ServedChat(ServedModel):
    """A model that is asked in messages, in the server's own chat template.

    Its log-probabilities are those of the first token of the reply. A choice that is not among the likeliest has an
    interval, ``Scores.log_prob_low`` to ``Scores.log_prob``; a prompt of which no choice is, is unscored.
    """

    @property
    def asked_as(self) -> str:
        """How prompts are asked, in words."""
        return "as chats, in the server's template; of each choice, the first token is scored"

    @property
    def template_facts(self) -> dict[str, str | None]:
        """What every prompt has from the chat template, which the server does not show."""
        return {
            "chat_template": "the server's own",
            "system_prompt": self.system_prompt,
            "template_opening": None,
            "template_date": None,
        }

    @property
    def encoder(self) -> Any:
        """What turns messages into bytes."""
        return ChatEncoder(self.name, self.system_prompt)

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of the system prompt."""
        return hashlib.sha256(f"chat {self.system_prompt!r}".encode()).hexdigest()

    def score_batch(self, batch: TokenBatch, *, progress: Progress | None = None) -> Scores:
        """Score prompts that are bytes already, and ask afterwards whether the model is still the same."""
        started = time.perf_counter()
        prompts: list[list[int]] = [[] for _ in range(int(batch.prompt_index[-1]) + 1)]
        for sequence, prompt in enumerate(batch.prompt_index.tolist()):
            prompts[prompt].append(sequence)
        done = 0

        def score(prompt: Sequence[int]) -> list[Interval]:
            border = int(batch.num_context[prompt[0]])
            texts = [bytes(batch.sequence(sequence).tolist()) for sequence in prompt]
            top = self._found.dialect.first_tokens(json.loads(texts[0][:border]))
            return intervals([text[border:].decode() for text in texts], top)

        def show(prompt: Sequence[int]) -> None:
            nonlocal done
            done += len(prompt)
            if progress is not None:
                progress(done, batch.num_sequences)

        rows = self._found.server.for_all(prompts, score, show)
        self.check_same_model()
        return _scores(rows, batch, self.precision, time.perf_counter() - started)

    def replies(
        self,
        prompts: Sequence[Prompt],
        *,
        draws: int,
        temperature: float,
        max_tokens: int,
        seed: int,
        progress: Progress | None = None,
    ) -> list[list[str]]:
        """Ask for several replies to each prompt, one request each, with a seed made of ``seed``, prompt and draw."""
        messages = [self.encoder.messages(prompt) for prompt in prompts]
        asked = [(place, draw) for place in range(len(prompts)) for draw in range(draws)]
        done = 0

        def reply(one: tuple[int, int]) -> str:
            turns, draw = messages[one[0]], one[1]
            own = _seed(seed, turns, draw)
            return str(self._found.dialect.reply(turns, temperature=temperature, max_tokens=max_tokens, seed=own))

        def show(_: tuple[int, int]) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, len(asked))

        found = self._found.server.for_all(asked, reply, show)
        self.check_same_model()
        return [found[start : start + draws] for start in range(0, len(found), draws)]


def _seed(seed: int, messages: Sequence[Turn], draw: int) -> int:
    """Return 31 bits, which every server takes, that no other prompt or draw has but by chance."""
    digest = hashlib.sha256(f"{seed}\0{draw}\0".encode() + encoded(messages)).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def _scores(rows: Sequence[Sequence[Interval]], batch: TokenBatch, precision: str, seconds: float) -> Scores:
    low, values = (np.full((len(rows), max(map(len, rows))), np.nan) for _ in range(2))
    unscored: list[str | None] = []
    for place, row in enumerate(rows):
        values[place, : len(row)], why = choice_values(row)
        unscored.append(why)
        if why is None:
            low[place, : len(row)] = [one.low for one in row]
    return Scores(
        log_prob=values,
        log_prob_low=low,
        unscored=unscored,
        precision=precision,
        num_tokens=batch.num_tokens_unshared,
        num_tokens_unshared=batch.num_tokens_unshared,
        num_moved_borders=0,
        seconds=seconds,
    )
