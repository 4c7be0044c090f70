"""Encoder-decoders: what is scored, and the transformers scorer against transformers sequence by sequence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_encoder_decoders import (
    T5S,
    ending_tokenizer,
    paired_batch,
    random_pairs,
    reference_pair_log_probs,
    tiny_encoder_decoder,
)
from makers.tiny_families import VOCAB, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.tokens import tokenize
from sycophancy_core.scoring.transformers_scorer import EncoderDecoderScorer

PROMPTS = pa.table(
    {
        "prompt": ["Is the moon a lamp? Answer:", "Is the moon a lamp? Answer:", "Which? "],
        "choices": [[" (A)", " (B)"], [" yes"], ["one", "two", "three"]],
    }
)


SCORERS = pytest.mark.parametrize("make_scorer", [NativeScorer, EncoderDecoderScorer])


def language_model(name: str = "t5", engine: str = "transformers") -> LanguageModel:
    return LanguageModel(tiny_encoder_decoder(name), ending_tokenizer(), name="tiny", engine=engine)


def test_the_prompt_ends_in_the_encoder_and_the_choice_does_not_in_the_decoder() -> None:
    model = language_model()
    batch = tokenize(model.encoder, PROMPTS["prompt"].to_pylist(), PROMPTS["choices"].to_pylist())
    parts = [
        (model.tokenizer.decode(ids[:border]), model.tokenizer.decode(ids[border:]))
        for ids, border in ((batch.sequence(s), int(batch.num_context[s])) for s in range(batch.num_sequences))
    ]
    question = "Is the moon a lamp? Answer:<|end|>"
    assert parts == [
        *((question, choice) for choice in (" (A)", " (B)", " yes")),
        *(("Which?<|end|>", choice) for choice in (" one", " two", " three")),
    ]
    assert batch.is_encoder_decoder
    assert batch.num_tokens_unshared == sum(len(a) - 6 + len(b) for a, b in parts)  # the end mark is one token
    assert batch.num_moved_borders == 0


def test_special_tokens_in_prompt_and_choice_are_plain_text() -> None:
    batch = tokenize(language_model().encoder, ["a<|end|>b"], [["<|end|>"]])
    assert batch.sequence(0).tolist().count(0) == 1
    assert batch.num_context.tolist() == [len("a<|end|>b") + 1]


@pytest.mark.parametrize("name", [*T5S, "bart"])
def test_the_transformers_scorer_equals_transformers_sequence_by_sequence(name: str) -> None:
    model, batch = tiny_encoder_decoder(name), random_pairs(1)
    values, num_tokens, _ = EncoderDecoderScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_pair_log_probs(model, batch), atol=1e-4, rtol=0)
    assert num_tokens < batch.num_tokens_unshared


@SCORERS
def test_a_model_in_training_is_scored_without_dropout(make_scorer: Callable[[object], Any]) -> None:
    model, batch = tiny_encoder_decoder("t5"), random_pairs(1)
    wanted = reference_pair_log_probs(model, batch)
    model.train()
    np.testing.assert_allclose(make_scorer(model).log_probs(batch, None)[0], wanted, atol=1e-4, rtol=0)
    assert model.training


@SCORERS
def test_every_context_is_encoded_once(make_scorer: Callable[[object], Any]) -> None:
    context = np.arange(40)
    batch = paired_batch([context, context], [[[7, 1], [7, 2]], [[7, 1], [8], [7, 2, 3]]])
    _, num_tokens, _ = make_scorer(tiny_encoder_decoder("t5")).log_probs(batch, None)
    assert num_tokens == 40 + 3  # start, 7 and, before the 3, 2
    assert batch.num_tokens_unshared == 5 * 40 + 10


@SCORERS
def test_greedy_is_what_generation_gives(make_scorer: Callable[[object], Any]) -> None:
    model, rng = tiny_encoder_decoder("t5"), np.random.default_rng(3)
    contexts = [rng.integers(2, VOCAB, length) for length in (1, 30, 90)]
    greedy = []
    for context in contexts:
        made = model.generate(
            input_ids=torch.tensor(context)[None], max_new_tokens=4, min_new_tokens=4, do_sample=False, num_beams=1
        )
        greedy.append(made[0, 1:].numpy())
    others = [[*g[:-1], (g[-1] + 1) % VOCAB] for g in greedy]
    batch = paired_batch(contexts, [[g, other] for g, other in zip(greedy, others, strict=True)])
    scores = make_scorer(model).log_probs(batch, None)
    assert scores.is_greedy.tolist() == [True, False] * 3


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_a_table_of_prompts_is_scored(engine: str) -> None:
    model = language_model(engine=engine)
    scores = model.score(PROMPTS)
    batch = tokenize(model.encoder, PROMPTS["prompt"].to_pylist(), PROMPTS["choices"].to_pylist())
    np.testing.assert_allclose(
        scores.log_prob[batch.prompt_index, batch.choice_index],
        reference_pair_log_probs(model.model, batch),
        atol=1e-4,
    )
    seen: list[tuple[int, int]] = []
    model.score(PROMPTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (scores.num_tokens, scores.num_tokens)
    assert scores.num_tokens < scores.num_tokens_unshared == batch.num_tokens_unshared


def test_encoder_and_decoder_have_a_limit_each() -> None:
    model = language_model("bart")
    assert tokenize(model.encoder, ["a" * 199], [["b" * 200]]).num_context.tolist() == [200]
    with pytest.raises(
        sc.DataError, match="has 201 and 1 tokens, but tiny takes at most 200 in its encoder and in its"
    ):
        tokenize(model.encoder, ["a" * 200], [["b"]])
    with pytest.raises(sc.DataError, match="has 2 and 201 tokens"):
        tokenize(model.encoder, ["a"], [["b" * 201]])
    with pytest.raises(sc.DataError, match="choice '' has no tokens"):
        tokenize(model.encoder, ["a"], [[""]])


def test_what_an_encoder_decoder_cannot_do_is_refused() -> None:
    module = tiny_encoder_decoder("t5")
    with pytest.raises(sc.ModelError, match="an encoder-decoder has no turns; use chat_template=False"):
        LanguageModel(module, tiny_tokenizer(chat_template="{{ messages }}"), name="tiny", chat_template=True)
    rows = pa.table({"id": ["r"], "origin": ["claim"], "prompt": ["a"], "completion": [" b"]})
    with pytest.raises(sc.ModelError, match="finetune: model tiny is an encoder-decoder; wanted a decoder"):
        sc.finetune(language_model(), rows)
    module.config.decoder_start_token_id = None
    with pytest.raises(sc.ModelError, match="its config says no decoder_start_token_id"):
        LanguageModel(module, ending_tokenizer(), name="tiny")
