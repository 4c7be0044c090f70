"""Fine-tuning: the loss is transformers' own, resuming gives the same weights, an adapter is PEFT's."""

import contextlib
import re
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from makers import tiny_families as tiny_models
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

from sycophancy_core import CurveOptions, FinetuneOptions, LanguageModel, finetune, load_model
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.tasks.named_tasks import task_prompts

PROMPTS = [f"Is {n} odd?" * (1 + n % 3) for n in range(24)]
ROWS = pa.table(
    {
        "id": [str(n) for n in range(24)],
        "origin": ["synthetic"] * 24,
        "prompt": PROMPTS,
        "completion": [" (A)" if n % 2 else " (B)" for n in range(24)],
    }
)
LIGHT = FinetuneOptions(steps=6, batch_size=8, learning_rate=1e-2, precision="float32")


def weights(model: object) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def contents(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write files that are larger, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_fine_tuning_learns_in_place_and_says_so(lora_rank: int | None) -> None:
    model = tiny_model()
    module, before = model.model, weights(model)
    options = FinetuneOptions(steps=30, batch_size=8, learning_rate=2e-2, lora_rank=lora_rank)
    result = finetune(model, ROWS, options=options)
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0] / 2
    assert result.log["step"].to_pylist() == list(range(1, 31))
    assert model.model is module
    assert not same(before, weights(model))
    assert torch.equal(before["model.embed_tokens.weight"], module.model.embed_tokens.weight)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    tuned = [finetune(tiny_model(), ROWS, options=FinetuneOptions(steps=3, batch_size=8, seed=s)) for s in (1, 1, 2)]
    assert same(weights(tuned[0].model), weights(tuned[1].model))
    assert not same(weights(tuned[0].model), weights(tuned[2].model))


def test_accumulation_is_the_same_step_in_parts() -> None:
    whole = finetune(tiny_model(), ROWS, options=LIGHT)
    parts = finetune(
        tiny_model(),
        ROWS,
        options=FinetuneOptions(steps=6, batch_size=8, learning_rate=1e-2, precision="float32", accumulation=4),
    )
    assert whole.log["loss"].to_pylist() == pytest.approx(parts.log["loss"].to_pylist(), rel=1e-4)


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_p11_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, lora_rank: int | None) -> None:
    options = FinetuneOptions(steps=6, batch_size=8, learning_rate=1e-2, lora_rank=lora_rank)
    wanted = finetune(tiny_model(), ROWS, options=options)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    goes_on = "the same call goes on" if lora_rank else "the same call on the model loaded once more goes on"
    with pytest.raises(KeyboardInterrupt, match=rf"after step 3; kept in .*\.checkpoint\.safetensors; {goes_on}"):
        finetune(tiny_model(), ROWS, options=options, run=tmp_path, progress=interrupt)
    resumed = finetune(tiny_model(), ROWS, options=options, run=tmp_path)
    assert same(weights(wanted.model), weights(resumed.model))
    assert resumed.log.drop_columns("seconds").equals(wanted.log.drop_columns("seconds"))


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_p11_a_training_that_was_not_saved_goes_on_from_its_last_step_to_the_same_bytes(
    tmp_path: Path, lora_rank: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", replace(LIGHT, lora_rank=lora_rank, checkpoint_steps=4)
    lost = finetune(tiny_model(), ROWS, options=options, run=run)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="could not write"):
        patch.setattr("os.fsync", no_space)
        lost.save(tmp_path / "full")
    steps: list[int] = []
    again = finetune(tiny_model(), ROWS, options=options, run=run, progress=lambda done, _: steps.append(done))
    assert steps == []
    wanted = contents(finetune(tiny_model(), ROWS, options=options).save(tmp_path / "wanted"))
    assert contents(again.save(run)) == wanted
    assert {path.name for path in run.iterdir()} == set(wanted)


def test_after_ctrl_c_with_an_adapter_the_model_is_as_it_was_and_the_same_call_goes_on(tmp_path: Path) -> None:
    options = replace(LIGHT, lora_rank=4)
    wanted = finetune(tiny_model(), ROWS, options=options)
    model = tiny_model()
    before = weights(model)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finetune(model, ROWS, options=options, run=tmp_path, progress=interrupt)
    assert weights(model).keys() == before.keys()
    assert same(before, weights(model))
    steps: list[int] = []
    finetune(model, ROWS, options=options, run=tmp_path, progress=lambda done, _: steps.append(done))
    assert steps == [4, 5, 6]
    assert same(weights(wanted.model), weights(model))


@pytest.mark.parametrize("kept_bytes", [0, 4, 2000])
def test_p10_a_damaged_checkpoint_is_named_and_the_training_is_not_begun_anew(tmp_path: Path, kept_bytes: int) -> None:
    finetune(tiny_model(), ROWS, options=LIGHT, run=tmp_path)
    checkpoint = tmp_path / "finetune.checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept_bytes])
    with pytest.raises(
        DataError, match=r"finetune\.checkpoint\.safetensors: wanted .* got a damaged file .*; delete it"
    ):
        finetune(tiny_model(), ROWS, options=LIGHT, run=tmp_path)
    assert checkpoint.stat().st_size == kept_bytes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_in_half_precision_are_not_trained_and_nothing_changes(dtype: str) -> None:
    model = load_model((tiny_llama().to(getattr(torch, dtype)), tiny_tokenizer()), engine="transformers")
    before = model.digest
    with pytest.raises(
        ModelError, match=rf"embed_tokens\.weight of model .* is in {dtype}, wanted float32, since .*; train an adapter"
    ):
        finetune(model, ROWS, options=LIGHT)
    assert model.digest == before


def test_p10_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    from tokenizers.normalizers import Lowercase

    def interrupt(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_model(), ROWS, options=LIGHT, run=tmp_path, progress=interrupt)
    with pytest.raises(DataError, match="made with other options, rows, tokens, curve or starting weights"):
        finetune(tiny_model(seed=1), ROWS, options=LIGHT, run=tmp_path)
    other = tiny_model()
    other.tokenizer.backend_tokenizer.normalizer = Lowercase()
    with pytest.raises(DataError, match="made with other options, rows, tokens"):
        finetune(other, ROWS, options=LIGHT, run=tmp_path)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # inside PEFT
def test_a_saved_adapter_gives_the_same_model_through_peft_and_through_load_model(tmp_path: Path) -> None:
    from peft import PeftModel

    result = finetune(tiny_model(), ROWS, options=FinetuneOptions(steps=4, batch_size=8, lora_rank=4))
    result.save(tmp_path)
    ids = torch.tensor([result.model.tokenizer("Is 3 odd?")["input_ids"]])
    wanted = result.model.model(ids).logits
    through_peft = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    ours = load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path, engine="transformers")
    assert torch.allclose(through_peft(ids).logits, wanted, atol=1e-5)
    assert torch.equal(ours.model(ids).logits, wanted)


def family_model(family: str) -> LanguageModel:
    return load_model((tiny_models.tiny_model(family), tiny_models.tiny_tokenizer()), engine="transformers")


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("phi3", {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
        ("gpt-neox", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
    ],
)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # inside PEFT
def test_an_adapter_changes_every_matrix_of_the_blocks_whatever_its_name(
    family: str, layers: set[str], tmp_path: Path
) -> None:
    from peft import PeftModel

    model = family_model(family)
    before = weights(model)
    finetune(model, ROWS, options=replace(LIGHT, lora_rank=2)).save(tmp_path)
    changed = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[-2] for name in changed} == layers
    assert changed == {name for name, tensor in before.items() if re.search(r"\.\d\.", name) and tensor.dim() == 2}
    again = load_model((family_model(family).model, model.tokenizer), adapter=tmp_path, engine="transformers")
    assert same(weights(model), weights(again))
    ids = torch.arange(20)[None]
    through_peft = PeftModel.from_pretrained(family_model(family).model, tmp_path)
    assert torch.allclose(through_peft(ids).logits, model.model(ids).logits, atol=1e-4)


def test_an_adapter_on_blocks_with_other_matrices_is_refused_and_leaves_the_model_alone() -> None:
    model = family_model("gpt2")
    before = model.digest
    with pytest.raises(
        ModelError, match=r"got transformer\.h\.0\.attn\.c_attn\.weight \(Conv1D\); train without lora_rank"
    ):
        finetune(model, ROWS, options=replace(LIGHT, lora_rank=2))
    assert model.digest == before


def test_a_fully_tuned_model_loads_from_its_folder(tmp_path: Path) -> None:
    result = finetune(tiny_model(), ROWS, options=LIGHT)
    result.save(tmp_path)
    assert same(weights(load_model(tmp_path, engine="transformers")), weights(result.model))


@pytest.mark.parametrize("ranks", [(4, None), (None, 4)])
def test_a_save_over_another_kind_of_training_leaves_one_that_can_be_loaded(
    tmp_path: Path, ranks: tuple[int | None, int | None]
) -> None:
    prompts = pa.table({"prompt": ["So it is", "Not"], "choices": [["A", "B"], ["A", "B"]]})
    curve = CurveOptions(tasks={"claims": task_prompts(["claims"], limit=2)["claims"]}, every=4)
    for rank, own in zip(ranks, (curve, None), strict=True):
        result = finetune(tiny_model(), ROWS, options=replace(LIGHT, lora_rank=rank), curve=own)
        result.save(tmp_path)
    assert not (tmp_path / "training_curve.parquet").exists()
    if ranks[-1] is None:
        found = load_model(tmp_path, engine="transformers")
    else:
        with pytest.raises(ModelError, match="holds an adapter, not a model; give an adapter's folder as adapter="):
            load_model(tmp_path)
        found = load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path, engine="transformers")
    assert found.score(prompts).log_prob == pytest.approx(result.model.score(prompts).log_prob, abs=1e-4)


def test_a_save_that_fails_leaves_the_model_in_the_folder_as_it_was(tmp_path: Path) -> None:
    wanted = finetune(tiny_model(), ROWS, options=LIGHT)
    files = contents(wanted.save(tmp_path))
    other = finetune(tiny_model(seed=1), ROWS, options=LIGHT)
    with files_of_at_most(20_000), pytest.raises(OSError, match=r"could not write .*: .*File too large"):
        other.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(files)
    assert same(weights(load_model(tmp_path, engine="transformers")), weights(wanted.model))


def test_a_checkpoint_that_cannot_be_written_says_so_and_leaves_no_part_of_one(tmp_path: Path) -> None:
    options = replace(LIGHT, checkpoint_steps=4)
    with files_of_at_most(20_000), pytest.raises(OSError, match=r"could not write .*checkpoint.*: .*File too large"):
        finetune(tiny_model(), ROWS, options=options, run=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_save_that_is_killed_between_two_files_leaves_no_mixed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune(tiny_model(), ROWS, options=LIGHT).save(tmp_path)
    other = finetune(tiny_model(seed=1), ROWS, options=LIGHT)
    rename = Path.rename

    def fail_at_the_weights(path: Path, target: Path) -> Path:
        if path.suffix == ".safetensors":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_weights)
    with pytest.raises(OSError, match=r"could not write .*model\.safetensors: Input/output error"):
        other.save(tmp_path)
    with pytest.raises(ModelError, match=r"found no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_a_save_returns_the_files_that_it_wrote_and_no_other(tmp_path: Path, lora_rank: int | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    written = finetune(tiny_model(), ROWS, options=replace(LIGHT, lora_rank=lora_rank)).save(tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} - {"notes.txt"}


def test_a_chat_model_is_trained_on_the_tokens_of_its_template() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}<assistant>"
    tokens = []
    for chat in (False, True):
        model = LanguageModel(tiny_llama(), tokenizer, name="tiny", engine="transformers", chat_template=chat)
        tokens.append(finetune(model, ROWS.slice(0, 8), options=replace(LIGHT, steps=1)).log["tokens"][0].as_py())
    added = len("<user>") + 1 + len("<assistant>") - 1  # <end> is one token; a reply has no leading space
    assert tokens[1] - tokens[0] == 8 * added


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import PartialState

    PartialState(cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="the launcher started 2 processes, but this one joined 1; where models are"):
        finetune(tiny_model(), ROWS, options=LIGHT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0 and finite, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be > 0 and finite, got nan"),
        ({"lora_alpha": float("inf")}, "lora_alpha must be > 0 and finite, got inf"),
        ({"lora_rank": 0}, "lora_rank must be at least 1 or None, got 0"),
        ({"max_tokens": 0}, "max_tokens must be at least 1 or None, got 0"),
        ({"checkpoint_steps": -1}, "checkpoint_steps must be at least 0 or None, got -1"),
        ({"weight_decay": -0.1}, "weight_decay must be >= 0 and finite, got -0.1"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm must be >= 0 and finite, got nan"),
        ({"batch_size": 10, "accumulation": 4}, "must be a multiple of accumulation 4"),
        ({"precision": "half"}, "precision must be auto, float32 or bfloat16, got 'half'"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FinetuneOptions(**changes)


def test_a_table_that_holds_no_training_rows_is_refused() -> None:
    prompts = pa.table({"id": ["a"], "prompt": ["So"], "choices": [["A", "B"]]})
    with pytest.raises(
        DataError, match="wanted training rows with the columns id, origin, prompt, completion, as mix makes"
    ):
        finetune(tiny_model(), prompts, options=LIGHT)


def test_the_published_size_is_a_thousand_steps_on_all_weights() -> None:
    options = FinetuneOptions.wei2023(batch_size=8)
    assert (options.steps, options.train_embeddings, options.lora_rank, options.batch_size) == (1000, True, None, 8)
