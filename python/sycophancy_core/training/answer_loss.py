"""The loss on supervised tokens only: hidden states of the whole batch, logits of the supervised rows."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy


class AnswerLoss(torch.nn.Module):
    """Sum of -log p over a batch's supervised tokens, in nats.

    Parameters
    ----------
    model
        A transformers causal language model.
    bfloat16
        Run matrix products in bfloat16; the head and the loss stay in float32.
    """

    def __init__(self, model: Any, *, bfloat16: bool) -> None:
        super().__init__()
        self.model = model
        self._in_bfloat16 = bfloat16
        self._plain_head = has_plain_head(model)

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


def has_plain_head(model: Any) -> bool:
    """Tell whether the model's logits are its output layer on its base model's last hidden state, by trying it.

    Some architectures scale or cap their logits; for them the whole model has to run.
    """
    head = model.get_output_embeddings()
    base = getattr(model, "base_model", None)
    if head is None or base is None or base is model:
        return False
    was_training = model.training
    model.eval()
    with torch.no_grad():
        ids = torch.arange(4, device=head.weight.device)[None] % head.weight.shape[0]
        wanted = model(input_ids=ids, use_cache=False).logits
        hidden = getattr(base(input_ids=ids, use_cache=False), "last_hidden_state", None)
        same = hidden is not None and torch.allclose(head(hidden), wanted, rtol=1e-3, atol=1e-3)
    model.train(was_training)
    return same
