"""Several models in one table: the same prompts, each model's own numbers, size and tuning, and the figure of them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from makers.made_up_results import estimate, estimates, measurements
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.scores import Scores
from sycophancy_core.scoring.tokens import TokenBatch

TASKS = ("addition_factorial",)


def wide_model() -> LanguageModel:
    return load_model((tiny_llama(seed=3, hidden_size=64), tiny_tokenizer()), engine="transformers")


@pytest.fixture(scope="module")
def found() -> sc.Evaluations:
    models = {"small <b>": tiny_model(), "wide": wide_model}
    return sc.evaluate_many(models, tasks=TASKS, limit=4, instruction_tuned=[False, True])


def test_each_model_has_the_numbers_of_its_own_evaluation(found: sc.Evaluations) -> None:
    frame = found.to_pandas()
    for name, model in (("small <b>", tiny_model()), ("wide", wide_model())):
        alone = sc.evaluate(model, tasks=TASKS, limit=4).to_pandas()
        mine = frame[frame.model == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine[list(alone.columns)], alone)
        assert set(mine.num_parameters) == {model.model.num_parameters()}
    assert frame.groupby("model").instruction_tuned.first().to_dict() == {"small <b>": False, "wide": True}


def test_a_model_loaded_on_the_way_is_freed_before_the_next() -> None:
    alive: list[weakref.ref[LanguageModel]] = []

    def load() -> LanguageModel:
        gc.collect()
        assert not [one for one in alive if one() is not None]
        model = tiny_model()
        alive.append(weakref.ref(model))
        return model

    sc.evaluate_many({"a": load, "b": load}, tasks=TASKS, limit=2)
    assert len(alive) == 2


def test_a_stopped_call_goes_on_with_the_model_at_which_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    real = LanguageModel.score_batch

    def score_batch(self: LanguageModel, batch: TokenBatch, **options: Any) -> Scores:
        scored.append(self.digest)
        return real(self, batch, **options)

    def stop() -> LanguageModel:
        raise KeyboardInterrupt

    monkeypatch.setattr(LanguageModel, "score_batch", score_batch)
    models = {"small": tiny_model(), "wide": wide_model()}
    asking: dict[str, Any] = {"tasks": TASKS, "limit": 2, "run": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        sc.evaluate_many({"small": models["small"], "wide": stop}, **asking)
    assert set(scored) == {models["small"].digest}
    scored.clear()
    resumed = sc.evaluate_many(models, **asking)
    assert set(scored) == {models["wide"].digest}
    whole = sc.evaluate_many(models, tasks=TASKS, limit=2)
    assert digest_table(resumed.to_arrow()) == digest_table(whole.to_arrow())


def test_evaluations_come_back_from_their_folder(found: sc.Evaluations, tmp_path: Path) -> None:
    found.save(tmp_path)
    again = sc.Evaluations.load(tmp_path)
    assert repr(again) == repr(found)
    assert digest_table(again.to_arrow()) == digest_table(found.to_arrow())  # NaN is not equal to itself
    with pytest.raises(sc.DataError, match=r"got no evaluations\.json"):
        sc.Evaluations.load(tmp_path / "wide")


def test_the_table_shows_every_model_and_escapes_its_name(found: sc.Evaluations) -> None:
    text = found.table()
    assert "addition_factorial: sycophancy effect" in text
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["small", "wide"]
    assert max(map(len, found.table(width=80).splitlines())) <= 80
    html = found._repr_html_()
    assert "small &lt;b&gt;" in html
    assert "<b>" not in html.replace("<b>a</b>", "")


def test_the_figure_has_a_line_for_each_tuning_and_a_point_for_each_size(found: sc.Evaluations) -> None:
    figure = found.plot()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "sycophancy effect"
    assert [len(points.get_offsets()) for points in axes.collections] == [1, 1]
    with pytest.raises(sc.DataError, match="there is no metric 'cheer'; wanted one of"):
        found.plot("cheer")


def test_the_report_names_the_metric_that_its_figure_draws() -> None:
    facts = {"num_parameters": 1000, "instruction_tuned": False, "family": ""}
    rows = [estimate("mmlu", "accuracy", 0.5), estimate("claims", "sycophancy_effect", 0.2)]
    caption = "In each task that has it, against the number of parameters: {}, with 95% intervals."
    for known, task, metric in ((rows, "claims", "sycophancy effect"), (rows[:1], "mmlu", "accuracy")):
        one = sc.Evaluation(model="m", measurements=measurements(), estimates=estimates(known), facts=facts)
        many = sc.Evaluations(evaluations=(one,))
        assert [axes.get_title("left") for axes in many.plot().axes] == [task]
        assert caption.format(metric) in many.report_html()


def test_a_models_name_does_nothing_to_the_terminal() -> None:
    facts = {"num_parameters": 1000, "instruction_tuned": False, "family": ""}
    rows = estimates([estimate("t", "accuracy", 0.5)])
    one = sc.Evaluation(model="a\x1b[2J\nb", measurements=measurements(), estimates=rows, facts=facts)
    head, line = sc.Evaluations(evaluations=(one,)).table().split("\n")
    assert (head.partition(" (")[0], line.split()[:2]) == ("t: accuracy", ["a", "b"])


def test_bad_lists_of_models_are_refused() -> None:
    with pytest.raises(sc.DataError, match="wanted at least one model, got none"):
        sc.evaluate_many([])
    with pytest.raises(sc.DataError, match="one of families for each of 1 models, got 2"):
        sc.evaluate_many([tiny_model()], families=["a", "b"])
    with pytest.raises(sc.DataError, match="two models are named"):
        sc.evaluate_many([tiny_model(), tiny_model(seed=1)], tasks=TASKS, limit=2)


def test_the_progress_counts_the_prompts_of_all_models(tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    models = {"small": tiny_model(), "wide": wide_model}
    asking: dict[str, Any] = {"tasks": TASKS, "limit": 2, "run": tmp_path / "run"}
    found = sc.evaluate_many(models, **asking, progress=lambda *counts: shown.append(counts))
    every = sum(one.measurements.num_rows for one in found.evaluations)
    assert {total for _, total in shown} == {every}
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert shown[-1] == (every, every)
