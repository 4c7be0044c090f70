"""An adapter on a frozen base of any number type: PEFT's, equal to ours where both can, saved, loaded, resumed."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from makers import tiny_families
from makers.tiny_llama import tiny_llama, tiny_tokenizer

from sycophancy_core import CurveOptions, FinetuneOptions, LanguageModel, finetune, load_model
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.tasks.named_tasks import task_prompts

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning"),
]

ROWS = pa.table(
    {
        "id": [str(n) for n in range(24)],
        "origin": ["synthetic"] * 24,
        "prompt": [f"Is {n} odd?" * (1 + n % 3) for n in range(24)],
        "completion": [" (A)" if n % 2 else " (B)" for n in range(24)],
    }
)
LIGHT = FinetuneOptions(steps=6, batch_size=8, learning_rate=1e-2, precision="float32", lora_rank=4)
IDS = torch.arange(1, 40)[None]
KINDS = [
    {"lora_kind": "rslora"},
    {"lora_kind": "dora"},
    {"target_modules": r".*\.(q|v)_proj"},
    {"modules_to_save": ("lm_head",)},
]


def untied(dtype: str = "float32") -> Any:
    return tiny_llama(tie_word_embeddings=False).to(getattr(torch, dtype))


def model_of(module: Any) -> LanguageModel:
    return load_model((module, tiny_tokenizer()), engine="transformers")


def weights(module: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


def logits(module: Any) -> torch.Tensor:
    with torch.no_grad():
        return module(IDS).logits.float()


def test_pefts_adapter_trains_as_that_in_weight_space() -> None:
    options = replace(LIGHT, steps=20)
    ours = finetune(model_of(untied()), ROWS, options=options)
    through_peft = finetune(model_of(untied()), ROWS, options=replace(options, target_modules=r".*_proj"))
    assert through_peft.log["loss"].to_pylist() == pytest.approx(ours.log["loss"].to_pylist(), abs=1e-5)
    assert ours.adapter is not None
    assert through_peft.adapter is not None
    assert through_peft.adapter.tensors.keys() == ours.adapter.tensors.keys()
    for name, tensor in ours.adapter.tensors.items():
        torch.testing.assert_close(through_peft.adapter.tensors[name], tensor, atol=1e-3, rtol=0)
    torch.testing.assert_close(logits(through_peft.model.model), logits(ours.model.model), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: "-".join(changes))
def test_a_saved_adapter_of_any_kind_loads_in_peft_and_here(
    changes: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    module = untied(dtype)
    before = weights(module)
    model = load_model((module, tiny_tokenizer()))
    assert model.engine == "native"
    result = finetune(model, ROWS, options=replace(LIGHT, **changes))
    result.save(tmp_path)
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0]
    assert result.adapter is not None
    assert {str(tensor.dtype) for tensor in result.adapter.tensors.values()} == {"torch.float32"}
    wanted = logits(module)
    through_peft = peft.PeftModel.from_pretrained(untied(dtype), tmp_path).eval()
    beside = load_model((untied(dtype), tiny_tokenizer()), adapter=tmp_path, merge_adapter=False)
    assert beside.engine == "transformers"
    if dtype == "float32":
        merged = load_model((untied(), tiny_tokenizer()), adapter=tmp_path, engine="native")
        torch.testing.assert_close(logits(merged.model), wanted, atol=1e-6, rtol=0)
        torch.testing.assert_close(logits(through_peft), wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(logits(beside.model), wanted, atol=1e-4, rtol=0)
        assert result.model.engine == "native"
        return
    assert result.model.engine == "transformers"
    assert torch.equal(logits(beside.model), wanted)
    rounding = 0.0 if not changes.get("modules_to_save") else 0.1  # PEFT rounds whole modules to the base's type
    torch.testing.assert_close(logits(through_peft), wanted, atol=rounding, rtol=0)
    now = {name.replace(".base_layer", "").replace(".original_module", ""): t for name, t in weights(module).items()}
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())


def test_a_bfloat16_base_is_scored_with_its_adapter_after_training(tmp_path: Path) -> None:
    model = load_model((untied("bfloat16"), tiny_tokenizer()))
    prompts = pa.table({"prompt": ["So it is", "Not"], "choices": [["A", "B"], ["A", "B"]]})
    untouched = model.score(prompts).log_prob
    result = finetune(model, ROWS, options=replace(LIGHT, steps=20))
    result.save(tmp_path)
    again = load_model((untied("bfloat16"), tiny_tokenizer()), adapter=tmp_path, merge_adapter=False)
    assert (model.score(prompts).log_prob == again.score(prompts).log_prob).all()
    assert abs(model.score(prompts).log_prob - untouched).max() > 0.1


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_curve_is_measured_with_the_adapter_and_changes_no_step(dtype: str) -> None:
    options = replace(LIGHT, lora_kind="dora")
    tasks = {"claims": task_prompts(["claims"], limit=2)["claims"]}
    plain = finetune(model_of(untied(dtype)), ROWS, options=options)
    watched = finetune(model_of(untied(dtype)), ROWS, options=options, curve=CurveOptions(tasks=tasks, every=3))
    assert watched.log.drop_columns("seconds").equals(plain.log.drop_columns("seconds"))
    assert watched.curve is not None
    margin = {r["step"]: r["value"] for r in watched.curve.to_pylist() if r["metric"] == "sycophancy_effect_margin"}
    assert set(margin) == {0, 3, 6}
    assert len(set(margin.values())) == 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_p11_an_interrupted_training_with_peft_goes_on_to_the_same_bytes(dtype: str, tmp_path: Path) -> None:
    options = replace(LIGHT, lora_kind="dora", modules_to_save=("lm_head",))
    finetune(model_of(untied(dtype)), ROWS, options=options).save(tmp_path / "wanted")

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    module = untied(dtype)
    before = weights(module)
    with pytest.raises(KeyboardInterrupt, match=r"after step 3; kept in .*; the same call goes on from there"):
        finetune(model_of(module), ROWS, options=options, run=tmp_path / "run", progress=interrupt)
    assert before.keys() == weights(module).keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(module).items())
    steps: list[int] = []
    resumed = finetune(
        model_of(module), ROWS, options=options, run=tmp_path / "run", progress=lambda done, _: steps.append(done)
    )
    assert steps == [4, 5, 6]
    resumed.save(tmp_path / "run")
    for name in ("adapter_model.safetensors", "adapter_config.json", "training_log.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "wanted" / name).read_bytes(), name


def test_gradient_checkpointing_changes_no_loss_and_keeps_less() -> None:
    def train(is_on: bool) -> tuple[list[float], int]:
        module = tiny_llama(num_hidden_layers=6)
        kept: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = finetune(model_of(module), ROWS, options=replace(LIGHT, steps=1, gradient_checkpointing=is_on))
        assert not any(getattr(part, "gradient_checkpointing", False) for part in module.modules())
        return result.log["loss"].to_pylist(), sum(kept)

    (plain, all_kept), (checkpointed, few_kept) = train(False), train(True)
    assert checkpointed == pytest.approx(plain, rel=1e-6)
    assert few_kept < all_kept


def quantized() -> Any:
    torchao = pytest.importorskip("torchao.quantization")
    module = untied()
    torchao.quantize_(module, torchao.Int8WeightOnlyConfig())
    return module


@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear was instantiated without:UserWarning")
def test_an_int8_base_of_torchaos_gets_an_adapter_and_stays_as_it_is(tmp_path: Path) -> None:
    module = quantized()
    base = logits(quantized())
    torch.testing.assert_close(logits(module), base, atol=0, rtol=0)
    result = finetune(model_of(module), ROWS, options=replace(LIGHT, steps=20))
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0] / 2
    result.save(tmp_path)
    wanted = logits(module)
    assert not torch.allclose(wanted, base, atol=0.1)
    beside = load_model((quantized(), tiny_tokenizer()), adapter=tmp_path, merge_adapter=False)
    torch.testing.assert_close(logits(beside.model), wanted, atol=0, rtol=0)
    with pytest.raises(ModelError, match=r"is a Linear in .*give merge_adapter=False"):
        load_model((quantized(), tiny_tokenizer()), adapter=tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_8_bit_base_of_bitsandbytes_gets_an_adapter_and_stays_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    def load() -> Any:
        eight = BitsAndBytesConfig(load_in_8bit=True)
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=eight, dtype=torch.float32
        ).eval()

    untied().save_pretrained(tmp_path / "base")
    module, base = load(), logits(load())
    before = weights(module)
    assert {str(tensor.dtype) for tensor in before.values()} >= {"torch.int8"}
    with pytest.raises(ModelError, match=r"\(Int8Params, int8\) of model .* is quantized, and only an adapter"):
        finetune(model_of(module), ROWS, options=replace(LIGHT, lora_rank=None))
    result = finetune(model_of(module), ROWS, options=replace(LIGHT, steps=20), run=tmp_path / "run")
    result.save(tmp_path / "run")
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0] / 2
    now = {name.replace(".base_layer", ""): tensor for name, tensor in weights(module).items()}
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    wanted = logits(module)
    assert not torch.allclose(wanted, base, atol=0.1)
    beside = load_model((load(), tiny_tokenizer()), adapter=tmp_path / "run", merge_adapter=False)
    assert torch.equal(logits(beside.model), wanted)
    with pytest.raises(ModelError, match=r"is a Linear8bitLt in torch\.int8; .*give merge_adapter=False"):
        load_model((load(), tiny_tokenizer()), adapter=tmp_path / "run")


def test_a_quantized_base_without_an_adapter_is_refused() -> None:
    with pytest.raises(ModelError, match=r"q_proj\.weight \(\w+, \w+\) of model .* is quantized, and only an adapter"):
        finetune(model_of(quantized()), ROWS, options=replace(LIGHT, lora_rank=None))


def test_an_adapter_of_a_base_with_other_shapes_is_refused(tmp_path: Path) -> None:
    finetune(model_of(untied()), ROWS, options=LIGHT).save(tmp_path)
    for merge in (True, False):
        with pytest.raises(ModelError, match="trained on a model with other names or shapes of weights; load it on"):
            load_model((tiny_llama(num_hidden_layers=3), tiny_tokenizer()), adapter=tmp_path, merge_adapter=merge)


@pytest.mark.parametrize("changes", [{}, {"lora_kind": "rslora"}], ids=["weights", "peft"])
def test_a_rank_over_the_width_is_refused_and_the_model_left_alone(changes: dict[str, Any]) -> None:
    model = model_of(untied())
    before = model.digest
    with pytest.raises(
        DataError, match=r"lora_rank must be at most 32, the width of model\.layers\.0\.self_attn\.q_pro"
    ):
        finetune(model, ROWS, options=replace(LIGHT, lora_rank=33, **changes))
    assert model.digest == before


@pytest.mark.filterwarnings("ignore:.*[tT]ied.*:UserWarning")  # PEFT's own word on it
@pytest.mark.parametrize("changes", [{"modules_to_save": ("lm_head",)}, {"target_modules": "lm_head"}])
def test_weights_that_two_modules_share_get_no_adapter(changes: dict[str, Any]) -> None:
    model = model_of(tiny_llama())
    before = model.digest
    with pytest.raises(ModelError, match=r"lm_head shares its weight with model\.embed_tokens, which would change too"):
        finetune(model, ROWS, options=replace(LIGHT, **changes))
    assert model.digest == before


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")  # of PEFT, which then sets it
@pytest.mark.parametrize("changes", [{"lora_kind": "rslora"}, {"lora_kind": "dora"}, {"target_modules": ".*c_attn"}])
def test_gpt2s_transposed_layers_get_an_adapter_that_loads_in_peft_and_here(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    def model() -> LanguageModel:
        return load_model((tiny_families.tiny_model("gpt2"), tiny_families.tiny_tokenizer()), engine="transformers")

    result = finetune(model(), ROWS, options=replace(LIGHT, **changes))
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0]
    result.save(tmp_path)
    wanted = logits(result.model.model)
    through_peft = peft.PeftModel.from_pretrained(model().model, tmp_path).eval()
    torch.testing.assert_close(logits(through_peft), wanted, atol=1e-4, rtol=0)
    for merge in (True, False):
        pair = model().model, tiny_families.tiny_tokenizer()
        loaded = load_model(pair, adapter=tmp_path, merge_adapter=merge, engine="transformers")
        torch.testing.assert_close(logits(loaded.model), wanted, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning")
def test_experts_in_one_tensor_are_refused_and_the_layers_next_to_them_get_an_adapter() -> None:
    model = load_model((tiny_families.tiny_model("mixtral"), tiny_families.tiny_tokenizer()), engine="transformers")
    before = model.digest
    with pytest.raises(
        ModelError, match=r"gate\.weight is not a linear layer's weight .*choose target_modules without it"
    ):
        finetune(model, ROWS, options=replace(LIGHT, lora_kind="rslora"))
    assert model.digest == before
    loss = finetune(model, ROWS, options=replace(LIGHT, target_modules=r".*self_attn.*_proj")).log["loss"].to_pylist()
    assert loss[-1] < loss[0]


def test_modules_that_are_not_there_are_named() -> None:
    model = model_of(untied())
    before = model.digest
    with pytest.raises(ModelError, match=r"PEFT cannot put this adapter on the model \(.*nowhere"):
        finetune(model, ROWS, options=replace(LIGHT, target_modules="nowhere"))
    assert model.digest == before


def test_an_interrupt_while_the_adapter_is_put_on_leaves_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = untied()
    before = weights(module)
    update = peft.tuners.lora.LoraLayer.update_layer
    calls: list[int] = []

    def interrupted(self: Any, *args: Any, **settings: Any) -> None:
        update(self, *args, **settings)
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(peft.tuners.lora.LoraLayer, "update_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(model_of(module), ROWS, options=replace(LIGHT, lora_kind="rslora"))
    assert before.keys() == weights(module).keys()
    assert not hasattr(module, "peft_config")


@pytest.mark.filterwarnings("ignore:.*takes longer than 'highest' here:UserWarning")
def test_a_training_that_fails_leaves_the_engine_and_its_precision() -> None:
    model = load_model((untied("bfloat16"), tiny_tokenizer()), engine="native", matmul_precision="medium")
    prompts = pa.table({"prompt": ["So it is", "Not"], "choices": [["A", "B"], ["A", "B"]]})
    before, wanted = (model.engine, model.precision), model.score(prompts).log_prob
    assert before == ("native", "bfloat16/medium")

    def interrupt(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finetune(model, ROWS, options=LIGHT, progress=interrupt)
    assert (model.engine, model.precision) == before
    assert (model.score(prompts).log_prob == wanted).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_adapter_on_a_layer_that_the_forward_leaves_out_stays_what_it_was(dtype: str, tmp_path: Path) -> None:
    module = untied(dtype)
    module.model.unused = torch.nn.Linear(32, 32, dtype=getattr(torch, dtype))
    result = finetune(model_of(module), ROWS, options=replace(LIGHT, lora_kind="rslora"), run=tmp_path)
    loss = result.log["loss"].to_pylist()
    assert loss[-1] < loss[0]
    assert result.adapter is not None
    assert not result.adapter.tensors["base_model.model.model.unused.lora_B.weight"].any()


def test_gradient_checkpointing_of_a_model_that_has_none_is_refused() -> None:
    module = untied()
    module.supports_gradient_checkpointing = False
    model = model_of(module)
    before = model.digest
    with pytest.raises(
        ModelError, match="gradient_checkpointing: LlamaForCausalLM cannot compute blocks again; leave it"
    ):
        finetune(model, ROWS, options=replace(LIGHT, gradient_checkpointing=True))
    assert model.digest == before


def test_a_merge_of_dora_into_bfloat16_is_refused(tmp_path: Path) -> None:
    finetune(model_of(untied()), ROWS, options=replace(LIGHT, lora_kind="dora")).save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["use_dora"] is True
    with pytest.raises(ModelError, match="its sum would be rounded, since the model is not in float32"):
        load_model((untied("bfloat16"), tiny_tokenizer()), adapter=tmp_path)
