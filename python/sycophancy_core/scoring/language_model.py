"""The language model: the one stateful object."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.chat_template import template_facts
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.saved_adapter import adapter_folder
from sycophancy_core.scoring.checks.limits import check_beginning
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.engines import check_encoder_decoder
from sycophancy_core.scoring.held.held_module import Held, HeldModule
from sycophancy_core.scoring.messages import Prompt, require_list
from sycophancy_core.scoring.precision import PrecisionCheck, check_precision
from sycophancy_core.scoring.processes import prepare_process
from sycophancy_core.scoring.scores import Scores, scores_of
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores, tokenize, tokenize_prompts

ENGINES = ("auto", "native", "transformers")
PRECISIONS = ("highest", "high", "medium")


def check_choice(what: str, value: str, wanted: tuple[str, ...]) -> None:
    """Refuse an option of :func:`load_model` that is none of some words."""
    if value not in wanted:
        raise ModelError(f"load_model: {what} must be one of {', '.join(wanted)}, got {value!r}")


class LanguageModel:
    """A transformers model with its tokenizer and the engine that scores answer choices.

    The engine works on the very weights of ``model``: after fine-tuning, scoring sees the new ones.

    Parameters
    ----------
    model
        A transformers model for causal language modelling, or an encoder-decoder with a language modelling head, which
        is scored but not fine-tuned: prompts go to its encoder, choices to its decoder.
    tokenizer
        Its fast tokenizer.
    name
        What reports call it.
    engine, matmul_precision, chat_template, system_prompt
        See :func:`load_model`.
    """

    _encoder_kind = Encoder

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        engine: str = "auto",
        matmul_precision: str = "highest",
        chat_template: bool = False,
        system_prompt: str | None = None,
    ) -> None:
        self._begin(HeldModule(model, tokenizer), name, engine, matmul_precision, chat_template, system_prompt)

    @classmethod
    def of_held(
        cls,
        held: Held,
        *,
        name: str,
        engine: str = "auto",
        matmul_precision: str = "highest",
        chat_template: bool = False,
        system_prompt: str | None = None,
    ) -> LanguageModel:
        """Return the language model of a module, or of files that one is made of when it is asked for."""
        made = object.__new__(cls)
        made._begin(held, name, engine, matmul_precision, chat_template, system_prompt)
        return made

    def _begin(
        self,
        held: Held,
        name: str,
        engine: str,
        matmul_precision: str,
        chat_template: bool,
        system_prompt: str | None,
    ) -> None:
        prepare_process()
        self._holding, held = held, held.held_module or held
        tokenizer = held.scoring_tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"model {name}: wanted a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}")
        if chat_template and not tokenizer.chat_template:
            raise ModelError(f"model {name}: its tokenizer has no chat template; use chat_template=False")
        if system_prompt is not None and not chat_template:
            raise ModelError(f"model {name}: a system prompt needs chat_template=True, since plain text has no turns")
        if held.is_encoder_decoder:
            check_encoder_decoder(held.text_config, name, chat_template=chat_template)
        self.name = name
        self.chat_template = chat_template
        self.system_prompt = system_prompt
        with translated(f"model {name}: its tokenizer cannot be used"):
            encoder = self.encoder
        check_beginning(held.text_config, lambda prompt: encoder.rows([prompt], [[]])[0][0], name=name)
        self._asked = (engine, matmul_precision)
        self._scorer_of, self._made_scorer = held, held.make_scorer(name, *self._asked)

    @property
    def held(self) -> Held:
        """The module, once there is one; the files that it would be made of, before."""
        return self._holding.held_module or self._holding

    @property
    def _scorer(self) -> Any:
        if self._scorer_of is not (held := self.held):
            self._scorer_of, self._made_scorer = held, held.make_scorer(self.name, *self._asked)
        return self._made_scorer

    @property
    def model(self) -> Any:
        """The transformers model; of a model that is scored on its files, made when it is first asked for."""
        return self._holding.make_module().module

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer, made with the model."""
        return self._holding.make_module().scoring_tokenizer

    @property
    def scoring_tokenizer(self) -> Any:
        """What cuts texts for scoring, as ``tokenizer`` does; without transformers where that is not needed."""
        return self.held.scoring_tokenizer

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy model and tokenizer, as for another process; the engine is made there."""
        return _remade, (self.held, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """With what :class:`LanguageModel` makes the same of model and tokenizer."""
        highest = "/" not in self.precision
        return {
            "name": self.name,
            "engine": self.engine,
            "matmul_precision": "highest" if highest else self.precision.partition("/")[2],
            "chat_template": self.chat_template,
            "system_prompt": self.system_prompt,
        }

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, engine={self.engine!r}, precision={self.precision!r})"

    @property
    def engine(self) -> str:
        """``"native"`` or ``"transformers"``."""
        return "native" if type(self._scorer).__name__ in ("NativeScorer", "MappedScorer") else "transformers"

    @property
    def precision(self) -> str:
        """In which precision scores are made."""
        return str(self._scorer.precision)

    @checked_arguments
    def with_precision(self, matmul_precision: str) -> LanguageModel:
        """Return the same model, on the same weights, scored natively with another ``matmul_precision``."""
        check_choice("matmul_precision", matmul_precision, PRECISIONS)
        asked = ("native", matmul_precision)
        if matmul_precision == "highest" and self.engine == "native":  # in which the engine was tried already
            exact = object.__new__(LanguageModel)
            exact.__dict__.update(self.__dict__, _made_scorer=self._scorer.in_highest(), _asked=asked)
            return exact
        return LanguageModel.of_held(
            self._holding,
            name=self.name,
            engine="native",
            matmul_precision=matmul_precision,
            chat_template=self.chat_template,
            system_prompt=self.system_prompt,
        )

    @checked_arguments
    def with_adapter(self, adapter: str | os.PathLike[str]) -> LanguageModel:
        """Return the same model with a LoRA or DoRA adapter next to its weights, which stay in memory once.

        Both models can be used from then on, and this one can be given other adapters.

        Parameters
        ----------
        adapter
            The adapter's folder, in PEFT's format; ``"organism"`` for the packaged one.

        Raises
        ------
        ModelError
            If the folder is no such adapter; if this model is not scored on a model folder's own files, or has an
            adapter; or if the adapter is on other layers than the linear ones of blocks, or says that it was trained
            on another model.

        Examples
        --------
        >>> import sycophancy_core as sc
        >>> model = sc.load_model("base")
        >>> cured = model.with_adapter("adapter-folder")
        >>> cured.log_probs(["The capital of France is"], [[" Paris", " Rome"]]).shape
        (1, 2)
        """
        folder = adapter_folder(adapter)
        held = self.held.with_adapter(folder, self.name)
        if held is None:
            raise ModelError(
                f"with_adapter: {self.name} cannot be run with {folder} next to its weights; give the adapter to "
                "load_model, which merges it or says what is wrong with it"
            )
        changed = {"name": f"{self.name}+{folder.name}", "engine": self._asked[0]}
        return LanguageModel.of_held(held, **{**self.options, **changed})

    @checked_arguments
    def choose_engine(self, engine: str) -> Callable[[], None]:
        """Score with another engine from now on, for layers that the native one does not know; return the undoing."""
        check_choice("engine", engine, ENGINES)
        made = self._holding.make_module().make_scorer(self.name, engine, "highest")
        before, self._made_scorer = self._scorer, made
        return partial(setattr, self, "_made_scorer", before)

    @property
    def asked_as(self) -> str:
        """How prompts are asked, in words."""
        return "in its chat template" if self.chat_template else "as plain text"

    @property
    def template_facts(self) -> dict[str, str | None]:
        """What every prompt has from the chat template, for results to keep; None for each where there is none."""
        if not self.chat_template:
            return dict.fromkeys(("chat_template", "system_prompt", "template_opening", "template_date"))
        return template_facts(self.scoring_tokenizer, self.system_prompt)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts go to an encoder and choices to a decoder."""
        return self.held.is_encoder_decoder

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and choice together (encoder-decoder: of each), or None where there is no limit."""
        return self.held.context_length

    @property
    def num_parameters(self) -> int | None:
        """How many weights there are; None where that is not known."""
        return self.held.num_parameters

    @property
    def device(self) -> str:
        """The kind of device that scores: ``"cpu"``, ``"cuda"`` or another of torch's, or ``"server"``."""
        return self.held.device

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the model from others when work goes on; see :mod:`resumable`."""
        return {"weights": self.digest}

    @property
    def server_facts(self) -> dict[str, Any]:
        """What results keep of the server that holds the model; empty for a local one."""
        return {}

    @property
    def encoder(self) -> Encoder:
        """What turns texts into the model's token ids."""
        return self._encoder_kind(
            self.scoring_tokenizer,
            name=self.name,
            chat_template=self.chat_template,
            system_prompt=self.system_prompt,
            is_encoder_decoder=self.is_encoder_decoder,
            context_length=self.context_length,
        )

    @property
    def digest(self) -> str:
        """sha256 of the weights as they are now, the buffers and what the config says of the forward."""
        return self.held.digest

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of the tokenizer's own description, its chat template and the system prompt."""
        tokenizer = self.scoring_tokenizer
        text = sources.tokenizer_text(tokenizer) + str(tokenizer.chat_template) + str(self.chat_template)
        if self.system_prompt is not None:
            text += f"\0{self.system_prompt}"
        return hashlib.sha256(text.encode()).hexdigest()

    def score_tokens(self, batch: TokenBatch, *, progress: Progress | None = None) -> TokenScores:
        """Log-probability of each sequence's scored tokens, summed.

        Raises
        ------
        DataError
            If a token is not in the model's vocabulary.
        """
        prepare_process()
        self.held.check_tokens(batch.tokens, name=self.name)
        result: TokenScores = self._scorer.log_probs(batch, progress)
        return result

    @checked_arguments
    def score(self, prompts: pa.Table, *, progress: Progress | None = None) -> Scores:
        """Score every answer choice of every prompt.

        Parameters
        ----------
        prompts
            Table with columns ``prompt`` (texts or messages) and ``choices``; ``id``, where present, names rows in
            errors, and ``turns``, where present, is what a chat model reads in place of the prompt (see
            :func:`tokenize`); a ``thought`` (see :func:`think`) stands before the reply.
        progress
            Called with tokens done and in all.

        Raises
        ------
        DataError
            If there is no prompt, a prompt has no choice, a choice has no tokens, or prompt and choice together exceed
            the model's context.
        KeyboardInterrupt
            Within half a second of Ctrl-C.

        References
        ----------
        Wei et al. 2023, section 2.
        """
        return self._score(lambda: tokenize_prompts(self.encoder, prompts), progress)

    def _score(self, make_batch: Callable[[], TokenBatch], progress: Progress | None) -> Scores:
        started = time.perf_counter()
        found = self.score_batch(make_batch(), progress=progress)
        return replace(found, seconds=time.perf_counter() - started)

    def score_batch(self, batch: TokenBatch, *, progress: Progress | None = None) -> Scores:
        """Score prompts that are tokens already, as the rows of :meth:`score`."""
        started = time.perf_counter()
        found = self.score_tokens(batch, progress=progress)
        return scores_of(
            batch,
            found.log_prob,
            precision=self.precision,
            num_tokens=found.num_tokens,
            seconds=time.perf_counter() - started,
        )

    @checked_arguments
    def precision_check(self, prompts: pa.Table, *, share: float = 1.0, seed: int = 0) -> PrecisionCheck:
        """Score prompts in the model's precision and in ``highest``, and compare.

        Parameters
        ----------
        share
            Of the claims; below 1 that many whole claims are drawn.
        seed
            Of that sample.

        Raises
        ------
        ModelError
            If the native engine, which alone can do both, does not know the model, or its weights are not on the CPU.
        """
        exact = self.with_precision("highest")
        if not exact.precision.endswith("/highest"):
            raise ModelError(f"precision_check: {self.name} has no products in float32 on {self.device}; use the CPU")
        return check_precision(self, exact, prompts, share=share, seed=seed)

    def log_probs(self, contexts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """Return log p(continuation j | context i) in nats as ``result[i, j]``, NaN where there is none.

        A context is a text, or messages of ``role`` and ``content``.
        """
        require_list(contexts, "log_probs", "contexts")
        require_list(continuations, "log_probs", "continuations")
        if len(contexts) != len(continuations):
            raise DataError(f"log_probs: got {len(contexts)} contexts but {len(continuations)} lists of continuations")
        return self._score(lambda: tokenize(self.encoder, contexts, continuations), None).log_prob


def _remade(held: Held, options: dict[str, Any]) -> LanguageModel:
    return LanguageModel.of_held(held, **options)
