"""What a language model takes: how many positions, which tokens, and with which one a text begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import DataError, warn


def context_length(model: Any) -> int | None:
    """Most tokens that a transformers model takes at once (encoder-decoder: in each part); None without a limit.

    It is what the config says, or what the table of learned positions holds, whichever is less.
    """
    config = model.config.get_text_config()
    limits = list(_learned_positions(model))
    # T5's distances have no end.
    keys = () if hasattr(config, "relative_attention_num_buckets") else ("max_position_embeddings", "n_positions")
    limits += [value for key in keys if isinstance(value := getattr(config, key, None), int)][:1]
    return min(limits, default=None)


def vocabulary_size(model: Any) -> int | None:
    """How many tokens have an embedding and a logit; None where the model does not say."""
    sizes = []
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight: Any = getattr(layer, "weight", None)
        if weight is not None and weight.dim() == 2:
            sizes.append(int(weight.shape[0]))
    return min(sizes, default=None)


def check_vocabulary(
    model: Any, tokens: NDArray[np.integer[Any]] | Iterable[int], *, name: str, tokenizer: Any
) -> None:
    """Refuse token ids that the model has no embedding for.

    Raises
    ------
    DataError
        Naming the largest such id and its text.
    """
    size = vocabulary_size(model)
    if size is not None:
        refuse_unknown_tokens(size, tokens, name=name, tokenizer=tokenizer)


def refuse_unknown_tokens(
    size: int, tokens: NDArray[np.integer[Any]] | Iterable[int], *, name: str, tokenizer: Any
) -> None:
    """Refuse token ids from the size of a vocabulary on; see :func:`check_vocabulary`."""
    ids = tokens if isinstance(tokens, np.ndarray) else np.fromiter(tokens, np.int64)
    largest = int(ids.max()) if ids.size else -1
    if largest >= size:
        raise DataError(
            f"model {name}: token {largest} ({tokenizer.convert_ids_to_tokens(largest)!r}) is not in the model's "
            f"vocabulary of {size}; use the tokenizer that the model was trained with, or give the model an embedding "
            "for it (resize_token_embeddings) and train it"
        )


def check_beginning(config: Any, ids_of: Callable[[str], list[int]], *, name: str) -> None:
    """Warn where a Gemma is asked without its beginning-of-sequence token.

    Parameters
    ----------
    config
        Of what reads text.
    ids_of
        Makes the tokens of a prompt, as the model gets them.

    Warns
    -----
    UserWarning
        If the first is not that token, without which these models answer at random.
    """
    wanted = getattr(config, "bos_token_id", None)
    if str(config.model_type).startswith("gemma") and wanted is not None and ids_of("?")[:1] != [wanted]:
        warn(
            f"model {name}: a Gemma answers at random without its beginning-of-sequence token, and the tokenizer puts "
            "none before a prompt; use the tokenizer that the model was trained with, with add_bos_token=True"
        )


def _learned_positions(model: Any) -> Iterator[int]:
    """Yield how many positions each table of learned ones holds."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and re.search(r"(^|[._])(wpe|posi\w*)$", name):
            # OPT and BART keep free rows before the first; RoBERTa begins after its padding's.
            free = getattr(module, "offset", None)
            before = (0 if module.padding_idx is None else module.padding_idx + 1) if free is None else int(free)
            yield module.num_embeddings - before
