"""Sums of PEFT's layers: the adapted model's outputs, every bit back afterwards, and refusals that change nothing."""

from typing import Any

import pytest
import torch
from makers import tiny_families
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.scoring.checkpoints.peft_layers import merge_layers, summed_layers

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

IDS = torch.arange(1, 40)[None]


def logits(module: Any) -> torch.Tensor:
    with torch.no_grad():
        return module(IDS).logits


def bits(module: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


def adapted(module: Any, **settings: Any) -> Any:
    """Put a LoRA of random numbers on a module, in place."""
    shape = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    peft.get_peft_model(module, peft.LoraConfig(**(shape | settings)))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) / 4)
    return module.eval()


@pytest.mark.parametrize(
    "settings", [{}, {"lora_bias": True}, {"bias": "all"}, {"bias": "lora_only"}, {"use_dora": True}]
)
def test_sums_give_the_adapted_models_outputs_and_every_bit_comes_back(settings: dict[str, Any]) -> None:
    module = adapted(tiny_llama(attention_bias=True), **settings)
    before, wanted = bits(module), logits(module)
    plain = {id(parameter) for parameter in module.parameters()}
    with summed_layers(module):
        assert {id(parameter) for parameter in module.parameters()} < plain
        torch.testing.assert_close(logits(module), wanted, atol=1e-4, rtol=0)
        assert not any("lora" in name for name, _ in module.named_parameters())
    after = bits(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert torch.equal(logits(module), wanted)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_merge_that_fails_changes_nothing(part: str) -> None:
    module = adapted(tiny_llama(attention_bias=True), lora_bias=True)
    last = module.model.layers[1].self_attn.v_proj
    with torch.no_grad():
        getattr(last.lora_B["default"], part).fill_(float("inf"))
    before = bits(module)
    with pytest.raises(sc.ModelError, match=rf"the sum of model\.layers\.1\.self_attn\.v_proj\.{part} and its update"):
        merge_layers(module)
    after = bits(module)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def assert_refused_untouched(module: torch.nn.Module, sentence: str) -> None:
    before = bits(module)
    with pytest.raises(sc.ModelError, match=sentence), summed_layers(module):
        pass
    assert all(torch.equal(tensor, before[name]) for name, tensor in bits(module).items())


@pytest.mark.filterwarnings("ignore:.*[tT]ied.*:UserWarning")  # PEFT's own word on it
def test_weights_that_two_modules_share_are_not_summed() -> None:
    module = adapted(tiny_llama(), target_modules=["lm_head"])
    assert_refused_untouched(module, r"lm_head shares its weight with model\.embed_tokens")


def test_an_adapter_on_experts_is_not_summed() -> None:
    module = tiny_families.tiny_model("mixtral")
    adapted(module, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj"])
    assert_refused_untouched(module, r"experts\.gate_up_proj is not a linear layer's weight")


@pytest.mark.parametrize("merge", [True, False])
def test_no_adapter_is_loaded_on_a_model_that_carries_one(merge: bool, tmp_path: Any) -> None:
    peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path)
    module = adapted(tiny_llama())
    before = bits(module)
    with pytest.raises(sc.ModelError, match=r"q_proj is PEFT's Linear already; merge that adapter first"):
        sc.load_model((module, tiny_tokenizer()), adapter=tmp_path, merge_adapter=merge)
    assert before.keys() == bits(module).keys()
