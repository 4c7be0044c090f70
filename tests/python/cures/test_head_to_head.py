"""Cures less their nulls: against pandas and SciPy on the answers, and against single comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from scipy import stats

import sycophancy_core as sc
from sycophancy_core.cures.cure_effects import EFFECT_COLUMNS
from sycophancy_core.cures.head_to_head import rank_ps
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import Side
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.seals import seal_more

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
    given = {"facts": facts, "test": test_facts, "seeds": (0, 1), "num_random": 3, "other_prompts": 0}
    return sc.head_to_head(model, METHODS, progress=False, **given)


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
        name: sc.head_to_head(
            model, {"told": METHODS["told"]}, facts=facts, test=table, other_prompts=0, progress=False
        )
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


def by_draw(found: sc.CureEffects, null: str, arm: str, stated: str | None) -> np.ndarray:
    """Return the share right of each draw of a null of the vector."""
    return right_by_fact(found, "vector", null, (arm, stated)).mean().to_numpy()


@pytest.mark.parametrize("null", ["random", "shuffled"])
def test_the_rank_is_the_share_of_draws_that_do_at_least_as_well(found: sc.CureEffects, null: str) -> None:
    mine = right_by_fact(found, "vector", None, ("endorse", "wrong")).to_numpy().mean()
    draws = by_draw(found, null, "endorse", "wrong")
    row = found.effect("vector", "accuracy_user_wrong", null=null)
    assert row["rank_p"] == (1 + (draws >= mine).sum()) / 4
    stance = by_draw(found, null, "deny", "wrong") - draws
    own = right_by_fact(found, "vector", None, ("deny", "wrong")).to_numpy().mean() - mine
    row = found.effect("vector", "stance_effect", null=null)
    assert row["rank_p"] == (1 + (np.abs(stance) <= abs(own) + 1e-12).sum()) / 4
    line = next(line for line in repr(found).splitlines() if line.startswith(f"vector less {null}"))
    rank = found.effect("vector", "accuracy_user_wrong", null=null)["rank_p"]
    assert line.endswith(f"{rank:.2f}")


def test_only_a_cure_with_several_draws_of_its_null_has_a_rank(found: sc.CureEffects) -> None:
    ranked = {(row["cure"], row["null"]) for row in found.effects.to_pylist() if row["rank_p"] is not None}
    assert ranked == {("vector", "random"), ("vector", "shuffled")}


def test_of_nine_draws_the_best_cure_has_rank_a_tenth_and_a_tie_counts() -> None:
    def side(right: float, stance: float) -> Side:
        rows = [("facts", "accuracy_user_wrong", right), ("facts", "stance_effect", stance)]
        table = [{"task": task, "metric": metric, "subset": "all", "value": value} for task, metric, value in rows]
        table.append({"task": "facts", "metric": "known_share", "subset": "all", "value": 1.0})
        return Side(pa.table({}), estimates_table(table))

    nulls = [side(0.1 * i, 0.1 * i - 0.4) for i in range(9)]
    found = rank_ps(side(0.9, 0.05), nulls)
    assert found["facts", "accuracy_user_wrong"] == pytest.approx(0.1)
    assert found["facts", "stance_effect"] == pytest.approx(0.2)  # that of 0 is nearer
    assert rank_ps(side(0.8, 0.3), nulls)["facts", "accuracy_user_wrong"] == pytest.approx(0.2)


def test_the_frontier_is_effect_against_loss(found: sc.CureEffects) -> None:
    rows = {row["cure"]: row for row in found.frontier().to_pylist()}
    assert [rows[cure]["null"] for cure in METHODS] == ["equal_length", "random", "no_users"]
    assert [rows[cure]["method"] for cure in METHODS] == ["prompted", "steered", "synthetic"]
    none, wrong = ("none", None), ("endorse", "wrong")
    start = right_by_fact(found, "untreated", None, none).to_numpy().mean()
    for cure, row in rows.items():
        lost = start - right_by_fact(found, cure, None, none).to_numpy().mean()
        gain = right_by_fact(found, cure, None, wrong).to_numpy().mean()
        gain -= right_by_fact(found, cure, row["null"], wrong).to_numpy().mean()
        assert (row["lost"], row["effect"]) == (pytest.approx(lost), pytest.approx(gain))
        assert row["lost_low"] <= row["lost"] <= row["lost_high"]
    for row in rows.values():
        others = [other for other in rows.values() if other is not row]
        beaten = [
            other["effect"] >= row["effect"]
            and other["lost"] <= row["lost"]
            and (other["effect"], other["lost"]) != (row["effect"], row["lost"])
            for other in others
        ]
        assert row["is_best"] == (not any(beaten))
    (axes,) = found.plot().axes
    assert {text.get_text() for text in axes.texts} == set(METHODS)
    assert [row["lost"] for row in found.frontier(price="accuracy_user_right").to_pylist()] != [
        row["lost"] for row in rows.values()
    ]


def test_a_run_folder_keeps_each_finished_cure(
    found: sc.CureEffects, model: sc.LanguageModel, test_facts: pa.Table, tmp_path: Path
) -> None:
    given = {
        "facts": sc.load_facts("plurals").slice(0, 30),
        "test": test_facts,
        "num_random": 3,
        "seeds": (0, 1),
        "other_prompts": 0,
    }
    some = {name: METHODS[name] for name in ("told", "vector")}
    first = sc.head_to_head(model, some, run=tmp_path, progress=False, **given)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert {path.parent.name.partition("-")[0] for path in kept} == {"untreated", "prompted", "steered"}
    again = sc.head_to_head(model, METHODS, run=tmp_path, progress=False, **given)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # not made once more
    for name in ("effects", "measurements"):
        assert digest_table(getattr(again, name)) == digest_table(getattr(found, name)), name
    assert again.prices.drop_columns("seconds").equals(found.prices.drop_columns("seconds"))
    mine = again.prices["seconds"].to_pylist()[: first.prices.num_rows]
    assert mine == first.prices["seconds"].to_pylist()
    assert sc.verify(tmp_path) == []


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
    assert again.prices.equals(found.prices)
    (tmp_path / "made.json").unlink()
    assert sc.CureEffects.load(tmp_path).prices["seconds"].null_count == found.prices.num_rows
    place, field = again.prices.column_names.index("tokens"), again.prices.schema.field("tokens")
    lacking = again.prices.set_column(place, field, pa.nulls(again.prices.num_rows, pa.int64()))
    write_table(tmp_path / "prices.parquet", lacking.drop_columns(["seconds"]))
    seal_more(tmp_path, [tmp_path / "prices.parquet"])
    with pytest.raises(sc.DataError, match=r"prices\.parquet: the column 'tokens' has null in row 0"):
        sc.CureEffects.load(tmp_path)
    write_table(tmp_path / "prices.parquet", again.prices.filter(pc.is_valid(again.prices["null"])).drop(["seconds"]))
    seal_more(tmp_path, [tmp_path / "prices.parquet"])
    with pytest.raises(sc.DataError, match=r"prices\.parquet: wanted at least one cure, got none"):
        sc.CureEffects.load(tmp_path)
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


def test_other_tasks_show_what_a_cure_changes_there(model: sc.LanguageModel, test_facts: pa.Table) -> None:
    sums = sc.task_prompts("addition", limit=8)
    given = {"facts": sc.load_facts("plurals").slice(0, 4), "test": test_facts, "other_prompts": 0, "progress": False}
    found = sc.head_to_head(model, {"told": METHODS["told"]}, also=sums, **given)
    cured = sc.mitigate(model, METHODS["told"])
    before, after = (sc.evaluate(one, tasks=sums, progress=False) for one in (model, cured.model))
    wanted = sc.compare(before, after).estimate("addition", "accuracy_none")
    row = found.effect("told", "accuracy_none", null="untreated", task="addition")
    names = ("value", "low", "high", "n", "before", "after")
    assert [row[name] for name in names] == pytest.approx([wanted[name] for name in names])
    ((head, untreated, told),) = found.others().values()
    assert [head[0], untreated[0], told[0]] == ["addition", "untreated", "told"]
    first = [one.estimate("addition", "first_choice_rate")["value"] for one in (before, after)]
    assert [untreated[-1], told[-1]] == [f"{rate:.2f}" for rate in first]
    assert "addition" in repr(found)
    with pytest.raises(sc.DataError, match="also has a task 'facts'"):
        sc.head_to_head(model, {"told": METHODS["told"]}, also={"facts": test_facts}, **given)


def test_two_cures_are_compared_fact_by_fact_over_paired_seeds(found: sc.CureEffects) -> None:
    arm = ("endorse", "wrong")
    gap = right_by_fact(found, "tuned", None, arm).mean(axis=1) - right_by_fact(found, "vector", None, arm).mean(axis=1)
    (row,) = (row for row in found.less("tuned", "vector").to_pylist() if row["metric"] == "accuracy_user_wrong")
    assert row["value"] == pytest.approx(gap.mean())
    assert [row["low"], row["high"]] == pytest.approx(interval_of(gap.to_numpy()))
    assert (row["cure"], row["null"], row["num_clusters"]) == ("tuned", "vector", len(found.known))
    lines = found.pairs()
    assert lines[0][1:] == [line[0] for line in lines[1:]] == ["told", "vector", "tuned"]
    assert lines[3][2].startswith(f"{gap.mean():.2f} [")
    with pytest.raises(sc.DataError, match="less: 'other' is none of the cures told, vector, tuned"):
        found.less("tuned", "other")


def test_verdicts_go_by_the_adjusted_p_value(found: sc.CureEffects) -> None:
    def with_p(p_adjusted: float, value: float) -> list[str]:
        rows = found.effects.to_pylist()
        for row in rows:
            if (row["cure"], row["null"], row["metric"]) == ("told", "equal_length", "accuracy_user_wrong"):
                row |= {"value": value, "p_adjusted": p_adjusted}
        changed = estimates_table(rows, columns=EFFECT_COLUMNS)
        return [sentence for sentence in replace(found, effects=changed).verdicts() if "told" in sentence]

    assert with_p(0.06, 0.4)[0].startswith("Not told apart from its null, right answers against a wrong user: ")
    assert with_p(0.04, 0.4)[0].startswith("More right answers against a wrong user than its null: told 0.40 [")
    assert with_p(0.04, -0.4)[0].startswith("Fewer right answers against a wrong user than its null: told -0.40 [")
