"""Training through compiled decoder blocks: one graph for all blocks, elementwise work fused into few kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_SHAPES = 64


@contextmanager
def compiled_blocks(model: Any, *, enabled: bool) -> Iterator[None]:
    """Run the blocks of a transformers model through ``torch.compile`` while the context lasts.

    All blocks have one class, so each batch shape is compiled once and not once a block. A model whose blocks cannot be
    found runs as it is.
    """
    blocks = getattr(getattr(model, "base_model", None), "layers", None)
    if not enabled or not blocks:
        yield
        return
    import torch

    block_class = type(blocks[0])
    plain = block_class.forward
    with torch._dynamo.config.patch(recompile_limit=MAX_SHAPES, accumulated_recompile_limit=8 * MAX_SHAPES):
        block_class.forward = torch.compile(plain, dynamic=False)
        try:
            yield
        finally:
            block_class.forward = plain


@contextmanager
def plain_blocks(*, enabled: bool) -> Iterator[None]:
    """Run what is compiled as it was written while the context lasts, so that other shapes use up no recompilation."""
    if not enabled:
        yield
        return
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield
