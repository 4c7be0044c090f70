"""A language model that a server holds: scored like a local one, never fine-tuned."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError, require_whole
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.chat_template import TemplateChoice, choose_template
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.precision import PrecisionCheck
from sycophancy_core.scoring.scores import Scores, scores_of
from sycophancy_core.scoring.served.address import read_address
from sycophancy_core.scoring.served.connection import Connection, find_server
from sycophancy_core.scoring.served.server_tokenizer import tokenizer_digest
from sycophancy_core.scoring.served.transport import Server
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores

CONCURRENCY = 8
LOCAL = (None, "auto", None, "auto", "highest")


def connect(
    source: str,
    local: tuple[object, ...] = LOCAL,
    tokenizer: str | os.PathLike[str] | None = None,
    concurrency: int | None = None,
    chat_template: TemplateChoice = None,
    system_prompt: str | None = None,
) -> ServedModel:
    """Find the model behind a URL, and how its server says log-probabilities; see ``load_model``.

    Parameters
    ----------
    local
        What ``load_model`` was given for a local model, which must be its defaults.
    """
    if local != LOCAL:
        raise ModelError(
            "load_model: adapter, dtype, device, engine and matmul_precision are the server's own; leave them out"
        )
    require_whole("load_model", "concurrency", concurrency, least=1, most=1024, none="None")
    address = read_address(source)
    server = Server(address.root, concurrency=concurrency or CONCURRENCY)
    found = find_server(server, address, tokenizer)
    name = PurePosixPath(found.model_id).name.removesuffix(".gguf")
    options = {"tokenizer": tokenizer, "concurrency": concurrency, "system_prompt": system_prompt}
    if address.is_chat:
        from sycophancy_core.scoring.served.served_chat import ServedChat

        if chat_template is False:
            raise ModelError("load_model: a chat endpoint asks in the server's chat template; leave chat_template out")
        return ServedChat(found, name=name, system_prompt=system_prompt, source=(source, options))
    by_template = choose_template(chat_template, name, is_chat=bool(found.tokenizer.chat_template))
    if by_template and not found.tokenizer.chat_template:
        raise ModelError(f"model {name}: its tokenizer has no chat template; use chat_template=False")
    if system_prompt is not None and not by_template:
        raise ModelError(f"model {name}: a system prompt needs chat_template=True, since plain text has no turns")
    return ServedModel(
        found, name=name, chat_template=by_template, system_prompt=system_prompt, source=(source, options)
    )


class ServedModel(LanguageModel):
    """A model on a server, with the interface of a local one but for what needs its weights.

    Parameters
    ----------
    found
        The server, how it is asked, and the model's tokenizer.
    name, chat_template, system_prompt
        As of :class:`LanguageModel`.
    source
        URL and options by which it is found again in another process.

    Raises
    ------
    ModelError
        If the server's log-probabilities are not those of a prompt's tokens; see :class:`Probe`.
    """

    def __init__(
        self,
        found: Connection,
        *,
        name: str,
        chat_template: bool = False,
        system_prompt: str | None = None,
        source: tuple[str, dict[str, Any]],
    ) -> None:
        self.name = name
        self.chat_template = chat_template
        self.system_prompt = system_prompt
        self._found = found
        self._source = source
        with translated(f"model {name}: its tokenizer cannot be used"):
            _ = self.encoder
        self._values = found.values

    def __reduce__(self) -> tuple[Any, ...]:
        """Find the server again, as in another process."""
        source, options = self._source
        return _connected, (source, {**options, "chat_template": self.chat_template or None})

    def __repr__(self) -> str:
        return f"ServedModel({self.name!r}, server={self._found.server.url!r}, dialect={self._found.dialect.name!r})"

    @property
    def model(self) -> Any:
        """Refuse what needs the weights.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(
            f"model {self.name}: its weights are on the server {self._found.server.url}, so it can be scored, but not "
            "fine-tuned or changed; for that, load it from its folder or GGUF file"
        )

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that is asked, of the server or of its files."""
        return self._found.tokenizer

    @property
    def scoring_tokenizer(self) -> Any:
        """The same."""
        return self._found.tokenizer

    @property
    def engine(self) -> str:
        """``"server"`` and how it is asked."""
        return f"server ({self._found.dialect.name})"

    @property
    def precision(self) -> str:
        """The server's number type, where it says one."""
        return f"{self._found.dialect.facts.get('number_type') or 'unknown'} on a server"

    @property
    def num_parameters(self) -> int | None:
        """How many weights the server says that there are; None where it does not."""
        number = self._found.dialect.facts.get("num_parameters")
        return int(number) if number else None

    @property
    def device(self) -> str:
        """``"server"``."""
        return "server"

    @property
    def is_encoder_decoder(self) -> bool:
        """False."""
        return False

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and choice together that the server takes; None where it does not say."""
        return self._found.context_length

    @property
    def server_facts(self) -> dict[str, Any]:
        """What results keep of the server: how it was asked, the model's id, its own words and the probe's values."""
        return {**self._said, "probe": [round(value, 4) for value in self._values]}

    @property
    def _said(self) -> dict[str, Any]:
        dialect = self._found.dialect
        return {"dialect": dialect.name, "model_id": self._found.model_id, **dialect.facts}

    @property
    def digest(self) -> str:
        """sha256 of the model's id, what the server says of it, and the probe's values to a tenth of a nat."""
        coarse = [round(value, 1) for value in self._values]
        return hashlib.sha256(json.dumps([self._said, coarse], sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> dict[str, Any]:
        """What the server says of its model; and the probe's values in units of how far apart they may be later."""
        said = json.dumps(self._said, sort_keys=True)
        values = [value / self._found.probe.tolerance for value in self._values]
        return {"server": hashlib.sha256(said.encode()).hexdigest(), "probe": values}

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of the tokenizer, its chat template and the system prompt."""
        return tokenizer_digest(self.tokenizer, chat_template=self.chat_template, system_prompt=self.system_prompt)

    def score_batch(self, batch: TokenBatch, *, progress: Progress | None = None) -> Scores:
        """Score prompts that are tokens already, and ask afterwards whether the model is still the same.

        Raises
        ------
        ModelError
            If the server fails, or has changed its model.
        """
        started = time.perf_counter()
        values = self._log_probs(batch, progress)
        self.check_same_model()
        return scores_of(
            batch,
            values,
            precision=self.precision,
            num_tokens=batch.num_tokens_unshared,
            seconds=time.perf_counter() - started,
        )

    def check_same_model(self) -> None:
        """Ask the probe again.

        Raises
        ------
        ModelError
            If its values have changed.
        """
        now = self._found.probe.values(self._found.dialect)
        if np.max(np.abs(np.subtract(now, self._values)), initial=0.0) > self._found.probe.tolerance:
            before, after = (", ".join(f"{value:.3f}" for value in values) for values in (self._values, now))
            raise ModelError(
                f"model {self.name}: the server has changed its model: log-probabilities of a fixed pair were {before} "
                f"and are {after}; what was scored is kept; start the server with the same model again"
            )

    def score_tokens(self, batch: TokenBatch, *, progress: Progress | None = None) -> TokenScores:
        """Refuse what asks for the likeliest tokens too, which not every server says."""
        raise ModelError(
            f"model {self.name}: wanted a local model; for lm-eval use its own clients of servers, such as "
            "local-completions"
        )

    def with_precision(self, matmul_precision: str) -> LanguageModel:
        """Refuse: the precision is the server's."""
        raise ModelError(f"model {self.name}: its precision is the server's; start the server with another one")

    def precision_check(self, prompts: Any, *, share: float = 1.0, seed: int = 0) -> PrecisionCheck:
        """Refuse: there are no other scores to compare with."""
        raise ModelError(f"model {self.name}: its precision is the server's, so that nothing is there to compare with")

    def _log_probs(self, batch: TokenBatch, progress: Progress | None) -> NDArray[np.float64]:
        """Return the log-probabilities of the batch's sequences: one piece of work a prompt, alike ones in a row."""
        members: dict[int, list[int]] = {}
        for sequence, prompt in enumerate(batch.prompt_index.tolist()):
            members.setdefault(prompt, []).append(sequence)
        prompts = sorted(members.values(), key=lambda one: batch.sequence(one[0]).tolist())
        values = np.full(batch.num_sequences, np.nan)
        done = 0
        total = len(batch.tokens)

        def score(prompt: list[int]) -> list[float]:
            tokens = [batch.sequence(sequence).tolist() for sequence in prompt]
            rows = self._found.dialect.log_probs(tokens, int(batch.num_context[prompt[0]]))
            return [float(np.sum(row)) for row in rows]

        def show(prompt: list[int]) -> None:
            nonlocal done
            done += sum(len(batch.sequence(sequence)) for sequence in prompt)
            if progress is not None:
                progress(done, total)

        for prompt, found in zip(prompts, self._found.server.for_all(prompts, score, show), strict=True):
            values[prompt] = found
        return values


def _connected(source: str, options: dict[str, Any]) -> ServedModel:
    return connect(source, **options)
