"""Saved adapters: checked whole before one weight is changed, and merged as PEFT merges them."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.tiny_families import tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from sycophancy_core import ModelError, load_model
from sycophancy_core.scoring.checkpoints.saved_adapter import merge_saved_adapter

Tensors = dict[str, torch.Tensor]
QUERY = "base_model.model.model.layers.1.self_attn.q_proj"
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"]}


def whole() -> Tensors:
    """Return an adapter for the queries and the way up of both layers."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in (0, 1):
        for module, size in (("self_attn.q_proj", 60), ("mlp.up_proj", 76)):
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(2, 60, generator=generator)
            tensors[f"{name}.lora_B.weight"] = torch.randn(size, 2, generator=generator)
    return tensors


def write(folder: Path, tensors: Tensors, config: Any = CONFIG) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def refuse(folder: Path, message: str, **options: Any) -> None:
    """Expect a refusal that leaves every weight alone."""
    model = tiny_model("llama")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with pytest.raises(ModelError, match=message):
        merge_saved_adapter(model, folder, **options)
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


def drop(part: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return change


def put(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[f"{QUERY}.{name}.weight"] = value(tensors[f"{QUERY}.{name}.weight"])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop(f"{QUERY}.lora_A"), r"layers\.1\.self_attn\.q_proj has no lora_A"),
        (drop(f"{QUERY}.lora_B"), r"layers\.1\.self_attn\.q_proj has no lora_B"),
        (drop("layers.1.mlp"), r"names model\.layers\.1\.mlp\.up_proj in target_modules, of which it has no tensor"),
        (drop("layers.1"), r"names model\.layers\.1\.self_attn\.q_proj in target_modules"),
        (drop("up_proj"), r"names model\.layers\.0\.mlp\.up_proj in target_modules"),
        (drop(""), "has no tensor"),
        (put("lora_A", lambda a: torch.cat([a, a])), "says r=2, but .* has 4 rows in lora_A and 2 columns in lora_B"),
        (put("lora_B", lambda b: b[:, :1].clone()), "has 2 rows in lora_A and 1 columns in lora_B"),
        (put("lora_A", lambda a: a * torch.nan), "lora_A.weight is not a matrix of finite numbers"),
        (put("lora_B", lambda b: b / 0), "lora_B.weight is not a matrix of finite numbers"),
        (put("lora_B", lambda b: b.long()), "lora_B.weight is not a matrix of finite numbers"),
        (put("lora_B", lambda b: torch.tensor(1.0)), "lora_B.weight is not a matrix of finite numbers"),
        (
            put("lora_B", lambda b: b * 6e37),
            r"the sum of model\.layers\.1\.self_attn\.q_proj and its update is not fin",
        ),
    ],
)
def test_an_adapter_that_is_not_whole_changes_no_weight(
    change: Callable[[Tensors], None], message: str, tmp_path: Path
) -> None:
    tensors = whole()
    change(tensors)
    refuse(write(tmp_path / "a", tensors), message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 64}, "the config says r=64, but"),
        ({"r": 0}, "r must be a whole number of at least 1, got 0"),
        ({"r": -2, "use_rslora": True}, "r must be a whole number of at least 1, got -2"),
        ({"r": True}, "r must be a whole number of at least 1, got True"),
        ({"r": "2"}, "r must be a whole number of at least 1, got '2'"),
        ({"r": None}, "r must be a whole number of at least 1, got None"),
        ({"lora_alpha": float("nan")}, "lora_alpha must be a finite number, got nan"),
        ({"lora_alpha": float("inf")}, "lora_alpha must be a finite number, got inf"),
        ({"lora_alpha": None}, "lora_alpha must be a finite number, got None"),
        ({"target_modules": ["q_proj", "up_proj", "v"]}, "its config names v in target_modules"),
        ({"target_modules": "("}, "it is damaged: .*error"),
        ({"target_modules": 3}, "it is damaged: TypeError"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices=.* cannot be merged"),
    ],
)
def test_a_config_that_says_otherwise_than_the_tensors_is_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refuse(write(tmp_path / "a", whole(), CONFIG | config), message)


@pytest.mark.parametrize(
    ("config", "message"), [("{", "is no JSON: JSONDecodeError"), ("[]", "got a list"), ("", "is no JSON")]
)
def test_a_config_that_is_no_json_object_is_named(config: str, message: str, tmp_path: Path) -> None:
    refuse(write(tmp_path / "a", whole(), config), rf"adapter_config\.json.* {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda content: content[:-9], "is damaged or no safetensors file; fetch it again"),
        (lambda content: b"", "is damaged or no safetensors file"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
    ],
)
def test_a_damaged_file_is_named(content: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", whole())
    path = folder / "adapter_model.safetensors"
    path.write_bytes(content(path.read_bytes()))
    refuse(folder, rf"adapter_model\.safetensors {message}")


@pytest.mark.parametrize(
    ("base", "name", "fits"),
    [
        ("tiny", "tiny", True),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct", True),
        ("/old/place/tiny/", "tiny", True),
        ("meta/Tiny-1B", "Tiny-1B.Q4_K_M", True),
        ("/cache/models--meta--Tiny-1B/snapshots/0a1b", "meta/Tiny-1B", True),
        ("", "tiny", True),
        ("another/model", "LlamaForCausalLM", True),  # made in memory: it has no name
        ("another/model", "tiny", False),
        ("meta/Tiny-1B", "Tiny-1B-Instruct", False),
        ("another/model+first", "tiny+first", False),
    ],
)
def test_an_adapter_that_names_another_model_is_merged_with_a_warning(
    base: str, name: str, fits: bool, tmp_path: Path
) -> None:
    folder = write(tmp_path / "a", whole(), CONFIG | {"base_model_name_or_path": base})
    wanted, found = tiny_model("llama"), tiny_model("llama")
    merge_saved_adapter(wanted, write(tmp_path / "b", whole()))
    words = re.escape(f"it says it was trained on {base}, and the model is {name}; its shapes fit, but")
    with nullcontext() if fits else pytest.warns(UserWarning, match=words):
        merge_saved_adapter(found, folder, name=name)
    for one, other in zip(wanted.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("base", "name"), [("tiny", "tiny+organism"), ("tiny+first", "tiny"), ("a+b", "other+c")])
def test_an_adapter_that_was_trained_on_top_of_others_is_refused_without_them(
    base: str, name: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "a", whole(), CONFIG | {"base_model_name_or_path": base})
    refuse(folder, re.escape(f"was trained on {base}, and the model is {name}; load it with the same"), name=name)


PEFT_OPTIONS: dict[str, dict[str, Any]] = {
    "list": {"target_modules": ["q_proj", "up_proj"]},
    "suffix": {"target_modules": ["self_attn.q_proj"]},
    "pattern": {"target_modules": r".*layers\.[01]\.mlp\.(up|down)_proj"},
    "all": {"target_modules": "all-linear"},
    "one layer": {"target_modules": ["q_proj", "k_proj"], "layers_to_transform": 1},
    "layers by their name": {"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": "layers"},
    "excluded": {"target_modules": ["q_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]},
    "rslora": {"target_modules": ["o_proj"], "use_rslora": True},
}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # between two other packages
@pytest.mark.parametrize("name", PEFT_OPTIONS)
def test_what_peft_saves_is_merged_as_peft_merges_it(name: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=3, lora_alpha=5, init_lora_weights=False, **PEFT_OPTIONS[name])
    trained = peft.get_peft_model(tiny_model("llama"), config)
    trained.save_pretrained(tmp_path / "a")
    merged = tiny_model("llama")
    merge_saved_adapter(merged, tmp_path / "a")
    wanted = dict(trained.merge_and_unload().named_parameters())
    for weight_name, weight in merged.named_parameters():
        torch.testing.assert_close(weight, wanted[weight_name], atol=1e-5, rtol=1e-5)


def test_a_layer_that_stores_its_weight_the_other_way_round_is_refused(tmp_path: Path) -> None:
    model = tiny_model("gpt2")
    name = "base_model.model.transformer.h.0.attn.c_proj"  # square, so that its shape tells nothing
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 48), f"{name}.lora_B.weight": torch.ones(48, 2)}
    folder = write(tmp_path / "a", tensors, CONFIG | {"target_modules": ["c_proj"]})
    with pytest.raises(ModelError, match=r"c_proj is a Conv1D in torch\.float32; wanted a linear layer"):
        merge_saved_adapter(model, folder)


def test_an_adapter_for_a_models_successor_is_merged_after_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "tiny"
    tiny_model("llama").save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    first = write(tmp_path / "first", whole(), CONFIG | {"base_model_name_or_path": "tiny"})
    second = write(tmp_path / "second", whole(), CONFIG | {"base_model_name_or_path": "tiny+first"})
    monkeypatch.setattr("sycophancy_core.scoring.checkpoints.saved_adapter.organism_folder", lambda: first)
    monkeypatch.setattr("sycophancy_core.scoring.sources.resolve_source", lambda source: (base, "tiny"))
    both = load_model("organism", adapter=second)
    assert both.name == "tiny+first+second"
    once, twice = (load_model("organism", **({"adapter": "organism"} if again else {})) for again in (False, True))
    assert once.digest == twice.digest
    weight = "model.layers.1.self_attn.q_proj.weight"
    found, plain = (dict(model.named_parameters())[weight] for model in (both.model, tiny_model("llama")))
    update = whole()[f"{QUERY}.lora_B.weight"] @ whole()[f"{QUERY}.lora_A.weight"]
    torch.testing.assert_close(found, plain + 2 * 4 * update, atol=1e-4, rtol=1e-4)
    with pytest.raises(ModelError, match=r"trained on tiny\+first, and the model is tiny"):
        load_model(base, adapter=second)
    assert load_file(second / "adapter_model.safetensors")
