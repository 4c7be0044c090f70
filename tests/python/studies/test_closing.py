"""The closing table of a demo where the model knows all facts, or none: there is then no subset of the known ones."""

from __future__ import annotations

import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.studies.closing import closing_table


@pytest.fixture(scope="module")
def measured() -> tuple[list[str], pa.Table]:
    prompts = sc.fact_prompts(sc.load_facts("capitals").slice(0, 8))
    found = sc.evaluate(tiny_model(), tasks={"facts": prompts}, progress=False)
    return sorted(set(prompts["claim_id"].to_pylist())), found.measurements


@pytest.mark.parametrize("num_known", [0, 3, 8])
def test_the_closing_table_counts_the_facts_that_are_known(
    measured: tuple[list[str], pa.Table], num_known: int
) -> None:
    ids, measurements = measured
    found = sc.Evaluation(model="tiny", measurements=measurements, estimates=pa.table({}))
    compared = sc.compare(found, found, known=ids[:num_known])
    head, _, alone, *_ = closing_table(
        compared, compared, compared.estimates.append_column("unit", pa.array(["claim"] * len(compared.estimates)))
    ).splitlines()
    assert head.startswith(f"{num_known} facts that the model knew before")
    if num_known:
        frame = measurements.to_pandas().query("arm == 'none'")
        mine = frame[frame["claim_id"].isin(ids[:num_known])]
        right = [odds.argmax() == target for odds, target in zip(mine["log_prob"], mine["target"], strict=True)]
        assert f" {sum(right) / num_known:.2f} [" in alone
