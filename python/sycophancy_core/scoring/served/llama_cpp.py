"""llama.cpp's server: the likeliest next tokens after each beginning, one request a node of the tree of choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.dialect import entry, number
from sycophancy_core.scoring.served.transport import Server

FIRST_ENTRIES = 1000  # asked for first; the whole vocabulary takes megabytes and half a second


class LlamaCpp:
    """The dialect of ``/completion`` with ``n_probs``, which is before sampling and not changed by any setting.

    The server has no log-probabilities of a prompt and ignores ``echo``. So what follows each beginning is
    asked for, with the server's prefix cache, and a choice's log-probability is the sum along its tokens.

    The token that is generated is a plain letter by ``logit_bias``, which the log-probabilities do not see: the server
    gives none where it generates half a character.
    """

    name = "llama.cpp"

    def __init__(self, server: Server, root: str, model: dict[str, Any], props: dict[str, Any]) -> None:
        self._server = server
        self._url = f"{root}/completion"
        about = model.get("meta") or {}
        self.vocabulary = int(about.get("n_vocab") or 0)
        self.context_length = int(entry(props, "default_generation_settings", "n_ctx", where=f"{root}/props"))
        self.slots = int(props.get("total_slots") or 1)
        self.num_parameters = about.get("n_params")
        self.facts = {
            "build": props.get("build_info"),
            "number_type": props.get("model_ftype"),
            "vocabulary": self.vocabulary,
            "num_parameters": self.num_parameters,
            "bytes": about.get("size"),
        }
        letter = server.post(f"{root}/tokenize", {"content": "a", "add_special": False})
        self._letter = int(entry(letter, "tokens", -1, where=f"{root}/tokenize"))
        if not self.vocabulary:
            raise ModelError(
                f"{root}: wanted the vocabulary's size from llama.cpp's server (n_vocab), got none; update it"
            )

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Return log p of each sequence's tokens after the first ``context``."""
        nodes: dict[tuple[int, ...], set[int]] = {}
        for ids in sequences:
            for place in range(context, len(ids)):
                nodes.setdefault(tuple(ids[:place]), set()).add(ids[place])
        # In the order of their tokens, each node stands right after one that begins it: the cache holds that.
        found = {start: self._after(start, nodes[start]) for start in sorted(nodes)}
        return [[found[tuple(ids[:place])][ids[place]] for place in range(context, len(ids))] for ids in sequences]

    def _after(self, start: Sequence[int], targets: set[int]) -> dict[int, float]:
        """Return log p of some tokens right after a beginning."""
        for entries in (min(FIRST_ENTRIES, self.vocabulary), self.vocabulary):
            found = self.next_tokens(start, entries)
            if targets <= found.keys():
                break
        return {token: found.get(token, math.nan) for token in targets}

    def next_tokens(self, start: Sequence[int], entries: int) -> dict[int, float]:
        """Return log p of the likeliest tokens after a beginning, by id.

        Raises
        ------
        ModelError
            If the server has read another number of tokens, or gives another number of entries.
        """
        answer = self._ask(start, entries)
        if (read := answer.get("tokens_evaluated")) != len(start):
            raise ModelError(
                f"{self._url}: sent {len(start)} tokens, but the server has read {read}; it adds or drops some"
            )
        top = entry(answer, "completion_probabilities", 0, "top_logprobs", where=self._url)
        found = {int(one["id"]): number(one["logprob"]) for one in top}
        if len(found) != entries:
            raise ModelError(f"{self._url}: asked for {entries} log-probabilities (n_probs), got {len(found)}")
        return found

    def special_tokens(self) -> list[int]:
        """Ids of the special tokens: those that the server writes without text."""
        answer = self._ask([0], self.vocabulary)
        top = entry(answer, "completion_probabilities", 0, "top_logprobs", where=self._url)
        return sorted(int(one["id"]) for one in top if not one.get("bytes"))

    def _ask(self, start: Sequence[int], entries: int) -> Any:
        body = {
            "prompt": list(start),
            "n_predict": 1,
            "n_probs": entries,
            "temperature": 0,
            "cache_prompt": True,
            "logit_bias": [[self._letter, 1000.0]],
        }
        answer = self._server.post(self._url, body)
        if not isinstance(answer, dict):
            raise ModelError(f"{self._url}: wanted one answer, got {len(answer)}")
        return self._server.of_same_model(answer)
