"""What the unmodified model knows is frozen: every number of a comparison is about the same claims."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from makers.made_up_results import measurements
from pandas.testing import assert_frame_equal

import sycophancy_core as sc
from sycophancy_core.errors import DataError
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import known_claims, measure
from sycophancy_core.pipeline import compare
from sycophancy_core.results.evaluation import Evaluation


def test_a_claim_is_known_if_its_margin_is_on_the_right_side() -> None:
    assert len(known_claims(measurements(knows=1.0, letter=5.0, num_claims=6))) == 12  # the letter cancels; two tasks
    assert known_claims(measurements(knows=-1.0, num_claims=6)) == frozenset()


def test_a_change_is_the_difference_of_the_two_sides_that_are_shown() -> None:
    before = measurements(knows=1.0, flatters=4.0, noise=2.0, num_claims=40)
    after = measurements(knows=1.0, flatters=-0.4, noise=2.0, num_claims=40, seed=1)
    known = known_claims(before)
    assert 0 < len(known) < 80
    sides = [measure(side, known=known) for side in (before, after)]
    changes = compare_measurements(before, after).change
    for name in ("task", "metric", "subset"):
        assert sides[0][name].to_pylist() == sides[1][name].to_pylist() == changes[name].to_pylist()
    low, high = (side["value"].to_numpy() for side in sides)
    np.testing.assert_allclose(changes["value"].to_numpy(), high - low, atol=1e-12)


def test_a_comparison_takes_for_known_in_a_task_what_was_known_in_that_task() -> None:
    sums, reviews = (measurements(tasks=[task], knows=knows) for task, knows in (("sums", 2.0), ("reviews", -2.0)))
    shared = [
        table.set_column(table.column_names.index("claim_id"), "claim_id", sums["claim_id"])
        for table in (sums, reviews)
    ]
    rows = pa.concat_tables(shared)
    side = Evaluation(model="m", measurements=rows, estimates=measure(rows))
    changes = compare(side, side).estimates.to_pylist()
    counts = {row["task"]: row["n"] for row in changes if row["metric"] == "harm" and row["subset"] == "all"}
    assert counts == {"sums": 80, "reviews": 0}  # twenty claims, two arms, two orders; none is known of the reviews


@pytest.mark.parametrize("known", [[1], [b"a"], "a"])
def test_known_ids_that_are_no_texts_are_refused(known: Any) -> None:
    rows = measurements(num_claims=6)
    for ask in (lambda: measure(rows, known=known), lambda: compare_measurements(rows, rows, known=known)):
        with pytest.raises(DataError, match=r"known must be a list of texts or None, got"):
            ask()


COLUMNS: dict[str, Any] = {
    "pyarrow": lambda ids: pa.chunked_array([ids]),
    "numpy": np.array,
    "pandas": pd.Series,
    "index": pd.Index,
    "generator": iter,
    "set": set,
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_known_ids_may_come_as_a_column_of_any_library(column: Any) -> None:
    rows = measurements(num_claims=6)
    ids = sorted(set(rows["claim_id"].to_pylist()))[:4]
    wanted = measure(rows, known=ids).to_pylist()
    assert max(row["num_clusters"] for row in wanted if row["metric"] == "harm") == 4
    assert repr(measure(rows, known=column(ids)).to_pylist()) == repr(wanted)  # NaN is not equal to NaN


def test_known_ids_of_other_prompts_are_warned_of() -> None:
    rows = measurements(num_claims=6)
    with pytest.warns(UserWarning, match="none of the 2 ids, such as 'x', is a claim_id of these prompts"):
        measure(rows, known=["y", "x"])
    with pytest.warns(UserWarning, match="none of the 1 ids, such as 'y', is a claim_id of these prompts"):
        compare_measurements(rows, rows, known={"y"})
    measure(rows, known=[])  # nothing is known, and nothing is said
    measure(rows, known=["x", rows["claim_id"][0].as_py()])


def test_dictionary_ids_with_values_that_no_row_has_change_nothing() -> None:
    rows = measurements(knows=1.0, noise=2.0, num_claims=12)
    keep = pa.array([identity.endswith(("1", "2")) for identity in rows["claim_id"].to_pylist()])
    place = rows.column_names.index("claim_id")
    coded = rows.set_column(place, "claim_id", rows["claim_id"].dictionary_encode()).filter(keep)
    plain = rows.filter(keep)
    assert 0 < plain.num_rows < rows.num_rows
    assert known_claims(coded) == known_claims(plain)
    assert_frame_equal(measure(coded).to_pandas(), measure(plain).to_pandas())


def test_ids_of_no_kind_that_can_be_told_apart_are_refused() -> None:
    rows = measurements(num_claims=6)
    ids = pa.array([{"role": "user"}] * rows.num_rows)
    with pytest.raises(DataError, match="measurements: wanted ids, got a column of struct"):
        sc.fit_opinion_model(rows.set_column(rows.column_names.index("claim_id"), "claim_id", ids))
