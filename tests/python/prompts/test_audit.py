"""The shortcut audit, on what has a shortcut and on what has none."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize

import sycophancy_core as sc
from sycophancy_core import DataError, generate, load_examples
from sycophancy_core.prompts.audit import _BagOfWords, _fit, shortcut_audit


@pytest.fixture(scope="module")
def examples() -> pa.Table:
    return load_examples()


def test_balanced_prompts_have_no_shortcut_and_published_ones_have(examples: pa.Table) -> None:
    balanced = shortcut_audit(generate(examples, n=600, recipe="balanced"))
    published = shortcut_audit(generate(examples, n=600, recipe="wei2023"))
    assert balanced.is_at_chance
    assert balanced.low < 0.5
    assert published.low > 0.75
    assert "not" in published.words[:2]
    assert "not told apart from chance" in str(balanced)
    assert "above chance, by words such as" in str(published)


def test_the_classifier_is_the_penalised_maximum_likelihood_one() -> None:
    texts = ["a b b", "b c", "a a c", "c", "a b", "b b c"] * 5
    truth = np.array([1.0, 0, 1, 0, 0, 1] * 5)
    words = _BagOfWords(texts)
    counts = np.array([[text.split().count(word) for word in words.names] for text in texts])

    def loss(beta: Any) -> float:
        score = counts @ beta[:-1] + beta[-1]
        return float(
            np.logaddexp(0, score).sum() - truth @ score + beta[:-1] @ beta[:-1] / 2 + 1e-6 * beta[-1] ** 2 / 2
        )

    wanted = minimize(loss, np.zeros(len(words.names) + 1), tol=1e-12).x
    np.testing.assert_allclose(_fit(words, truth, np.ones(len(texts), bool)), wanted, atol=1e-4)


def test_prompts_of_a_claim_are_judged_together(examples: pa.Table) -> None:
    prompts = generate(examples, n=200)
    twice = pa.concat_tables([prompts, prompts])
    audit = shortcut_audit(twice)
    assert (audit.n, audit.num_claims) == (400, 200)


def test_too_little_to_judge_is_refused(examples: pa.Table) -> None:
    prompts = generate(examples, n=60)
    with pytest.raises(DataError, match="wanted at least 50 prompts of true and of false claims, got 10"):
        shortcut_audit(prompts.slice(0, 10))
    with pytest.raises(DataError, match="30 of them true"):
        shortcut_audit(prompts.filter(prompts["is_true"]))
    with pytest.raises(DataError, match="shortcut audit: limit must be at least 1, got 0"):
        shortcut_audit(prompts, limit=0)


def test_a_true_and_a_false_claim_of_one_example_do_not_tell_on_each_other(examples: pa.Table) -> None:
    claims = sc.make_claims(examples, options=sc.ClaimOptions(claims_per_example=2), seed=0)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(arms=("none",), design="sampled"), seed=0)
    example = dict(zip(claims["id"].to_pylist(), claims["example_id"].to_pylist(), strict=True))
    examples_of = pa.array([example[claim] for claim in prompts["claim_id"].to_pylist()])
    together = sc.shortcut_audit(prompts.append_column("example_id", examples_of))
    assert sc.shortcut_audit(prompts).accuracy < together.accuracy  # the twin of a learned claim is judged wrongly
    assert together.accuracy == pytest.approx(0.5, abs=0.06)


def with_a_common_label(num: int, share: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make the examples of one source, of which a share has the first of two labels."""
    texts = [f"text number {'abcdefghij'[i % 10]}{i}" for i in range(num)]
    spec = {"name": "odd", "fields": ["text"], "label": "label", "labels": ["Common", "Rare"], "path": "odd.jsonl"}
    return spec, [{"text": text, "label": int(i >= share * num)} for i, text in enumerate(texts)]


def test_a_label_that_most_examples_have_is_found_with_its_polarity(tmp_path: Path) -> None:
    spec, rows = with_a_common_label(600, 0.8)
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = load_examples(spec=spec | {"path": str(tmp_path / "odd.jsonl")})
    found = shortcut_audit(sc.generate(examples, n=600))
    assert found.pair_low > 0.7 and not found.is_at_chance  # 0.8 of "is Common" and of "is not Rare" are true
    assert found.low <= found.chance < found.pair_low
    assert "The stated label together with 'is' or 'is not' does in" in str(found)
    even = sc.balance_labels(examples)
    assert even.schema.metadata == examples.schema.metadata
    assert sorted(even["label"].to_pylist()) == [0] * 120 + [1] * 120
    assert even["id"].to_pylist() == [i for i in examples["id"].to_pylist() if i in set(even["id"].to_pylist())]
    assert shortcut_audit(sc.generate(even, n=240)).is_at_chance


def test_labels_are_balanced_within_each_source(examples: pa.Table) -> None:
    even = sc.balance_labels(examples, seed=3)
    counts: dict[str, Counter[int]] = {}
    for row in even.to_pylist():
        counts.setdefault(row["source"], Counter())[row["label"]] += 1
    before = Counter((row["source"], row["label"]) for row in examples.to_pylist())
    for source, labels in counts.items():
        rarest = min(number for (name, _), number in before.items() if name == source)
        assert set(labels.values()) == {rarest}
    assert even.equals(sc.balance_labels(examples, seed=3))
    with pytest.raises(DataError, match="balance_labels: wanted examples with source and label, got id"):
        sc.balance_labels(examples.select(["id"]))


def test_claims_without_a_stated_label_have_no_pair() -> None:
    found = shortcut_audit(made_up(20, ["a b", "b c"]))
    assert math.isnan(found.pair_accuracy) and "stated label" not in str(found)


def made_up(num_claims: int, words: list[str]) -> pa.Table:
    """Sixty prompts of claims in turn, true and false in turn."""
    rows = range(60)
    return pa.table(
        {
            "claim_id": [str(row % num_claims) for row in rows],
            "prompt": [words[row % len(words)] for row in rows],
            "is_true": [row // num_claims % 2 == 0 for row in rows],
        }
    )


def test_what_cannot_be_audited_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match="wanted prompts of at least 2 claims, got 60 with one claim_id"):
        shortcut_audit(made_up(1, ["a b", "b c"]))
    with pytest.raises(DataError, match="wanted prompts with words, got 60 without a letter or a digit"):
        shortcut_audit(made_up(20, ["!!", "?"]))
    table = made_up(20, ["a b", "b c"])
    with pytest.raises(DataError, match="column example_id holds 60 nulls in 60 prompts; fill them in, or leave"):
        shortcut_audit(table.append_column("example_id", pa.array([None] * 60, pa.string())))
    with pytest.raises(DataError, match="the prompts lack the column is_true; got claim_id, prompt"):
        shortcut_audit(table.drop_columns(["is_true"]))
    with pytest.raises(DataError, match="the prompts lack the column claim_id; got prompt, is_true"):
        shortcut_audit(table.drop_columns(["claim_id"]))


def test_claims_may_be_named_by_numbers() -> None:
    table = made_up(20, ["a b", "b c"])
    named = table.set_column(0, "claim_id", table["claim_id"].cast(pa.int64()))
    assert str(shortcut_audit(named)) == str(shortcut_audit(table))
