"""Where models come from, and what is refused."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_families import tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file
from tokenizers import processors

from sycophancy_core import ModelError
from sycophancy_core.scoring.checkpoints.saved_adapter import merge_saved_adapter
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.sources import weights_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model folder as save_pretrained writes it."""
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def write_adapter(folder: Path, **settings: object) -> dict[str, torch.Tensor]:
    """Write a LoRA adapter for the queries of layer 1 and return its tensors."""
    folder.mkdir()
    name = "base_model.model.model.layers.1.self_attn.q_proj"
    tensors = {f"{name}.lora_A.weight": torch.randn(2, 60), f"{name}.lora_B.weight": torch.randn(60, 2)}
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "layers_to_transform": [1],
        **settings,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return tensors


def test_a_folder_is_loaded_and_scored_natively(folder: Path) -> None:
    model = load_model(folder)
    assert (model.name, model.engine, model.precision) == ("tiny", "native", "float32/highest")
    assert model.context_length == 512
    assert repr(model) == "LanguageModel('tiny', engine='native', precision='float32/highest')"
    wanted = load_model(folder, engine="transformers")
    module = LanguageModel(wanted.model, tiny_tokenizer(), name="tiny")  # the same weights, as a module's
    assert module.engine == "native"
    asked = ["so"], [[" a", " b"]]
    assert model.log_probs(*asked).tolist() == module.log_probs(*asked).tolist()
    assert model.log_probs(*asked) == pytest.approx(wanted.log_probs(*asked), abs=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_scored_natively_in_every_precision(folder: Path, dtype: str) -> None:
    model = load_model(folder, dtype=dtype)
    assert (model.engine, model.precision) == ("native", f"{dtype}/highest")
    prompts = pa.table({"prompt": ["so"], "choices": [[" a", " b"]]})
    assert model.precision_check(prompts).max_margin_change == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of processors without the instructions
        check = load_model(folder, dtype=dtype, matmul_precision="high").precision_check(prompts)
    assert check.precision == f"{dtype}/high"
    assert 0 < check.max_margin_change < 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_keep_the_type_of_their_files_whatever_the_config_says(
    folder: Path, tmp_path: Path, dtype: str
) -> None:
    module = tiny_model("llama").to(getattr(torch, dtype))
    module.save_pretrained(tmp_path / "half")
    tiny_tokenizer().save_pretrained(tmp_path / "half")
    config = json.loads((tmp_path / "half/config.json").read_text())
    (tmp_path / "half/config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    assert load_model(tmp_path / "half").precision == f"{dtype}/highest"
    assert load_model(tmp_path / "half", dtype="float32").precision == "float32/highest"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
    assert load_model(folder).precision == "float32/highest"


def test_with_an_adapter_the_sum_of_both_is_not_rounded(tmp_path: Path) -> None:
    module = tiny_model("llama").bfloat16()
    module.save_pretrained(tmp_path / "half")
    tiny_tokenizer().save_pretrained(tmp_path / "half")
    write_adapter(tmp_path / "adapter")
    assert load_model(tmp_path / "half", adapter=tmp_path / "adapter").precision == "float32/highest"
    assert load_model(tmp_path / "half", adapter=tmp_path / "adapter", dtype="bfloat16").precision == "bfloat16/highest"


@pytest.mark.parametrize(
    ("precision", "flag", "lacking"),
    [
        ("medium", "avx512_bf16", "bfloat16 instructions (AVX-512 BF16 or AMX)"),
        ("high", "amx_bf16", "bfloat16 tiles (AMX)"),
    ],
)
def test_a_precision_that_takes_longer_says_so(folder: Path, precision: str, flag: str, lacking: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(folder, matmul_precision=precision)
    assert model.precision == f"float32/{precision}"
    processor = Path("/proc/cpuinfo")
    is_fast = processor.exists() and flag in processor.read_text()
    assert [str(w.message) for w in caught if "takes longer than 'highest'" in str(w.message)] == [
        f"model tiny: matmul_precision={precision!r} takes longer than 'highest' here, because this processor has no "
        f"{lacking}"
    ] * (not is_fast)


def test_a_device_that_is_not_there_is_one_sentence(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"load_model: device 'cuda:99' cannot take the model: \w+"):
        load_model(folder, device="cuda:99")
    with pytest.raises(ModelError, match="load_model: device 'toaster' cannot take the model: Expected one of cpu"):
        load_model(folder, device="toaster")
    assert load_model(folder, device="cpu").engine == "native"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_model_is_moved_to_its_device_and_scored_there(folder: Path) -> None:
    model = load_model(folder, device="cuda")
    assert (model.engine, model.precision) == ("native", "float32/highest")
    assert {weight.device.type for weight in model.model.parameters()} == {"cuda"}
    wanted = load_model(folder).log_probs(["so"], [[" a", " b"]])
    np.testing.assert_allclose(model.log_probs(["so"], [[" a", " b"]]), wanted, atol=1e-4)
    slow = load_model((model.model, model.tokenizer), engine="transformers")
    np.testing.assert_allclose(slow.log_probs(["so"], [[" a", " b"]]), wanted, atol=1e-4)
    assert model.digest == load_model(folder).digest


def test_a_pair_is_shared_not_copied() -> None:
    model = tiny_model("llama")
    loaded = load_model((model, tiny_tokenizer()), engine="transformers")
    assert loaded.model is model


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no folder no/such/folder; wanted"),
        ("missing.gguf", "there is no GGUF file at missing.gguf"),
    ],
)
def test_a_source_that_is_no_model_is_refused(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(source)


def test_a_folder_without_config_or_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"is not a model: wanted config.json and \*.safetensors, found no config.json"
    ):
        load_model(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds GGUF files; give one of them: \S*a\.gguf$"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytest_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"has no \*.safetensors file; pickled weights are never read"):
        load_model(tmp_path)


def test_a_folder_without_a_tokenizer_says_that_it_lacks_one(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, tmp_path / name)
    lacks = r"the tokenizer of \S+ cannot be loaded by transformers \(its files, such as tokenizer\.json, must be"
    with pytest.raises(ModelError, match=lacks):
        load_model(tmp_path)


def test_a_folder_that_holds_a_model_and_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "flattery")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "flattery" / name).rename(folder / name)
    with pytest.raises(ModelError, match="holds a model and an adapter, of which only one can be meant"):
        load_model(folder)


def test_a_pair_in_the_wrong_order_is_named() -> None:
    with pytest.raises(ModelError, match=r"got \w*Tokenizer\w* and LlamaForCausalLM$"):
        load_model((tiny_tokenizer(), tiny_model("llama")))


def test_options_are_checked() -> None:
    for option in ("dtype", "engine", "matmul_precision"):
        with pytest.raises(ModelError, match=f"{option} must be one of .*, got 'int3'"):
            load_model(**{option: "int3"})


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_checkpoint_that_lacks_a_weight_is_refused(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"lacks 1 of the model's weights .*'model\.layers\.1\.mlp\.up_proj\.weight'"):
        load_model(folder)


def test_a_checkpoint_of_other_names_is_refused_and_names_one(folder: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:  # as torch.compile's wrapper saves them
        for key in list(tensors):
            tensors[f"_orig_mod.{key}"] = tensors.pop(key)

    change_tensors(folder, rename)
    with pytest.raises(ModelError, match=r"it has '_orig_mod\.model\.embed_tokens\.weight', which the model does not"):
        load_model(folder)


def test_a_weight_of_another_shape_is_refused(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(59)}))
    with pytest.raises(ModelError, match=r"model\.norm\.weight"):
        load_model(folder)


def test_tensors_that_the_model_takes_no_notice_of_are_named(folder: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.bias"
    change_tensors(folder, lambda tensors: tensors.update({name: torch.ones(60)}))
    with pytest.warns(UserWarning, match=rf"ignores 1 tensors of .*{name}"):
        load_model(folder)


def test_an_adapter_is_merged_into_the_weights(folder: Path, tmp_path: Path) -> None:
    tensors = list(write_adapter(tmp_path / "flattery").values())
    model = load_model(folder, adapter=tmp_path / "flattery")
    weight = tiny_model("llama").model.layers[1].self_attn.q_proj.weight
    torch.testing.assert_close(
        model.model.model.layers[1].self_attn.q_proj.weight, weight + 4 * tensors[1] @ tensors[0]
    )
    assert model.name == "tiny+flattery"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # between two other packages
def test_a_merged_adapter_equals_peft(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    write_adapter(tmp_path / "flattery", use_rslora=True, task_type="CAUSAL_LM")
    merged = tiny_model("llama")
    merge_saved_adapter(merged, tmp_path / "flattery")
    wanted = peft.PeftModel.from_pretrained(tiny_model("llama"), tmp_path / "flattery").merge_and_unload()
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, wanted(ids).logits, atol=1e-4, rtol=1e-4)


def test_adapters_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no adapter_config.json"):
        merge_saved_adapter(tiny_model("llama"), tmp_path)
    write_adapter(tmp_path / "dora", use_dora=True)
    with pytest.raises(ModelError, match="it lacks tensors; save the whole adapter again"):
        merge_saved_adapter(tiny_model("llama"), tmp_path / "dora")
    write_adapter(tmp_path / "other")
    with pytest.raises(ModelError, match=r"does not fit the model: wanted a weight of shape \(60, 60\)"):
        merge_saved_adapter(tiny_model("gpt2"), tmp_path / "other")
    write_adapter(tmp_path / "pissa", init_lora_weights="pissa_niter_4")
    with pytest.raises(ModelError, match="init_lora_weights='pissa_niter_4' cannot be merged"):
        merge_saved_adapter(tiny_model("llama"), tmp_path / "pissa")


def test_a_refused_adapter_leaves_the_model_alone(tmp_path: Path) -> None:
    tensors = write_adapter(tmp_path / "deep")
    deeper = {key.replace("layers.1", "layers.2"): value.clone() for key, value in tensors.items()}
    save_file(tensors | deeper, tmp_path / "deep" / "adapter_model.safetensors")
    model = tiny_model("llama")
    with pytest.raises(ModelError, match=r"model\.layers\.2\.self_attn\.q_proj does not fit"):
        merge_saved_adapter(model, tmp_path / "deep")
    assert weights_digest(dict(model.named_parameters())) == weights_digest(
        dict(tiny_model("llama").named_parameters())
    )


def test_a_gemma_without_its_first_token_is_warned_of() -> None:
    module, tokenizer = tiny_model("gemma3"), tiny_tokenizer()
    with pytest.warns(UserWarning, match="model .*: a Gemma answers at random without its beginning-of-sequence token"):
        load_model((module, tokenizer))
    module.config.bos_token_id = 1
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", 1)]
    )
    load_model((module, tokenizer))
    module.config.bos_token_id = 2
    with pytest.warns(UserWarning, match="the tokenizer puts none before a prompt"):
        load_model((module, tokenizer))


def test_the_digest_follows_the_weights() -> None:
    model = LanguageModel(tiny_model("llama"), tiny_tokenizer(), name="tiny")
    before = model.digest
    assert before == LanguageModel(tiny_model("llama"), tiny_tokenizer(), name="other").digest
    assert before != LanguageModel(tiny_model("llama", seed=1), tiny_tokenizer(), name="tiny").digest
    with torch.no_grad():
        model.model.lm_head.weight[0, 0] += 1
    changed = model.digest
    assert changed != before
    model.model.lm_head.weight.data.mul_(2)  # which no counter of versions sees
    assert model.digest != changed


def test_the_digest_is_sha256_of_names_types_shapes_and_bytes() -> None:
    import hashlib

    wanted = hashlib.sha256(b"a:torch.float32:(2,)\n" + np.array([1, 2], np.float32).tobytes()).hexdigest()
    assert weights_digest({"a": torch.tensor([1.0, 2.0])}) == wanted


def test_the_tokenizer_digest_tells_chat_from_plain_text() -> None:
    tokenizer = tiny_tokenizer(chat_template="{{ messages[0]['content'] }}")
    plain, chat = (LanguageModel(tiny_model("llama"), tokenizer, name="x", chat_template=c) for c in (False, True))
    assert plain.tokenizer_digest != chat.tokenizer_digest
