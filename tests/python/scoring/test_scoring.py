"""Prompts to scores to measurements, natively and by transformers."""

import math

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
import torch
from makers.tiny_families import random_batch, reference_log_probs, tiny_model, tiny_tokenizer

from sycophancy_core import DataError
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.precision import claims_of, compare_log_probs, draw_claims
from sycophancy_core.scoring.scores import Scores, join_scores
from sycophancy_core.scoring.tokens import tokenize
from sycophancy_core.scoring.transformers_scorer import TransformersScorer

PROMPTS = pa.table(
    {
        "id": ["x", "y", "z"],
        "order": ["agree_first", "disagree_first", None],
        "prompt": ["Is the moon a lamp? Answer:", "Is the moon a lamp? Reply:", "Which?"],
        "choices": [[" (A)", " (B)"], [" (A)", " (B)"], [" one", " two", " three"]],
    }
)


def language_model(engine: str = "native", family: str = "llama") -> LanguageModel:
    return LanguageModel(tiny_model(family), tiny_tokenizer(), name="tiny", engine=engine)


def scores_of(log_prob: list[list[float]], unscored: list[str | None] | None = None) -> Scores:
    return Scores(
        log_prob=np.array(log_prob),
        unscored=unscored or [None] * len(log_prob),
        precision="float32/highest",
        num_tokens=1,
        num_tokens_unshared=1,
        num_moved_borders=0,
        seconds=0.0,
    )


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_scores_equal_transformers_sequence_by_sequence(engine: str) -> None:
    model = language_model(engine)
    batch = tokenize(model.encoder, PROMPTS["prompt"].to_pylist(), PROMPTS["choices"].to_pylist())
    scores = model.score(PROMPTS)
    assert model.engine == engine
    assert scores.log_prob.shape == (3, 3)
    assert np.isnan(scores.log_prob[:, 2]).tolist() == [True, True, False]
    np.testing.assert_allclose(
        scores.log_prob[batch.prompt_index, batch.choice_index], reference_log_probs(model.model, batch), atol=1e-4
    )
    assert scores.num_tokens <= scores.num_tokens_unshared == batch.num_tokens_unshared


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma"])
def test_the_fallback_equals_transformers_sequence_by_sequence(family: str) -> None:
    model, batch = tiny_model(family), random_batch(8)
    values, *_ = TransformersScorer(model).log_probs(batch, None)
    np.testing.assert_allclose(values, reference_log_probs(model, batch), atol=1e-4)


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_log_probs_of_texts(engine: str) -> None:
    model = language_model(engine)
    values = model.log_probs(["one", "two"], [[" a", " b"], [" c"]])
    np.testing.assert_allclose(values[0], model.log_probs(["one"], [[" a", " b"]])[0], atol=1e-5)
    assert math.isnan(values[1, 1])
    with pytest.raises(DataError, match="got 1 contexts but 2 lists"):
        model.log_probs(["one"], [[" a"], [" b"]])


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_non_finite_scores_are_unscored(engine: str) -> None:
    model = language_model(engine)
    with torch.no_grad():
        model.model.lm_head.weight[5] = math.nan
    scores = model.score(PROMPTS)
    assert scores.unscored == ["non-finite log-probability"] * 3
    assert np.isnan(scores.log_prob).all()
    assert scores.num_unscored == 3


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_progress_ends_at_the_total(engine: str) -> None:
    seen: list[tuple[int, int]] = []
    scores = language_model(engine).score(PROMPTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (scores.num_tokens, scores.num_tokens)


def test_an_architecture_that_the_engine_does_not_know_is_scored_by_transformers_and_says_so() -> None:
    model = tiny_model("llama")
    model.config.rope_parameters["rope_type"] = "dynamic"
    with pytest.warns(
        UserWarning, match='scored by transformers instead of the native engine, because engine: .*"dynamic"'
    ):
        assert LanguageModel(model, tiny_tokenizer(), name="tiny").engine == "transformers"


def test_a_table_without_prompts_is_refused() -> None:
    model = language_model()
    with pytest.raises(DataError, match="wanted a table with the columns choices as well"):
        model.score(PROMPTS.drop_columns(["choices"]))
    with pytest.raises(DataError, match="table of prompts is empty"):
        model.score(PROMPTS.slice(0, 0))


def test_measurements_join_prompts_and_scores() -> None:
    scores = scores_of([[-1.0, -3.0, math.nan], [-1.0, -3.0, math.nan], [-2.0, -2.0, -5.0]])
    table = join_scores(PROMPTS, scores)
    assert table.column_names == ["id", "order", "choices", "log_prob", "log_odds", "answer", "unscored"]
    assert table["log_prob"].to_pylist() == [[-1.0, -3.0], [-1.0, -3.0], [-2.0, -2.0, -5.0]]
    assert table["log_odds"].to_pylist() == [2.0, -2.0, None]
    assert table["answer"].to_pylist() == [0, 0, None]
    assert table["unscored"].to_pylist() == [None] * 3


def test_measurements_say_how_many_tokens_each_choice_has() -> None:
    model = language_model()
    table = join_scores(PROMPTS, model.score(PROMPTS))
    counts = [[len(model.tokenizer(choice).input_ids) for choice in row] for row in PROMPTS["choices"].to_pylist()]
    assert table["choice_tokens"].to_pylist() == counts
    assert table["shared_tokens"].to_pylist() == [2, 2, 1]  # " (" and " ", of one token a byte


def test_unscored_rows_have_no_measurement() -> None:
    table = join_scores(PROMPTS.slice(0, 1), scores_of([[math.nan, math.nan]], ["non-finite log-probability"]))
    assert table.select(["log_prob", "log_odds", "answer"]).to_pylist() == [
        {"log_prob": None, "log_odds": None, "answer": None}
    ]
    assert table["unscored"].to_pylist() == ["non-finite log-probability"]


def test_measurements_of_other_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="got 3 prompts but 1 scores"):
        join_scores(PROMPTS, scores_of([[-1.0, -2.0]]))


def test_a_precision_check_counts_flips_and_changes() -> None:
    exact = scores_of([[-1.0, -2.0, math.nan], [-1.0, -1.5, math.nan], [-1.0, -2.0, -4.0]])
    ours = scores_of([[-1.0, -2.25, math.nan], [-1.5, -1.0, math.nan], [-1.0, -2.0, -4.0]])
    check = compare_log_probs("float32/medium", ours.log_prob, exact.log_prob, claims=np.arange(3), num_asked=3)
    assert (check.num_asked, check.flipped_at_most) == (3, pytest.approx(1 / 3))
    assert (check.num_prompts, check.num_flipped, check.widest_flipped_margin) == (3, 1, 0.5)
    assert check.max_margin_change == 1.0
    assert check.mean_margin_change == pytest.approx((0.25 + 1.0 + 0 + 0) / 4)


def test_of_a_sample_the_most_that_may_flip_is_the_exact_bound_over_claims() -> None:
    exact = np.array([[-1.0, -2.0]] * 8)
    ours = np.array([[-2.0, -1.0]] * 2 + [[-1.0, -2.0]] * 6)
    check = compare_log_probs("p", ours, exact, claims=np.arange(8) // 2, num_asked=400)
    assert (check.num_prompts, check.num_flipped) == (8, 2)
    # One claim of four: P(X <= 1 | n = 4, p) = 0.05.
    assert check.flipped_at_most == pytest.approx(scipy.stats.beta.ppf(0.95, 2, 3))


def test_a_sample_is_whole_claims_drawn_at_random() -> None:
    claims = np.repeat(np.arange(240), 2)
    rows = draw_claims(claims, share=1 / 40, seed=1)
    assert np.unique(claims[rows], return_counts=True)[1].tolist() == [2] * 6
    assert draw_claims(claims, share=1 / 40, seed=1).tolist() == rows.tolist()
    assert draw_claims(claims, share=1 / 40, seed=2).tolist() != rows.tolist()
    assert draw_claims(claims[:2], share=1 / 40, seed=1).tolist() == [0, 1]
    drawn = np.bincount(
        np.concatenate([claims[draw_claims(claims, share=0.1, seed=s)] for s in range(400)]), minlength=240
    )
    assert scipy.stats.chisquare(drawn / 2).pvalue > 0.001


def test_claims_are_numbered_and_prompts_without_are_their_own() -> None:
    table = pa.table({"claim_id": ["b", "a", "b"], "prompt": ["x", "y", "z"]})
    assert claims_of(table).tolist() == [1, 0, 1]
    assert claims_of(table.drop_columns("claim_id")).tolist() == [0, 1, 2]


def test_a_sampled_check_scores_a_part_and_says_of_how_many() -> None:
    check = language_model().precision_check(PROMPTS, share=0.5)
    assert (check.num_asked, check.max_margin_change) == (PROMPTS.num_rows, 0)
    assert 0 < check.num_prompts < PROMPTS.num_rows


def test_highest_changes_nothing() -> None:
    check = language_model().precision_check(PROMPTS)
    assert (check.num_flipped, check.max_margin_change) == (0, 0.0)
