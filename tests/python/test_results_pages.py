"""The page of the natural study: every table comes from the stored answers; the primary numbers are made by hand."""

import hashlib
import math
import re
from pathlib import Path

import cures_tables
import natural_price
import natural_tables
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests

ROOT = Path(__file__).parents[2]
HOME = ROOT / "docs/results/natural"
PAGE = (HOME / "README.md").read_text()
PRIMARY = re.findall(r"^\| ([\w.-]+) \| (H[123]) .*? \| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    return pd.read_parquet(HOME / "answers.parquet")


def share_right(answers: pd.DataFrame, model: str, training: str, arm: str, stated: str | None) -> pd.Series:
    """Return each known fact's share of right answers over seeds, in families that nothing was trained on."""
    chosen = answers.query("model == @model and training == @training and arm == @arm and task == 'facts' and known")
    chosen = chosen[chosen["stated"].isna()] if stated is None else chosen.query("stated == @stated")
    right = np.where(chosen["margin"] > 0, 1.0, np.where(chosen["margin"] == 0, 0.5, 0.0))
    return pd.Series(right, index=chosen["claim_id"].to_list()).groupby(level=0).mean()


def with_two_pseudo_facts(changes: pd.Series) -> tuple[float, float, float]:
    """Return the mean, and the 95 % interval by t with changes of +1 and -1 added, cut at the range."""
    padded = [*changes, 1.0, -1.0]
    half = stats.t.ppf(0.975, len(padded) - 1) * np.std(padded, ddof=1) / math.sqrt(len(padded))
    return float(changes.mean()), max(-1.0, np.mean(padded) - half), min(1.0, np.mean(padded) + half)


def by_tangos_score(changes: pd.Series) -> tuple[float, float, float]:
    """Return the mean of changes of -1, 0 and 1, and the differences that Tango's score test (1998) does not reject."""
    n, rose, fell = len(changes), int((changes == 1).sum()), int((changes == -1).sum())

    def score(delta: float) -> float:
        b = -rose - fell + (2 * n - rose + fell) * delta
        q = (math.sqrt(b * b + 8 * n * fell * delta * (1 - delta)) - b) / (4 * n)
        return (rose - fell - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))

    z, value = stats.norm.ppf(0.975), (rose - fell) / n
    low = brentq(lambda delta: score(delta) - z, -1 + 1e-9, value - 1e-9)
    high = brentq(lambda delta: score(delta) + z, value + 1e-9, 1 - 1e-9)
    return value, low, high


def test_every_table_of_the_page_is_made_from_the_answers(answers: pd.DataFrame) -> None:
    tables = [part for part in natural_tables.page_tables(answers).split("\n\n") if part.startswith("|")]
    assert len(tables) >= 5
    assert [table for table in tables if table not in PAGE] == []


def test_the_plan_is_the_one_that_was_hashed_before_the_results() -> None:
    assert hashlib.sha256((HOME / "plan.yaml").read_bytes()).hexdigest() in PAGE


@pytest.mark.parametrize(("model", "hypothesis", "number", "estimate", "p", "adjusted"), PRIMARY)
def test_primary_estimates_are_those_by_hand(
    answers: pd.DataFrame, model: str, hypothesis: str, number: str, estimate: str, p: str, adjusted: str
) -> None:
    asked = answers.query("model == @model and task == 'facts' and training == 'before' and arm == 'none'")
    known_shares = asked.groupby("family")["known"].mean()
    answers = answers[answers["family"].isin(known_shares[known_shares >= 0.9].index)]

    def wrong(training: str) -> pd.Series:
        return share_right(answers, model, training, "endorse", "wrong")

    def alone(training: str) -> pd.Series:
        return share_right(answers, model, training, "none", None)

    changes = {
        "H1": share_right(answers, model, "before", "deny", "wrong") - wrong("before"),
        "H2": wrong("users") - wrong("no_users") if hypothesis == "H2" else None,
        "H3": alone("users") - alone("before") if hypothesis == "H3" else None,
    }[hypothesis]
    assert changes is not None and len(changes) == int(number)
    is_one_pair = hypothesis != "H1" and changes.isin([-1, 0, 1]).all()  # each fact right or wrong on each side
    value, low, high = (by_tangos_score if is_one_pair else with_two_pseudo_facts)(changes)
    assert estimate == f"{value:.2f} [{low:.2f}, {high:.2f}]".replace("-0.00", "0.00")


def test_the_null_variants_are_means_over_the_same_two_seeds(answers: pd.DataFrame) -> None:
    (row,) = re.findall(r"^\| right, user endorses a wrong answer \|((?: [^|]+ \|){5})$", PAGE, re.MULTILINE)
    for cell, training in zip(
        row.split("|"), ("before", "users", "no_users", "shuffled_targets", "instructions_only"), strict=False
    ):
        mine = answers[answers["training"].eq("before") | answers["seed"].isin([1, 2])]
        found = share_right(mine, "smollm2-135m-instruct", training, "endorse", "wrong")
        assert cell.split()[0] == f"{found.mean():.2f}"


def test_there_are_three_hypotheses_of_each_model_and_holm_is_statsmodels() -> None:
    assert len(PRIMARY) >= 3 and len(PRIMARY) % 3 == 0
    shown = [[0.0 if text.startswith("<") else float(text) for text in row[4:]] for row in PRIMARY]
    raw, adjusted = zip(*shown, strict=True)
    wanted = multipletests(raw, method="holm")[1]
    for mine, theirs in zip(adjusted, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=0.06, abs=0.002)


def test_known_facts_were_known_in_both_wordings_and_are_the_same_in_every_training(answers: pd.DataFrame) -> None:
    known = answers.groupby(["model", "claim_id"])["known"]
    assert (known.nunique() == 1).all()
    for model, mine in answers[answers["known"] & answers["task"].eq("facts")].groupby("model"):
        counts = mine.groupby(["training", "seed"])["claim_id"].nunique()
        assert counts.nunique() == 1, model
        families = set(mine["family"])
        assert not families & {"successors", "past_tenses", "professions"}


@pytest.mark.parametrize(("name", "heads"), [("levels", 5), ("changes", 4)])
def test_the_tables_of_dose_and_response_are_stored_as_data(name: str, heads: int) -> None:
    page = (ROOT / "docs/results/organism.md").read_text()
    found = pd.read_csv(ROOT / f"docs/results/calibration/{name}.csv", dtype=str)
    for metric, rows in found.groupby("metric", sort=False):
        cells = [f"{row.value} [{row.low}, {row.high}]" for row in rows.itertuples()]
        assert len(cells) == heads
        assert f"| `{metric}` | {' | '.join(cells)} |" in page


def test_the_price_is_a_table_of_the_page_and_its_means_are_those_by_hand() -> None:
    answers, divergence = (pd.read_parquet(HOME / f"{name}.parquet") for name in ("price", "divergence"))
    assert natural_price.price_table(answers, divergence) in PAGE
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    shown = {row[0]: row[1:] for row in rows}
    for words, task, arm, column in (
        ("MMLU, right", "mmlu", "none", "right"),
        ("politics, the user's answer", "poli", "agree", "agrees"),
        ("facts by letters, right, user endorses a wrong answer", "facts_letters", "endorse wrong", "right"),
    ):
        mine = answers[answers["task"].eq(task) & answers["arm"].eq(arm)]
        by_case = mine.groupby(["claim_id", "training"])[column].mean().unstack().astype(float)
        number, *means, less = shown[words]
        assert int(number) == len(by_case)
        assert [mean.split()[0] for mean in means] == [f"{by_case[name].mean():.2f}" for name in natural_price.MAIN]
        assert less.split()[0] == f"{(by_case['users'] - by_case['no_users']).mean():.2f}".replace("-0.00", "0.00")
    kl = divergence.groupby("training")["kl"].mean()
    assert kl["before"] == 0.0
    assert shown["other text, nats a token from before"][2].split()[0] == f"{kl['users']:.2f}"


CURES = ROOT / "docs/results/cures"
CURES_PAGE = (CURES / "README.md").read_text()
CURES_PLAN = yaml.safe_load((CURES / "plan.yaml").read_text())
P1_ROWS = re.findall(
    r"^\| ([\w -]+) \| (\w+) \| (-?\d\.\d\d \[.*?\]) \| ([^|]+) \| ([^|]+) \| (-?\d\.\d\d \[.*?\]) \| ([^|]+) \|$",
    CURES_PAGE,
    re.MULTILINE,
)
NUM_CURES = len(CURES_PLAN["cures"])
P1_BY_MODEL = {  # as the page has them, a table a model, in the plan's order
    model: P1_ROWS[i * NUM_CURES : (i + 1) * NUM_CURES] for i, model in enumerate(CURES_PLAN["models"])
}


@pytest.fixture(scope="module")
def of_cures() -> pd.DataFrame:
    frame = pd.read_parquet(CURES / "answers.parquet")
    assert list(frame["model"].unique()) == list(CURES_PLAN["models"])
    return frame.assign(right=np.where(frame["margin"] > 0, 1.0, np.where(frame["margin"] == 0, 0.5, 0.0)))


def right_of(frame: pd.DataFrame, cure: str, null: str | None, arm: str, stated: str | None) -> pd.Series:
    """Return each known fact's share of right answers with a cure, or its null, over seeds or draws."""
    chosen = frame.query("cure == @cure and arm == @arm and known")
    chosen = chosen[chosen["null"].isna() if null is None else chosen["null"].eq(null)]
    chosen = chosen[chosen["stated"].isna() if stated is None else chosen["stated"].eq(stated)]
    return chosen.groupby("claim_id")["right"].mean()


def test_every_table_of_the_page_of_cures_is_made_from_its_answers() -> None:
    answers, prices = (pd.read_parquet(CURES / f"{name}.parquet") for name in ("answers", "prices"))
    tables = [part for part in cures_tables.page_tables(answers, prices).split("\n\n") if part.startswith("|")]
    assert len(tables) >= 6
    assert [table for table in tables if table not in CURES_PAGE] == []
    assert hashlib.sha256((CURES / "plan.yaml").read_bytes()).hexdigest() in CURES_PAGE


@pytest.mark.parametrize(
    ("model", "cure", "null", "p1", "p", "adjusted", "p2", "p_lower"),
    [(model, *row) for model, rows in P1_BY_MODEL.items() for row in rows],
)
def test_primary_estimates_of_cures_are_those_by_hand(
    of_cures: pd.DataFrame, model: str, cure: str, null: str, p1: str, p: str, adjusted: str, p2: str, p_lower: str
) -> None:
    of_model = of_cures.query("model == @model")
    pairs = {
        p1: [right_of(of_model, cure, one, "endorse", "wrong") for one in (null, None)],
        p2: [right_of(of_model, name, None, "none", None) for name in ("untreated", cure)],
    }
    for shown, (before, after) in pairs.items():
        changes = after - before
        is_one_pair = changes.isin([-1, 0, 1]).all()
        value, low, high = (by_tangos_score if is_one_pair else with_two_pseudo_facts)(changes)
        assert shown == f"{value:.2f} [{low:.2f}, {high:.2f}]".replace("-0.00", "0.00")
    padded = [*(pairs[p2][1] - pairs[p2][0]), 1.0, -1.0]
    wanted = stats.ttest_1samp(padded, -0.03, alternative="greater").pvalue
    assert (wanted < 0.001) if p_lower.startswith("<") else float(p_lower) == pytest.approx(wanted, rel=0.06, abs=2e-3)


@pytest.mark.parametrize("model", CURES_PLAN["models"])
def test_the_plan_of_cures_is_kept(model: str, of_cures: pd.DataFrame) -> None:
    rows, nulls = P1_BY_MODEL[model], CURES_PLAN["first_nulls"]
    assert [row[0] for row in rows] == CURES_PLAN["cures"]
    prompts = dict.fromkeys(("own knowledge", "asked not told", "counterfactual"), nulls["prompts"])
    assert {row[0]: row[1] for row in rows} == prompts | {"vector": "random"} | {
        cure: nulls[cure] for cure in ("synthetic", "consistent", "preference")
    }
    shown = [[0.0 if text.startswith("<") else float(text) for text in row[3:5]] for row in rows]
    raw, adjusted = zip(*shown, strict=True)
    assert list(adjusted) == pytest.approx(list(multipletests(raw, method="holm")[1]), rel=0.06, abs=0.007)
    of_model = of_cures.query("model == @model")
    assert set(of_model["family"]) == set(CURES_PLAN["families"]["tested"])
    assert of_model.groupby("claim_id")["known"].nunique().eq(1).all()
    per_model = of_model.groupby(["cure", of_model["null"].fillna(""), "seed"]).size()
    assert per_model.nunique() == 1


def test_the_vectors_rank_is_its_place_among_those_of_its_null(of_cures: pd.DataFrame) -> None:
    wrong = of_cures.query("cure == 'vector' and arm == 'endorse' and stated == 'wrong' and known")
    by_draw = wrong.groupby(["model", wrong["null"].fillna("own"), "seed"])["right"].mean()
    for null in ("random", "shuffled"):
        shown = re.findall(rf"^\| vector less {null} \|.*\| (\d\.\d\d) \|$", CURES_PAGE, re.MULTILINE)
        ranks = [
            (1 + (by_draw[model, null] >= by_draw[model, "own"].iloc[0]).sum()) / (1 + len(by_draw[model, null]))
            for model in CURES_PLAN["models"]
        ]
        assert shown == [f"{rank:.2f}" for rank in ranks]
