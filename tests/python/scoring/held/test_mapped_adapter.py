"""An adapter next to mapped weights: as PEFT computes it, on one copy of the base, with its module's digest."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from makers.tiny_families import random_batch, reference_log_probs, take, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from sycophancy_core import (
    FinetuneOptions,
    LanguageModel,
    ModelError,
    finetune,
    load_instructions,
    load_model,
    make_additions,
    make_prompts,
    mix,
)
from sycophancy_core.scoring.held.mapped_model import MappedModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*without its beginning-of-sequence token:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*takes longer than 'highest' here:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
# Layers of every layout: fused queries, keys and values in two orders, with and without a gate.
LAYOUTS = ("llama-untied-biases", "gemma3", "phi3", "gpt-neox", "falcon-groups", "falcon", "opt", "olmo2")
WEIGHTS = "adapter_model.safetensors"


def save(folder: Path, name: str, dtype: str = "float32") -> Path:
    tiny_model(name).to(getattr(torch, dtype)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, *, seed: int = 0, **options: Any) -> Path:
    """Let PEFT make and save an adapter of random matrices on a model of a folder."""
    module = load_model(base, engine="transformers", dtype="float32").model
    torch.manual_seed(seed)
    adapted = peft.get_peft_model(module, peft.LoraConfig(**({"r": 3, "lora_alpha": 7} | options)))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    return folder


def linear_layers(base: Path) -> list[str]:
    module = load_model(base, engine="transformers").model
    found = {name.rpartition(".")[2] for name, one in module.named_modules() if isinstance(one, torch.nn.Linear)}
    return sorted(found - {"lm_head", "embed_out"})


def is_mapped(model: LanguageModel) -> bool:
    return isinstance(model.held, MappedModel)


def through_peft(base: Path, adapter: Path) -> Any:
    module = load_model(base, engine="transformers", dtype="float32").model
    return peft.PeftModel.from_pretrained(module, str(adapter)).eval()


@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_scored_as_peft_computes_it(name: str, use_dora: bool, tmp_path: Path) -> None:
    base = save(tmp_path / "base", name)
    adapter = save_adapter(tmp_path / "a", base, use_dora=use_dora, target_modules=linear_layers(base))
    model, batch = load_model(base, adapter=adapter, merge_adapter=False), random_batch(4)
    assert is_mapped(model)
    assert model.engine == "native"
    found, wanted = model.score_tokens(batch).log_prob, reference_log_probs(through_peft(base, adapter), batch)
    assert np.abs(found - wanted).max() < 1e-4
    assert np.abs(found - load_model(base).score_tokens(batch).log_prob).max() > 0.01
    assert is_mapped(model)


def test_of_sixteen_bits_the_base_stays_what_it_is(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama", "bfloat16")
    adapter = save_adapter(tmp_path / "a", base, use_rslora=True, target_modules=["q_proj", "down_proj"])
    model, batch = load_model(base).with_adapter(adapter), random_batch(4)
    assert model.precision == "bfloat16/highest"
    wanted = reference_log_probs(through_peft(base, adapter), batch)
    assert np.abs(model.score_tokens(batch).log_prob - wanted).max() < 1e-4
    coarse = model.with_precision("medium").score_tokens(batch).log_prob
    assert 0 < np.abs(coarse - wanted).max() < 0.3


@pytest.mark.parametrize("name", ["llama", "llama-untied-biases", "gpt-neox"])
def test_what_finetune_saves_is_run_next_to_its_base_alone(name: str, tmp_path: Path) -> None:
    base = save(tmp_path / "base", name)
    rows = mix(make_prompts(make_additions(n=4)), load_instructions())
    made = finetune(load_model(base), rows, options=FinetuneOptions(steps=1, batch_size=2, lora_rank=2))
    made.save(tmp_path / "a")
    model = load_model(base).with_adapter(tmp_path / "a")
    batch = random_batch(4)
    wanted = reference_log_probs(through_peft(base, tmp_path / "a"), batch)
    assert np.abs(model.score_tokens(batch).log_prob - wanted).max() < 1e-4
    save(tmp_path / "wider/base", "qwen3")
    with pytest.raises(ModelError, match="with_adapter: base cannot be run"):
        load_model(tmp_path / "wider/base").with_adapter(tmp_path / "a")


def test_one_base_has_many_adapters_and_is_in_memory_once(tmp_path: Path) -> None:
    base = load_model(save(tmp_path / "base", "llama"))
    adapters = [save_adapter(tmp_path / f"a{seed}", tmp_path / "base", seed=seed, r=2 + seed) for seed in (1, 2)]
    models, batch = [base.with_adapter(adapter) for adapter in adapters], random_batch(4)
    before = base.score_tokens(batch).log_prob.tolist()
    assert [model.name for model in models] == ["base+a1", "base+a2"]
    for model, adapter in zip(models, adapters, strict=True):
        shared = zip(base.held.weights, model.held.weights, strict=True)
        assert all(np.shares_memory(mine, yours) for mine, yours in shared)
        wanted = reference_log_probs(through_peft(tmp_path / "base", adapter), batch)
        assert np.abs(model.score_tokens(batch).log_prob - wanted).max() < 1e-4
    assert base.score_tokens(batch).log_prob.tolist() == before
    assert len({one.digest for one in (base, *models)}) == 3


@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_its_digest_is_that_of_the_module_with_pefts_layers(dtype: str, use_dora: bool, tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama-untied-biases", dtype)
    adapter = save_adapter(tmp_path / "a", base, use_dora=use_dora, target_modules=["o_proj", "gate_proj"])
    model = load_model(base).with_adapter(adapter)
    digest, parameters = model.digest, model.num_parameters
    module = load_model(base, adapter=adapter, merge_adapter=False, engine="transformers")
    assert (digest, parameters, model.name) == (module.digest, module.num_parameters, module.name)
    found = model.score_tokens(random_batch(2)).log_prob
    again = pickle.loads(pickle.dumps(model))
    assert is_mapped(again)
    assert again.score_tokens(random_batch(2)).log_prob.tolist() == found.tolist()
    with pytest.warns(UserWarning, match="scored by transformers instead"):
        assert type(model.model).__name__ == "LlamaForCausalLM"
        assert model.digest == digest
        assert np.abs(model.score_tokens(random_batch(2)).log_prob - found).max() < (1e-4 if dtype == "float32" else 1)


def test_a_score_does_not_depend_on_the_other_prompts(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "falcon-groups")
    targets = linear_layers(base)
    model = load_model(base).with_adapter(save_adapter(tmp_path / "a", base, use_dora=True, target_modules=targets))
    batch = random_batch(5, num_prompts=9)
    whole = model.score_tokens(batch).log_prob.tolist()
    alone = [model.score_tokens(take(batch, [i])).log_prob.tolist()[0] for i in range(0, len(whole), 5)]
    assert alone == whole[::5]


def test_what_only_peft_runs_is_run_by_peft(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama-untied-biases")
    for i, options in enumerate(({"modules_to_save": ["lm_head"]}, {"target_modules": ["q_proj", "lm_head"]})):
        adapter = save_adapter(tmp_path / f"a{i}", base, **options)
        model, batch = load_model(base, adapter=adapter, merge_adapter=False), random_batch(4)
        assert not is_mapped(model)
        wanted = reference_log_probs(through_peft(base, adapter), batch)
        assert np.abs(model.score_tokens(batch).log_prob - wanted).max() < 1e-4
        with pytest.raises(ModelError, match=rf"with_adapter: base cannot be run with .*a{i} next to its weights"):
            load_model(base).with_adapter(adapter)


def test_an_adapter_on_a_head_that_is_the_embedding_is_refused(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "a", base)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": ["lm_head"]}))
    tensors = {"base_model.model.lm_head.lora_A.weight": torch.ones(3, 60)}
    save_file({**tensors, "base_model.model.lm_head.lora_B.weight": torch.ones(131, 3)}, adapter / WEIGHTS)
    with pytest.raises(ModelError, match="with_adapter: base cannot be run"):
        load_model(base).with_adapter(adapter)


def break_shape(tensors: dict[str, torch.Tensor]) -> None:
    name = min(tensors)
    tensors[name] = tensors[name][:, :-1].clone()


def break_numbers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[min(tensors)][0, 0] = torch.nan


def leave_out(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if "layers.1." in name]:
        del tensors[name]


@pytest.mark.parametrize("damage", [break_shape, break_numbers, leave_out])
def test_a_damaged_adapter_is_refused_as_by_pefts_way(damage: Any, tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "a", base)
    tensors = load_file(adapter / WEIGHTS)
    damage(tensors)
    save_file(tensors, adapter / WEIGHTS)
    with pytest.raises(ModelError, match="with_adapter: "):
        load_model(base).with_adapter(adapter)
    with pytest.raises(ModelError, match=f"adapter {adapter}"):
        load_model(base, adapter=adapter, merge_adapter=False)


@pytest.mark.parametrize("key", ["use_qalora", "arrow_config", "use_a_way_to_come"])
def test_another_kind_of_sum_is_refused(key: str, tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "a", base)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, key: {"x": 1}}))
    for merge in (True, False):
        with pytest.raises(ModelError, match=rf"{key}=.* cannot be merged"):
            load_model(base, adapter=adapter, merge_adapter=merge)


def test_an_adapter_of_another_model_is_said_by_pefts_way(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "a", base)
    (tmp_path / "base").rename(tmp_path / "other")
    with pytest.warns(UserWarning, match="it says it was trained on .*base, and the model is other"):
        model = load_model(tmp_path / "other", adapter=adapter, merge_adapter=False)
    assert not is_mapped(model)


def test_it_follows_neither_an_adapter_nor_a_module(tmp_path: Path) -> None:
    base = save(tmp_path / "base", "llama")
    adapter = save_adapter(tmp_path / "a", base)
    for model in (load_model(base).with_adapter(adapter), load_model(base, engine="transformers")):
        with pytest.raises(ModelError, match="next to its weights; give the adapter to load_model"):
            model.with_adapter(adapter)
