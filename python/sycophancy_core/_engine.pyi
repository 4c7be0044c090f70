"""
Scoring engine of sycophancy_core on torch's operators.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import torch
import typing
__all__: list[str] = ['TensorEngine']
class TensorEngine:
    """
    A decoder model on the caller's weights, all on one device (CPU or CUDA), in float32, bfloat16 or float16; every job reads them again.
    """
    def __init__(self, config_json: str, weights: collections.abc.Mapping[str, torch.Tensor]) -> None:
        """
        Check a transformers config and the model's named weights; ModelError names what the engine does not know.
        """
    def score(self, tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int64], num_context: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], *, chunk_rows: typing.SupportsInt | typing.SupportsIndex = 0, progress: typing.Any = None) -> tuple:
        """
        Return the log-probability of each sequence's scored tokens, in nats; the number of tokens run; and for each sequence whether no token is likelier than any of its scored ones.
        """
    @property
    def uses_flash_attention(self) -> bool:
        """
        Whether attention is torch's flash attention: bfloat16 and float16 on CUDA, where it takes the size of a head.
        """
