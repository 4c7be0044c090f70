"""Sampled answers: the model's own probabilities, seeds that decide, and rates whose intervals are by claim."""

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from makers import tiny_families
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer
from scipy import stats

import sycophancy_core as sc
from sycophancy_core.metrics.measure import measure
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.sampled.sampling import SamplingOptions, join_replies, sample_answers

PROMPTS = pa.table(
    {"id": ["a", "b", "c"], "prompt": ["Is it so?", "Is 7 odd?", "2 + 2 is"], "choices": [[" (A)", " (B)"]] * 3}
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model()


def test_a_first_token_is_as_frequent_as_it_is_likely(model: LanguageModel) -> None:
    found = sample_answers(model, PROMPTS.slice(0, 1), options=SamplingOptions(draws=2000, max_tokens=1), seed=1)
    ids = tiny_tokenizer()("Is it so?", return_tensors="pt").input_ids
    with torch.no_grad():
        likely = torch.softmax(tiny_llama()(ids).logits[0, -1].double(), -1).numpy()
    texts = [tiny_tokenizer().decode([token], skip_special_tokens=True) for token in range(257)]
    shares = pd.Series(likely).groupby(pd.Series(texts)).sum()
    counts = found.to_pandas()["reply"].value_counts().reindex(shares.index, fill_value=0)
    common = shares.index[shares * 2000 >= 20]
    assert len(common) > 5
    seen = np.append(counts[common], 2000 - counts[common].sum())
    wanted = np.append(shares[common], 1 - shares[common].sum()) * 2000
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_replies_depend_on_seed_prompt_and_options_never_on_what_else_is_asked(model: LanguageModel) -> None:
    options = SamplingOptions(draws=3, max_tokens=8)
    found = sample_answers(model, PROMPTS, options=options, seed=5)
    alone = sample_answers(model, PROMPTS.slice(1, 1), options=options, seed=5)
    assert found["reply"].to_pylist()[3:6] == alone["reply"].to_pylist()
    assert found["id"].to_pylist() == [f"{name}#{draw}" for name in "abc" for draw in (1, 2, 3)]
    assert sample_answers(model, PROMPTS, options=options, seed=6)["reply"] != found["reply"]
    assert len(set(alone["reply"].to_pylist())) == 3


def test_a_stopped_run_goes_on_to_the_same_replies(model: LanguageModel, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    asked = {"options": SamplingOptions(draws=3, max_tokens=8), "seed": 5}
    with pytest.raises(KeyboardInterrupt, match="sampling stopped after 2 of 3 prompts, kept in"):
        sample_answers(model, PROMPTS, **asked, journal=tmp_path / "j", progress=stop)
    calls: list[int] = []
    found = sample_answers(model, PROMPTS, **asked, journal=tmp_path / "j", progress=lambda done, _: calls.append(done))
    assert calls == [3]
    assert found.equals(sample_answers(model, PROMPTS, **asked))
    with pytest.raises(sc.DataError, match="begun with other weights; use"):
        sample_answers(tiny_model(seed=1), PROMPTS, **asked, journal=tmp_path / "j")


def test_without_temperature_a_reply_is_the_likeliest_one(model: LanguageModel) -> None:
    found = sample_answers(model, PROMPTS, options=SamplingOptions(draws=1, temperature=0, max_tokens=6))
    for text, reply in zip(PROMPTS["prompt"].to_pylist(), found["reply"].to_pylist(), strict=True):
        ids = tiny_tokenizer()(text, return_tensors="pt").input_ids
        for _ in range(6):
            with torch.no_grad():
                ids = torch.cat([ids, tiny_llama()(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
            if ids[0, -1] == 0:
                break
        assert reply == tiny_tokenizer().decode(ids[0, len(text.encode()) :], skip_special_tokens=True)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_checkpoints_own_generation_settings_are_not_in_force(model: LanguageModel, temperature: float) -> None:
    """The wanted replies are those of the same weights without such settings, tested above."""
    odd = tiny_model()
    settings = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "min_p": 0.9, "typical_p": 0.1, "top_k": 2}
    settings |= {"suppress_tokens": list(range(1, 128)), "bad_words_ids": [[200]], "num_beams": 3, "min_new_tokens": 5}
    odd.model.generation_config.update(**settings)
    own = odd.model.generation_config
    options = SamplingOptions(draws=3, max_tokens=8, temperature=temperature)
    found, wanted = (sample_answers(one, PROMPTS, options=options, seed=3)["reply"] for one in (odd, model))
    assert found == wanted
    assert odd.model.generation_config is own
    assert {name: getattr(own, name) for name in settings} == settings


def test_replies_are_made_without_dropout_and_the_model_goes_on_training(model: LanguageModel) -> None:
    training = load_model((tiny_llama(attention_dropout=0.9).train(), tiny_tokenizer()), engine="transformers")
    options = SamplingOptions(draws=3, max_tokens=8)
    assert (
        sample_answers(training, PROMPTS, options=options)["reply"]
        == sample_answers(model, PROMPTS, options=options)["reply"]
    )
    assert all(module.training for module in training.model.modules())


def test_a_reply_follows_the_whole_prompt_though_a_choice_merges_with_its_end() -> None:
    """Scored, "wait" is cut to "wai", since its "t" merges with the choice "er"; a reply may begin with any letter."""
    gpt2 = tiny_families.tiny_model("gpt2")
    model = LanguageModel(gpt2, tiny_families.tiny_tokenizer(merges=[("t", "e")]), name="tiny")
    prompts = pa.table({"id": ["a"], "prompt": ["wait"], "choices": [["er", "s"]]})
    found = sample_answers(model, prompts, options=SamplingOptions(draws=1, temperature=0, max_tokens=1))
    with torch.no_grad():
        likely = gpt2(model.tokenizer("wait", return_tensors="pt").input_ids).logits[0, -1].argmax()
    assert found["reply"].to_pylist() == [model.tokenizer.decode([likely], skip_special_tokens=True)]


def test_a_prompt_that_leaves_no_room_for_the_reply_is_refused() -> None:
    model = load_model((tiny_llama(max_position_embeddings=20), tiny_tokenizer()), engine="transformers")
    prompts = pa.table({"id": ["a", "b"], "prompt": ["So?", "x" * 13], "choices": [["A", "B"]] * 2})
    assert sample_answers(model, prompts, options=SamplingOptions(draws=1, max_tokens=8)).num_rows == 2
    with pytest.raises(sc.DataError, match=r"prompt 1 \(id b\) has 13 tokens, .* reply of 9 are 22, but .* 21;"):
        sample_answers(model, prompts, options=SamplingOptions(draws=1, max_tokens=9))


def questions(answers: dict[str, list[list[str]]]) -> pa.Table:
    """Return draws of questions by arm: one list of replies a question."""
    rows, replies, draws = [], [], []
    for arm, some in answers.items():
        for place, said in enumerate(some):
            user = {"none": None, "wrong": 1}[arm]
            row = {
                "id": f"{arm}{place}",
                "claim_id": str(place),
                "arm": arm,
                "prompt": "Q",
                "choices": [" (A)", " (B)"],
            }
            for draw, reply in enumerate(said):
                rows.append({**row, "target": 0, "user_choice": user})
                replies.append(reply)
                draws.append(draw + 1)
    return join_replies(pa.Table.from_pylist(rows), replies, draws)


def test_rates_are_over_draws_and_intervals_over_claims() -> None:
    """The wanted value is the mean of the claims' shares, whose t interval SciPy has with two pseudo-claims."""
    random = np.random.default_rng(2)
    chances = random.uniform(0.2, 0.9, 30)
    none = [["(A)" if random.random() < chance else "(B)" for _ in range(4)] for chance in chances]
    wrong = [["(A)" if random.random() < chance / 2 else "(B)" for _ in range(4)] for chance in chances]
    table = questions({"none": none, "wrong": wrong})
    found = {row["metric"]: row for row in measure(table).to_pylist() if row["subset"] == "all"}
    shares = np.array([[reply == "(A)" for reply in some] for some in none]).mean(axis=1)
    lost = shares - np.array([[reply == "(A)" for reply in some] for some in wrong]).mean(axis=1)
    assert found["accuracy"]["value"] == pytest.approx(shares.mean())
    assert found["accuracy"]["n"] == 120
    assert found["accuracy"]["num_clusters"] == 30
    gap = found["sycophancy_gap"]
    assert gap["value"] == pytest.approx(lost.mean())
    spread = stats.sem(np.append(lost, [1, -1]))
    centre = np.append(lost, [1, -1]).mean()
    low, high = centre - stats.t.ppf(0.975, 31) * spread, centre + stats.t.ppf(0.975, 31) * spread
    assert (gap["low"], gap["high"]) == pytest.approx((low, high))


def test_unparsed_replies_are_counted_and_not_right_or_wrong() -> None:
    table = questions({"none": [["(A)", "hm"], ["(B)", "hm"]], "wrong": [["(B)", "(B)"], ["(A)", "well"]]})
    assert table["unscored"].to_pylist() == [None, "unparsed", None, "unparsed", None, None, None, "unparsed"]
    found = {row["metric"]: row for row in measure(table).to_pylist() if row["subset"] == "all"}
    assert (found["accuracy"]["value"], found["accuracy"]["n"], found["accuracy"]["num_unscored"]) == (0.5, 2, 2)


def test_an_evaluation_of_samples_is_saved_loaded_and_compared(model: LanguageModel, tmp_path: Path) -> None:
    prompts = pa.table({"id": ["a", "b"], "claim_id": ["a", "b"], "prompt": ["So?", "Not?"], "target": [0, 1]})
    prompts = prompts.append_column("choices", pa.array([[" (A)", " (B)"]] * 2))
    asked = {"tasks": {"mine": prompts}, "sampling": SamplingOptions(draws=2, max_tokens=2)}
    found, other = (sc.evaluate(model, **asked, seed=seed) for seed in (1, 2))
    assert found.measurements["draw"].to_pylist() == [1, 2, 1, 2]
    assert found.facts["sampling"] == {"draws": 2, "temperature": 1.0, "max_tokens": 2}
    found.save(tmp_path)
    loaded = sc.Evaluation.load(tmp_path)
    assert loaded.measurements.equals(found.measurements)
    assert loaded.facts["sampling"] == found.facts["sampling"]
    assert found.measurements["reply"] != other.measurements["reply"]
    sc.compare(loaded, other)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"draws": 0}, "draws must be at least 1"), ({"temperature": -1.0}, "temperature must be a number >= 0")],
)
def test_wrong_options_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(sc.DataError, match=said):
        SamplingOptions(**wrong)
