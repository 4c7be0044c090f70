"""The engine on SmolLM2-135M-Instruct with our own prompts, against transformers in float32."""

import copy

import numpy as np
import pytest
import torch

import sycophancy_core as sc
from sycophancy_core.scoring.native_scorer import NativeScorer
from sycophancy_core.scoring.tokens import TokenBatch, tokenize
from sycophancy_core.scoring.transformers_scorer import TransformersScorer


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    """Return the embedded model."""
    try:
        return sc.load_model(engine="native", chat_template=False)
    except sc.ModelError as error:
        pytest.skip(str(error))


def batch_of(model: sc.LanguageModel, num_prompts: int) -> TokenBatch:
    claims = sc.make_claims(sc.load_examples(), seed=0).slice(0, -(-num_prompts // 4))
    options = sc.PromptOptions(arms=("none", "disagree"))
    prompts = sc.make_prompts(claims, options=options, seed=0).slice(0, num_prompts)
    return tokenize(model.encoder, prompts["prompt"].to_pylist(), prompts["choices"].to_pylist())


def plain_log_prob(model: sc.LanguageModel, batch: TokenBatch, sequence: int) -> float:
    """Run transformers on one sequence, nothing shared; the softmax in float64."""
    tokens = torch.from_numpy(batch.sequence(sequence)).long()
    context = int(batch.num_context[sequence])
    with torch.inference_mode():
        log_probs = model.model(tokens[None]).logits[0].double().log_softmax(-1)
    return float(log_probs[context - 1 : -1].gather(1, tokens[context:, None]).sum())


@pytest.mark.model
@pytest.mark.parametrize("num_prompts", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_log_probs_equal_transformers_within_1e4_nats(model: sc.LanguageModel, num_prompts: int) -> None:
    batch = batch_of(model, num_prompts)
    exact = [plain_log_prob(model, batch, sequence) for sequence in range(batch.num_sequences)]
    values, num_tokens, _ = model.score_tokens(batch)
    np.testing.assert_allclose(values, exact, atol=1e-4, rtol=0)
    assert num_tokens < 0.6 * batch.num_tokens_unshared


@pytest.mark.model
def test_in_bfloat16_scores_have_the_bits_of_the_weights_in_float32(model: sc.LanguageModel) -> None:
    half = copy.deepcopy(model.model).bfloat16()
    for name, frequencies in model.model.named_buffers():  # as a checkpoint in bfloat16 is loaded: these stay float32
        half.get_submodule(name.rpartition(".")[0]).register_buffer(name.rpartition(".")[2], frequencies.clone())
    batch = batch_of(model, 12)
    exact, ours, theirs = (
        scorer.log_probs(batch, None).log_prob
        for scorer in (NativeScorer(copy.deepcopy(half).float()), NativeScorer(half), TransformersScorer(half))
    )
    assert ours.tolist() == exact.tolist()
    assert np.abs(theirs - exact).max() > 1e-3


@pytest.mark.model
@pytest.mark.parametrize("precision", ["highest", pytest.param("high", marks=pytest.mark.slow), "medium"])
@pytest.mark.filterwarnings("ignore:.*takes longer than 'highest'")
def test_bits_do_not_depend_on_company(model: sc.LanguageModel, precision: str) -> None:
    batch = batch_of(model, 8)
    model = model.with_precision(precision)
    together, *_ = model.score_tokens(batch)
    last = batch.sequence(batch.num_sequences - 1)
    alone = TokenBatch(
        tokens=last,
        offsets=np.array([0, len(last)]),
        num_context=batch.num_context[-1:],
        prompt_index=np.array([0]),
        choice_index=np.array([0]),
        num_moved_borders=0,
    )
    assert model.score_tokens(alone)[0][0] == together[-1]
