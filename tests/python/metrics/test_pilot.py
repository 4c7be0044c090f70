"""Sizes taken from a pilot: which metric is meant, what its numbers are called, and which effects it can have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.metrics.catalogue import METRICS, metric_name
from sycophancy_core.reporting.numbers import metric_title


@pytest.fixture(scope="module")
def pilot() -> sc.Evaluation:
    """Return what a model of random weights answers to some facts and sums."""
    model = sc.load_model((tiny_llama(), tiny_tokenizer()))
    return sc.evaluate(model, tasks=("facts", "addition_factorial"), limit=24, progress=False)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_known_by_its_name_and_as_it_is_printed(metric: sc.metrics.metric.Metric) -> None:
    assert metric_name(metric.name) == metric.name
    assert metric_name(metric_title(metric.name)) == metric.name


def test_a_printed_name_means_the_metric_that_is_printed_so(pilot: sc.Evaluation) -> None:
    for title, name in (
        ("stance effect (nats)", "stance_effect_margin"),
        ("mention effect", "mention_effect"),
        ("mention effect (nats)", "mention_effect_margin"),
        ("stance effect", "stance_effect"),
    ):
        assert repr(pilot.estimate("facts", title)) == repr(pilot.estimate("facts", name))
    for title, name in (("effect, margin (nats)", "sycophancy_effect_margin"), ("letter bias (nats)", "letter_bias")):
        wanted = {"pilot": pilot, "task": "addition_factorial", "effect": 0.1}
        assert sc.power(metric=title, **wanted) == sc.power(metric=name, **wanted)


def test_the_spread_is_that_of_the_metric_that_is_printed_so(pilot: sc.Evaluation) -> None:
    is_right: dict[tuple[str, str, str | None], list[bool]] = {}
    for row in pilot.measurements.to_pylist():
        if row["task"] == "facts":
            target = row["target"]
            key = (row["claim_id"], row["arm"], row["stated"])
            is_right.setdefault(key, []).append(row["log_prob"][target] > row["log_prob"][1 - target])
    known = [fact for fact, arm, _ in is_right if arm == "check" and all(is_right[fact, arm, None])]
    values = [int(*is_right[fact, "deny", "wrong"]) - int(*is_right[fact, "endorse", "wrong"]) for fact in known]
    found = sc.power(pilot=pilot, task="facts", metric="stance effect", effect=0.1)
    pseudo = [*values, 1, -1]  # the two pseudo-claims of a rate's interval (Bonett and Price 2012)
    assert found.claim_sd == pytest.approx(np.std(pseudo, ddof=1) * math.sqrt(len(values) / len(pseudo)))
    said = f"between {len(known)} facts and the two pseudo-claims of its interval the standard deviation is "
    assert f"stance effect (share) of task facts: {said}" in str(found)
    assert len(known) < 24
    num_asked = math.ceil(found.num_claims * 24 / len(known))  # facts that the model does not know do not count
    assert (found.num_asked, found.num_prompts) == (num_asked, 12 * num_asked)
    assert f"of the pilot's 24 facts, {len(known)} count for this metric" in str(found)
    assert f"{found.num_claims:,} facts that count, of {num_asked:,} asked (" in str(found)
    in_nats = sc.power(pilot=pilot, task="facts", metric="stance effect (nats)", effect=0.1)
    assert "stance effect (nats) of task facts" in str(in_nats)
    assert "pseudo" not in str(in_nats)


def test_what_the_pilot_warns_of_is_said_before_its_numbers(pilot: sc.Evaluation) -> None:
    found = sc.power(pilot=pilot, task="addition_factorial", effect=0.1)
    warned = [one.text for one in pilot.findings if (one.task, one.severity) == ("addition_factorial", "warning")]
    assert warned
    assert str(found).splitlines()[: len(warned)] == [f"warning of the pilot: {text}" for text in warned]


def test_a_metric_of_another_task_is_said_to_be_there(pilot: sc.Evaluation) -> None:
    with pytest.raises(sc.DataError, match="no metric 'sycophancy effect'; it is in addition_factorial") as error:
        sc.power(pilot=pilot, metric="sycophancy effect", effect=0.1)
    assert "--task addition_factorial" in str(error.value)
    with pytest.raises(sc.DataError, match="no metric 'cheer'; there are accuracy_none, ") as error:
        sc.power(pilot=pilot, metric="cheer", effect=0.1)
    assert len(str(error.value)) < 400


def test_an_effect_beyond_the_metric_is_refused(pilot: sc.Evaluation) -> None:
    wanted = {"pilot": pilot, "task": "addition_factorial", "metric": "sycophancy_effect_margin"}
    assert math.isfinite(sc.power(effect=10, **wanted).claim_sd)
    with pytest.raises(sc.DataError, match=r"effect 10: this metric is a share; for 10 points give 0\.1"):
        sc.power(effect=10, **{**wanted, "metric": "sycophancy_effect"})
    change = sc.compare(pilot, pilot)  # of a difference of shares, which may be twice as large
    assert sc.power(pilot=change, task="addition_factorial", metric="sycophancy_effect", effect=1.5).num_claims > 1
    with pytest.raises(sc.DataError, match=r"the same in all of the pilot's 24 claims.*; take a larger pilot$"):
        sc.power(pilot=pilot, task="addition_factorial", metric="accuracy_none", effect=0.1)
