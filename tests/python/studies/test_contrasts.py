"""What the options of a study change: against pandas and SciPy's t interval over the seeds' means."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import sycophancy_core as sc
from sycophancy_core.studies.contrasts import option_effects, seed_averages

METRICS = ("harm", "accuracy")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    noise = np.random.default_rng(7)
    variants = itertools.product(("margin", "none"), ("balanced", "wei2023"), (0, 1, 2), ("claims", "sums"), METRICS)
    frame = pd.DataFrame(variants, columns=["filter", "recipe", "seed", "task", "metric"])
    frame["training"], frame["ratio"], frame["steps"], frame["subset"] = "users", 5.0, 40, "all"
    frame["after"] = noise.normal(size=len(frame)) + (frame["recipe"] == "wei2023")
    return frame


@pytest.mark.parametrize(
    ("option", "first", "other"), [("filter", "margin", "none"), ("recipe", "balanced", "wei2023")]
)
def test_an_options_effect_is_scipys_t_interval_over_seeds(
    frame: pd.DataFrame, option: str, first: str, other: str
) -> None:
    found = option_effects(pa.Table.from_pandas(frame), metrics=METRICS).to_pandas()
    for task, metric in itertools.product(("claims", "sums"), METRICS):
        mine = frame[(frame["task"] == task) & (frame["metric"] == metric)]
        means = mine.groupby(["seed", option])["after"].mean().unstack()
        test = stats.ttest_1samp(means[other] - means[first], 0)
        row = found[found["subset"].eq(f"{option}: {first} to {other}") & found["task"].eq(task)]
        row = row[row["metric"] == metric].iloc[0]
        interval = test.confidence_interval(0.95)
        assert [row["low"], row["high"], row["p_value"]] == pytest.approx([interval.low, interval.high, test.pvalue])
        assert [row["before"], row["after"]] == pytest.approx([means[first].mean(), means[other].mean()])
        assert (row["n"], row["num_clusters"]) == (6, 3)


def test_primary_metrics_are_adjusted_over_all_options_of_their_task_and_others_are_not(frame: pd.DataFrame) -> None:
    found = option_effects(pa.Table.from_pandas(frame), metrics=METRICS).to_pandas()
    for task in ("claims", "sums"):
        primary = found[found["task"].eq(task) & found["metric"].eq("accuracy")]
        assert len(primary) == 2  # filter and recipe
        assert primary["p_adjusted"].to_numpy() == pytest.approx(multipletests(primary["p_value"], method="holm")[1])
    assert found[found["metric"] == "harm"]["p_adjusted"].isna().all()


def test_null_variants_take_no_part_in_what_an_option_changes(frame: pd.DataFrame) -> None:
    null = frame.assign(training="no_users", after=frame["after"] + 100 * (frame["filter"] == "none"))
    both = pa.Table.from_pandas(pd.concat([frame, null]), preserve_index=False)
    alone = pa.Table.from_pandas(frame, preserve_index=False)
    assert option_effects(both, metrics=METRICS).equals(option_effects(alone, metrics=METRICS))
    names = seed_averages(both, metrics=METRICS)["subset"].unique().to_pylist()
    assert "filter none, recipe wei2023, training no_users" in names


def test_averages_are_over_seeds(frame: pd.DataFrame) -> None:
    found = seed_averages(pa.Table.from_pandas(frame), metrics=METRICS).to_pandas()
    assert len(found) == 16
    mine = frame[(frame["task"] == "sums") & (frame["metric"] == "harm") & (frame["filter"] == "none")]
    values = mine[mine["recipe"] == "wei2023"]["after"]
    row = found[
        found["subset"].eq("filter none, recipe wei2023") & found["task"].eq("sums") & found["metric"].eq("harm")
    ]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert row[["value", "low", "high"]].to_numpy()[0] == pytest.approx([values.mean(), interval.low, interval.high])


def test_one_seed_gives_a_mean_and_no_interval_and_variants_without_partner_are_left_out(frame: pd.DataFrame) -> None:
    one = frame[(frame["seed"] == 1) & ~(frame["filter"].eq("none") & frame["recipe"].eq("wei2023"))]
    found = option_effects(pa.Table.from_pandas(one, preserve_index=False), metrics=METRICS).to_pandas()
    assert found["low"].isna().all()
    assert found["reason"].notna().all()
    assert set(found["n"]) == {1}
    alone = frame[frame["filter"].eq("none") & frame["recipe"].eq("wei2023")]
    assert option_effects(pa.Table.from_pandas(alone, preserve_index=False), metrics=METRICS).num_rows == 0


def test_the_text_of_a_study_ends_with_its_options_effects(frame: pd.DataFrame) -> None:
    columns = ("before", "value", "low", "high", "before_low", "before_high", "after_low", "after_high", "confidence")
    empty = dict.fromkeys((*columns, "p_value", "p_adjusted", "detectable", "equivalence_margin", "p_equivalence"), 0.5)
    variants = frame["filter"] + " " + frame["recipe"] + " " + frame["seed"].astype(str)
    whole = frame.assign(**empty, variant=variants, method="t", n=9, num_clusters=9, num_unscored=0, reason=None)
    result = sc.StudyResult(table=pa.Table.from_pandas(whole, preserve_index=False))
    (axes,) = result.plot("harm").axes
    drawn = {label.get_text() for label in axes.get_yticklabels()}
    assert drawn == {f"{task} · {variant}" for task in ("claims", "sums") for variant in variants}
    with pytest.raises(sc.DataError, match="plot: the study has no main metric 'beauty'; there are "):
        result.plot("beauty")
    others = whole.assign(metric="letter_bias")
    bare = sc.StudyResult(table=pa.Table.from_pandas(others[others["subset"] != "all"], preserve_index=False))
    with pytest.raises(sc.DataError, match="plot: the study has no main metric; there are none"):
        bare.plot()
    assert "harm, recipe: balanced to wei2023" in repr(result).partition("What each option changes")[2]
    assert "recipe: balanced to wei2023" in result._repr_html_()
