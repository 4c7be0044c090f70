"""Contrastive activation addition: the vector, its nulls, and the choice of layer and strength.

The vector is the mean difference of the residual stream between prompts in which a user denies and endorses the same
wrong answer, in the same words. What it adds is the direction from endorsing to denying: stance, without mention.

References
----------
Rimsky et al. 2024, Steering Llama 2 via Contrastive Activation Addition (arXiv:2312.06681). They take the difference at
the token of the answer, between two answers; here it is taken at the prompt's last token, between two users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sycophancy_core.cures.methods import Steered
from sycophancy_core.cures.vectors.steered_module import block_names, block_output, steered_model
from sycophancy_core.errors import DataError
from sycophancy_core.metrics.arrays import choice_scores
from sycophancy_core.prompts.stance import FactOptions, fact_prompts
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import table_prompts
from sycophancy_core.scoring.scores import join_scores
from sycophancy_core.scoring.transformers_scorer import forward, in_evaluation

Array = NDArray[np.float32]
_ROUNDING = 1e-9  # of a share of facts


@dataclass(frozen=True, kw_only=True, eq=False)
class Differences:
    """Residual streams where the user denies a wrong answer less those where the user endorses it.

    Attributes
    ----------
    values
        Shape (facts, layers, width), float32, at the last token of the prompt.
    num_tokens
        Tokens that were run for it.
    """

    values: Array
    num_tokens: int

    def vector(self, layer: int, *, null: str | None = None, seed: int = 0) -> Array:
        """Return the mean difference of a layer, or a null of the same length.

        Parameters
        ----------
        null
            ``"random"``: a direction drawn at random; ``"shuffled"``: the sum of the differences of one half of
            the facts, drawn at random, less that of the other half; of an odd number one fact is left out.

        Raises
        ------
        DataError
            If there is one fact, which has no halves, or the halves are alike.
        """
        own = self.values[:, layer]
        mean: Array = own.mean(axis=0)
        if null is None:
            return mean
        random = np.random.Generator(np.random.Philox(key=[seed, 8]))
        if null == "random":
            other = random.standard_normal(mean.shape)
        else:
            half = len(own) // 2
            if half == 0:
                raise DataError(
                    f"null shuffled: wanted at least 2 facts, got {len(own)}; make the vector from more facts"
                )
            drawn = random.permutation(len(own))
            other = own[drawn[:half]].sum(axis=0) - own[drawn[half : 2 * half]].sum(axis=0)
            if not other.any():
                raise DataError(
                    f"null shuffled: of {len(own)} facts the differences of its two halves are the same, so that "
                    "nothing is left; make the vector from more facts"
                )
        scaled: Array = (other * np.linalg.norm(mean) / np.linalg.norm(other)).astype(np.float32)
        return scaled


def differences(model: LanguageModel, facts: pa.Table, *, seed: int, progress: Progress | None = None) -> Differences:
    """Run a model on the prompts of both users about every fact, in training wordings."""
    asked = fact_prompts(facts, options=FactOptions(split="train", arms=("endorse", "deny")), seed=seed)
    asked = asked.filter(pc.equal(asked["stated"], "wrong"))
    arms = asked["arm"].to_pylist()
    prompts = table_prompts(asked, by_turns=model.chat_template)
    rows = [alone for alone, _ in model.encoder.rows(prompts, [[] for _ in prompts])]
    states = np.stack(list(_last_states(model, rows, progress)))
    denied, endorsed = (
        states[[row for row, arm in enumerate(arms) if arm == wanted]] for wanted in ("deny", "endorse")
    )
    return Differences(values=denied - endorsed, num_tokens=sum(map(len, rows)))


def _last_states(model: LanguageModel, rows: Sequence[list[int]], progress: Progress | None) -> Iterator[Array]:
    """Yield the residual stream after each block at the last token of each prompt, shape (layers, width)."""
    with in_evaluation(model.model), _kept_outputs(model.model) as kept:
        for done, ids in enumerate(rows):
            forward(model.model, np.array([ids], np.int32), use_cache=False, logits_to_keep=1)
            yield np.stack(kept)
            kept.clear()
            if progress is not None:
                progress(done + 1, len(rows))


@contextmanager
def _kept_outputs(module: Any) -> Iterator[list[Array]]:
    kept: list[Array] = []

    def keep(_module: Any, _inputs: Any, found: Any) -> None:
        kept.append(block_output(found)[0, -1].float().cpu().numpy().copy())

    handles = [module.get_submodule(name).register_forward_hook(keep) for name in block_names(module)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


class Candidate(NamedTuple):
    """A layer and a strength, and what the model then answers on the validation facts."""

    layer: int
    strength: float
    accuracy_user_wrong: float
    margin_user_wrong: float
    accuracy_none: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The candidates that were tried, after the model as it is (strength 0), and the one that was taken."""

    tried: tuple[Candidate, ...]
    taken: Candidate
    num_tokens: int


def choose(
    model: LanguageModel,
    found: Differences,
    validation: pa.Table,
    method: Steered,
    *,
    layers: Sequence[int],
    seed: int,
    progress: Progress | None = None,
) -> Choice:
    """Take the layer and strength with the most right answers against a wrong user.

    Of equals the one with the greater mean log-odds of the right answer is taken. Those that lose more than the
    method's ``most_lost`` of the right answers without a user do not count.

    Raises
    ------
    DataError
        If every candidate loses more.
    """
    asked = fact_prompts(validation, options=FactOptions(split="train", arms=("none", "endorse")), seed=seed)
    asked = asked.filter(pc.or_kleene(pc.equal(asked["arm"], "none"), pc.equal(asked["stated"], "wrong")))
    pairs = [(layer, strength) for layer in layers for strength in method.strengths]
    before, num_tokens = _candidate(model, asked, layers[0], 0.0)
    tried = [before]
    for done, (layer, strength) in enumerate(pairs):
        vector = np.float32(strength) * found.vector(layer)
        steered = steered_model(model, layer, vector, name=model.name)
        candidate, tokens = _candidate(steered, asked, layer, strength)
        tried.append(candidate)
        num_tokens += tokens
        if progress is not None:
            progress(done + 1, len(pairs))
    allowed = [one for one in tried[1:] if one.accuracy_none >= before.accuracy_none - method.most_lost - _ROUNDING]
    if not allowed:
        raise DataError(
            f"Steered: each of {len(pairs)} layers and strengths loses more than {100 * method.most_lost:g} points of "
            f"accuracy without a user ({before.accuracy_none:.2f} before); try smaller strengths or other layers"
        )
    best = max(allowed, key=lambda one: (one.accuracy_user_wrong, one.margin_user_wrong))
    return Choice(tried=tuple(tried), taken=best, num_tokens=num_tokens)


def _candidate(model: LanguageModel, asked: pa.Table, layer: int, strength: float) -> tuple[Candidate, int]:
    scores = model.score(asked)
    measured = join_scores(asked, scores)
    found, target = choice_scores(measured), np.array(measured["target"].to_pylist())
    right, odds = found.share_of(target), found.log_odds_of(target)
    alone = np.array(measured["arm"].to_pylist()) == "none"
    wrong, none = ~alone, alone
    means = (float(np.nanmean(values)) for values in (right[wrong], odds[wrong], right[none]))
    return Candidate(layer, strength, *means), scores.num_tokens
