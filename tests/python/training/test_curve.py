"""The training curve: it changes no step, measures the model as it then is, keeps the best step, survives a kill."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from makers.killable import exit_of_fresh_process
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core import (
    CurveOptions,
    DataError,
    FinetuneOptions,
    FinetuneResult,
    LanguageModel,
    ModelError,
    finetune,
)
from sycophancy_core.metrics.measure import known_claims
from sycophancy_core.tasks.named_tasks import task_prompts
from sycophancy_core.training.adapters.low_rank import AdapterOptions, applied_adapter, attach_adapter, merge_adapter

RANKS = pytest.mark.parametrize("lora_rank", [None, 4])


@pytest.fixture(scope="module")
def tasks() -> dict[str, pa.Table]:
    return task_prompts(("claims", "addition_factorial"), limit=2)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    claims = sc.make_claims(sc.load_examples(), seed=1).slice(0, 40)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="train", design="sampled"), seed=1)
    return sc.mix(prompts, sc.load_instructions(), ratio=5.0)


def light(lora_rank: int | None, **changes: int) -> FinetuneOptions:
    sizes = {"steps": 6, "batch_size": 4, **changes}
    return FinetuneOptions(**sizes, learning_rate=2e-2, lora_rank=lora_rank, precision="float32")


def native_model() -> LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()), engine="native")


def parameters(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.model.named_parameters()}


def model_after(step: int, rows: pa.Table, options: FinetuneOptions, engine: str) -> LanguageModel:
    """Train without a curve up to a step, and return the model with that step's weights, an adapter's sum included."""
    model = sc.load_model((tiny_llama(), tiny_tokenizer()), engine=engine)
    kept: dict[str, torch.Tensor] = {}

    def interrupt(done: int, total: int) -> None:
        if done == step:
            with applied_adapter(model.model):
                kept.update(parameters(model))
            signal.raise_signal(signal.SIGINT)

    if step:
        with pytest.raises(KeyboardInterrupt):
            finetune(model, rows, options=options, progress=interrupt)
        with torch.no_grad():
            for name, parameter in model.model.named_parameters():
                parameter.copy_(kept[name])
    return model


@pytest.mark.parametrize(("lora_rank", "seed"), [(None, 1), (4, 0)])  # the best step is neither the first nor the last
def test_a_curve_changes_no_step_and_the_best_one_is_kept(
    lora_rank: int | None, seed: int, rows: pa.Table, tasks: dict[str, pa.Table]
) -> None:
    options = light(lora_rank, seed=seed)
    log = finetune(native_model(), rows, options=options).log
    curve = CurveOptions(tasks=tasks, every=1, metric="sycophancy_effect_margin")
    found = finetune(native_model(), rows, options=options, curve=curve)
    assert found.log.drop_columns("seconds").equals(log.drop_columns("seconds"))
    assert found.curve is not None
    rows_of = [r for r in found.curve.to_pylist() if r["metric"] == "sycophancy_effect_margin"]
    distance = {s: sum(abs(r["value"]) for r in rows_of if r["step"] == s) / 2 for s in range(7)}
    best = min(distance, key=lambda s: distance[s])
    assert found.best_step == best
    assert {r["step"] for r in found.curve.to_pylist() if r["is_best"]} == {best}
    kept, wanted = parameters(found.model), parameters(model_after(best, rows, options, "native"))
    assert kept.keys() == wanted.keys()
    assert all(torch.equal(kept[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("engine", ["native", "transformers"])
@RANKS
def test_each_point_is_the_evaluation_of_the_model_after_that_step(
    lora_rank: int | None, engine: str, rows: pa.Table, tasks: dict[str, pa.Table]
) -> None:
    options = light(lora_rank, steps=4)
    model = sc.load_model((tiny_llama(), tiny_tokenizer()), engine=engine)
    curve = finetune(model, rows, options=options, curve=CurveOptions(tasks=tasks, every=3)).curve
    assert curve is not None
    known = known_claims(sc.evaluate(model_after(0, rows, options, engine), tasks=tasks).measurements)
    for step in (0, 3, 4):  # the untouched model, every third step, the last step
        wanted = sc.evaluate(model_after(step, rows, options, engine), tasks=tasks, known=known).estimates
        there = [r for r in curve.to_pylist() if r["step"] == step]
        assert there
        assert [{k: v for k, v in r.items() if k not in ("step", "is_best")} for r in there] == [
            pytest.approx(r, nan_ok=True, abs=0) for r in wanted.to_pylist() if r["subset"] == "all"
        ]
    assert set(curve["step"].to_pylist()) == {0, 3, 4}


def test_what_is_known_in_one_task_is_not_taken_for_known_in_another(rows: pa.Table) -> None:
    claims = sc.make_claims(sc.load_examples(), seed=3).slice(0, 12)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="test"), seed=1)
    turned = prompts.set_column(prompts.column_names.index("is_true"), "is_true", pc.invert(prompts["is_true"]))
    tasks = {"as_they_are": prompts, "turned": turned}  # what is known of the one is not of the other
    curve = finetune(native_model(), rows, options=light(None, steps=1), curve=CurveOptions(tasks=tasks)).curve
    assert curve is not None
    known = []
    for name, table in tasks.items():
        alone = sc.evaluate(native_model(), tasks={name: table})
        known.append(known_claims(alone.measurements))
        (wanted,) = (row for row in alone.estimates.to_pylist() if row["metric"] == "harm" and row["subset"] == "all")
        (found,) = (r for r in curve.to_pylist() if (r["metric"], r["task"], r["step"]) == ("harm", name, 0))
        assert (found["value"], found["n"]) == pytest.approx((wanted["value"], wanted["n"]), nan_ok=True)
    assert known[0].isdisjoint(known[1])
    assert all(known)


def test_without_a_metric_the_last_step_is_kept(rows: pa.Table, tasks: dict[str, pa.Table]) -> None:
    wanted = finetune(native_model(), rows, options=light(4))
    found = finetune(native_model(), rows, options=light(4), curve=CurveOptions(tasks=tasks, every=2))
    assert found.best_step is None
    assert all(
        torch.equal(a, b)
        for a, b in zip(parameters(found.model).values(), parameters(wanted.model).values(), strict=True)
    )


def test_steps_that_are_named_are_measured_with_both_ends(rows: pa.Table, tasks: dict[str, pa.Table]) -> None:
    every, named = (
        finetune(
            native_model(), rows, options=light(None), curve=CurveOptions(tasks=tasks, **when), progress=False
        ).curve
        for when in ({"every": 1}, {"at": (1, 4)})
    )
    assert every is not None and named is not None
    wanted = every.filter(pc.is_in(every["step"], pa.array([0, 1, 4, 6])))
    assert named.to_pandas().equals(wanted.to_pandas())  # to which NaN is NaN


def test_it_stops_after_as_many_evaluations_as_the_patience_without_a_better_one(
    rows: pa.Table, tasks: dict[str, pa.Table]
) -> None:
    curve = CurveOptions(tasks=tasks, every=2, metric="sycophancy_effect_margin", patience=2)
    found = finetune(native_model(), rows, options=light(None, steps=40), curve=curve)
    assert found.curve is not None
    assert found.best_step is not None
    steps = sorted(set(found.curve["step"].to_pylist()))
    assert steps == list(range(0, found.best_step + 5, 2))
    assert found.log.num_rows == found.best_step + 4 < 40
    assert f"kept step {found.best_step}" in repr(found)


def content(result: FinetuneResult, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in result.save(folder)}


@RANKS
def test_p11_an_interrupted_training_goes_on_to_the_same_bytes(
    lora_rank: int | None, rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    options = light(lora_rank)
    curve = CurveOptions(tasks=tasks, every=2, metric="sycophancy_effect_margin")
    wanted = content(finetune(native_model(), rows, options=options, curve=curve), tmp_path / "whole")

    def interrupt(done: int, total: int) -> None:
        if done in (2, 3):
            signal.raise_signal(signal.SIGINT)

    for step in (2, 3):
        with pytest.raises(KeyboardInterrupt, match=f"after step {step}"):
            finetune(native_model(), rows, options=options, curve=curve, run=tmp_path / "run", progress=interrupt)
    resumed = finetune(native_model(), rows, options=options, curve=curve, run=tmp_path / "run")
    assert content(resumed, tmp_path / "resumed") == wanted
    assert "training_curve.parquet" in wanted
    assert list((tmp_path / "run").iterdir()) == []
    other = CurveOptions(tasks=tasks, every=3)
    with pytest.raises(KeyboardInterrupt):
        finetune(native_model(), rows, options=options, curve=curve, run=tmp_path / "run", progress=interrupt)
    with pytest.raises(DataError, match="made with other options, rows, tokens, curve or starting weights"):
        finetune(native_model(), rows, options=options, curve=other, run=tmp_path / "run")


def train_and_kill(rows: pa.Table, options: FinetuneOptions, curve: CurveOptions, folder: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    finetune(native_model(), rows, options=options, curve=curve, run=folder, progress=kill)


def test_p1_a_killed_training_goes_on_to_the_same_bytes(
    rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    options = light(4, checkpoint_steps=2)
    curve = CurveOptions(tasks=tasks, every=1, metric="sycophancy_effect_margin", patience=6)
    wanted = content(finetune(native_model(), rows, options=options, curve=curve), tmp_path / "whole")
    assert exit_of_fresh_process(train_and_kill, rows, options, curve, tmp_path / "run") == -signal.SIGKILL
    assert (tmp_path / "run" / "finetune.checkpoint.safetensors").is_file()
    resumed = finetune(native_model(), rows, options=options, curve=curve, run=tmp_path / "run")
    assert content(resumed, tmp_path / "resumed") == wanted


@RANKS
def test_p11_a_training_that_was_stopped_early_and_not_saved_trains_no_step_more(
    lora_rank: int | None, rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    options = light(lora_rank, steps=40)
    curve = CurveOptions(tasks=tasks, every=2, metric="sycophancy_effect_margin", patience=2)
    wanted = finetune(native_model(), rows, options=options, curve=curve, run=tmp_path / "run")
    steps: list[int] = []
    found = finetune(
        native_model(),
        rows,
        options=options,
        curve=curve,
        run=tmp_path / "run",
        progress=lambda done, _: steps.append(done),
    )
    assert (steps, found.best_step) == ([], wanted.best_step)
    assert content(found, tmp_path / "found") == content(wanted, tmp_path / "wanted")


def test_an_adapter_is_applied_for_a_while_and_leaves_no_trace(tasks: dict[str, pa.Table]) -> None:
    prompts = tasks["claims"]
    model, merged = native_model(), native_model()
    for one in (model, merged):
        attach_adapter(one.model, AdapterOptions(rank=4), seed=0)
        torch.manual_seed(1)
        with torch.no_grad():
            for name, tensor in one.model.named_parameters():
                if name.endswith(".b"):
                    tensor.normal_(0, 0.3)
    merge_adapter(merged.model)
    before = parameters(model)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        plain = model.model(ids).logits
        with applied_adapter(model.model):
            assert (model.score(prompts).log_prob == merged.score(prompts).log_prob).all()
            assert torch.equal(model.model(ids).logits, plain)
    after = parameters(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(ModelError, match=r"is a sycophancy_core\.training\.adapters\."):
        model.score(prompts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {}}, "tasks must hold at least one table of prompts"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"at": (2, -1)}, "at must be at least 0, got -1"),
        ({"metric": "cheer"}, "metric must be None or one of accuracy, .* got 'cheer'"),
        ({"patience": 2}, "patience needs a metric, got patience 2, metric None"),
        ({"metric": "harm", "patience": 0}, "patience must be at least 1 or None, got 0"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, object], message: str, tasks: dict[str, pa.Table]) -> None:
    with pytest.raises(DataError, match=message):
        CurveOptions(**({"tasks": tasks} | changes))


def test_a_metric_that_no_task_has_is_refused_before_the_first_step(rows: pa.Table, tasks: dict[str, pa.Table]) -> None:
    model = tiny_model()
    before = parameters(model)
    with pytest.raises(DataError, match=r"no task has the metric 'accuracy'; choose one of accuracy_none, "):
        finetune(model, rows, options=light(None), curve=CurveOptions(tasks=tasks, metric="accuracy"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(model).items())


@pytest.fixture(scope="module")
def known_and_not(tasks: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Prompts about the claims that the untouched model knows, and about the others: these can come to no harm."""
    claims = sc.make_claims(sc.load_examples(), seed=3).slice(0, 12)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="test"), seed=1)
    known = known_claims(sc.evaluate(native_model(), tasks={"all": prompts}).measurements)
    mask = pc.is_in(prompts["claim_id"], pa.array(sorted(known)))
    return {"known": prompts.filter(mask), "not_known": prompts.filter(pc.invert(mask))}


def test_a_task_in_which_the_metric_is_undefined_does_not_hinder_the_choice(
    rows: pa.Table, known_and_not: dict[str, pa.Table]
) -> None:
    for tasks in (known_and_not, {"known": known_and_not["known"]}):
        curve = CurveOptions(tasks=tasks, every=1, metric="harm")
        found = finetune(native_model(), rows, options=light(None, steps=3), curve=curve)
        assert found.curve is not None
        harm = {
            r["step"]: abs(r["value"]) for r in found.curve.to_pylist() if (r["task"], r["metric"]) == ("known", "harm")
        }
        assert found.best_step == min(harm, key=lambda step: harm[step])


def test_a_metric_without_a_value_is_refused_before_the_first_step(
    rows: pa.Table, known_and_not: dict[str, pa.Table]
) -> None:
    model = native_model()
    before = parameters(model)
    curve = CurveOptions(tasks={"not_known": known_and_not["not_known"]}, metric="harm", patience=1)
    with pytest.raises(
        DataError, match=r"'harm' has no value for the untouched model \(no claim is known .*\); choose an"
    ):
        finetune(model, rows, options=light(None), curve=curve)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(model).items())


def test_the_plot_shows_loss_and_metrics_and_the_kept_step(rows: pa.Table, tasks: dict[str, pa.Table]) -> None:
    curve = CurveOptions(tasks=tasks, every=2, metric="sycophancy_effect_margin")
    found = finetune(native_model(), rows, options=light(4), curve=curve)
    loss, claims, sums = found.plot().axes
    assert loss.lines[0].get_xydata()[:, 1].tolist() == found.log["loss"].to_pylist()
    assert (claims.get_title(loc="left"), sums.get_title(loc="left")) == ("claims", "addition_factorial")
    assert [line.get_xdata()[0] for line in loss.lines if line.get_linestyle() == "--"] == [found.best_step]
