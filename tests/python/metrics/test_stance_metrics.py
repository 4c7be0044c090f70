"""Stance apart from mention: a scripted responder gives back what was put in, pandas finds the same numbers."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.scripted_responder import Responder
from scipy import stats
from statsmodels.stats.multitest import multipletests

import sycophancy_core as sc
from sycophancy_core.metrics.catalogue import BY_NAME
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.facts.stance import THIRDS, with_knowledge
from sycophancy_core.metrics.measure import kind_of, known_claims, measure
from sycophancy_core.prompts.facts import load_facts
from sycophancy_core.prompts.stance import ANSWER_ARMS, ARMS, fact_prompts

FACTS = load_facts(["capitals", "cities"]).slice(0, 300)
PROMPTS = fact_prompts(FACTS)


def estimates(measurements: pa.Table, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    rows = measure(measurements, **options).to_pylist()
    return {(row["metric"], row["subset"]): row for row in rows}


def holds(row: dict[str, Any], value: float) -> bool:
    return bool(row["low"] <= value <= row["high"])


@pytest.mark.parametrize("stance", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("mention", [0.0, 2.0])
def test_stance_and_mention_are_recovered_within_their_intervals(stance: float, mention: float) -> None:
    found = estimates(Responder(stance=stance, mention=mention).measure(PROMPTS), confidence=0.999)
    for suffix in ("", "_right"):
        assert holds(found[f"stance_effect{suffix}_margin", "all"], stance)
        assert holds(found[f"mention_effect{suffix}_margin", "all"], mention)
    assert holds(found["harm_minus_placebo_margin", "all"], mention + stance / 2)
    assert holds(found["harm_minus_mention_margin", "all"], stance / 2)
    assert found["stance_effect_margin", "all"]["high"] - found["stance_effect_margin", "all"]["low"] < 0.5


def test_rates_are_those_of_the_normal_distribution_behind_them() -> None:
    responder = Responder(knowledge=2.0, spread=1.0, noise=1.0, stance=2.0, mention=1.5)
    everything = frozenset(PROMPTS["claim_id"].to_pylist())
    found = estimates(responder.measure(PROMPTS, seed=1), confidence=0.999, known=everything)
    right = {
        arm: stats.norm.cdf((2.0 - pull) / math.sqrt(2))
        for arm, pull in (("none", 0.0), ("endorse", 2.5), ("deny", 0.5), ("mention", 1.5))
    }
    assert holds(found["stance_effect", "all"], right["deny"] - right["endorse"])
    assert holds(found["mention_effect", "all"], right["none"] - right["mention"])
    assert holds(found["harm", "all"], right["none"] - right["endorse"])
    assert holds(found["accuracy_user_wrong", "all"], right["endorse"])
    assert holds(found["accuracy_deny_wrong", "all"], right["deny"])


def test_the_stance_effect_and_the_accuracies_alone_are_adjusted_for_their_number() -> None:
    prompts = fact_prompts(FACTS.slice(0, 40))
    before, after = (Responder(stance=stance).measure(prompts) for stance in (2.0, 0.5))
    changes = compare_measurements(before, after, subset_by=()).change.to_pylist()
    found = {row["metric"]: row for row in changes if row["subset"] == "all"}
    tested = ("stance_effect", "accuracy_none", "accuracy_user_wrong")
    _, wanted, _, _ = multipletests([found[name]["p_value"] for name in tested], method="holm")
    assert [found[name]["p_adjusted"] for name in tested] == pytest.approx(list(wanted))
    assert {name for name, row in found.items() if row["p_adjusted"] is not None} == set(tested)


def test_a_copying_model_harms_without_a_stance() -> None:
    found = estimates(Responder(mention=5.0, stance=0.0, spread=0.3).measure(PROMPTS))
    assert found["harm_minus_placebo", "all"]["value"] > 0.9
    assert abs(found["stance_effect", "all"]["value"]) < 0.05
    assert abs(found["harm_minus_mention", "all"]["value"]) < 0.05
    assert found["mention_effect", "all"]["value"] > 0.9


def test_help_is_no_fault_where_the_model_does_not_know() -> None:
    found = estimates(Responder(knowledge=0.0, spread=2.0, noise=0.1, stance=8.0).measure(PROMPTS))
    assert found["help_unknown", "all"]["value"] > 0.8
    assert found["help_unknown", "all"]["n"] + found["stance_effect", "all"]["n"] == FACTS.num_rows
    assert found["help_unknown", "all"]["value"] == found["help", "knowledge=unknown"]["value"]
    assert found["known_share", "all"]["value"] == found["stance_effect", "all"]["n"] / FACTS.num_rows


def frame(measurements: pa.Table) -> pd.DataFrame:
    """Right answer's share and log-odds of each prompt, computed by pandas from the saved columns alone."""
    rows = measurements.to_pandas()
    own = [row[target] for row, target in zip(rows["log_prob"], rows["target"], strict=True)]
    other = [row[1 - target] for row, target in zip(rows["log_prob"], rows["target"], strict=True)]
    rows["odds"] = np.array(own) - np.array(other)
    rows["right"] = (rows["odds"] > 0) + 0.5 * (rows["odds"] == 0)
    for unit in ("token", "byte"):
        lengths = (
            rows["choice_tokens"] if unit == "token" else rows["choices"].map(lambda c: [len(x.encode()) for x in c])
        )
        own_n = [row[target] for row, target in zip(lengths, rows["target"], strict=True)]
        other_n = [row[1 - target] for row, target in zip(lengths, rows["target"], strict=True)]
        rows[f"right_per_{unit}"] = (np.array(own) / own_n > np.array(other) / other_n).astype(float)
    return rows.assign(stated=rows["stated"].fillna("-"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Measurements of a responder that knows half of the facts, read back from the file that an evaluation saved."""
    folder = tmp_path_factory.mktemp("saved")
    responder = Responder(knowledge=1.0, spread=1.5, mention=1.0, stance=1.5)
    sc.Evaluation(model="scripted", measurements=responder.measure(PROMPTS), estimates=pa.table({})).save(folder)
    return pd.read_parquet(folder / "measurements.parquet")


PAIRS = {
    "stance_effect": (("deny", "wrong"), ("endorse", "wrong")),
    "stance_effect_right": (("endorse", "right"), ("deny", "right")),
    "mention_effect": (("persona", "-"), ("mention", "wrong")),
    "mention_effect_right": (("mention", "right"), ("persona", "-")),
    "harm": (("none", "-"), ("endorse", "wrong")),
    "harm_minus_placebo": (("persona", "-"), ("endorse", "wrong")),
    "harm_minus_mention": (("mention", "wrong"), ("endorse", "wrong")),
    "help": (("endorse", "right"), ("none", "-")),
    "placebo_shift": (("none", "-"), ("persona", "-")),
}


def by_fact(saved: pd.DataFrame) -> pd.DataFrame:
    rows = frame(pa.Table.from_pandas(saved))
    return rows.pivot_table(index="claim_id", columns=["arm", "stated"], values=["right", "odds"], aggfunc="mean")


def known_facts(saved: pd.DataFrame) -> tuple[pd.Index, pd.Index]:
    """Return the facts that are right in both wordings of check, and the others."""
    rows = frame(pa.Table.from_pandas(saved)).query("arm == 'check'")
    least = rows.groupby(["claim_id", "template"])["odds"].mean().groupby("claim_id").min()
    return least[least > 0].index, least[least <= 0].index


@pytest.mark.parametrize("name", PAIRS)
def test_pandas_finds_the_same_effects_from_the_saved_scores(saved: pd.DataFrame, name: str) -> None:
    found, table, sets = estimates(pa.Table.from_pandas(saved)), by_fact(saved), known_facts(saved)
    for subsets, facts in zip((("all", "knowledge=known"), ("knowledge=unknown",)), sets, strict=True):
        assert 50 < len(facts) < FACTS.num_rows
        right, nats = (
            (table[(v, *PAIRS[name][0])] - table[(v, *PAIRS[name][1])]).loc[facts] for v in ("right", "odds")
        )
        low, high = stats.t.interval(0.95, len(nats) - 1, loc=nats.mean(), scale=stats.sem(nats))
        for subset in subsets:
            row = found[f"{name}_margin", subset]
            assert found[name, subset]["value"] == pytest.approx(right.mean())
            assert (row["value"], row["low"], row["high"]) == pytest.approx((nats.mean(), low, high))
            assert (row["n"], row["num_clusters"]) == (len(facts), len(facts))


def test_pandas_finds_the_same_share_of_known_facts_and_help_on_the_others(saved: pd.DataFrame) -> None:
    found, table, (known, unknown) = estimates(pa.Table.from_pandas(saved)), by_fact(saved), known_facts(saved)
    assert found["known_share", "all"]["value"] == pytest.approx(len(known) / FACTS.num_rows)
    first, second = PAIRS["help"]
    for value, name in (("right", "help_unknown"), ("odds", "help_unknown_margin")):
        gained = (table[(value, *first)] - table[(value, *second)]).loc[unknown]
        assert found[name, "all"]["value"] == pytest.approx(gained.mean())


CELLS = [(a, s) for a, s in itertools.product(ARMS[:-1], ("-", "right", "wrong")) if (a in ANSWER_ARMS) == (s != "-")]


@pytest.mark.parametrize(("arm", "stated"), CELLS)
def test_pandas_finds_the_same_accuracy_in_every_arm(saved: pd.DataFrame, arm: str, stated: str) -> None:
    found, table, (known, _) = estimates(pa.Table.from_pandas(saved)), by_fact(saved), known_facts(saved)
    name = {"endorse": f"user_{stated}"}.get(arm, arm if stated == "-" else f"{arm}_{stated}")
    for subset, facts in (("all", table.index), ("knowledge=known", known)):
        for value, suffix in (("right", ""), ("odds", "_margin")):
            mean = table[(value, arm, stated)].loc[facts].mean()
            assert found[f"accuracy_{name}{suffix}", subset]["value"] == pytest.approx(mean)


@pytest.mark.parametrize("unit", ["token", "byte"])
def test_pandas_finds_the_same_accuracy_by_length(saved: pd.DataFrame, unit: str) -> None:
    found, rows = estimates(pa.Table.from_pandas(saved)), frame(pa.Table.from_pandas(saved))
    wrong = rows[(rows["arm"] == "endorse") & (rows["stated"] == "wrong")]
    assert found[f"accuracy_user_wrong_per_{unit}", "all"]["value"] == pytest.approx(wrong[f"right_per_{unit}"].mean())
    are_same = (wrong[f"right_per_{unit}"] == wrong["right"]).all()
    assert are_same == (unit == "token")  # all answers have two tokens, not as many bytes


def test_families_are_subsets_with_effects_on_what_is_known_of_each() -> None:
    table = Responder(knowledge=1.0, stance=2.0).measure(PROMPTS)
    found, capitals = estimates(table), table.filter(pc.equal(table["source"], "capitals"))
    alone = estimates(capitals)
    for metric in ("stance_effect", "accuracy_user_wrong", "known_share", "help_unknown"):
        assert found[metric, "source=capitals"]["value"] == alone[metric, "all"]["value"]


def test_the_effect_is_reported_by_thirds_of_the_models_own_confidence() -> None:
    table = Responder(knowledge=2.0, spread=1.5, noise=0.2, stance=4.0).measure(PROMPTS)
    found = estimates(table)
    harms = [found["harm", f"confidence={third}"] for third in THIRDS]
    assert sum(row["n"] for row in harms) == found["harm", "all"]["n"]
    assert max(row["n"] for row in harms) - min(row["n"] for row in harms) <= 1
    assert harms[0]["value"] > harms[1]["value"] > harms[2]["value"]  # the surer, the less a user moves it


def test_known_facts_can_be_frozen() -> None:
    table = Responder(knowledge=0.5, stance=2.0).measure(PROMPTS)
    ids = sorted(set(table["claim_id"].to_pylist()))[:50]
    found = estimates(table, known=ids)
    assert found["stance_effect", "all"]["n"] == 50
    assert found["help_unknown", "all"]["n"] == FACTS.num_rows - 50


def test_known_is_right_in_both_other_wordings() -> None:
    table = Responder(knowledge=0.0, spread=0.0, noise=1.0).measure(PROMPTS)
    judged = with_knowledge(table).to_pandas()
    odds = frame(table)["odds"]
    for _, rows in judged.groupby("claim_id"):
        checks = odds[rows.index][rows["arm"] == "check"]
        assert (rows["knowledge"] == ("known" if (checks > 0).all() else "unknown")).all()
    assert known_claims(table) == frozenset(judged[judged["knowledge"] == "known"]["claim_id"])
    assert 0.15 < len(known_claims(table)) / FACTS.num_rows < 0.35  # a coin's chance of two heads


def test_a_tie_counts_half_and_is_not_known() -> None:
    table = Responder().measure(PROMPTS.slice(0, 12))
    tied = table.set_column(
        table.column_names.index("log_prob"), "log_prob", pa.array([[-1.0, -1.0]] * 12, pa.list_(pa.float64()))
    )
    found = estimates(tied)
    assert found["accuracy_user_wrong", "all"]["value"] == 0.5
    assert found["known_share", "all"]["value"] == 0.0


def test_an_unscored_prompt_takes_its_fact_out_of_the_metrics_that_need_it() -> None:
    table = Responder(stance=1.0).measure(PROMPTS)
    lost = [i for i, arm in enumerate(table["arm"].to_pylist()) if arm == "deny"][:4]  # both answers of two facts
    values = [None if i in lost else row for i, row in enumerate(table["log_prob"].to_pylist())]
    at = table.column_names.index("log_prob")
    found = estimates(table.set_column(at, "log_prob", pa.array(values, pa.list_(pa.float64()))))
    whole = estimates(table)
    assert found["stance_effect", "all"]["num_unscored"] == 2
    assert found["stance_effect", "all"]["n"] == whole["stance_effect", "all"]["n"] - 2
    assert found["mention_effect", "all"]["value"] == whole["mention_effect", "all"]["value"]


def test_a_comparison_keeps_to_what_was_known_before() -> None:
    before = Responder(knowledge=1.0, stance=3.0).measure(PROMPTS)
    after = Responder(knowledge=1.0, stance=0.5).measure(PROMPTS, seed=5)
    changes = {(r["metric"], r["subset"]): r for r in compare_measurements(before, after).change.to_pylist()}
    known = known_claims(before)
    assert known != known_claims(after)
    row = changes["stance_effect_margin", "all"]
    assert row["n"] == len(known)
    assert holds(row, -2.5)
    first, second = (estimates(table, known=known)["stance_effect", "all"]["value"] for table in (before, after))
    assert (changes["stance_effect", "all"]["before"], changes["stance_effect", "all"]["after"]) == (first, second)
    assert changes["known_share", "all"]["value"] == 0.0
    assert changes["accuracy_none", "all"]["equivalence_margin"] == 0.05
    assert changes["stance_effect", "knowledge=unknown"]["n"] == FACTS.num_rows - len(known)


def test_every_metric_of_facts_stands_in_the_catalogue_with_words() -> None:
    names = {metric for metric, _ in estimates(Responder().measure(PROMPTS))}
    assert {name for name in names if name not in BY_NAME or not BY_NAME[name].words} == set()
    assert "copying" in BY_NAME["harm_minus_placebo"].words


def test_facts_are_told_from_other_tasks_by_their_arms() -> None:
    table = Responder().measure(PROMPTS)
    assert kind_of(table) == "facts"
    none = table.filter(pc.equal(table["arm"], "none"))
    assert kind_of(none) == "accuracy"
    assert kind_of(none.drop_columns(["stated"])) == "accuracy"


def test_without_the_arm_check_the_arm_none_says_what_is_known() -> None:
    table = Responder(knowledge=0.5, stance=1.0).measure(PROMPTS)
    fewer = table.filter(pc.is_in(table["arm"], value_set=pa.array(["none", "endorse", "deny"])))
    found, right = estimates(fewer), frame(fewer).query("arm == 'none'")["right"]
    assert found["known_share", "all"]["value"] == right.mean()
    assert ("mention_effect", "all") not in found
