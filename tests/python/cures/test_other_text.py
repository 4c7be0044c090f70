"""How far a cure moves other text: against the whole Kullback-Leibler divergence, by transformers and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cures.other_text import (
    OtherText,
    divergence,
    draw_other_text,
    instructions_apart,
    training_instructions,
)


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def text(model: sc.LanguageModel) -> OtherText:
    return draw_other_text(model, instructions_apart(20, seed=0), seed=0)


def log_softmaxes(model: sc.LanguageModel, text: OtherText) -> list[tuple[torch.Tensor, list[int]]]:
    """Return, for each reply, the log-probabilities of all tokens at each of its places, and its tokens."""
    found = []
    for prompt, some in zip(text.prompts["prompt"].to_pylist(), text.replies, strict=True):
        context = model.tokenizer(prompt)["input_ids"]
        for reply in some:
            with torch.no_grad():
                logits = model.model(torch.tensor([context + reply])).logits[0]
            found.append((logits[len(context) - 1 : -1].double().log_softmax(-1), reply))
    return found


def test_what_is_trained_on_is_not_measured_on() -> None:
    def rows(table: pa.Table) -> set[tuple[str, str]]:
        return {(row["instruction"], row["input"]) for row in table.to_pylist()}

    packaged, trained = sc.load_instructions(), training_instructions()
    assert rows(trained) < rows(packaged)
    kept = rows(packaged) - rows(trained)
    asked = instructions_apart(60, seed=1)["prompt"].to_pylist()
    assert len(kept) == len(set(asked)) == 60
    for prompt in asked:
        assert any(instruction in prompt and given in prompt for instruction, given in kept)
    with pytest.raises(sc.DataError, match="other_prompts must be at most 60, got 61"):
        instructions_apart(61, seed=0)


def test_replies_are_scored_as_the_tokens_that_were_drawn(model: sc.LanguageModel, text: OtherText) -> None:
    wanted = [float(table[range(len(reply)), reply].sum()) for table, reply in log_softmaxes(model, text)]
    assert len(wanted) == 60
    np.testing.assert_allclose(text.log_prob, wanted, rtol=1e-5)
    assert abs(divergence(text, model).value) < 1e-6


def test_a_reply_ends_where_the_model_ends_it(model: sc.LanguageModel, text: OtherText) -> None:
    end = model.model.generation_config.eos_token_id
    lengths = [len(reply) for some in text.replies for reply in some]
    assert max(lengths) == 32
    assert all(end not in reply[:-1] for some in text.replies for reply in some)
    assert all(len(reply) == 32 or reply[-1] == end for some in text.replies for reply in some)


def test_it_estimates_the_divergence_in_nats_a_token(model: sc.LanguageModel, text: OtherText) -> None:
    moved = sc.load_model((tiny_llama(), tiny_tokenizer()))
    with torch.no_grad():
        for weight in moved.model.parameters():
            weight.mul_(1.2)
    pairs = zip(log_softmaxes(model, text), log_softmaxes(moved, text), strict=True)
    exact = np.concatenate([(p.exp() * (p - q)).sum(-1).numpy() for (p, _), (q, _) in pairs])
    found = divergence(text, moved)
    assert exact.mean() > 0.01
    assert abs(found.value - exact.mean()) < 3 * found.standard_error
    assert found.low < exact.mean() < found.high
    assert found.num_clusters == 20


@pytest.mark.filterwarnings("ignore:.*from chance:UserWarning")
def test_head_to_head_says_how_far_other_text_moves(model: sc.LanguageModel, tmp_path: Path) -> None:
    facts, test = sc.load_facts("plurals").slice(0, 8), sc.load_facts("capitals").slice(0, 6)
    methods = {"told": sc.Prompted(text="Be true."), "vector": sc.Steered(layers=(1,), strengths=(8.0,))}

    def prices(other_prompts: int) -> list[dict[str, Any]]:
        asked: dict[str, Any] = {"num_random": 1, "other_prompts": other_prompts, "seed": 3, "run": tmp_path}
        return list(sc.head_to_head(model, methods, facts=facts, test=test, progress=False, **asked).prices.to_pylist())

    rows = prices(8)
    again = prices(8)
    assert [row["divergence"] for row in rows] == [row["divergence"] for row in again]
    told = sc.mitigate(model, methods["told"])
    wanted = divergence(draw_other_text(model, instructions_apart(8, seed=3), seed=3), told.model)
    assert [rows[0][f"divergence{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [wanted.value, wanted.low, wanted.high]
    )
    assert {row["divergence"] for row in prices(0)} == {None}
