"""Scoring by the caller's transformers model: slower than the engine, but for every architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sycophancy_core.tokens import TokenScores

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from sycophancy_core.scoring import Progress
    from sycophancy_core.tokens import TokenBatch

_BATCH_TOKENS = 2048


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """One input of the model, and the sequences that are scored on it: those that it begins with or equals."""

    inputs: NDArray[np.int32]
    sequences: list[int]
    first: int  # position of the first hidden state that predicts a scored token


class TransformersScorer:
    """Scores token sequences with a transformers model, in batches of equal lengths, so that nothing is ever padded."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def precision(self) -> str:
        """The model's number type."""
        return str(self.model.dtype).removeprefix("torch.")

    def log_probs(self, batch: TokenBatch, progress: Progress | None) -> TokenScores:
        """Log-probability of each sequence's scored tokens."""
        log_prob = np.zeros(batch.num_sequences)
        is_greedy = np.zeros(batch.num_sequences, dtype=bool)
        rows = list(_distinct_rows(batch, range(batch.num_sequences)))
        total = sum(len(row.inputs) for row in rows)
        done = 0
        if progress is not None:
            progress(0, total)
        for group in _equal_length_groups(rows):
            self._score_group(batch, group, log_prob, is_greedy)
            done += sum(len(row.inputs) for row in group)
            if progress is not None:
                progress(done, total)
        return TokenScores(log_prob, total, is_greedy)

    def _score_group(
        self, batch: TokenBatch, group: list[_Row], log_prob: NDArray[np.float64], is_greedy: NDArray[np.bool_]
    ) -> None:
        import torch

        first = min(row.first for row in group)
        ids = torch.from_numpy(np.stack([row.inputs for row in group])).long().to(self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - first).logits
        for row, own in zip(group, logits, strict=True):  # own: (positions from first, V)
            for s in row.sequences:
                log_prob[s], is_greedy[s] = _score_targets(own, batch.sequence(s), int(batch.num_context[s]), first)


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
        for group in _equal_length_groups(contexts):
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
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        device = self.model.device
        position = {row.sequences[0]: i for i, row in members}
        with torch.inference_mode():
            ids = torch.from_numpy(np.stack([context.inputs for context in group])).long().to(device)
            hidden = self.model.get_encoder()(input_ids=ids).last_hidden_state  # (contexts, length, d)
            # A row of the decoder attends to a whole context, of which it holds a copy.
            for rows in _equal_length_groups([row for _, row in members], extra=ids.shape[1]):
                own = BaseModelOutput(last_hidden_state=hidden[[position[row.sequences[0]] for row in rows]])
                inputs = torch.from_numpy(np.stack([row.inputs for row in rows])).long().to(device)
                logits = self.model(encoder_outputs=own, decoder_input_ids=inputs, use_cache=False).logits
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


def _distinct_rows(batch: TokenBatch, sequences: Sequence[int]) -> Iterator[_Row]:
    """Yield inputs (sequences without their last token); one that begins another is scored together with it."""
    order = sorted(sequences, key=lambda s: batch.sequence(s)[:-1].tolist())
    members: list[int] = []
    for s, following in zip(order, [*order[1:], None], strict=True):
        members.append(s)
        inputs = batch.sequence(s)[:-1]
        if following is None or not np.array_equal(batch.sequence(following)[:-1][: len(inputs)], inputs):
            yield _Row(inputs=inputs, sequences=members, first=min(int(batch.num_context[m]) for m in members) - 1)
            members = []


def _equal_length_groups(rows: list[_Row], *, extra: int = 0) -> Iterator[list[_Row]]:
    """Yield rows of one length, longest first, in groups of at most ``_BATCH_TOKENS`` tokens or one row.

    ``extra`` counts towards the tokens of each row.
    """
    group: list[_Row] = []
    for row in sorted(rows, key=lambda row: -len(row.inputs)):
        length = len(row.inputs)
        if group and (len(group[0].inputs) != length or (len(group) + 1) * (length + extra) > _BATCH_TOKENS):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
