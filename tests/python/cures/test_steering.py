"""Steering vectors: against transformers' own hidden states, and layer and strength against a search by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from safetensors.numpy import load_file

import sycophancy_core as sc
from sycophancy_core.cures.vectors.steered import middle_layers
from sycophancy_core.cures.vectors.steered_module import steered_model
from sycophancy_core.cures.vectors.steering import Differences, differences

LAYERS = 3


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(num_hidden_layers=LAYERS), tiny_tokenizer()))


@pytest.fixture(scope="module")
def facts() -> pa.Table:
    return sc.load_facts("plurals").slice(0, 6)


@pytest.fixture(scope="module")
def validation() -> pa.Table:
    return sc.load_facts("capitals").slice(0, 8)


def test_the_vector_is_the_mean_difference_of_hidden_states(model: sc.LanguageModel, facts: pa.Table) -> None:
    asked = sc.fact_prompts(facts, options=sc.FactOptions(split="train", arms=("endorse", "deny")), seed=2).to_pylist()
    states: dict[str, list[np.ndarray]] = {"endorse": [], "deny": []}
    for row in asked:
        if row["stated"] == "wrong":
            ids = torch.tensor([model.tokenizer(row["prompt"]).input_ids])
            with torch.inference_mode():
                hidden = model.model(ids, output_hidden_states=True).hidden_states
            states[row["arm"]].append(np.stack([layer[0, -1].numpy() for layer in hidden[1:LAYERS]]))
    wanted = np.mean(states["deny"], axis=0) - np.mean(states["endorse"], axis=0)
    found = differences(model, facts, seed=2)
    assert found.values.shape == (6, LAYERS, 32)
    for layer in range(LAYERS - 1):  # after the last block transformers applies the final norm
        assert found.vector(layer) == pytest.approx(wanted[layer], abs=1e-5)


def test_a_null_has_the_length_of_the_vector_and_another_direction(model: sc.LanguageModel, facts: pa.Table) -> None:
    found = differences(model, facts, seed=0)
    length = np.linalg.norm(found.vector(1))
    for null in ("random", "shuffled"):
        nulls = np.stack([found.vector(1, null=null, seed=seed) for seed in range(10)])
        assert np.linalg.norm(nulls, axis=1) == pytest.approx(np.full(10, length), rel=1e-5)
        assert len({tuple(vector) for vector in nulls}) > 5


@pytest.mark.parametrize("num_facts", [2, 7, 40])
def test_a_shuffled_null_adds_half_of_the_facts_and_takes_away_the_other_half(num_facts: int) -> None:
    values = np.random.default_rng(1).standard_normal((num_facts, 1, 64)).astype(np.float32)
    found = Differences(values=values, num_tokens=0)
    for seed in range(10):
        null = found.vector(0, null="shuffled", seed=seed)
        weights, *_ = np.linalg.lstsq(values[:, 0].T, null, rcond=None)
        signs = np.round(weights / np.abs(weights).max(), 4)
        assert sorted(signs) == [-1.0] * (num_facts // 2) + [0.0] * (num_facts % 2) + [1.0] * (num_facts // 2)
        assert values[:, 0].T @ weights == pytest.approx(null, abs=1e-4)


@pytest.mark.parametrize("num_facts", [7, 40])
def test_a_shuffled_null_has_no_share_of_the_vector(num_facts: int) -> None:
    random = np.random.default_rng(2)  # differences that agree, as those of one stance do
    values = random.standard_normal((1, 1, 256)) * 3 + random.standard_normal((num_facts, 1, 256))
    found = Differences(values=values.astype(np.float32), num_tokens=0)
    own = found.vector(0)
    cosines = [abs(own @ found.vector(0, null="shuffled", seed=seed)) / np.linalg.norm(own) ** 2 for seed in range(100)]
    assert np.mean(cosines) < 0.1


def test_one_fact_has_no_shuffled_null() -> None:
    found = Differences(values=np.ones((1, 1, 4), np.float32), num_tokens=0)
    with pytest.raises(sc.DataError, match="wanted at least 2 facts, got 1"):
        found.vector(0, null="shuffled")


def test_facts_that_all_differ_alike_have_no_shuffled_null() -> None:
    found = Differences(values=np.ones((4, 1, 4), np.float32), num_tokens=0)
    with pytest.raises(sc.DataError, match="the differences of its two halves are the same, so that nothing is left"):
        found.vector(0, null="shuffled")


@pytest.mark.parametrize("strengths", [(1.0,), (1.0, 2.0)])
def test_a_layer_that_is_not_there_is_refused(
    strengths: tuple[float, ...], model: sc.LanguageModel, facts: pa.Table, validation: pa.Table
) -> None:
    with pytest.raises(sc.ModelError, match="has 3 blocks, counted from 0, got layer 3"):
        sc.mitigate(model, sc.Steered(layers=(3,), strengths=strengths), facts=facts, validation=validation)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_vector_that_is_not_finite_is_refused(model: sc.LanguageModel, facts: pa.Table) -> None:
    with pytest.raises(sc.ModelError, match="wanted a vector of finite numbers"):
        sc.mitigate(model, sc.Steered(layers=(0,), strengths=(1e300,)), facts=facts, progress=False)


def test_layer_and_strength_are_those_of_a_search_by_hand(
    model: sc.LanguageModel, facts: pa.Table, validation: pa.Table
) -> None:
    strengths = (1.0, 8.0)
    found = differences(model, facts, seed=0)
    by_hand = {}
    for layer in range(LAYERS):
        for strength in strengths:
            one = steered_model(model, layer, np.float32(strength) * found.vector(layer), name="x")
            prompts = sc.fact_prompts(
                validation, options=sc.FactOptions(split="train", arms=("none", "endorse")), seed=0
            )
            rows = sc.evaluate(one, tasks={"facts": prompts}, progress=False)
            by_hand[layer, strength] = [
                rows.estimate("facts", name)["value"]
                for name in ("accuracy_user_wrong", "accuracy_user_wrong_margin", "accuracy_none")
            ]
    cured = sc.mitigate(
        model,
        sc.Steered(layers=(0, 1, 2), strengths=strengths, most_lost=1.0),
        facts=facts,
        validation=validation,
        progress=False,
    )
    tried = {(one["layer"], one["strength"]): [*one.values()][2:] for one in cured.about["tried"][1:]}
    assert {key: pytest.approx(values, abs=1e-4) for key, values in by_hand.items()} == tried
    best = max(by_hand, key=lambda key: by_hand[key][:2])
    assert (cured.method.layers, cured.method.strengths) == ((best[0],), (best[1],))
    assert cured.cost.tokens > found.num_tokens
    assert cured.about["engine"] == "native"


def test_a_cure_that_costs_too_much_without_a_user_is_not_taken(model: sc.LanguageModel, facts: pa.Table) -> None:
    validation = sc.load_facts("capitals").slice(8, 8)  # of which some vectors lose facts without a user
    free = sc.Steered(layers=(0, 1, 2), strengths=(1.0, 8.0, 64.0), most_lost=1.0)
    bound = sc.Steered(layers=(0, 1, 2), strengths=(1.0, 8.0, 64.0), most_lost=0.0)
    before = sc.mitigate(model, free, facts=facts, validation=validation, progress=False).about["tried"]
    allowed = [one for one in before[1:] if one["accuracy_none"] >= before[0]["accuracy_none"]]
    taken = sc.mitigate(model, bound, facts=facts, validation=validation, progress=False)
    best = max(allowed, key=lambda one: (one["accuracy_user_wrong"], one["margin_user_wrong"]))
    assert (taken.method.layers, taken.method.strengths) == ((best["layer"],), (best["strength"],))
    assert len(allowed) < len(before) - 1


def test_where_all_cost_too_much_there_is_no_cure(model: sc.LanguageModel, facts: pa.Table) -> None:
    knows = [row for row in range(40) if margin(model, sc.load_facts("capitals").slice(row, 1)) > 0]
    known = sc.load_facts("capitals").take(pa.array(knows[:8]))
    harsh = sc.Steered(layers=(2,), strengths=(500.0, 1000.0), most_lost=0.0)  # which drowns every word
    with pytest.raises(sc.DataError, match="each of 2 layers and strengths loses more than 0 points"):
        sc.mitigate(model, harsh, facts=facts, validation=known, progress=False)


def margin(model: sc.LanguageModel, fact: pa.Table) -> float:
    prompts = sc.fact_prompts(fact, options=sc.FactOptions(split="train", arms=("none",)))
    found = model.score(prompts).log_prob[0]
    right = prompts["target"][0].as_py()
    return float(found[right] - found[1 - right])


def test_one_layer_and_one_strength_are_no_choice(model: sc.LanguageModel, facts: pa.Table) -> None:
    cured = sc.mitigate(model, sc.Steered(layers=(0,), strengths=(3.0,)), facts=facts, progress=False)
    assert cured.about["tried"] == []
    assert cured.about["length"] == pytest.approx(3 * np.linalg.norm(differences(model, facts, seed=0).vector(0)))


def test_a_saved_vector_steers_the_same_again(model: sc.LanguageModel, facts: pa.Table, tmp_path: Path) -> None:
    cured = sc.mitigate(model, sc.Steered(layers=(1,), strengths=(2.0,)), facts=facts, progress=False)
    null = cured.make_null("random", seed=4)
    for made, folder in ((cured, tmp_path / "cure"), (null, tmp_path / "null")):
        made.save(folder)
        again = sc.load_cure(folder, model)
        assert (again.name, again.method, again.about, again.cost) == (made.name, made.method, made.about, made.cost)
        assert again.model.digest == made.model.digest
    kept = load_file(tmp_path / "cure/steering.safetensors")["vector"]
    assert np.array_equal(kept, 2 * differences(model, facts, seed=0).vector(1))
    assert cured.model.digest != null.model.digest != model.digest


def test_a_changed_vector_is_refused(model: sc.LanguageModel, facts: pa.Table, tmp_path: Path) -> None:
    sc.mitigate(model, sc.Steered(layers=(1,), strengths=(2.0,)), facts=facts, progress=False).save(tmp_path)
    path = tmp_path / "steering.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(sc.DataError, match=r"steering\.safetensors"):
        sc.load_cure(tmp_path, model)


def test_trained_and_chosen_families_must_differ(model: sc.LanguageModel, facts: pa.Table) -> None:
    with pytest.raises(sc.DataError, match="must be of different families, got plurals in both"):
        sc.mitigate(model, sc.Steered(), facts=facts, validation=facts, progress=False)
    with pytest.raises(sc.DataError, match="takes facts of further families"):
        sc.mitigate(model, sc.Steered(), facts=facts, progress=False)
    with pytest.raises(sc.DataError, match="is made from facts, got none"):
        sc.mitigate(model, sc.Steered(), progress=False)


def test_wrong_options_are_refused() -> None:
    for options, message in (
        ({"strengths": ()}, "at least one value"),
        ({"strengths": (0.0,)}, "must be > 0"),
        ({"layers": (1, 1)}, "none twice"),
        ({"layers": (-1,)}, "at least 0"),
        ({"most_lost": 2.0}, r"in \[0, 1\]"),
    ):
        with pytest.raises(sc.DataError, match=message):
            sc.Steered(**options)


def test_the_layers_in_the_middle() -> None:
    assert middle_layers(30) == (7, 10, 13, 16, 19, 22)
    assert middle_layers(2) == (0, 1)
