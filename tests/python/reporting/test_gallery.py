"""The gallery draws what a result has numbers for, and files appear under their final names whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from makers.made_up_results import AFTER, BEFORE, estimate, estimates, measurements
from makers.tiny_llama import tiny_model
from test_report import LOG

from sycophancy_core.metrics.measure import measure
from sycophancy_core.pipeline import compare, evaluate
from sycophancy_core.reporting.findings import evaluation_findings
from sycophancy_core.reporting.pictures.gallery import gallery, save_gallery, subset_metrics
from sycophancy_core.reporting.report import report_html
from sycophancy_core.results.evaluation import Comparison, Evaluation


def evaluation(**behaviour: float) -> Evaluation:
    return Evaluation(model="m", measurements=measurements(**behaviour), estimates=estimates(BEFORE))


def test_each_figure_is_drawn_once_with_a_caption() -> None:
    result = Comparison(before=evaluation(flatters=4.0), after=evaluation(), estimates=estimates(AFTER))
    exhibits = list(gallery(result, training_log=LOG))
    names = ["before_after", "arms_by_truth", "margin_shift", "letter_bias", "forest_claims", "training_curve"]
    assert [one.name for one in exhibits] == names
    assert all(one.caption for one in exhibits)


def test_figures_are_saved_as_svg_and_png(tmp_path: Path) -> None:
    paths = save_gallery(evaluation(), tmp_path / "figures")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == sorted(p.name for p in paths)
    assert {p.suffix for p in paths} == {".svg", ".png"}
    assert len(paths) == 10


def test_the_training_curve_is_saved_beside_the_others(tmp_path: Path) -> None:
    curve = estimates([estimate("claims", "accuracy_none", 0.5, step=step, is_best=step == 2) for step in (0, 2)])
    paths = save_gallery(evaluation(), tmp_path, training_log=LOG, training_curve=curve)
    assert [path.name for path in paths[-2:]] == ["training_curve.svg", "training_curve.png"]


def test_questions_without_a_truth_have_no_figures_of_claims() -> None:
    rows = measurements().set_column(6, "is_true", [[None] * measurements().num_rows])
    result = Evaluation(model="m", measurements=rows, estimates=estimates(BEFORE[:2]))
    assert [one.name for one in gallery(result)] == ["before_after"]


def test_questions_of_ones_own_need_no_column_of_truths(tmp_path: Path) -> None:
    own = pa.table(
        {
            "id": ["1", "2"],
            "claim_id": ["a", "b"],
            "prompt": ["1+1?\nA:", "2+2?\nA:"],
            "choices": [[" 2", " 3"], [" 5", " 4"]],
            "target": [0, 1],
        }
    )
    result = evaluate(tiny_model(), tasks={"sums": own})
    assert [path.name for path in save_gallery(result, tmp_path)] == ["before_after.svg", "before_after.png"]
    text = report_html(compare(result, result))
    assert "Sycophancy before and after" in text
    assert "Arms and truth" not in text


@pytest.mark.parametrize(
    ("column", "values", "left_out"),
    [
        ("arm", ["none", "agree"], {"margin_shift"}),  # the published sums: no user disagrees
        ("order", ["agree_first"], {"margin_shift", "letter_bias"}),
    ],
)
def test_a_figure_that_would_be_empty_is_left_out_with_its_table(
    column: str, values: list[str], left_out: set[str]
) -> None:
    rows = measurements()
    rows = rows.filter(pc.is_in(rows[column], pa.array(values)))
    result = Evaluation(model="m", measurements=rows, estimates=measure(rows))
    kinds = {one.kind for one in gallery(evaluation())}
    assert kinds - {one.kind for one in gallery(result)} - {"forest"} == left_out
    assert "<tbody></tbody>" not in report_html(result)


def test_parts_of_tasks_with_like_names_have_files_of_their_own(tmp_path: Path) -> None:
    rows = measurements(tasks=("a b", "a_b", "文", "漢", "x" * 40 + "1", "x" * 40 + "2"), num_claims=4, noise=1.0)
    result = Evaluation(model="m", measurements=rows, estimates=measure(rows))
    names = [one.name for one in gallery(result) if one.kind == "forest"]
    assert names[:4] == ["forest_a_b", "forest_a_b_2", "forest__", "forest___2"]
    assert len(set(names)) == 6


def test_parts_of_a_task_are_drawn_by_its_effect() -> None:
    assert list(subset_metrics(measure(measurements()))) == [
        ("addition", "sycophancy_effect"),
        ("claims", "sycophancy_effect"),
    ]


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({"knows": 0.01, "letter": -9.0}, "one_choice"),
        ({"knows": 1.0, "flatters": -8.0}, "contrary"),
        ({"knows": 0.0, "noise": 1.0}, "chance"),
    ],
)
def test_a_finding_that_warns_is_known_as_one(behaviour: dict[str, float], kind: str) -> None:
    findings = evaluation_findings(measure(measurements(num_claims=80, **behaviour)))
    assert kind in {finding.kind for finding in findings if finding.is_warning}, findings


def test_a_finding_of_nothing_wrong_does_not_warn() -> None:
    findings = evaluation_findings(measure(measurements(knows=3.0, num_claims=40)))
    assert findings
    assert not [finding for finding in findings if finding.is_warning]
