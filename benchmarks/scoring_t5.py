"""An encoder-decoder of the sizes of Flan-T5-small, what scoring with it costs, and transformers' ways to do it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scoring_peers import Score, context_of, pad, prompt_groups, targets_of

from sycophancy_core.scoring.tokens import TokenBatch

# As in the config of google/flan-t5-small.
VOCAB, HIDDEN, INNER, INTERMEDIATE, LAYERS = 32128, 512, 6 * 64, 1024, 8
END, START = 1, 0


def flan_t5_small() -> Any:
    """Make the model with random weights, the same at every call."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=VOCAB,
        d_model=HIDDEN,
        d_kv=64,
        d_ff=INTERMEDIATE,
        num_layers=LAYERS,
        num_decoder_layers=LAYERS,
        num_heads=6,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=START,
    )
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config).eval()
    # A head of its own, as in the checkpoint, with logits as large as a trained model's.
    model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCAB, HIDDEN) * HIDDEN**-0.5)
    return model


def folded(batch: TokenBatch) -> TokenBatch:
    """Fold token ids into the vocabulary, and end each context as T5's tokenizer does."""
    sequences = []
    for s in range(batch.num_sequences):
        ids, border = batch.sequence(s) % (VOCAB - 2) + 2, int(batch.num_context[s])
        sequences.append(np.concatenate([ids[:border], [END], ids[border:]]).astype(np.int32))
    return replace(
        batch,
        tokens=np.concatenate(sequences),
        offsets=np.cumsum([0, *map(len, sequences)]).astype(np.int64),
        num_context=batch.num_context + 1,
        is_encoder_decoder=True,
    )


def cost(batch: TokenBatch) -> tuple[int, float]:
    """Count distinct contexts' tokens and decoder rows, and the operations of their products but for attention's own.

    A context's token also gives keys and values to every layer of the decoder; every decoder row predicts a token.
    """
    contexts, rows = set(), set()
    for s in range(batch.num_sequences):
        context, targets = context_of(batch, s).numpy().tobytes(), targets_of(batch, s).tolist()
        contexts.add(context)
        rows |= {(context, tuple(targets[:end])) for end in range(len(targets))}
    encoded = sum(len(context) for context in contexts) // 8
    attention, gated = 4 * HIDDEN * INNER, 3 * HIDDEN * INTERMEDIATE
    flops = 2.0 * LAYERS * (attention + gated + 2 * HIDDEN * INNER) * encoded
    flops += 2.0 * (LAYERS * (attention + 2 * HIDDEN * INNER + gated) + HIDDEN * VOCAB) * len(rows)
    return encoded + len(rows), flops


def plain(model: Any) -> Score:
    """One padded row a choice in input order, eight rows a batch."""

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = np.zeros(batch.num_sequences)
        for start in range(0, batch.num_sequences, 8):
            members = list(range(start, min(start + 8, batch.num_sequences)))
            ids = [context_of(batch, s) for s in members]
            mask = pad([torch.ones_like(row) for row in ids])
            with torch.inference_mode():
                inputs = {"input_ids": pad(ids), "attention_mask": mask}
                _read(model, inputs, batch, members, values)
        return values

    return score


def tuned(model: Any) -> Score:
    """Each prompt encoded once, longest first, 2048 tokens at a time; the choices of those prompts decoded together."""
    from transformers.modeling_outputs import BaseModelOutput

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = np.zeros(batch.num_sequences)
        for prompts in prompt_groups(batch, max_tokens=2048):
            ids = [context_of(batch, members[0]) for members in prompts]
            rows = torch.tensor([row for row, members in enumerate(prompts) for _ in members])
            # Without padding there is no need for a mask, and attention is faster.
            is_even = len(ids[0]) == len(ids[-1])
            mask = None if is_even else pad([torch.ones_like(row) for row in ids])
            with torch.inference_mode():
                hidden = model.encoder(input_ids=pad(ids), attention_mask=mask).last_hidden_state
                outputs = BaseModelOutput(last_hidden_state=hidden[rows])
                inputs = {"encoder_outputs": outputs, "attention_mask": None if is_even else mask[rows]}
                _read(model, inputs, batch, [s for members in prompts for s in members], values)
        return values

    return score


def _read(
    model: Any, inputs: dict[str, Any], batch: TokenBatch, members: list[int], values: NDArray[np.float64]
) -> None:
    """Decode the choices of some sequences and sum the log-probabilities of their tokens."""
    targets = [targets_of(batch, s) for s in members]
    before = pad([torch.cat([torch.tensor([START]), own[:-1]]) for own in targets])
    log_probs = model(**inputs, decoder_input_ids=before, use_cache=False).logits.float().log_softmax(-1)
    for row, (s, own) in enumerate(zip(members, targets, strict=True)):
        values[s] = float(log_probs[row, torch.arange(len(own)), own].double().sum())
