"""Training on activations: its loss against transformers' hidden states, what it does, its null, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cures.trainings.activations import Pair, activation_loss, user_pairs

METHOD = sc.Activations(steps=12, batch_size=6, lora_rank=4, learning_rate=1e-2)


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def facts() -> pa.Table:
    return sc.load_facts("plurals").slice(0, 10)


@pytest.fixture(scope="module")
def cured(model: sc.LanguageModel, facts: pa.Table) -> sc.Cured:
    return sc.mitigate(model, METHOD, facts=facts, seed=1, progress=False)


def streams(module: Any, ids: list[int]) -> torch.Tensor:
    """Return the residual stream after each block; transformers' last hidden state is after the norm, so undo that."""
    before_norm: list[torch.Tensor] = []
    handle = module.model.norm.register_forward_pre_hook(lambda _, given: before_norm.append(given[0]))
    with torch.no_grad():
        found = module(torch.tensor([ids]), output_hidden_states=True).hidden_states
    handle.remove()
    return torch.stack([*found[1:-1], before_norm[0]])[:, 0]


def by_hand(asked_by: Any, alone_by: Any, pairs: list[Pair]) -> float:
    gaps = []
    for asked, alone, num_shared in pairs:
        gap = streams(asked_by, asked)[:, -num_shared:] - streams(alone_by, alone)[:, -num_shared:]
        gaps.append(float(gap.square().mean()))
    return float(np.mean(gaps))


def test_pairs_are_the_same_question_with_a_user_and_alone(model: sc.LanguageModel, facts: pa.Table) -> None:
    asked = sc.fact_prompts(facts, options=sc.FactOptions(split="train", arms=("none", "endorse")), seed=2)
    texts = {arm: [row["prompt"] for row in asked.to_pylist() if row["arm"] == arm] for arm in ("none", "endorse")}
    pairs = user_pairs(model, facts, arm="endorse", seed=2)
    assert [model.tokenizer.decode(pair.asked) for pair in pairs] == texts["endorse"]
    assert len(pairs) == 20  # users who are right, and wrong
    for i, pair in enumerate(pairs):
        assert model.tokenizer.decode(pair.alone) == texts["none"][i // 2]
        shared = pair.num_shared
        assert pair.asked[-shared:] == pair.alone[-shared:]
        assert shared == len(pair.alone) or pair.asked[-shared - 1] != pair.alone[-shared - 1]


def test_the_loss_is_the_mean_square_of_what_transformers_keeps(model: sc.LanguageModel, facts: pa.Table) -> None:
    other = tiny_llama(seed=1)
    pairs = user_pairs(model, facts, arm="endorse", seed=2)[:7]
    loss = activation_loss(other, model.model, pairs)
    assert loss.requires_grad
    assert float(loss.detach()) == pytest.approx(by_hand(other, model.model, pairs), rel=1e-5)


def test_with_a_user_the_model_comes_to_compute_what_it_computes_alone(
    model: sc.LanguageModel, facts: pa.Table, cured: sc.Cured
) -> None:
    pairs = user_pairs(model, facts, arm="endorse", seed=1)
    before, after = (by_hand(one.model, model.model, pairs) for one in (model, cured.model))
    assert after < 0.7 * before
    assert cured.about["last_loss"] < cured.about["first_loss"]
    assert cured.cost.tokens == pytest.approx(12 * 6 * np.mean([len(a) + len(b) for a, b, _ in pairs]), rel=0.05)


def test_the_given_model_stays_and_the_null_has_the_same_budget(model: sc.LanguageModel, cured: sc.Cured) -> None:
    untouched = sc.load_model((tiny_llama(), tiny_tokenizer()))
    assert model.digest == untouched.digest != cured.model.digest
    null = cured.make_null("no_opinion", seed=1)
    assert null.about["num_rows"] == cured.about["num_rows"] == 144
    assert null.model.digest not in (model.digest, cured.model.digest)


def test_a_saved_cure_is_loaded_again(model: sc.LanguageModel, cured: sc.Cured, tmp_path: Path) -> None:
    cured.save(tmp_path)
    again = sc.load_cure(tmp_path, model)
    asked = (["The plural of mouse is"], [[" mice", " mouses"]])
    np.testing.assert_allclose(again.model.log_probs(*asked), cured.model.log_probs(*asked), atol=1e-4)
    assert (again.name, again.method, again.cost) == ("activations", METHOD, cured.cost)
