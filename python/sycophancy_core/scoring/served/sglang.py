"""SGLang's own endpoint ``/generate``: log-probabilities of the prompt from a given token on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.dialect import entry, number, require_tokens
from sycophancy_core.scoring.served.transport import Server


class SGLang:
    """One request with all choices of a prompt, as token ids.

    An answer begins with the token at ``logprob_start_len``, which has no log-probability itself. So it is asked for
    from the last token of the context on; an earlier one would keep the server's prefix cache from being used.
    """

    name = "SGLang"

    def __init__(self, server: Server, root: str, facts: dict[str, Any]) -> None:
        self._server = server
        self._url = f"{root}/generate"
        self.facts = facts
        self._weights: str | None = None

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Return log p of each sequence's tokens after the first ``context``."""
        body = {
            "input_ids": list(sequences),
            "sampling_params": {"max_new_tokens": 1, "temperature": 1.0},
            "return_logprob": True,
            "logprob_start_len": [context - 1] * len(sequences),
        }
        answers = self._server.post(self._url, body)
        if not isinstance(answers, list) or len(answers) != len(sequences):
            raise ModelError(f"{self._url}: sent {len(sequences)} prompts, got another number of answers")
        return [self._row(answer, ids, context) for answer, ids in zip(answers, sequences, strict=True)]

    def _row(self, answer: Any, ids: list[int], context: int) -> list[float]:
        self._check_weights(answer)
        found = entry(answer, "meta_info", "input_token_logprobs", where=self._url)
        wanted = ids[context - 1 :]
        require_tokens([entry(one, 1, where=self._url) for one in found], wanted, where=self._url)
        return [number(entry(one, 0, where=self._url)) for one in found[1:]]

    def _check_weights(self, answer: Any) -> None:
        """Refuse answers of other weights than the first one's, where the server says which (``weight_version``)."""
        version = str(entry(answer, "meta_info", where=self._url).get("weight_version"))
        if self._weights is None:
            self._weights = version
        elif version != self._weights:
            raise ModelError(
                f"{self._url}: the server's weights were version {self._weights} and are now {version}; what was "
                "scored is kept; start the server with the same weights again"
            )
