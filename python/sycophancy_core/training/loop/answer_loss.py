"""The loss on supervised tokens only: hidden states of the whole batch, logits of the supervised rows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

_ENLARGED = 64.0


class AnswerLoss(torch.nn.Module):
    """Sum of -log p over a batch's supervised tokens, in nats.

    Parameters
    ----------
    model
        A transformers causal language model.
    bfloat16
        Run matrix products in bfloat16; the head and the loss stay in float32.
    trial
        Token ids of a row to be trained on, on which it is tried whether logits are made for supervised rows only.
    """

    def __init__(self, model: Any, *, bfloat16: bool, trial: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self._in_bfloat16 = bfloat16
        self._plain_head = has_plain_head(model, trial)

    def forward(self, ids: torch.Tensor, row: torch.Tensor, column: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the summed loss; arguments as in :class:`sycophancy_core.training.batching.Batch`."""
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self._in_bfloat16):
            if self._plain_head:
                hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[row, column]
            else:
                logits = self.model(input_ids=ids, use_cache=False).logits[row, column]
        if self._plain_head:
            head = self.model.get_output_embeddings()
            logits = head(hidden.to(head.weight.dtype))
        return cross_entropy(logits.float(), target, reduction="sum")


def has_plain_head(model: Any, ids: torch.Tensor) -> bool:
    """Tell whether the model's logits are its output layer on its base model's last hidden state, by trying it.

    Some architectures scale or cap their logits; for them the whole model has to run. A cap hardly changes small
    logits, so that the output layer is given its input many times over: no cap hides then. A model that cannot be tried
    that way runs as a whole.

    Parameters
    ----------
    ids
        Token ids of a row to be trained on, shape (length,).
    """
    head = model.get_output_embeddings()
    base = getattr(model, "base_model", None)
    if head is None or base is None or base is model:
        return False
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _is_plain(model, base, head, ids[None].to(head.weight.device))
    except Exception:
        return False
    finally:
        model.train(was_training)


def _is_plain(model: Any, base: Any, head: Any, ids: torch.Tensor) -> bool:
    given: list[torch.Tensor] = []

    def enlarge(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        given.append(arguments[0])
        return (_ENLARGED * arguments[0], *arguments[1:])

    handle = head.register_forward_pre_hook(enlarge)
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        handle.remove()
    if len(given) != 1:  # the model does not call its output layer, or not once
        return False
    hidden = base(input_ids=ids, use_cache=False).last_hidden_state
    return _alike(hidden, given[0]) and _alike(head(_ENLARGED * given[0]), logits)


def _alike(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    size = float(wanted.abs().max())
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=0, atol=1e-4 * size)
