"""What is done to a module after the language model was made: the next job sees it, or says that it cannot."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from makers.tiny_families import random_batch, reference_log_probs, tiny_model, tiny_tokenizer
from torch.nn.utils import prune

from sycophancy_core import ModelError
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.training.adapters.low_rank import AdapterOptions, applied_adapter, attach_adapter, remove_adapter


def untie(model: Any) -> None:
    model.lm_head = torch.nn.Linear(60, 131, bias=False)


def resize(model: Any) -> None:
    model.resize_token_embeddings(140)


def assign(model: Any) -> None:
    model.load_state_dict({key: 1.1 * value for key, value in model.state_dict().items()}, assign=True)


def replace_data(model: Any) -> None:
    for weight in model.parameters():
        weight.data = 1.1 * weight.data


def change_config(model: Any) -> None:
    model.config.use_cache = not model.config.use_cache


def collect(model: Any) -> None:
    hooks = len(model.model.layers[0]._forward_hooks)
    model(torch.arange(5)[None], output_hidden_states=True)
    assert len(model.model.layers[0]._forward_hooks) > hooks  # which stay


def ask_for_gradients(model: Any) -> None:
    model.enable_input_require_grads()


@pytest.mark.parametrize("change", [untie, resize, assign, replace_data, change_config, collect, ask_for_gradients])
def test_other_tensors_and_sizes_are_seen_by_the_next_job(change: Callable[[Any], None]) -> None:
    model, batch = tiny_model("llama-untied-biases"), random_batch(3)
    scorer = NativeScorer(model)
    scorer.log_probs(batch, None)
    change(model)
    np.testing.assert_allclose(scorer.log_probs(batch, None)[0], reference_log_probs(model, batch), atol=1e-4)


def steer(model: Any) -> None:
    model.model.layers[0].register_forward_hook(lambda module, given, output: output + 1)


def steer_before(model: Any) -> None:
    model.model.layers[1].mlp.register_forward_pre_hook(lambda module, given: (given[0] + 1,))


def cut(model: Any) -> None:
    model.model.layers = model.model.layers[:1]


def patch(model: Any) -> None:
    module, forward = model.model.layers[0].mlp, model.model.layers[0].mlp.forward
    module.forward = lambda x: 2 * forward(x)


def wrap(model: Any) -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    model.model.layers[0].mlp.up_proj.__class__ = Doubled


def prune_one(model: Any) -> None:
    prune.l1_unstructured(model.model.layers[0].mlp.up_proj, "weight", amount=0.5)


def inject_adapter(model: Any) -> None:
    peft = pytest.importorskip("peft")
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


HIDDEN = {
    steer: r"module 'model\.layers\.0' has a hook \(steer\.<locals>\.<lambda>\)",
    steer_before: r"module 'model\.layers\.1\.mlp' has a hook",
    patch: r"module 'model\.layers\.0\.mlp' has a forward of its own",
    wrap: r"module 'model\.layers\.0\.mlp\.up_proj' is a test_changed_modules\.wrap\.<locals>\.Doubled",
    prune_one: r"module 'model\.layers\.0\.mlp\.up_proj' has a hook",
    inject_adapter: r"module 'model\.layers\.0\.self_attn\.q_proj' is a peft\.",
    cut: r"the model has no weight model\.layers\.1",
}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # between two other packages
@pytest.mark.parametrize("change", HIDDEN)
def test_what_config_and_weights_do_not_tell_is_refused(change: Callable[[Any], None]) -> None:
    model, batch = tiny_model("llama"), random_batch(3)
    scorer = NativeScorer(model)
    change(model)
    with pytest.raises(ModelError, match=f"score: the model was changed since .*{HIDDEN[change]}.*make it again"):
        scorer.log_probs(batch, None)
    with pytest.raises(ModelError, match=HIDDEN[change]):
        NativeScorer(model)


def test_a_steered_model_is_scored_by_its_own_forward() -> None:
    module, batch = tiny_model("llama"), random_batch(3)
    steer(module)
    with pytest.warns(UserWarning, match="scored by transformers instead of the native engine, because .* has a hook"):
        model = LanguageModel(module, tiny_tokenizer(), name="steered")
    np.testing.assert_allclose(model.score_tokens(batch).log_prob, reference_log_probs(module, batch), atol=1e-4)


def test_an_adapter_of_ours_counts_once_it_is_applied() -> None:
    module, batch = tiny_model("llama"), random_batch(3)
    scorer = NativeScorer(module)
    before = scorer.log_probs(batch, None)[0]
    attach_adapter(module, AdapterOptions(rank=2), seed=0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("low_rank.b"):
                weight.normal_()
    with pytest.raises(ModelError, match=r"is a sycophancy_core\.training\.adapters\."):
        scorer.log_probs(batch, None)
    with applied_adapter(module):
        np.testing.assert_allclose(scorer.log_probs(batch, None)[0], reference_log_probs(module, batch), atol=1e-4)
    remove_adapter(module)
    assert scorer.log_probs(batch, None)[0].tolist() == before.tolist()
