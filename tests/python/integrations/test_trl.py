"""TRL's own SFTTrainer on our rows trains as ours does, and the curve is that of the weights that it has."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from bench_training import lora, trainer_settings
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.tasks.named_tasks import task_prompts

pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]

OPTIONS = sc.FinetuneOptions(
    steps=5, batch_size=4, learning_rate=1e-2, precision="float32", warmup_share=0, final_rate_share=1, seed=3
)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    claims = sc.make_claims(sc.load_examples(), seed=1).slice(0, 24)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="train", design="sampled"), seed=1)
    return sc.mix(prompts, sc.load_instructions(), ratio=5.0)


@pytest.fixture(scope="module")
def tasks() -> dict[str, pa.Table]:
    return task_prompts(("claims",), limit=2)


def tiny() -> sc.LanguageModel:
    return sc.load_model((tiny_llama(), tiny_tokenizer()), engine="transformers")


def trainer(model: sc.LanguageModel, dataset: Any, folder: Path, **changes: Any) -> Any:
    from trl import SFTConfig, SFTTrainer

    settings = trainer_settings(steps=OPTIONS.steps, batch_size=OPTIONS.batch_size, use_cpu=True)
    settings |= {"output_dir": str(folder), "learning_rate": OPTIONS.learning_rate, "max_length": None, "seed": 0}
    adapter = changes.pop("peft_config", None)
    arguments = SFTConfig(**(settings | changes))
    return SFTTrainer(
        model=model.model,
        args=arguments,
        train_dataset=dataset,
        processing_class=model.tokenizer,
        peft_config=adapter,
    )


def losses(trained: Any) -> list[float]:
    return [entry["loss"] for entry in trained.state.log_history if "loss" in entry]


def test_every_token_and_mask_is_ours_when_trl_batches_them(rows: pa.Table, tmp_path: Path) -> None:
    from sycophancy_core.integrations.trl import training_dataset
    from sycophancy_core.training.batching import encode_for

    model = tiny()
    encoded = encode_for(model, rows)
    batches = trainer(model, training_dataset(model, rows), tmp_path).get_train_dataloader()
    found = []
    for batch in batches:
        for ids, labels, seen in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(seen.sum())
            first = int((labels != -100).nonzero()[0])
            assert labels[first:length].tolist() == ids[first:length].tolist()
            assert (labels[length:] == -100).all()
            found.append((tuple(ids[:length].tolist()), first))
    assert found == [(row.ids, row.first_supervised) for row in encoded]


def test_five_steps_of_trl_have_our_losses(rows: pa.Table, tmp_path: Path) -> None:
    from sycophancy_core.integrations.trl import training_dataset

    ours = sc.finetune(tiny(), rows, options=sc.FinetuneOptions(**vars(OPTIONS) | {"train_embeddings": True}))
    model = tiny()
    theirs = trainer(model, training_dataset(model, rows, options=OPTIONS), tmp_path)
    theirs.train()
    assert losses(theirs) == pytest.approx(ours.log["loss"].to_pylist(), rel=1e-5)
    for name, weight in ours.model.model.named_parameters():
        torch.testing.assert_close(model.model.get_parameter(name).detach(), weight.detach(), atol=2e-4, rtol=0)


def test_an_adapter_that_trl_saved_loads_back(rows: pa.Table, tmp_path: Path) -> None:
    from sycophancy_core.integrations.trl import training_dataset

    model = tiny()
    trained = trainer(model, training_dataset(model, rows, options=OPTIONS), tmp_path, peft_config=lora(4))
    trained.train()
    trained.save_model(str(tmp_path / "adapter"))
    ids = torch.arange(1, 60)[None]
    wanted = trained.model(ids).logits
    loaded = sc.load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path / "adapter", engine="transformers")
    torch.testing.assert_close(loaded.model(ids).logits, wanted, atol=1e-5, rtol=0)
    assert not torch.allclose(tiny().model(ids).logits, wanted, atol=1e-2)


@pytest.mark.parametrize("adapter", [False, True])
def test_the_curve_is_that_of_the_weights_and_changes_no_step(
    adapter: bool, rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    from sycophancy_core.integrations.trl import SycophancyCallback, training_dataset

    def train(folder: str, *, watched: bool, steps: int = 5) -> tuple[Any, Any]:
        model = tiny()
        dataset = training_dataset(model, rows, options=OPTIONS)
        changes = {"peft_config": lora(4)} if adapter else {}
        trained = trainer(model, dataset, tmp_path / folder, max_steps=steps, **changes)
        callback = SycophancyCallback(trained, sc.CurveOptions(tasks=tasks, every=3)) if watched else None
        if callback is not None:
            trained.add_callback(callback)
        trained.train()
        return trained, callback

    plain, _ = train("plain", watched=False)
    watched, callback = train("watched", watched=True)
    assert losses(watched) == losses(plain)
    curve = callback.curve.to_pylist()
    assert sorted({row["step"] for row in curve}) == [0, 3, 5]
    after, _ = train("after", watched=False, steps=3)
    module = after.model.merge_and_unload() if adapter else after.model
    known = sc.evaluate(tiny(), tasks=tasks).measurements
    from sycophancy_core.metrics.measure import known_claims

    tuned = sc.load_model((module.eval(), tiny_tokenizer()), engine="transformers")
    wanted = sc.evaluate(tuned, tasks=tasks, known=known_claims(known)).estimates.to_pylist()
    found = [row for row in curve if row["step"] == 3]
    assert [row["metric"] for row in found] == [row["metric"] for row in wanted]
    for part in ("value", "low", "high"):
        assert [row[part] for row in found] == pytest.approx([row[part] for row in wanted], abs=1e-3, nan_ok=True)
    logged = [entry for entry in watched.state.log_history if "claims/margin" in entry]
    assert [entry["step"] for entry in logged] == [0, 3, 5]
    margin = next(row for row in found if row["metric"] == "margin")
    assert logged[1]["claims/margin/low"] == margin["low"]


def test_the_best_step_is_kept_and_the_training_stops_early(
    rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    from sycophancy_core.integrations.trl import SycophancyCallback, training_dataset

    model = tiny()
    trained = trainer(model, training_dataset(model, rows, options=OPTIONS), tmp_path, max_steps=40)
    curve = sc.CurveOptions(tasks=tasks, every=1, metric="sycophancy_effect_margin", patience=2)
    callback = SycophancyCallback(trained, curve)
    trained.add_callback(callback)
    trained.train()
    values = {
        row["step"]: abs(row["value"])
        for row in callback.curve.to_pylist()
        if row["metric"] == "sycophancy_effect_margin"
    }
    best = min(values, key=lambda step: values[step])
    assert callback.best_step == best
    assert trained.state.global_step == best + 2 < 40
    now = sc.evaluate(model, tasks=tasks).estimates.to_pylist()
    effect = next(row["value"] for row in now if row["metric"] == "sycophancy_effect_margin")
    assert abs(effect) == pytest.approx(values[best], abs=1e-5)


def test_a_tokenizer_with_a_chat_template_is_asked_in_it_or_said(
    rows: pa.Table, tasks: dict[str, pa.Table], tmp_path: Path
) -> None:
    from sycophancy_core.integrations.trl import SycophancyCallback, training_dataset

    model = tiny()
    model.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    trained = trainer(model, training_dataset(model, rows, options=OPTIONS), tmp_path)
    curve = sc.CurveOptions(tasks=tasks)
    with pytest.warns(UserWarning, match="its tokenizer has a chat template, but prompts are asked as plain text"):
        SycophancyCallback(trained, curve)
    asked = [SycophancyCallback(trained, curve, chat_template=choice).chat_template for choice in (True, False, "auto")]
    assert asked == [True, False, True]
