"""Other ways to score the same token sequences, each as its users run it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sycophancy_core.models import LanguageModel
from sycophancy_core.tokens import TokenBatch

Score = Callable[[TokenBatch], NDArray[np.float64]]


def plain_transformers(model: Any) -> Score:
    """One padded row a choice in input order, eight rows a batch, logits of every position."""

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = []
        for start in range(0, batch.num_sequences, 8):
            members = range(start, min(start + 8, batch.num_sequences))
            ids = [torch.from_numpy(batch.sequence(s)[:-1]).long() for s in members]
            rows = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(x) for x in ids], batch_first=True)
            with torch.inference_mode():
                log_probs = model(input_ids=rows, attention_mask=mask, use_cache=False).logits.float().log_softmax(-1)
            for row, s in enumerate(members):
                values.append(_target_sum(log_probs[row], batch, s, 0))
        return np.array(values)

    return score


def tuned_transformers(model: Any) -> Score:
    """Each prompt once, longest first, with a cache repeated for its choices and logits only where they are read."""

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = np.zeros(batch.num_sequences)
        prompts: dict[int, list[int]] = {}
        for s, p in enumerate(batch.prompt_index.tolist()):
            prompts.setdefault(p, []).append(s)
        for members in sorted(prompts.values(), key=lambda m: -len(batch.sequence(m[0]))):
            context = int(batch.num_context[members[0]])
            ids = torch.from_numpy(batch.sequence(members[0])[:context]).long()[None]
            with torch.inference_mode():
                out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
                first = out.logits[0, -1].float().log_softmax(-1)
                _score_tails(model, batch, members, context, out.past_key_values, first, values)
        return values

    return score


def _score_tails(
    model: Any, batch: TokenBatch, members: list[int], context: int, cache: Any, first: Any, values: NDArray[np.float64]
) -> None:
    tails = [torch.from_numpy(batch.sequence(s)[context:]).long() for s in members]
    for s, tail in zip(members, tails, strict=True):
        values[s] = float(first[tail[0]])
    if max(len(tail) for tail in tails) == 1:
        return
    cache.batch_repeat_interleave(len(members))
    rows = torch.nn.utils.rnn.pad_sequence([tail[:-1] for tail in tails], batch_first=True)
    log_probs = model(input_ids=rows, past_key_values=cache, use_cache=True).logits.float().log_softmax(-1)
    for row, (s, tail) in enumerate(zip(members, tails, strict=True)):
        later = torch.arange(len(tail) - 1)
        values[s] += float(log_probs[row, later, tail[1:]].double().sum())


def _target_sum(log_probs: Any, batch: TokenBatch, s: int, first: int) -> float:
    context, length = int(batch.num_context[s]), len(batch.sequence(s))
    targets = torch.from_numpy(batch.sequence(s)[context:]).long()
    return float(log_probs[torch.arange(context - 1, length - 1) - first, targets].double().sum())


def lm_eval(model: Any, tokenizer: Any) -> Score:
    """Score as ``loglikelihood`` of lm-evaluation-harness' HFLM does, from the same token ids."""
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device="cpu", backend="causal")

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        requests = []
        for s in range(batch.num_sequences):
            ids, context = batch.sequence(s).tolist(), int(batch.num_context[s])
            # The harness groups requests by their text; the ids stand for it.
            requests.append(((str(ids[:context]), str(ids[context:])), ids[:context], ids[context:]))
        return np.array([value for value, _ in harness._loglikelihood_tokens(requests, disable_tqdm=True)])

    return score


def ctranslate2(folder: Path, tokenizer: Any, kind: str, threads: int) -> Score:
    """Score with CTranslate2's generator, converted from the model folder, in ``kind`` (float32 or int8)."""
    import ctranslate2 as package

    target = Path(tempfile.mkdtemp()) / kind
    package.converters.TransformersConverter(str(folder)).convert(str(target), quantization=kind)
    generator = package.Generator(str(target), device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1)

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        rows = [tokenizer.convert_ids_to_tokens(batch.sequence(s).tolist()) for s in range(batch.num_sequences)]
        results = generator.score_batch(rows, max_batch_size=2048, batch_type="tokens")
        return np.array(
            [sum(r.log_probs[int(batch.num_context[s]) - 1 :]) for s, r in enumerate(results)], dtype=np.float64
        )

    return score


def ours(model: LanguageModel, precision: str) -> Score:
    """Score the whole job with the native engine."""
    language_model = model.with_precision(precision)
    return lambda batch: language_model.score_tokens(batch)[0]


def ours_unshared(model: LanguageModel, precision: str, *, by: str) -> Score:
    """Score with sharing switched off: each prompt (``by="prompt"``) or each sequence (``by="sequence"``) a job."""
    language_model = model.with_precision(precision)

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        keys = batch.prompt_index if by == "prompt" else np.arange(batch.num_sequences)
        values = np.zeros(batch.num_sequences)
        for key in np.unique(keys):
            members = np.flatnonzero(keys == key)
            values[members] = language_model.score_tokens(_part(batch, members))[0]
        return values

    return score


def _part(batch: TokenBatch, members: NDArray[np.int64]) -> TokenBatch:
    sequences = [batch.sequence(int(s)) for s in members]
    return TokenBatch(
        tokens=np.concatenate(sequences),
        offsets=np.cumsum([0, *(len(s) for s in sequences)]).astype(np.int64),
        num_context=batch.num_context[members],
        prompt_index=batch.prompt_index[members],
        choice_index=batch.choice_index[members],
        num_moved_borders=0,
    )
