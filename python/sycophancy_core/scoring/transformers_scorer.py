"""Scoring by the caller's transformers model: slower than the engine, but for every architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sycophancy_core.errors import ModelError
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.checkpoints.foreign import first_line
from sycophancy_core.scoring.checks.module_checks import rotates_by_length
from sycophancy_core.scoring.tokens import TokenBatch, TokenScores

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_BATCH_TOKENS = 2048
_LEAST_PREFIX = 16  # tokens that are worth a pass of their own


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """One input of the model, and the sequences that are scored on it: those that it begins with or equals."""

    inputs: NDArray[np.int32]
    sequences: list[int]
    first: int  # position of the first hidden state that predicts a scored token


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bundle:
    """Rows that begin with the same tokens, of which ``prefix`` are run once; none where that does not pay."""

    prefix: int
    rows: list[_Row]

    @property
    def num_tokens(self) -> int:
        """Tokens to run."""
        return self.prefix + sum(len(row.inputs) - self.prefix for row in self.rows)


class TransformersScorer:
    """Scores token sequences with a transformers model: what sequences begin with alike is run once.

    Only inputs of equal lengths are run together, so that nothing is ever padded. Where the device's memory does not
    hold a batch, its halves are run one after the other.

    Raises
    ------
    ModelError
        If the memory does not hold one sequence.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._can_share: bool | None = None

    @property
    def precision(self) -> str:
        """The model's number type."""
        return str(self.model.dtype).removeprefix("torch.")

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens."""
        depends = rotates_by_length(self.model)
        rows = list(_distinct_rows(batch, range(batch.num_sequences), only_equal=depends))
        with in_evaluation(self.model):
            shares = len(rows) > 1 and not depends and self._shares_prefixes()
            bundles = list(_bundles(rows)) if shares else [_Bundle(prefix=0, rows=[row]) for row in rows]
            job = _Job(self.model, batch, sum(bundle.num_tokens for bundle in bundles), progress)
            for group in _equal(bundles, lambda bundle: bundle.prefix, lambda bundle: bundle.prefix):
                _in_halves(group, job.score_bundles)
        return TokenScores(job.log_prob, job.total, job.is_greedy)

    def _shares_prefixes(self) -> bool:
        """Tell whether the model keeps plain keys and values, which other inputs can go on from; tried once."""
        if self._can_share is None:
            try:
                self._can_share = _goes_on_from_cache(self.model)
            except Exception:  # its cache cannot be used, as with xLSTM, whose plain forward works
                self._can_share = False
        return self._can_share


class _Job:
    """The scores of one batch of sequences, as they come in."""

    def __init__(self, model: Any, batch: TokenBatch, total: int, progress: Progress | None) -> None:
        self.log_prob = np.zeros(batch.num_sequences)
        self.is_greedy = np.zeros(batch.num_sequences, dtype=bool)
        self.total = total
        self._model, self._batch, self._progress = model, batch, progress
        self._done = 0
        self._tick(0)

    def _tick(self, tokens: int) -> None:
        self._done += tokens
        if self._progress is not None:
            self._progress(self._done, self.total)

    def score_bundles(self, bundles: list[_Bundle]) -> None:
        """Run the prefixes, all of one length, and then the rows of the bundles."""
        start, past = bundles[0].prefix, None
        if start > 0:
            ids = np.stack([bundle.rows[0].inputs[:start] for bundle in bundles])
            past = forward(self._model, ids, use_cache=True, logits_to_keep=1).past_key_values
            self._tick(ids.size)
        members = [(i, row) for i, bundle in enumerate(bundles) for row in bundle.rows]
        for part in _equal(members, lambda member: len(member[1].inputs), lambda member: len(member[1].inputs)):
            _in_halves(part, lambda half: self._score_rows(half, start, past))

    def _score_rows(self, members: list[tuple[int, _Row]], start: int, past: Any) -> None:
        """Score rows of one length, each from ``start`` on after what is kept at its index in ``past``."""
        first = min(row.first for _, row in members)
        ids = np.stack([row.inputs[start:] for _, row in members])
        kept = start + ids.shape[1] - first
        options: dict[str, Any] = {"use_cache": past is not None, "logits_to_keep": kept}
        if past is not None:
            options["past_key_values"] = _selected(past, [i for i, _ in members])
        logits = forward(self._model, ids, **options).logits[:, -kept:]  # some models keep all the same
        for (_, row), own in zip(members, logits, strict=True):  # own: (positions from first, V)
            for s in row.sequences:
                tokens, context = self._batch.sequence(s), int(self._batch.num_context[s])
                self.log_prob[s], self.is_greedy[s] = _score_targets(own, tokens, context, first)
        self._tick(ids.size)


# A model is put into evaluation by one thread at a time.
_locks: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()


@contextmanager
def in_evaluation(model: Any) -> Iterator[None]:
    """Put a model into evaluation, without dropout, and afterwards back into what it was in."""
    with _locks.setdefault(model, Lock()):
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


def _goes_on_from_cache(model: Any) -> bool:
    """Tell whether a model that goes on from copies of its cache says what it says of whole inputs."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    ids = np.array([[0, 1, 0], [0, 1, 1]], np.int32)
    cache: Any = getattr(forward(model, ids[:1, :2], use_cache=True), "past_key_values", None)
    layers = cache.layers if type(cache) is DynamicCache else []
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return False
    shared = forward(model, ids[:, 2:], use_cache=True, past_key_values=_selected(cache, [0, 0])).logits[:, -1].float()
    whole = forward(model, ids, use_cache=False).logits[:, -1].float()
    rounding = (1e-3 if model.dtype.itemsize == 4 else 0.1) * float(whole.abs().max())
    return float((shared - whole).abs().max()) <= rounding


def forward(model: Any, ids: NDArray[np.int32], *, part: Any = None, name: str = "input_ids", **options: Any) -> Any:
    """Run a model, or a part of it, on rows of token ids of one length, its argument ``name``.

    Raises
    ------
    ModelError
        If its own code fails, but for want of memory.
    """
    import torch

    with torch.inference_mode():
        inputs = torch.from_numpy(ids).long().to(model.device)
        try:
            return (part or model)(**{name: inputs}, **options)
        except (torch.OutOfMemoryError, ModelError):
            raise
        except Exception as error:
            raise ModelError(
                f"score: the forward of {type(model).__name__} fails on {ids.shape[0]} x {ids.shape[1]} tokens: "
                f"{first_line(error)}"
            ) from error


def _in_halves(items: list[T], run: Callable[[list[T]], None]) -> None:
    """Run all items together, or half by half where memory is too small for that."""
    import torch

    try:
        run(items)
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise ModelError(
                "score: the device's memory does not hold the model and one sequence; use shorter prompts, a smaller "
                "dtype or a larger device"
            ) from error
    else:
        return
    torch.cuda.empty_cache()
    middle = len(items) // 2
    _in_halves(items[:middle], run)
    _in_halves(items[middle:], run)


def _selected(cache: Any, indices: list[int]) -> Any:
    """Copy some rows of a cache; a row may come several times."""
    from transformers.cache_utils import DynamicCache

    copy = DynamicCache()
    for i, layer in enumerate(cache.layers):
        copy.update(layer.keys[indices], layer.values[indices], i)
    return copy


class EncoderDecoderScorer:
    """Scores with a transformers encoder-decoder: contexts by the encoder, each once, the other tokens by the decoder.

    As in :class:`TransformersScorer`, rows of a batch have equal lengths, so that nothing is ever padded.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def precision(self) -> str:
        """The model's number type."""
        return str(self.model.dtype).removeprefix("torch.")

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's tokens after its context."""
        log_prob = np.zeros(batch.num_sequences)
        is_greedy = np.zeros(batch.num_sequences, dtype=bool)
        decoded = _decoder_batch(batch, int(self.model.config.decoder_start_token_id))
        contexts = list(_distinct_contexts(batch))
        rows = {context.sequences[0]: list(_distinct_rows(decoded, context.sequences)) for context in contexts}
        total = sum(len(c.inputs) + sum(len(row.inputs) for row in rows[c.sequences[0]]) for c in contexts)
        done = 0
        if progress is not None:
            progress(0, total)
        with in_evaluation(self.model):
            for group in _equal(contexts, _length, _length):
                members = [(i, row) for i, context in enumerate(group) for row in rows[context.sequences[0]]]
                self._score_group(decoded, group, members, log_prob, is_greedy)
                done += sum(len(c.inputs) for c in group) + sum(len(row.inputs) for _, row in members)
                if progress is not None:
                    progress(done, total)
        return TokenScores(log_prob, total, is_greedy)

    def _score_group(
        self,
        decoded: TokenBatch,
        group: list[_Row],
        members: list[tuple[int, _Row]],
        log_prob: NDArray[np.float64],
        is_greedy: NDArray[np.bool_],
    ) -> None:
        """Score decoder rows, each with the index of its context in the group."""
        position = {row.sequences[0]: i for i, row in members}
        ids = np.stack([context.inputs for context in group])
        encoded = forward(self.model, ids, part=self.model.get_encoder())
        hidden = encoded.last_hidden_state  # (contexts, length, d)
        # A row of the decoder attends to a whole context, of which it holds a copy.
        for rows in _equal([row for _, row in members], _length, lambda row: _length(row) + ids.shape[1]):
            own = copy(encoded)  # which a mixture of experts reads more of than the hidden state
            own["last_hidden_state"] = hidden[[position[row.sequences[0]] for row in rows]]
            inputs = np.stack([row.inputs for row in rows])
            logits = forward(self.model, inputs, name="decoder_input_ids", encoder_outputs=own, use_cache=False).logits
            for row, mine in zip(rows, logits, strict=True):
                for s in row.sequences:
                    log_prob[s], is_greedy[s] = _score_targets(mine, decoded.sequence(s), 1, 0)


def _decoder_batch(batch: TokenBatch, start: int) -> TokenBatch:
    """Put the decoder's start token in the place of each context."""
    scored = [batch.sequence(s)[batch.num_context[s] :] for s in range(batch.num_sequences)]
    sequences = [np.concatenate([[start], tokens]).astype(np.int32) for tokens in scored]
    return replace(
        batch,
        tokens=np.concatenate(sequences),
        offsets=np.cumsum([0, *(len(tokens) for tokens in sequences)]).astype(np.int64),
        num_context=np.ones(batch.num_sequences, np.int32),
    )


def _distinct_contexts(batch: TokenBatch) -> Iterator[_Row]:
    """Yield each context once, with its sequences."""
    members: dict[bytes, list[int]] = {}
    for s in range(batch.num_sequences):
        members.setdefault(batch.sequence(s)[: batch.num_context[s]].tobytes(), []).append(s)
    for sequences in members.values():
        s = sequences[0]
        yield _Row(inputs=batch.sequence(s)[: batch.num_context[s]], sequences=sequences, first=0)


def _score_targets(logits: torch.Tensor, tokens: NDArray[np.int32], context: int, first: int) -> tuple[float, bool]:
    """Sum the targets' log-probs, in float64, since a float32 softmax over the vocabulary is biased by 3e-5 nats.

    The second value tells whether no token is likelier than any of them.
    """
    import torch

    targets = torch.from_numpy(tokens[context:]).long().to(logits.device)
    predicting = logits[context - 1 - first : len(tokens) - 1 - first]
    rows = torch.arange(len(targets), device=logits.device)
    is_greedy = bool((predicting[rows, targets] >= predicting.amax(-1)).all())
    return float(predicting.double().log_softmax(-1)[rows, targets].sum()), is_greedy


def _distinct_rows(batch: TokenBatch, sequences: Sequence[int], *, only_equal: bool = False) -> Iterator[_Row]:
    """Yield inputs (sequences without their last token); one that begins another is scored together with it.

    With ``only_equal``, one that is equal to it is.
    """
    order = sorted(sequences, key=lambda s: batch.sequence(s)[:-1].tolist())
    members: list[int] = []
    for s, following in zip(order, [*order[1:], None], strict=True):
        members.append(s)
        inputs = batch.sequence(s)[:-1]
        longer = None if following is None else batch.sequence(following)[:-1]
        if longer is None or not np.array_equal(longer if only_equal else longer[: len(inputs)], inputs):
            yield _Row(inputs=inputs, sequences=members, first=min(int(batch.num_context[m]) for m in members) - 1)
            members = []


def _bundles(rows: list[_Row]) -> Iterator[_Bundle]:
    """Yield neighbours in the order of their tokens together for as long as that saves tokens."""
    members: list[_Row] = []
    prefix = 0
    for row in rows:
        if members:
            shared = min(prefix, row.first, _common_length(members[0].inputs, row.inputs))
            if shared >= _LEAST_PREFIX and shared * len(members) >= prefix * (len(members) - 1):
                members.append(row)
                prefix = shared
                continue
            yield _Bundle(prefix=prefix if len(members) > 1 else 0, rows=members)
        members, prefix = [row], row.first
    if members:
        yield _Bundle(prefix=prefix if len(members) > 1 else 0, rows=members)


def _length(row: _Row) -> int:
    return len(row.inputs)


def _common_length(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    return int(differs.argmax()) if differs.any() else length


def _equal(items: list[T], key: Callable[[T], int], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield items of one key, the greatest first, in groups of at most ``_BATCH_TOKENS`` in size or one item."""
    group: list[T] = []
    for item in sorted(items, key=lambda one: -key(one)):
        if group and (key(group[0]) != key(item) or sum(map(size, group)) + size(item) > _BATCH_TOKENS):
            yield group
            group = []
        group.append(item)
    if group:
        yield group
