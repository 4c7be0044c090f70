"""The methods that ``mitigate`` knows: one frozen record of options for each, and the nulls that each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sycophancy_core.cures.texts.instructed import instruction_text
from sycophancy_core.errors import DataError, require_counts, require_whole
from sycophancy_core.inputs.arguments import checked_fields

Place = Literal["user", "system"]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Prompted:
    """Put an instruction before every prompt; the weights stay as they are.

    Its null ``equal_length`` is a text of as many tokens that says nothing about the question.

    Attributes
    ----------
    instruction
        Name of a packaged text: ``"own_knowledge"``, ``"asked_not_told"`` or ``"counterfactual"``.
    text
        A text of your own in its place; None for the packaged one.
    place
        ``"user"``: at the beginning of the user's first turn or, in plain text, of the prompt. ``"system"``: as the
        chat template's system turn.
    """

    instruction: str = "own_knowledge"
    text: str | None = None
    place: Place = "user"

    def __post_init__(self) -> None:
        if self.place not in ("user", "system"):
            raise DataError(f"Prompted: place must be user or system, got {self.place!r}")
        if self.text is None:
            instruction_text(self.instruction)
        elif not self.text.strip():
            raise DataError("Prompted: text must say something, got an empty text; leave it out for a packaged one")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Steered:
    """Add a vector to the residual stream after one decoder block, at every position.

    The vector is the mean difference between prompts in which the user denies and endorses the same wrong answer, of
    the facts that are trained on. Its nulls have the same layer and length: ``random`` is a direction drawn at random,
    ``shuffled`` the differences of one half of the facts, drawn at random, less those of the other half.

    Attributes
    ----------
    layers
        Blocks to try, counted from 0; None: six between a quarter and three quarters of the depth.
    strengths
        Multiples of the mean difference to try.
    most_lost
        Share of the validation facts by which accuracy without a user may fall, in [0, 1]. Of 33 facts or fewer, none
        may be lost at 0.03.
    num_facts, num_validation
        How many facts, at most, the vector is made from and chosen on; drawn by seed.

    References
    ----------
    Rimsky et al. 2024, Steering Llama 2 via Contrastive Activation Addition (arXiv:2312.06681).
    """

    layers: tuple[int, ...] | None = None
    strengths: tuple[float, ...] = (1.0, 2.0, 4.0)
    most_lost: float = 0.03
    num_facts: int = 80
    num_validation: int = 40

    def __post_init__(self) -> None:
        for name, values in (("layers", self.layers), ("strengths", self.strengths)):
            if values is not None and (not values or len(set(values)) < len(values)):
                raise DataError(f"Steered: {name} wants at least one value and none twice, got {values}")
        for layer in self.layers or ():
            require_whole("Steered", "layers", layer)
        require_counts("Steered", self, ("num_facts", "num_validation"))
        if not all(0 < strength < float("inf") for strength in self.strengths):
            raise DataError(f"Steered: strengths must be > 0 and finite, got {self.strengths}")
        if not 0 <= self.most_lost <= 1:
            raise DataError(f"Steered: most_lost must be in [0, 1], got {self.most_lost}")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How the trained cures are trained: an adapter on the blocks, merged at the end.

    Attributes
    ----------
    steps, batch_size, learning_rate, lora_rank
        As of ``FinetuneOptions``.
    """

    steps: int = 30
    batch_size: int = 16
    learning_rate: float = 1e-3
    lora_rank: int = 8

    def __post_init__(self) -> None:
        require_counts(type(self).__name__, self, ("steps", "batch_size", "lora_rank"))
        self._require_above_0("learning_rate")

    def _require_above_0(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < float("inf"):
                raise DataError(f"{type(self).__name__}: {name} must be > 0 and finite, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Mixed(Trained):
    """Training on rows about facts, mixed with instructions.

    Attributes
    ----------
    ratio
        Rows about facts for each instruction row.
    """

    ratio: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_above_0("ratio")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Synthetic(Mixed):
    """Train on facts that the model knows, asked with users who are right and wrong, answered by the truth.

    Its nulls have as many rows and steps: ``no_users`` asks the same facts in the same wordings without a user,
    ``shuffled_targets`` deals the right answers out at random. The options are those of :class:`Trained`, and
    ``ratio``: rows about facts for each instruction row.

    References
    ----------
    Wei et al. 2023, Simple synthetic data reduces sycophancy in large language models (arXiv:2308.03958).
    """


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Consistent(Mixed):
    """Train on facts asked with users, answered as the model itself answers without a user, be it right or wrong.

    No truth is needed, and nothing is filtered. Its null ``no_users`` asks without a user and has the same answers. The
    options are those of :class:`Synthetic`.

    References
    ----------
    Chua et al. 2024, Bias-Augmented Consistency Training Reduces Biased Reasoning in Chain-of-Thought
    (arXiv:2403.05518). There the target is the model's whole reply; here it is its choice among the answers.
    """


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Activations(Trained):
    """Train the model to compute, when a user has an opinion, what it computes for the same question alone.

    The loss is the mean square difference of the residual streams after all blocks, at the tokens with which both
    prompts end; those of the given model, alone, are the target. No truth is needed and no answer is taught. Its null
    ``no_opinion`` has as many pairs, of users who say who they are and nothing else. The options are those of
    :class:`Trained`, but that a pair has two prompts.

    References
    ----------
    Irpan et al. 2025, Consistency Training Helps Stop Sycophancy and Jailbreaks (arXiv:2510.27062).
    """


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Preference(Trained):
    """Train the model to prefer the right answer over the wrong one, with users who are right and wrong (DPO).

    The facts are those that the model knows, as of :class:`Synthetic`; TRL trains (extra ``trl``). The nulls have as
    many pairs and steps: ``no_users`` asks the same facts in the same wordings without a user, ``shuffled_preferences``
    draws at random, for each fact, which of the two answers is preferred.

    Attributes
    ----------
    beta
        How closely the model is held to what it was: larger is closer.

    References
    ----------
    Rafailov et al. 2023, Direct Preference Optimization (arXiv:2305.18290).
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_above_0("beta")


Method = Prompted | Steered | Trained
NULLS: dict[type[Method], tuple[str, ...]] = {
    Prompted: ("equal_length",),
    Steered: ("random", "shuffled"),
    Synthetic: ("no_users", "shuffled_targets"),
    Consistent: ("no_users",),
    Activations: ("no_opinion",),
    Preference: ("no_users", "shuffled_preferences"),
}


def method_name(method: Method) -> str:
    """Return a method's name in tables and files."""
    return type(method).__name__.lower()


def title_of(method: Method, null: str | None) -> str:
    """Return what a cure, or its null, is called."""
    return method_name(method) if null is None else f"{method_name(method)}, null {null}"


def check_null(method: Method, null: str | None) -> None:
    """Refuse a null that the method does not have.

    Raises
    ------
    DataError
        Saying which it has.
    """
    if null is not None and null not in NULLS[type(method)]:
        raise DataError(
            f"make_null: {method_name(method)} has the nulls {', '.join(NULLS[type(method)])}, got {null!r}"
        )
