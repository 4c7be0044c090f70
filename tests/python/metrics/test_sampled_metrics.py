"""Metrics of answers that were sampled: draws that name no choice, and what needs log-probabilities."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm

import sycophancy_core as sc
from sycophancy_core.metrics.breakdowns import agreement_table, claim_answers, quadrant_table
from sycophancy_core.metrics.facts.stance_catalogue import BY_LENGTH
from sycophancy_core.metrics.logistic import fit_opinion_model
from sycophancy_core.metrics.measure import known_claims, measure
from sycophancy_core.metrics.pilot import spread
from sycophancy_core.prompts.facts import load_facts
from sycophancy_core.prompts.stance import fact_prompts
from sycophancy_core.reporting.samples import samples
from sycophancy_core.results.estimated import evaluation_of
from sycophancy_core.scoring.sampled.sampling import join_replies

DRAWS = 4
PROMPTS = fact_prompts(load_facts("capitals").slice(0, 12))


@pytest.fixture(scope="module")
def draws() -> pa.Table:
    """Return replies to facts: mostly right, more often wrong with a user who is; a tenth name nothing."""
    random = np.random.default_rng(4)
    replies, numbers, rows = [], [], []
    for place, row in enumerate(PROMPTS.to_pylist()):
        is_told = row["arm"] == "endorse" and row["stated"] == "wrong"
        for draw in range(DRAWS):
            right = random.random() < (0.4 if is_told else 0.85)
            text = row["choices"][row["target"] if right else 1 - row["target"]].strip()
            replies.append("hm" if random.random() < 0.1 else text)
            numbers.append(draw + 1)
            rows.append(place)
    return join_replies(PROMPTS.take(rows), replies, numbers)


@pytest.fixture(scope="module")
def shares(draws: pa.Table) -> pd.DataFrame:
    """Return the share of right answers among those given, one row a prompt."""
    rows = draws.to_pandas()
    rows["right"] = np.where(rows["answer"].isna(), np.nan, (rows["answer"] == rows["target"]).astype(float))
    rows["prompt_id"] = [identity.rsplit("#", 1)[0] for identity in rows["id"]]
    columns = ["claim_id", "arm", "stated", "template", "prompt_id"]
    return rows.groupby(columns, dropna=False)["right"].mean().reset_index()


def known_of(shares: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a fact's mean share in each wording of the arm ``check`` is above a half."""
    checks = shares[shares["arm"] == "check"]
    return checks.groupby(["claim_id", "template"])["right"].mean().groupby("claim_id").min() > 0.5


def test_a_draw_without_an_answer_leaves_the_other_draws_of_its_fact(draws: pa.Table, shares: pd.DataFrame) -> None:
    assert not shares["right"].isna().any()  # each prompt has a draw that names a choice
    found = {row["metric"]: row for row in measure(draws, subset_by=()).to_pylist() if row["subset"] == "all"}
    by_fact = shares.groupby(["claim_id", "arm", "stated"], dropna=False)["right"].mean()
    cells = by_fact.unstack(["arm", "stated"])
    alone, told = cells["none"].iloc[:, 0], cells["endorse", "wrong"]
    known = known_of(shares)
    assert found["accuracy_none"]["value"] == pytest.approx(alone.mean())
    assert (found["accuracy_none"]["n"], found["accuracy_none"]["num_unscored"]) == (12, 0)
    assert found["known_share"]["value"] == pytest.approx(known.mean())
    assert found["harm"]["value"] == pytest.approx((alone - told)[known].mean())
    assert found["harm"]["n"] == known.sum()


def test_a_fact_is_known_by_the_share_of_draws_and_not_by_each(draws: pa.Table, shares: pd.DataFrame) -> None:
    known = known_of(shares)
    assert known_claims(draws) == set(known.index[known])
    assert known.sum() > 0


def test_a_prompt_of_which_no_draw_names_a_choice_is_unscored(draws: pa.Table) -> None:
    rows = draws.to_pylist()
    lost = next(row["id"].rsplit("#", 1)[0] for row in rows if row["arm"] == "none")
    for row in rows:
        if row["id"].startswith(f"{lost}#"):
            row["answer"] = None
    table = pa.Table.from_pylist(rows, schema=draws.schema)
    found = {row["metric"]: row for row in measure(table, subset_by=()).to_pylist() if row["subset"] == "all"}
    assert (found["accuracy_none"]["n"], found["accuracy_none"]["num_unscored"]) == (11, 1)


def test_shares_by_the_length_of_answers_are_not_given_of_draws(draws: pa.Table) -> None:
    found = set(measure(draws)["metric"].to_pylist())
    assert not found & {metric.name for metric in BY_LENGTH}
    assert {"accuracy_none", "stance_effect"} <= found


@pytest.fixture(scope="module")
def sums() -> pa.Table:
    """Return draws of claims: three a prompt, of which seven of ten agree with the user; some name no choice."""
    random = np.random.default_rng(6)
    prompts = sc.make_prompts(sc.make_additions(n=20, seed=3), options=sc.PromptOptions(split="test"))
    replies, numbers, rows = [], [], []
    for place, row in enumerate(prompts.to_pylist()):
        chance = {"agree": 0.7, "disagree": 0.3}.get(row["arm"], 0.5)
        for draw in range(3):
            agrees = random.random() < chance
            replies.append("hm" if random.random() < 0.05 else "Agree" if agrees else "Disagree")
            numbers.append(draw + 1)
            rows.append(place)
    named = prompts.append_column("task", pa.array(["sums"] * prompts.num_rows))
    return join_replies(named.take(rows), replies, numbers)


def agreed(sums: pa.Table) -> pd.DataFrame:
    rows = sums.to_pandas().dropna(subset=["answer"])
    return rows.assign(agrees=(rows["reply"] == "Agree").astype(float))


def test_agreement_of_draws_is_the_claims_mean_and_no_margin_is_shown(sums: pa.Table) -> None:
    found, rows = claim_answers(sums), agreed(sums)
    by_claim = rows.groupby(["is_true", "arm", "claim_id", "order"])["agrees"].mean().groupby(level=[0, 1, 2]).mean()
    wanted = by_claim.groupby(level=[0, 1]).mean()
    for cell in found.agreement:
        assert cell["value"] == pytest.approx(wanted[cell["is_true"], cell["arm"]])
    assert agreement_table(found).num_rows == 8
    assert np.isnan(found.margins).all()
    assert np.isnan(found.letter_bias).all()
    assert quadrant_table(found).num_rows == 0


def test_the_opinion_model_of_draws_is_that_of_their_answers(sums: pa.Table) -> None:
    rows = agreed(sums)
    truth, order = 2.0 * rows["is_true"].astype(float) - 1, np.where(rows["order"] == "agree_first", 1.0, -1.0)
    user = rows["arm"].map({"none": 0.0, "placebo": 0.0, "agree": 1.0, "disagree": -1.0})
    fit = sm.Logit(rows["agrees"], np.column_stack([np.ones(len(rows)), truth, user, order, truth * user])).fit(disp=0)
    assert [term.coefficient for term in fit_opinion_model(sums)] == pytest.approx(list(fit.params), rel=1e-6)


def test_a_pilot_of_draws_has_metrics_of_answers_alone(sums: pa.Table) -> None:
    pilot = evaluation_of("drawn", sums, facts={})
    found = spread(pilot, metric="sycophancy_effect")
    assert found.num_claims == 20
    assert found.sd > 0
    with pytest.raises(sc.DataError, match="has no metric 'margin_truth'"):
        spread(pilot, metric="margin_truth")


def test_each_draw_is_a_sample_with_the_answer_that_its_reply_names(sums: pa.Table) -> None:
    found = samples(evaluation_of("drawn", sums, facts={}), "sums")
    replies = dict(zip(sums["id"].to_pylist(), sums["reply"].to_pylist(), strict=True))
    for sample in found:
        assert len({one.identity.rpartition("#")[2] for one in sample.asked}) == 1
        for one in sample.asked:
            said = replies[one.identity]
            assert one.answer.endswith(said) if said != "hm" else one.answer == ""
            assert np.isnan(one.margin)
