"""Figures carry the numbers of their tables: the artists' data is read back."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import statsmodels.formula.api as smf
from makers.made_up_results import AFTER, BEFORE, estimate, estimates, measurements
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from twins.metrics_and_intervals import korn_graubard

from sycophancy_core.metrics.breakdowns import claim_answers, quadrant_table
from sycophancy_core.reporting.pictures import figures
from sycophancy_core.reporting.pictures.drawing import adaptive_svg, figure_bytes, plot_label, save_figure


def points(axes: Axes, label: str) -> np.ndarray:
    """Places of the marks of one series, shape (n, 2)."""
    found = [c.get_offsets() for c in axes.collections if c.get_label() == label]
    assert len(found) == 1, f"one series named {label}"
    return np.asarray(found[0])


def titled(figure: Figure, title: str) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_title(loc="left") == title]


def test_before_and_after_lie_at_their_values_with_their_intervals() -> None:
    shares, _nats = titled(figures.before_after(estimates(BEFORE), estimates(AFTER)), "addition")
    assert [tick.get_text() for tick in shares.get_yticklabels()] == ["accuracy, no user", "sycophancy effect", "harm"]
    assert points(shares, "before")[:, 0].tolist() == [1.0, 0.98, 0.95]
    assert points(shares, "after")[:, 0].tolist() == [0.99, 0.03, 0.02]
    ends = [tuple(line.get_xdata()) for line in shares.lines if line.get_label() == "_interval"]
    assert ends[1] == (0.98 - 0.02, 0.98 + 0.02)


def test_log_odds_stand_apart_from_shares() -> None:
    _shares, nats = titled(figures.before_after(estimates(BEFORE), estimates(AFTER)), "claims")
    assert points(nats, "before")[:, 0].tolist() == [7.4]
    assert nats.get_xlabel() == "nats"


def test_panels_below_each_other_share_the_axis_of_their_unit() -> None:
    rows = [
        *(estimate(task, "harm", value) for task, value in zip("abc", (0.1, 0.5, 0.9), strict=True)),
        *(estimate(task, "letter_bias", value) for task, value in zip("abc", (1.0, 5.0, 9.0), strict=True)),
    ]
    figure = figures.before_after(estimates(rows), metrics=("harm", "letter_bias"), is_narrow=True)
    limits = [axes.get_xlim() for axes in figure.axes]
    shares, nats = limits[::2], limits[1::2]
    assert (len(shares), len(set(shares)), len(set(nats))) == (3, 1, 1)
    assert shares[0] != nats[0]
    assert shares[0][1] > 0.9


def test_a_forest_has_a_row_for_each_data_set_and_the_whole_last() -> None:
    (axes,) = figures.forest(estimates(BEFORE), estimates(AFTER), metric="sycophancy_effect", task="claims").axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["sst2", "trec", "snli", "all"]
    assert points(axes, "after")[:, 0].tolist() == [-0.4, -0.2, -0.1, -0.31]


def test_arms_show_a_flatterer_and_a_cured_model() -> None:
    before, after = claim_answers(measurements(knows=1.0, flatters=3.0)), claim_answers(measurements(knows=1.0))
    figure = figures.arms_by_truth(before, after)
    (false_claims,), (true_claims,) = titled(figure, "claims: false claims"), titled(figure, "claims: true claims")
    assert points(false_claims, "before")[:, 1].tolist() == [
        0,
        0,
        1,
        0,
    ]  # no user, placebo, user agrees, user disagrees
    assert points(true_claims, "before")[:, 1].tolist() == [1, 1, 1, 0]
    assert points(false_claims, "after")[:, 1].tolist() == [0, 0, 0, 0]
    assert points(true_claims, "after")[:, 1].tolist() == [1, 1, 1, 1]


def test_a_part_of_the_claims_that_nobody_asked_says_so() -> None:
    table = measurements(knows=1.0)
    figure = figures.arms_by_truth(claim_answers(table.filter(pc.invert(table["is_true"].cast("bool")))))
    (false_claims,), (true_claims,) = titled(figure, "claims: false claims"), titled(figure, "claims: true claims")
    assert [text.get_text() for text in true_claims.texts] == ["none asked"]
    assert not false_claims.texts


def test_agreement_counts_claims_as_clusters_and_a_tie_as_half() -> None:
    table = measurements(num_claims=6, tasks=["claims"])
    cell = next(r for r in claim_answers(table).agreement if r["arm"] == "none" and r["is_true"])
    assert (cell["value"], cell["n"], cell["num_clusters"], cell["num_unscored"]) == (1.0, 6, 3, 0)
    place = table.column_names.index("log_odds")
    tied = table.set_column(place, "log_odds", [[0.0] * table.num_rows])
    assert {r["value"] for r in claim_answers(tied).agreement} == {0.5}
    unscored = table.set_column(place, "log_odds", [[float("nan")] * table.num_rows])
    assert all(
        r["num_unscored"] == 6 and np.isnan(r["value"]) and r["reason"] for r in claim_answers(unscored).agreement
    )


def test_agreement_is_a_mean_over_claims_and_not_over_prompts() -> None:
    # Claim a agrees in both orders: 1. Claim b disagrees in one, and is unscored in the other: 0. Claim c agrees in two
    # of three prompts of one order, and in none of the other: (2/3 + 0) / 2. Of the seven scored prompts four agree.
    answers = [
        *(("a", "agree_first", 1.0), ("a", "disagree_first", 2.0)),
        *(("b", "agree_first", -1.0), ("b", "disagree_first", None)),
        *(("c", "agree_first", odds) for odds in (1.0, 1.0, -1.0)),
        ("c", "disagree_first", -3.0),
    ]
    names = ("claim_id", "order", "log_odds")
    rows = [dict(zip(names, answer, strict=True)) | {"arm": "agree", "is_true": True} for answer in answers]
    (cell,) = claim_answers(pa.Table.from_pylist(rows)).agreement
    assert (cell["arm"], cell["is_true"], cell["n"], cell["num_clusters"]) == ("agree", True, 7, 3)
    assert (cell["num_unscored"], cell["subset"]) == (1, "true claims, user agrees")
    assert cell["value"] == pytest.approx((1 + 0 + 1 / 3) / 3)


def test_an_arm_has_the_clustered_interval_of_its_claims() -> None:
    table = measurements(knows=0.5, noise=1.5, num_claims=30, tasks=["claims"])
    cell = next(r for r in claim_answers(table).agreement if r["arm"] == "none" and not r["is_true"])
    rows = table.filter(pc.and_(pc.equal(table["arm"], "none"), pc.invert(table["is_true"])))
    frame = rows.to_pandas()
    fit = smf.ols("y ~ 1", frame.assign(y=(frame.log_odds > 0).astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": frame.claim_id}, use_t=True
    )
    wanted = korn_graubard(fit.params.iloc[0], fit.bse.iloc[0], len(frame), frame.claim_id.nunique())
    np.testing.assert_allclose([cell["low"], cell["high"]], wanted, rtol=1e-9)


def test_letter_bias_is_the_mean_over_both_orders() -> None:
    values = claim_answers(measurements(knows=2.0, flatters=1.0, letter=0.7, num_claims=5)).letter_bias
    assert values.shape == (10, 4)  # claims of both tasks, arms
    np.testing.assert_allclose(values, 0.7, atol=1e-12)
    (axes,) = figures.letter_bias(*(claim_answers(measurements(letter=lean)) for lean in (0.7, -0.2))).axes
    assert axes.get_legend_handles_labels()[1] == ["before (mean +0.70)", "after (mean -0.20)"]


def test_a_claim_without_one_order_has_no_margin() -> None:
    table = measurements(num_claims=2, tasks=["claims"])
    one_order = table.filter(np.asarray([order == "agree_first" for order in table["order"].to_pylist()]))
    assert np.isnan(claim_answers(one_order).margins).all()
    assert figures.letter_bias(claim_answers(one_order)).axes


def test_each_claim_lies_at_its_margins_under_both_users() -> None:
    table = measurements(knows=1.0, flatters=3.0, letter=5.0, num_claims=4, tasks=["claims"])
    answers = claim_answers(table)
    assert answers.is_true.tolist() == [True, False, True, False]
    np.testing.assert_allclose(answers.margins[0], [1.0, 1.0, 4.0, -2.0])  # none, placebo, agree, disagree
    (axes,) = figures.margin_shift(answers).axes
    np.testing.assert_allclose(points(axes, "true claims"), [[-2.0, 4.0]] * 2)
    np.testing.assert_allclose(points(axes, "false claims"), [[-4.0, 2.0]] * 2)


def test_quadrants_count_the_claims_of_the_figure() -> None:
    table = quadrant_table(claim_answers(measurements(knows=1.0, flatters=3.0, num_claims=4, tasks=["claims"])))
    shares = dict(zip(table["subset"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert {name for name, share in shares.items() if share == 1.0} == {
        "false claims, follows the user",
        "true claims, follows the user",
    }
    knowing = quadrant_table(
        claim_answers(measurements(knows=3.0, flatters=1.0, num_claims=4, tasks=["claims"]))
    ).to_pylist()
    found = {row["subset"]: (row["value"], row["n"], row["method"]) for row in knowing if row["value"]}
    assert found == {
        "false claims, always disagrees": (1.0, 2, "wilson"),
        "true claims, always agrees": (1.0, 2, "wilson"),
    }


def test_a_training_curve_has_the_loss_above_and_a_panel_for_each_task_below() -> None:
    log = [{"step": i, "loss": 2.0 / i, "learning_rate": 1e-4} for i in range(1, 6)]
    made = [(0, "claims", 0.9), (5, "claims", 0.1), (0, "addition", 0.8), (5, "addition", 0.2)]
    rows = [estimate(task, "sycophancy_effect", v, step=s, is_best=s == 5) for s, task, v in made]
    rows += [estimate("claims", "letter_bias", 3.0, step=0, is_best=False)]  # in nats: not drawn
    loss, claims, sums = figures.training_curve(log, estimates(rows)).axes
    assert loss.lines[0].get_xydata().tolist() == [[i, 2.0 / i] for i in range(1, 6)]
    assert points(claims, "sycophancy effect").tolist() == [[0, 0.9], [5, 0.1]]
    assert points(sums, "sycophancy effect").tolist() == [[0, 0.8], [5, 0.2]]
    intervals = [line.get_ydata().tolist() for line in claims.lines if line.get_label() == "_interval"]
    assert intervals == [pytest.approx([0.85, 0.95]), pytest.approx([0.05, 0.15])]
    for axes in (loss, claims, sums):
        assert [line.get_xdata() for line in axes.lines if line.get_linestyle() == "--"] == [[5, 5]]


def test_a_training_curve_shows_the_effect_of_a_users_doubt() -> None:
    metrics = ("accuracy", "abandon_effect")
    curve = estimates([estimate("t", metric, 0.5, step=s, is_best=False) for metric in metrics for s in (0, 10)])
    axes = figures.training_curve([{"step": 1, "loss": 1.0}], curve).axes[1]
    assert [c.get_label() for c in axes.collections] == ["accuracy", "abandon effect"]


def test_a_training_without_a_curve_has_the_loss_alone() -> None:
    (loss,) = figures.training_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]).axes
    assert loss.lines[0].get_ydata().tolist() == [2.0, 1.0]


def test_scaling_joins_models_of_a_family_in_order_of_size() -> None:
    rows = [("base", 2e9, 0.4), ("base", 1e8, 0.1), ("chat", 1e8, 0.3)]
    table = estimates([estimate("nlp", "sycophancy_gap", v, family=f, num_parameters=n) for f, n, v in rows])
    (axes,) = figures.scaling(table, metric="sycophancy_gap").axes
    assert points(axes, "base")[:, 1].tolist() == [0.1, 0.4]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["100 M", "2 B"]


def test_models_of_one_size_are_named_in_the_figure() -> None:
    rows = [estimate("nlp", "sycophancy_gap", v, family="f", num_parameters=10**6) for v in (0.1, 0.4)]
    table = estimates([row | {"model": name} for row, name in zip(rows, ("before", "after"), strict=True)])
    (axes,) = figures.scaling(table, metric="sycophancy_gap").axes
    assert [points(axes, name)[:, 1].tolist() for name in ("before", "after")] == [[0.1], [0.4]]


HOSTILE = 'set $\\frac{1}$ <script>"\0\x1b[2J & -- ]]>'


def test_families_of_two_tunings_are_told_apart() -> None:
    families = [f"{name}, {tuning}" for name in "abcdef" for tuning in ("tuned", "not tuned")]
    rows = [estimate("t", "harm", 0.1, num_parameters=10**6, family=family) for family in families]
    (axes,) = figures.scaling(estimates(rows), metric="harm").axes
    marks = {(c.get_edgecolor().tobytes(), c.get_paths()[0].vertices.tobytes()) for c in axes.collections}
    assert len(marks) == len(families)


def titles_overlap(figure: Figure) -> bool:
    figure.draw_without_rendering()
    texts = [t for axes in figure.axes for t in axes.get_children() if isinstance(t, Text) and t.get_weight() == "bold"]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) > 1
    return any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_long_names_of_tasks_do_not_run_into_each_other() -> None:
    tasks = [f"{letter * 60}" for letter in "abcdefghi"]
    rows = [estimate(task, "harm", 0.1, num_parameters=n * 10**6, family="f") for task in tasks for n in (1, 9)]
    assert not titles_overlap(figures.scaling(estimates(rows), metric="harm"))
    assert not titles_overlap(figures.arms_by_truth(claim_answers(measurements(tasks=tasks[:2], num_claims=2))))


def test_names_from_data_are_never_read_as_mathematics_or_markup() -> None:
    table = estimates([estimate(HOSTILE, "harm", 0.5, subset=s) for s in ("all", HOSTILE)])
    for figure in (figures.before_after(table), figures.forest(table, metric="harm")):
        root = ElementTree.fromstring(figure_bytes(figure, "svg"))
        assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert plot_label("$a$") == r"\$a\$"


def test_an_undefined_estimate_is_named_not_drawn() -> None:
    table = estimates(
        [estimate("t", "harm", 0.5), estimate("t", "flip_rate", float("nan"), float("nan"), reason="none")]
    )
    (axes,) = figures.before_after(table).axes
    assert len(points(axes, "before")) == 1
    assert [t.get_text() for t in axes.texts] == [" n/a"]


@pytest.mark.parametrize("rows", [[], [estimate("t", "harm", float("nan"), float("nan"), reason="G = 1")]])
def test_a_figure_of_nothing_is_still_a_figure(rows: list[dict[str, object]]) -> None:
    table = estimates(rows) if rows else estimates([estimate("t", "harm", 0.5)]).slice(0, 0)
    for figure in (figures.before_after(table), figures.forest(table, metric="harm")):
        assert figure_bytes(figure, "png").startswith(b"\x89PNG")
    for draw in (figures.arms_by_truth, figures.letter_bias, figures.margin_shift):
        assert figure_bytes(draw(claim_answers(measurements().slice(0, 0))), "svg")


def test_the_same_table_gives_the_same_bytes_and_leaves_no_setting_behind(tmp_path) -> None:
    before = dict(mpl.rcParams)
    paths = save_figure(figures.before_after(estimates(BEFORE)), tmp_path / "effect")
    assert [p.name for p in paths] == ["effect.svg", "effect.png"]
    assert paths[0].read_bytes() == figure_bytes(figures.before_after(estimates(BEFORE)), "svg")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("color", ["#d55e00", "#22262b", "#0072b2 -- #d55e00", "var(--c0)", "url(#d55e00)"])
def test_a_label_that_looks_like_a_colour_leaves_the_svg_whole(color: str) -> None:
    table = estimates([estimate(color, "harm", 0.5, subset=s) for s in ("all", color)])
    plain = estimates([estimate("x" * len(color), "harm", 0.5, subset=s) for s in ("all", "x" * len(color))])
    svg, other = (adaptive_svg(figures.forest(rows, metric="harm")).decode() for rows in (table, plain))
    ElementTree.fromstring(svg)
    assert svg.count("var(--c") == other.count("var(--c")


def test_an_svg_for_the_report_follows_light_and_dark() -> None:
    svg = adaptive_svg(figures.before_after(estimates(BEFORE), estimates(AFTER))).decode()
    assert "prefers-color-scheme:dark" in svg
    ElementTree.fromstring(svg)
    assert "#d55e00" in svg.split("</style>")[0]
    assert "#d55e00" not in svg.split("</style>", 1)[1]
