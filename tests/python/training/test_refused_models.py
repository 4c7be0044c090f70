"""What training refuses: numbers that are not finite, unknown tokens and positions, PEFT's adapters, a taken folder."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from tokenizers import AddedToken
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM, RobertaConfig, RobertaForCausalLM

from sycophancy_core import DataError, FinetuneOptions, ModelError, finetune, load_model
from sycophancy_core.training.adapters.low_rank import (
    Adapter,
    AdapterOptions,
    attach_adapter,
    merge_adapter,
    round_adapter,
)

ONE = FinetuneOptions(steps=1, batch_size=1, precision="float32")


def rows(prompt: str = "x") -> pa.Table:
    return pa.table({"id": ["a"], "origin": ["synthetic"], "prompt": [prompt], "completion": [" (A)"]})


def is_finite(module: Any) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in module.parameters())


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 5])
def test_a_loss_or_weight_that_is_not_finite_stops_and_is_never_merged(steps: int, clip: float, tmp_path: Path) -> None:
    module = tiny_llama()
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    options = FinetuneOptions(
        steps=steps, batch_size=1, lora_rank=2, learning_rate=1e38, max_grad_norm=clip, warmup_share=0
    )
    with pytest.raises(ModelError, match="finite"):
        finetune(load_model((module, tiny_tokenizer())), rows(), options=options, run=tmp_path)
    assert all(torch.equal(before[name], weight) for name, weight in module.named_parameters())
    assert list(tmp_path.glob("*.safetensors")) == [] or steps == 1


def test_training_all_weights_stops_at_the_first_loss_that_is_not_finite() -> None:
    module = tiny_llama()
    with torch.no_grad():
        module.model.norm.weight[0] = torch.inf
    model = load_model((module, tiny_tokenizer()), engine="transformers")
    with pytest.raises(ModelError, match=r"the loss of step 1 is (nan|inf), wanted a finite number; lower learning"):
        finetune(model, rows(), options=ONE)


def test_a_merge_that_overflows_changes_nothing() -> None:
    module = tiny_llama()
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    attach_adapter(module, AdapterOptions(rank=2, alpha=1e30), seed=0)
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.low_rank.b.fill_(1e30)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.down_proj\.weight and its update is not finite"):
        merge_adapter(module)
    assert all(torch.equal(before[n], w) for n, w in module.named_parameters() if n in before)


def test_an_adapter_is_not_saved_or_rounded_to_infinity(tmp_path: Path) -> None:
    adapter = Adapter(tensors={"layers.0.q": torch.tensor([1e6])}, options=AdapterOptions(rank=1), base="m")
    with pytest.raises(
        ModelError, match=r"layers\.0\.q has numbers that are not finite in float16; save it in float32"
    ):
        adapter.save(tmp_path, dtype="float16")
    assert list(tmp_path.iterdir()) == []
    module = tiny_llama()
    attach_adapter(module, AdapterOptions(rank=1), seed=0)
    with torch.no_grad():
        module.model.layers[0].mlp.up_proj.low_rank.b.fill_(1e6)
    with pytest.raises(ModelError, match="not finite in float16"):
        round_adapter(module, dtype="float16")


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=32, n_head=4, n_layer=2, n_positions=50))


def opt() -> Any:
    settings = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "num_hidden_layers": 1}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    return OPTForCausalLM(
        OPTConfig(vocab_size=257, num_attention_heads=4, max_position_embeddings=50, **settings, **ids)
    )


def roberta() -> Any:
    """Return a model whose config counts two positions more than a text can have."""
    settings = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    return RobertaForCausalLM(
        RobertaConfig(vocab_size=257, max_position_embeddings=52, is_decoder=True, pad_token_id=1, **settings)
    )


@pytest.mark.parametrize("make", [gpt2, opt, roberta])
@pytest.mark.parametrize(("length", "fits"), [(45, True), (50, True), (51, False)])
def test_rows_fill_learned_positions_and_never_go_beyond_them(make: Any, length: int, fits: bool) -> None:
    model = load_model((make().eval(), tiny_tokenizer()), engine="transformers")
    table = rows("x" * (length - 4))
    if fits:
        assert finetune(model, table, options=ONE).log["tokens"].to_pylist() == [length]
    for options in () if fits else (ONE, FinetuneOptions(steps=1, batch_size=1, max_tokens=1000)):
        with pytest.raises(DataError, match="has 51 tokens, wanted at most 50"):
            finetune(model, table, options=options)


def test_a_token_beyond_the_embeddings_is_named_before_a_step() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    with pytest.raises(
        DataError, match=r"token 257 \('<think>'\) is not in the model's vocabulary of 257; use the token"
    ):
        finetune(load_model((tiny_llama(), tokenizer)), rows("a <think>"), options=ONE)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # between two other packages
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("injected", [False, True])
def test_a_model_with_an_adapter_of_pefts_is_refused(rank: int | None, injected: bool) -> None:
    peft = pytest.importorskip("peft")
    module = tiny_llama()
    wrapped = peft.get_peft_model(module, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    model = load_model((module if injected else wrapped, tiny_tokenizer()), engine="transformers")
    options = FinetuneOptions(steps=1, batch_size=1, lora_rank=rank)
    with pytest.raises(
        ModelError, match=r"is PEFT's \w+, which would not be saved as it is trained; merge the adapter"
    ):
        finetune(model, rows(), options=options)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("injected", [False, True])
def test_a_model_with_an_adapter_of_pefts_is_refused(rank: int | None, injected: bool) -> None:
    peft = pytest.importorskip("peft")
    module = tiny_llama()
    wrapped = peft.get_peft_model(module, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    model = load_model((module if injected else wrapped, tiny_tokenizer()), engine="transformers")
    options = FinetuneOptions(steps=1, batch_size=1, lora_rank=rank)
    with pytest.raises(
        ModelError, match=r"is PEFT's \w+, which would not be saved as it is trained; merge the adapter"
    ):
        finetune(model, rows(), options=options)


def test_p7_a_second_training_in_a_folder_is_refused_before_a_step(tmp_path: Path) -> None:
    model = load_model((tiny_llama(), tiny_tokenizer()))
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    with one_writer(tmp_path), ThreadPoolExecutor(1) as other:
        second = other.submit(finetune, model, rows(), options=ONE, run=tmp_path)
        with pytest.raises(DataError, match="another .* writes this run"):
            second.result()
    assert all(torch.equal(before[name], weight) for name, weight in model.model.named_parameters())


@pytest.mark.parametrize("rank", [None, 2])
def test_a_folder_that_another_process_writes_is_refused_before_a_step(rank: int | None, tmp_path: Path) -> None:
    holding = (
        "import sys\nfrom sycophancy_core.runs.locks import one_writer\n"
        "with one_writer(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(tmp_path)]
    model = load_model((tiny_llama(), tiny_tokenizer()), engine="transformers")
    before = model.digest
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            DataError, match=rf"another process writes this run \(process {other.pid} on .*\); wait for"
        ):
            finetune(model, rows(), options=replace(ONE, lora_rank=rank), run=tmp_path)
        other.communicate("")
    assert model.digest == before


def test_a_disk_without_room_for_checkpoints_is_told_before_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tiny_llama(intermediate_size=64_000)  # 12 million numbers in its two blocks
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=300_000_000))
    with pytest.raises(
        DataError, match=r"result of this training need about 0\.34 GB, but 0\.30 GB are free; make room"
    ):
        finetune(load_model((module, tiny_tokenizer()), engine="transformers"), rows(), options=ONE, run=tmp_path)
    assert list(tmp_path.iterdir()) == []
