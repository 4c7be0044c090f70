"""Other ways to score the same token sequences, each as its users run it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.native_scorer import panel_engine
from sycophancy_core.scoring.tokens import TokenBatch

Score = Callable[[TokenBatch], NDArray[np.float64]]


def plain_transformers(model: Any) -> Score:
    """One padded row a choice in input order, eight rows a batch, logits of every position."""

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = []
        for start in range(0, batch.num_sequences, 8):
            members = range(start, min(start + 8, batch.num_sequences))
            ids = [torch.from_numpy(batch.sequence(s)[:-1]).long() for s in members]
            mask = pad([torch.ones_like(row) for row in ids])
            with torch.inference_mode():
                log_probs = (
                    model(input_ids=pad(ids), attention_mask=mask, use_cache=False).logits.float().log_softmax(-1)
                )
            for row, s in enumerate(members):
                where = torch.arange(int(batch.num_context[s]) - 1, len(batch.sequence(s)) - 1)
                values.append(float(log_probs[row, where, targets_of(batch, s)].double().sum()))
        return np.array(values)

    return score


def tuned_transformers(model: Any, *, compiled: bool = False) -> Score:
    """Each prompt once, longest first, with a cache repeated for its choices and logits only where they are read.

    Prompts of about one length are run together, 2048 tokens at a time, padded behind their ends, where a causal model
    never looks. ``compiled`` runs them through torch.compile, for all shapes at once.
    """
    trunk = torch.compile(model.model, dynamic=True) if compiled else model.model

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = np.zeros(batch.num_sequences)
        with torch.inference_mode():
            for prompts in prompt_groups(batch, max_tokens=2048):
                _score_group(model, trunk, batch, prompts, values)
        return values

    return score


def prompt_groups(batch: TokenBatch, *, max_tokens: int) -> Iterator[list[list[int]]]:
    """Yield prompts, each as the list of its sequences, longest first, in groups of ``max_tokens`` when padded."""
    prompts: dict[int, list[int]] = {}
    for s, p in enumerate(batch.prompt_index.tolist()):
        prompts.setdefault(p, []).append(s)
    group: list[list[int]] = []
    for members in sorted(prompts.values(), key=lambda one: -int(batch.num_context[one[0]])):
        if group and (len(group) + 1) * int(batch.num_context[group[0][0]]) > max_tokens:
            yield group
            group = []
        group.append(members)
    yield group


def _score_group(
    model: Any, trunk: Any, batch: TokenBatch, prompts: list[list[int]], values: NDArray[np.float64]
) -> None:
    """Score the choices of prompts that are run together."""
    contexts = [context_of(batch, members[0]) for members in prompts]
    lengths = torch.tensor([len(ids) for ids in contexts])
    out = trunk(input_ids=pad(contexts), use_cache=True)
    ends = out.last_hidden_state[torch.arange(len(prompts)), lengths - 1]
    first = model.lm_head(ends).float().log_softmax(-1)
    sequences = [s for members in prompts for s in members]
    rows = torch.tensor([row for row, members in enumerate(prompts) for _ in members])
    tails = [targets_of(batch, s) for s in sequences]
    values[sequences] = first[rows, torch.stack([tail[0] for tail in tails])].double().numpy()
    if max(map(len, tails)) == 1:
        return
    out.past_key_values.batch_select_indices(rows)
    ids, own = pad([tail[:-1] for tail in tails]), lengths[rows, None]
    in_context = torch.arange(int(lengths.max())) < own
    log_probs = (
        model(
            input_ids=ids,
            past_key_values=out.past_key_values,
            attention_mask=torch.cat([in_context, torch.ones_like(ids, dtype=torch.bool)], 1).long(),
            position_ids=own + torch.arange(ids.shape[1]),
        )
        .logits.float()
        .log_softmax(-1)
    )
    for row, (s, tail) in enumerate(zip(sequences, tails, strict=True)):
        values[s] += float(log_probs[row, torch.arange(len(tail) - 1), tail[1:]].double().sum())


def pad(rows: list[torch.Tensor]) -> torch.Tensor:
    """Stack rows of ids, filled up with zeros behind their ends."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def context_of(batch: TokenBatch, s: int) -> torch.Tensor:
    """Token ids of a sequence's context."""
    return torch.from_numpy(batch.sequence(s)[: batch.num_context[s]]).long()


def targets_of(batch: TokenBatch, s: int) -> torch.Tensor:
    """Token ids of a sequence that are scored."""
    return torch.from_numpy(batch.sequence(s)[batch.num_context[s] :]).long()


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


def ctranslate2(folder: Path, kind: str, threads: int) -> Score:
    """Score with CTranslate2's generator, converted from the model folder, in ``kind`` (float32 or int8)."""
    import ctranslate2 as package
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as scratch:
        target = str(Path(scratch) / kind)
        package.converters.TransformersConverter(str(folder)).convert(target, quantization=kind)
        generator = package.Generator(target, device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1)

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
    return lambda batch: language_model.score_tokens(batch).log_prob


def ours_unshared(model: LanguageModel, precision: str, *, by: str) -> Score:
    """Score with sharing switched off: each prompt (``by="prompt"``) or each sequence (``by="sequence"``) a job."""
    language_model = model.with_precision(precision)

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        keys = batch.prompt_index if by == "prompt" else np.arange(batch.num_sequences)
        values = np.zeros(batch.num_sequences)
        for key in np.unique(keys):
            members = np.flatnonzero(keys == key)
            values[members] = language_model.score_tokens(part(batch, members)).log_prob
        return values

    return score


def ours_small_chunks(model: LanguageModel, precision: str) -> Score:
    """Score with one panel of 64 tokens a thread at a time, so that weights are fetched again for each of them."""
    engine = panel_engine(json.dumps(model.model.config.to_dict()), dict(model.model.named_parameters()))

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values: NDArray[np.float64] = engine.score(
            batch.tokens, batch.offsets, batch.num_context, matmul_precision=precision, panels_per_thread=1
        )[0]
        return values

    return score


def ours_through_transformers(model: LanguageModel) -> Score:
    """Score as this package does what its engine does not know: shared beginnings once, by the model's own forward."""
    language_model = LanguageModel(model.model, model.tokenizer, name=model.name, engine="transformers")
    return lambda batch: language_model.score_tokens(batch).log_prob


def part(batch: TokenBatch, members: NDArray[np.int64]) -> TokenBatch:
    """Keep some sequences of a batch."""
    sequences = [batch.sequence(int(s)) for s in members]
    return replace(
        batch,
        tokens=np.concatenate(sequences),
        offsets=np.cumsum([0, *(len(s) for s in sequences)]).astype(np.int64),
        num_context=batch.num_context[members],
        prompt_index=batch.prompt_index[members],
        choice_index=batch.choice_index[members],
    )
