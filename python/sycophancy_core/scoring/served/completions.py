"""Completions in OpenAI's form: log-probabilities of the prompt, as vLLM's own field or by ``echo``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.served.dialect import entry, number, require_tokens
from sycophancy_core.scoring.served.transport import RefusalError, Server


class _Completions:
    """One request with all choices of a prompt, as token ids."""

    name = ""

    def __init__(self, server: Server, api: str, model_id: str, facts: dict[str, Any]) -> None:
        self._server = server
        self._url = f"{api}/completions"
        self._model_id = model_id
        self.facts = facts

    def _ask(self, prompt: Any, **asked: Any) -> list[Any]:
        """Return the answer's choices in the order of the prompts; one token is generated, which nobody reads."""
        body = {"model": self._model_id, "prompt": prompt, "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, **asked}
        answer = self._server.of_same_model(self._server.post(self._url, body))
        choices = entry(answer, "choices", where=self._url)
        places = [entry(choice, "index", where=self._url) for choice in choices]
        wanted = len(prompt) if isinstance(prompt, list) and isinstance(prompt[0], list) else 1
        if sorted(places) != list(range(wanted)):
            raise ModelError(f"{self._url}: sent {wanted} prompts, got {len(places)} answers")
        return [choices[places.index(place)] for place in range(wanted)]


class PromptLogProbs(_Completions):
    """vLLM's ``prompt_logprobs``: for each token of the prompt a record by token ids, null for the first."""

    name = "vLLM prompt_logprobs"

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Return log p of each sequence's tokens after the first ``context``."""
        choices = self._ask(list(sequences), prompt_logprobs=1)
        return [self._row(choice, ids, context) for choice, ids in zip(choices, sequences, strict=True)]

    def _row(self, choice: Any, ids: list[int], context: int) -> list[float]:
        found = entry(choice, "prompt_logprobs", where=self._url)
        if not isinstance(found, list):
            raise ModelError(f"{self._url}: asked for prompt_logprobs, got {found!r}; the server ignores it")
        # A record holds the likeliest token besides the prompt's own.
        own = [token if i == 0 or str(token) in (found[i] or ()) else None for i, token in enumerate(ids[: len(found)])]
        require_tokens([*own, *found[len(ids) :]], ids, where=self._url)
        return [number(found[place][str(ids[place])].get("logprob")) for place in range(context, len(ids))]


class Echo(_Completions):
    """``echo`` with ``logprobs``: an entry for each token of the prompt, null for the first, and one that is generated.

    A server that takes texts alone (llama-cpp-python) gets the text that the ids stand for, one a request, and it is
    checked that it makes as many tokens of it.

    Parameters
    ----------
    tokenizer
        The model's.
    """

    name = "echo"

    def __init__(self, server: Server, api: str, model_id: str, facts: dict[str, Any], tokenizer: Any) -> None:
        super().__init__(server, api, model_id, facts)
        self._tokenizer = tokenizer
        self._takes_ids: bool | None = None  # not known yet

    def log_probs(self, sequences: Sequence[list[int]], context: int) -> list[list[float]]:
        """Return log p of each sequence's tokens after the first ``context``."""
        if self._takes_ids is None:
            self._takes_ids = self._try_ids(sequences[0])
        if self._takes_ids:
            choices = self._ask(list(sequences), logprobs=1, echo=True)
        else:
            choices = [self._ask(self._text(ids), logprobs=1, echo=True)[0] for ids in sequences]
        return [self._row(choice, ids, context) for choice, ids in zip(choices, sequences, strict=True)]

    def _try_ids(self, ids: list[int]) -> bool:
        try:
            self._ask([ids], logprobs=1, echo=True)
        except RefusalError as refusal:
            if refusal.status not in (400, 422):
                raise
            self.name = "echo of text"
            return False
        return True

    def _text(self, ids: list[int]) -> str:
        begins = ids[0] == getattr(self._tokenizer, "bos_token_id", None)  # which such a server puts there itself
        text = str(self._tokenizer.decode(ids[begins:], skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if list(self._tokenizer(text, add_special_tokens=begins).input_ids) != ids:
            raise ModelError(
                f"{self._url}: the server takes texts alone, and the tokens of a prompt are not those of its text; use "
                "a server that takes token ids"
            )
        return text

    def _row(self, choice: Any, ids: list[int], context: int) -> list[float]:
        found = entry(choice, "logprobs", "token_logprobs", where=self._url)
        if not isinstance(found, list) or len(found) < 2:
            got = len(found) if isinstance(found, list) else 0
            raise ModelError(
                f"{self._url}: sent {len(ids)} tokens with echo, got {got} log-probabilities back; the server ignores "
                "echo"
            )
        if len(found) not in (len(ids), len(ids) + 1):  # with max_tokens=1 one more, which some leave out
            raise ModelError(
                f"{self._url}: sent {len(ids)} tokens with echo, got {len(found)} log-probabilities back; the server "
                "makes other tokens of the prompt"
            )
        return [number(value) for value in found[context : len(ids)]]
