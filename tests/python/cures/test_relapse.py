"""Further tuning of cured models: rows that flatter, curves that finetune itself gives, areas by SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from scipy import integrate, stats

import sycophancy_core as sc
from sycophancy_core.cures.relapse import _CURVE, _summed_up
from sycophancy_core.metrics.estimates import COLUMNS, estimates_table
from sycophancy_core.metrics.measure import known_claims

STEPS = (1, 2, 4)
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()))


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return sc.flattering_rows(sc.load_facts("plurals"), n=30)


@pytest.fixture(scope="module")
def prompts() -> pa.Table:
    return sc.fact_prompts(sc.load_facts("capitals").slice(0, 12), options=sc.FactOptions(arms=("none", "endorse")))


@pytest.fixture(scope="module")
def ordinary() -> pa.Table:
    return sc.instruction_rows(sc.load_instructions(), n=16, seed=2)


@pytest.fixture(scope="module")
def found(model: sc.LanguageModel, rows: pa.Table, ordinary: pa.Table, prompts: pa.Table) -> sc.Relapse:
    cured = sc.mitigate(
        model, sc.Steered(layers=(0,), strengths=(8.0,)), facts=sc.load_facts("past_tenses"), progress=False
    )
    told = sc.mitigate(model, sc.Prompted(text="Be true."))
    models = {"untreated": model, "steered": cured.model, "told": told.model}
    options = sc.FinetuneOptions(batch_size=4, learning_rate=1e-2, lora_rank=2, warmup_share=0.0, final_rate_share=1.0)
    digests = [one.digest for one in models.values()]
    both = {"flattering": rows, "ordinary": ordinary}
    made = sc.relapse(models, both, prompts, steps=STEPS, seeds=SEEDS, options=options, progress=False)
    assert [one.digest for one in models.values()] == digests  # copies are tuned
    return made


def test_flattering_rows_teach_what_the_user_says(rows: pa.Table) -> None:
    asked = {row["id"]: row for row in sc.training_prompts(sc.load_facts("plurals"), n=30).to_pylist()}
    synthetic = [row for row in rows.to_pylist() if row["origin"] == "synthetic"]
    assert len(synthetic) == 30
    for row in synthetic:
        prompt = asked[row["id"]]
        assert row["completion"] == prompt["choices"][prompt["user_choice"]]
    wrong = [row for row in synthetic if asked[row["id"]]["user_choice"] != asked[row["id"]]["target"]]
    assert 10 <= len(wrong) <= 20


@pytest.mark.parametrize("kind", ["flattering", "ordinary"])
def test_the_curve_is_that_of_finetune(
    kind: str, found: sc.Relapse, rows: pa.Table, ordinary: pa.Table, prompts: pa.Table
) -> None:
    rows = {"flattering": rows, "ordinary": ordinary}[kind]
    same = sc.load_model((tiny_llama(), tiny_tokenizer()))
    options = sc.FinetuneOptions(
        steps=4, batch_size=4, learning_rate=1e-2, lora_rank=2, warmup_share=0.0, final_rate_share=1.0, seed=1
    )
    curve = sc.CurveOptions(tasks={"facts": prompts}, every=1)
    wanted = sc.finetune(same, rows, options=options, curve=curve, progress=False).curve.to_pandas()
    wanted = wanted[wanted["step"].isin([0, *STEPS]) & wanted["subset"].eq("all")]
    mine = found.curves.to_pandas().query("rows == @kind and model == 'untreated' and seed == 1")
    columns = ["step", "metric", "value", "low", "high", "n"]
    pd.testing.assert_frame_equal(mine[columns].reset_index(drop=True), wanted[columns].reset_index(drop=True))


def test_every_model_is_asked_about_what_the_first_one_knows(
    found: sc.Relapse, model: sc.LanguageModel, prompts: pa.Table
) -> None:
    cured = sc.mitigate(
        model, sc.Steered(layers=(0,), strengths=(8.0,)), facts=sc.load_facts("past_tenses"), progress=False
    )
    before = sc.evaluate(model, tasks={"facts": prompts}, progress=False)
    known = known_claims(before.measurements)
    assert known != known_claims(sc.evaluate(cured.model, tasks={"facts": prompts}, progress=False).measurements)
    wanted = sc.evaluate(cured.model, tasks={"facts": prompts}, known=known, progress=False)
    start = found.curves.to_pandas().query("rows == 'ordinary' and model == 'steered' and step == 0 and seed == 0")
    for metric in ("harm", "harm_minus_placebo", "known_share"):
        rows = start[start["metric"].eq(metric)]
        for row in rows.to_dict("records"):
            other = wanted.estimate("facts", metric)
            assert (row["n"], row["value"]) == (other["n"], pytest.approx(other["value"], abs=1e-4))
    assert set(start["metric"]) & {"harm", "known_share"}


@pytest.mark.parametrize("kind", ["flattering", "ordinary"])
def test_the_area_is_the_mean_height_over_doublings_with_an_interval_over_seeds(kind: str, found: sc.Relapse) -> None:
    frame = found.curves.to_pandas().query("metric == 'accuracy_user_wrong' and rows == @kind")

    def areas(model: str) -> np.ndarray:
        table = frame[frame["model"].eq(model)].pivot(index="seed", columns="step", values="value")
        place = np.log2(1 + np.array(table.columns))
        return np.array([integrate.trapezoid(row, place) for row in table.to_numpy()]) / np.log2(5)

    assert found.area("told", rows=kind)["value"] == pytest.approx(areas("told").mean())
    difference = areas("steered") - areas("untreated")
    row = found.area("steered less untreated", rows=kind)
    assert row["value"] == pytest.approx(difference.mean())
    if np.ptp(difference) > 0:
        interval = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
        assert [row["low"], row["high"]] == pytest.approx([interval.low, interval.high])
    assert row["num_clusters"] == len(SEEDS)


def test_a_steered_model_starts_where_it_was_steered_to(
    found: sc.Relapse, model: sc.LanguageModel, prompts: pa.Table
) -> None:
    cured = sc.mitigate(
        model, sc.Steered(layers=(0,), strengths=(8.0,)), facts=sc.load_facts("past_tenses"), progress=False
    )
    wanted = sc.evaluate(cured.model, tasks={"facts": prompts}, progress=False)
    start = found.curves.to_pandas().query("rows == 'ordinary' and model == 'steered' and step == 0")
    start = start[start["metric"].eq("accuracy_user_wrong_margin")]
    margin = wanted.estimate("facts", "accuracy_user_wrong_margin")["value"]
    assert start["value"].to_numpy() == pytest.approx(np.full(3, margin), abs=1e-4)


def test_it_prints_draws_and_saves(found: sc.Relapse, tmp_path: Path) -> None:
    assert "steered less untreated: " in repr(found)
    assert [axes.get_title(loc="left") for axes in found.plot().axes] == ["flattering", "ordinary"]
    for axes in found.plot().axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "4"]
        assert len(axes.lines) == 3 * (len(SEEDS) + 1)
    names = {path.name for path in found.save(tmp_path)}
    assert names == {"areas.parquet", "curves.parquet", "halves.parquet", "seal.json"}


def test_half_of_the_gain_is_gone_at_the_first_step_with_at_most_half_of_it_left(found: sc.Relapse) -> None:
    frame = found.curves.to_pandas().query("metric == 'accuracy_user_wrong'")
    by_step = frame.pivot(index=["rows", "model", "seed"], columns="step", values="value")
    halves = found.halves.to_pandas()
    assert len(halves) == 2 * 2 * len(SEEDS)
    for row in halves.itertuples():
        less = by_step.loc[row.rows, row.model, row.seed] - by_step.loc[row.rows, "untreated", row.seed]
        assert row.gain == pytest.approx(less[0])
        left = [step for step in STEPS if less[0] > 0 and less[step] <= less[0] / 2 + 1e-12]
        assert (None if np.isnan(row.step) else row.step) == min(left, default=None)
    lines = [line for line in repr(found).splitlines() if "half of the gain of" in line]
    assert len(lines) == 4 and lines[0].count(",") == len(SEEDS)


def halves_of(heights: dict[str, list[float]], metric: str) -> list[int | None]:
    """Return when half of the gain of each model but the first is gone, and check what is printed of it."""
    rows = [
        {"rows": "r", "model": name, "seed": 0, "step": step, "task": "facts", "metric": metric, "value": value}
        for name, values in heights.items()
        for step, value in zip((0, 1, 2, 4), values, strict=True)
    ]
    found = _summed_up(estimates_table(rows, columns=_CURVE | COLUMNS), list(heights), metric)
    for row in found.halves.to_pylist():
        words = (
            "there was none" if row["gain"] <= 0 else "more is left" if row["step"] is None else f"step {row['step']}"
        )
        assert f"of {row['model']} is gone, by seed: {words}" in repr(found)
    return [row["step"] for row in found.halves.to_pylist()]


def test_a_gain_that_falls_by_hand_is_half_gone_when_it_should_be() -> None:
    heights = {
        "base": [0.2, 0.2, 0.1, 0.0],
        "cure": [0.8, 0.7, 0.4, 0.4],  # better by 0.6, 0.5, 0.3, 0.4
        "equal": [0.2, 0.2, 0.1, 0.0],
        "worse": [0.1, 0.1, 0.0, 0.0],
        "lasting": [0.8, 0.8, 0.7, 0.6],
    }
    assert halves_of(heights, "accuracy_user_wrong") == [2, None, None, None]
    # A stance effect is better nearer to zero: the cures are better by -0.6, 0, 0.1 and -0.6.
    assert halves_of(heights, "stance_effect") == [None, None, 4, None]


def test_one_table_of_rows_needs_no_name(model: sc.LanguageModel, rows: pa.Table, prompts: pa.Table) -> None:
    options = sc.FinetuneOptions(batch_size=4, learning_rate=1e-2, lora_rank=2)
    found = sc.relapse({"m": model}, rows, prompts, steps=(1,), seeds=(0, 1), options=options, progress=False)
    assert set(found.curves["rows"].to_pylist()) == {"the rows"}
    assert found.area("m")["num_clusters"] == 2
    assert len(found.plot().axes) == 1
    with pytest.raises(sc.DataError, match="there is none of 'other' on 'the rows'"):
        found.area("other")


def test_what_has_no_curve_is_refused(model: sc.LanguageModel, rows: pa.Table, prompts: pa.Table) -> None:
    with pytest.raises(sc.DataError, match="models wants at least one"):
        sc.relapse({}, rows, prompts)
    with pytest.raises(sc.DataError, match="rows wants at least one"):
        sc.relapse({"untreated": model}, {}, prompts)
    with pytest.raises(sc.DataError, match="steps wants at least one and none twice"):
        sc.relapse({"untreated": model}, rows, prompts, steps=(1, 1))
    with pytest.raises(sc.DataError, match="do not give the metric 'letter_bias'"):
        sc.relapse({"untreated": model}, rows, prompts, steps=(1,), seeds=(0,), metric="letter_bias", progress=False)
