"""The filter of facts: against pandas on a scripted responder's answers."""

from pathlib import Path

import numpy as np
import pytest
from makers.scripted_responder import Responder

import sycophancy_core as sc
from sycophancy_core.errors import DataError
from sycophancy_core.prompts.fact_families import known_prompts
from sycophancy_core.results.fact_filter import judge_facts
from sycophancy_core.results.knowledge_filter import FilterOptions

FACTS = sc.load_facts(("capitals", "sums"))
PROMPTS = known_prompts(FACTS, split="train", seed=0)


@pytest.mark.parametrize("threshold", [0.0, 1.5])
@pytest.mark.filterwarnings("ignore:filter_known")
def test_a_fact_is_kept_where_every_wording_is_right_by_the_threshold(threshold: float) -> None:
    measured = Responder(knowledge=1.0, spread=2.0, noise=1.0).measure(PROMPTS)
    found = judge_facts(FACTS, measured, FilterOptions(threshold=threshold))
    frame = measured.to_pandas()
    odds = [row.log_prob[row.target] - row.log_prob[1 - row.target] for row in frame.itertuples()]
    least = frame.assign(odds=odds).groupby("fact_id")["odds"].min()
    kept = [identity for identity in FACTS["id"].to_pylist() if least[identity] >= max(threshold, 1e-300)]
    assert 0 < len(kept) < FACTS.num_rows
    assert found.kept["id"].to_pylist() == kept
    assert np.allclose(found.table["margin"].to_pylist(), [least[identity] for identity in FACTS["id"].to_pylist()])
    assert found.known == set(frame[frame["fact_id"].isin(kept)]["claim_id"])
    assert sum(found.counts.values()) == FACTS.num_rows
    shares = {f: np.mean([least[i] > 0 for i in sc.load_facts(f)["id"].to_pylist()]) for f in ("capitals", "sums")}
    if threshold == 0:
        assert found.kept_by_source == pytest.approx(shares)


def test_what_is_kept_can_be_filtered_again_and_read_back(tmp_path: Path) -> None:
    measured = Responder(knowledge=3.0).measure(PROMPTS)
    once = judge_facts(FACTS, measured, FilterOptions())
    again = judge_facts(once.table, measured, FilterOptions())
    assert again.table.equals(once.table)
    once.save(tmp_path)
    loaded = sc.FilterResult.load(tmp_path)
    assert (loaded.known, loaded.summary()) == (once.known, once.summary())
    assert loaded.summary().startswith(f"knows {len(once.known)} of {once.table.num_rows} facts (")
    assert "right without an opinion" in loaded.summary()


def test_an_unscored_fact_is_none_that_the_model_knows() -> None:
    measured = Responder(knowledge=3.0).measure(PROMPTS)
    place = measured.column_names.index("log_prob")
    rows = measured["log_prob"].to_pylist()
    rows[0] = [float("nan")] * 2
    broken = measured.set_column(place, measured.schema.field(place), [rows])
    place = broken.column_names.index("unscored")
    broken = broken.set_column(place, broken.schema.field(place), [["odd", *broken["unscored"].to_pylist()[1:]]])
    found = judge_facts(FACTS, broken, FilterOptions())
    assert found.table.to_pylist()[0]["reason"] == "unscored"


def test_rules_of_claims_are_refused() -> None:
    with pytest.raises(DataError, match="facts are kept by the rule margin, got contrast"):
        judge_facts(FACTS, Responder().measure(PROMPTS), FilterOptions(rule="contrast"))
