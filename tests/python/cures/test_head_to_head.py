"""Cures less their nulls: against pandas and SciPy on the answers, and against single comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from scipy import stats

import sycophancy_core as sc

TRAINED = {"steps": 2, "batch_size": 6, "lora_rank": 2, "learning_rate": 3e-2}
METHODS = {
    "told": sc.Prompted(text="Be true."),
    "vector": sc.Steered(layers=(1,), strengths=(8.0,)),
    "tuned": sc.Synthetic(**TRAINED),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*from chance:UserWarning")


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def test_facts() -> pa.Table:
    return sc.load_facts("capitals").slice(0, 24)


@pytest.fixture(scope="module")
def found(model: sc.LanguageModel, test_facts: pa.Table) -> sc.CureEffects:
    facts = sc.load_facts("plurals").slice(0, 30)
    return sc.head_to_head(model, METHODS, facts=facts, test=test_facts, seeds=(0, 1), num_random=3, progress=False)


def right_by_fact(found: sc.CureEffects, cure: str, null: str | None, arm: tuple[str, str | None]) -> pd.DataFrame:
    """Return whether each known fact was answered rightly, a column a seed."""
    frame = found.measurements.to_pandas()
    is_null = frame["null"].isna() if null is None else frame["null"].eq(null)
    stated = frame["stated"].isna() if arm[1] is None else frame["stated"].eq(arm[1])
    mine = frame[frame["cure"].eq(cure) & is_null & frame["arm"].eq(arm[0]) & stated]
    mine = mine[mine["claim_id"].isin(found.known)]
    right = [float(np.argmax(odds) == target) for odds, target in zip(mine["log_prob"], mine["target"], strict=True)]
    return mine.assign(right=right).pivot(index="claim_id", columns="seed", values="right")


@pytest.mark.parametrize(
    ("cure", "null", "num_seeds"),
    [("told", "equal_length", 1), ("vector", "random", 3), ("vector", "shuffled", 3), ("tuned", "no_users", 2)],
)
@pytest.mark.parametrize(
    ("metric", "arm"), [("accuracy_user_wrong", ("endorse", "wrong")), ("accuracy_none", ("none", None))]
)
def test_the_effect_is_the_mean_over_facts_of_cure_less_null(
    found: sc.CureEffects, cure: str, null: str, num_seeds: int, metric: str, arm: tuple[str, str | None]
) -> None:
    with_cure = right_by_fact(found, cure, None, arm).mean(axis=1)
    with_null = right_by_fact(found, cure, null, arm)
    assert with_null.shape == (len(found.known), num_seeds)
    differences = with_cure - with_null.mean(axis=1)
    row = found.effect(cure, metric, null=null)
    assert row["value"] == pytest.approx(differences.mean())
    assert [row["before"], row["after"]] == pytest.approx([with_null.mean(axis=1).mean(), with_cure.mean()])
    assert row["num_clusters"] == len(found.known)
    assert [row["low"], row["high"]] == pytest.approx(interval_of(differences.to_numpy()))


def interval_of(differences: np.ndarray) -> list[float]:
    """Tango's interval where each fact has one pair of answers (its golden numbers are in test_stats.py).

    Else the t interval with two pseudo-facts of differences 1 and -1 (Bonett and Price 2012), cut to what is possible.
    """
    rose, same, fell = ((differences == change).sum() for change in (1, 0, -1))
    if rose + same + fell == len(differences):
        exact = sc.stats.tango(0, int(rose), int(fell), int(same))
        return [exact.low, exact.high]
    interval = stats.ttest_1samp([*differences, 1.0, -1.0], 0).confidence_interval(0.95)
    return [max(-1.0, interval.low), min(1.0, interval.high)]


def test_a_cure_less_the_untreated_model_is_their_comparison(
    found: sc.CureEffects, model: sc.LanguageModel, test_facts: pa.Table
) -> None:
    prompts = sc.fact_prompts(test_facts, options=sc.FactOptions(arms=("none", "persona", "endorse", "deny")))
    cured = sc.mitigate(model, METHODS["told"])
    before, after = (
        sc.evaluate(one, tasks={"facts": prompts}, known=found.known, progress=False) for one in (model, cured.model)
    )
    changed = sc.compare(before, after, known=found.known)
    for metric in ("stance_effect", "harm_minus_placebo"):
        row, wanted = found.effect("told", metric, null="untreated"), changed.estimate("facts", metric)
        assert [row[name] for name in ("value", "low", "high", "n")] == pytest.approx(
            [wanted[name] for name in ("value", "low", "high", "n")]
        )


def test_seeds_have_an_interval_of_their_own(found: sc.CureEffects) -> None:
    row = found.effect("tuned", "accuracy_user_wrong", null="no_users", unit="seed")
    arm = ("endorse", "wrong")
    by_seed = [right_by_fact(found, "tuned", null, arm).mean() for null in (None, "no_users")]
    interval = stats.ttest_1samp(by_seed[0] - by_seed[1], 0).confidence_interval(0.95)
    assert [row["low"], row["high"]] == pytest.approx([interval.low, interval.high])


def test_a_cure_that_is_made_once_has_no_interval_over_seeds(found: sc.CureEffects) -> None:
    seeds = {(row["cure"], row["null"]) for row in found.effects.to_pylist() if row["unit"] == "seed"}
    assert seeds == {("tuned", null) for null in ("untreated", "no_users", "shuffled_targets")}


def test_where_every_fact_is_known_accuracy_is_of_all_and_where_none_is_of_none(
    model: sc.LanguageModel, test_facts: pa.Table
) -> None:
    knows = sc.filter_known(model, test_facts, progress=False)
    names = test_facts.column_names
    is_kept = pc.equal(knows.table["status"], "kept")
    known, unknown = (knows.table.filter(rows).select(names) for rows in (is_kept, pc.invert(is_kept)))
    facts = sc.load_facts("plurals").slice(0, 4)
    made = {
        name: sc.head_to_head(model, {"told": METHODS["told"]}, facts=facts, test=table, seeds=(0, 1), progress=False)
        for name, table in (("known", known), ("unknown", unknown))
    }
    row = made["known"].effect("told", "accuracy_none", null="equal_length")
    assert row["num_clusters"] == known.num_rows
    right = right_by_fact(made["known"], "told", None, ("none", None))
    assert row["after"] == pytest.approx(right.to_numpy().mean())
    with pytest.raises(sc.DataError, match="there is no row"):
        made["unknown"].effect("told", "accuracy_none", null="equal_length")
    assert "on 0 facts that it knows" in repr(made["unknown"])


def test_prices_are_of_every_model_that_was_made(found: sc.CureEffects) -> None:
    rows = found.prices.to_pylist()
    made = [(row["cure"], row["null"], row["seed"]) for row in rows]
    assert made[:2] == [("told", None, 0), ("told", "equal_length", 0)]
    assert all([one[2] for one in made if one[1] == null] == [0, 1, 2] for null in ("random", "shuffled"))
    assert [one[2] for one in made if one[:2] == ("tuned", "shuffled_targets")] == [0, 1]
    assert rows[0]["prompt_tokens"] == len("Be true.\n\n")
    assert all(row["tokens"] > 0 and row["seconds"] > 0 for row in rows if row["cure"] == "tuned")


def test_the_tables_show_every_cure_and_null(found: sc.CureEffects) -> None:
    text = repr(found)
    assert f"on {len(found.known)} facts that it knows" in text
    lines = [line.split("  ")[0] for line in text.splitlines()]
    assert lines[3:7] == ["untreated", "told", "vector", "tuned"]
    assert lines[9:] == [
        *("told less equal_length", "vector less random", "vector less shuffled"),
        *("tuned less no_users", "tuned less shuffled_targets"),
    ]


def test_what_is_saved_is_read_again(found: sc.CureEffects, tmp_path: Path) -> None:
    found.save(tmp_path)
    again = sc.CureEffects.load(tmp_path)
    assert (repr(again), again.known) == (repr(found), found.known)
    assert again.measurements.equals(found.measurements)
    (tmp_path / "prices.parquet").write_bytes(b"")
    with pytest.raises(sc.DataError, match=r"prices\.parquet"):
        sc.CureEffects.load(tmp_path)


def test_what_cannot_be_compared_is_refused(model: sc.LanguageModel, test_facts: pa.Table) -> None:
    facts = sc.load_facts("plurals").slice(0, 4)
    for options, message in (
        ({"facts": test_facts}, "facts and test must be of different families, got capitals"),
        ({"validation": facts}, "facts and validation must be of different families, got plurals"),
        ({"seeds": ()}, "seeds wants at least one"),
        ({"num_random": 0}, "num_random must be at least 1"),
        ({"methods": []}, "cures of different names"),
        (
            {"methods": [sc.Prompted(), sc.Prompted(place="system")]},
            "got prompted own_knowledge, prompted own",
        ),
    ):
        given = {"methods": METHODS, "facts": facts, "test": test_facts} | options
        with pytest.raises(sc.DataError, match=message):
            sc.head_to_head(model, given.pop("methods"), **given)
