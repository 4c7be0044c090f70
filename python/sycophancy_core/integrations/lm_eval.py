"""The scoring engine as a model of lm-evaluation-harness, named ``sycophancy_core``: every task of lm-eval runs on it.

In Python, import this module and name the model, or wrap one that is loaded::

    lm_eval.simple_evaluate(model="sycophancy_core", model_args={"pretrained": "organism"}, tasks=["arc_easy"])
    lm_eval.simple_evaluate(model=EngineLM(model), tasks=["arc_easy"])

After 0.4.13, lm-eval finds it by our entry point; up to then its command knows only its own models, and this module is
the same command with ours among them::

    python -m sycophancy_core.integrations.lm_eval run --model sycophancy_core --tasks arc_easy
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from sycophancy_core.errors import DataError, ModelError, warn
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.tokens import TokenBatch

try:
    from lm_eval.api.registry import register_model
    from lm_eval.models.huggingface import HFLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(
        f"sycophancy_core.integrations.lm_eval: needs lm-eval, which cannot be imported ({error}); "
        "pip install 'sycophancy-core[lm-eval]'"
    ) from error

Request = tuple[Any, list[int], list[int]]
"""What lm-eval caches an answer under (None: nothing), the context's ids, the continuation's ids."""


@register_model("sycophancy_core")
class EngineLM(HFLM):  # type: ignore[misc]  # lm-eval carries no types
    """lm-eval's own model for transformers with its log-likelihoods computed by a :class:`LanguageModel`.

    Tokenization, windows of long texts, chat templates and generation are lm-eval's: only ``loglikelihood`` and
    ``loglikelihood_rolling`` run on the engine, each as one job that runs every shared token once. As in lm-eval's
    model, a request that is longer than the context loses its beginning. Of tokens that are exactly as likely, each
    counts as the greedy one.

    Parameters
    ----------
    pretrained
        A language model, or what :func:`load_model` takes as ``source``.
    adapter, dtype, engine, matmul_precision
        As :func:`load_model` takes them; not together with a language model.
    max_length
        Tokens of context, if fewer than the model's.
    add_bos_token
        Whether texts begin with the tokenizer's beginning-of-sequence token; None leaves that to the tokenizer.
    batch_size, max_batch_size
        How many requests ``generate_until`` runs together, or ``"auto"`` and its limit. Log-likelihoods are always one
        job.
    device
        Taken because lm-eval always gives one, and not looked at: a model is run where its weights are.

    Raises
    ------
    ModelError
        If the model is no decoder, puts prompts into its chat template or after an instruction by itself, has less
        context than ``max_length``, or is loaded already but settings say how to load it.
    """

    def __init__(
        self,
        pretrained: LanguageModel | str | None = None,
        *,
        adapter: str | None = None,
        dtype: str | None = None,
        engine: str | None = None,
        matmul_precision: str | None = None,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        batch_size: int | str = 1,
        max_batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        settings = {"adapter": adapter, "dtype": dtype, "engine": engine, "matmul_precision": matmul_precision}
        self.language_model = _language_model(pretrained, {k: v for k, v in settings.items() if v is not None})
        limit = self.language_model.context_length
        if max_length is not None and limit is not None and not 1 <= max_length <= limit:
            raise ModelError(f"lm_eval: max_length must be from 1 to {limit}, the model's context, got {max_length}")
        super().__init__(
            self.language_model.model,
            backend="causal",
            # A copy: lm-eval may give the tokenizer a padding token.
            tokenizer=copy.deepcopy(self.language_model.tokenizer),
            max_length=max_length,
            add_bos_token=add_bos_token,
            batch_size=batch_size,
            max_batch_size=max_batch_size,
        )

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each text, of which a long one is run in lm-eval's windows."""
        windows = [
            get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, max_seq_len=self.max_length, context_len=1
            )
            for request in requests
        ]
        parts = [[(None, *make_disjoint_window(window)) for window in text] for text in windows]
        answers = iter(self._loglikelihood_tokens([part for text in parts for part in text], disable_tqdm))
        totals = [sum(next(answers)[0] for _ in text) for text in parts]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return log-likelihood and greediness of each request; all of them are one job, whatever ``override_bs``."""
        if not requests:
            return []
        batch = _token_batch(requests, self.max_length)
        with tqdm(desc="Running loglikelihood requests", unit="token", disable=disable_tqdm) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            scores = self.language_model.score_tokens(batch, progress=show)
        answers = list(zip(scores.log_prob.tolist(), scores.is_greedy.tolist(), strict=True))
        for (key, _, _), answer in zip(requests, answers, strict=True):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, answer)
        return answers


def _language_model(pretrained: LanguageModel | str | None, settings: dict[str, Any]) -> LanguageModel:
    """Load a model, or take one, that is a decoder and leaves the prompts to lm-eval."""
    if isinstance(pretrained, LanguageModel) and settings:
        raise ModelError(
            f"lm_eval: model {pretrained.name} is loaded already, but got {', '.join(settings)} too; "
            "give these to load_model"
        )
    model = (
        pretrained if isinstance(pretrained, LanguageModel) else load_model(pretrained, chat_template=False, **settings)
    )
    if model.model.config.is_encoder_decoder:
        raise ModelError(
            f"lm_eval: model {model.name} is an encoder-decoder; wanted a decoder; use lm-eval's own hf model"
        )
    if model.chat_template:
        raise ModelError(
            f"lm_eval: model {model.name} has chat_template=True, but lm-eval makes the prompts; "
            "load it without, and use lm-eval's --apply_chat_template"
        )
    if type(model) is not LanguageModel:
        raise ModelError(
            f"lm_eval: model {model.name} reads an instruction before every prompt, which lm-eval's own prompts would "
            "leave out; give the model without it, and the instruction to lm-eval as --system_instruction"
        )
    return model


def _token_batch(requests: Sequence[Request], max_length: int) -> TokenBatch:
    """Lay requests out as sequences of at most ``max_length`` tokens to run, cut from the left, and one to predict."""
    for key, context, continuation in requests:
        where = "a window" if key is None else f"the request {key!r}"
        if not context:
            raise DataError(f"lm_eval: {where} has no tokens before its continuation; wanted a text or nothing at all")
        if not 0 < len(continuation) <= max_length:
            raise DataError(
                f"lm_eval: {where} has a continuation of {len(continuation)} tokens; wanted 1 to {max_length}, "
                "the model's context"
            )
    sequences = [(context + continuation)[-(max_length + 1) :] for _, context, continuation in requests]
    num_cut = sum(len(s) < len(a) + len(b) for s, (_, a, b) in zip(sequences, requests, strict=True))
    if num_cut:
        warn(
            f"lm_eval: {num_cut} of {len(requests)} requests are longer than the context of {max_length} tokens and "
            "lose their beginning, as in lm-eval's own model"
        )
    num_context = [len(s) - len(b) for s, (_, _, b) in zip(sequences, requests, strict=True)]
    return TokenBatch(
        tokens=np.concatenate([np.array(s, np.int32) for s in sequences]),
        offsets=np.cumsum([0, *(len(s) for s in sequences)]).astype(np.int64),
        num_context=np.array(num_context, np.int32),
        prompt_index=np.arange(len(requests)),
        choice_index=np.zeros(len(requests), np.int64),
        num_moved_borders=0,
    )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
