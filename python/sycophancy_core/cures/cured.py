"""A model with a cure: what was done, what it cost to make, and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sycophancy_core.cures.methods import Method, method_name, title_of
from sycophancy_core.errors import MAX_SEED, DataError, require_counts, require_whole
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields
from sycophancy_core.runs.json_files import write_json
from sycophancy_core.runs.seals import save_result
from sycophancy_core.scoring.language_model import LanguageModel

FILE = "cure.json"


def base_of(model: LanguageModel) -> dict[str, str]:
    """Return name and digest of the model that gets a cure."""
    return {"name": model.name, "weights": model.digest}


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cure costs.

    Attributes
    ----------
    tokens
        Tokens that the model ran or was trained on while the cure was made, each training step's counted once.
    seconds
        Wall time of the same.
    prompt_tokens
        Tokens that every prompt has more ever after; below 0 where an instruction takes the place of a longer system
        turn of the chat template.
    """

    tokens: int = 0
    seconds: float = 0.0
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        require_counts("Cost", self, ("tokens",), least=0)
        require_whole("Cost", "prompt_tokens", self.prompt_tokens, least=-MAX_SEED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cured:
    """A model with a cure, or with one of the cure's nulls.

    Attributes
    ----------
    method
        The options that it was made with; where layer and strength were chosen, those that were.
    null
        Which null of the method it is; None for the cure itself.
    seed
        Of all draws.
    model
        The model to measure: ``evaluate`` takes it as it takes any other. The model that was given is as it was; the
        two share the weights that the cure left alone.
    base
        Name and digest of the weights of the model that was given.
    cost
        What it took to make, and what it takes to use.
    about
        What was found on the way, for a reader: the instruction's text, the choice of layer and strength, the loss.
    """

    method: Method
    null: str | None = None
    seed: int = 0
    model: LanguageModel
    base: dict[str, str]
    cost: Cost
    about: dict[str, Any] = field(default_factory=dict)
    _write: Callable[[Path], object] | None = field(default=None, repr=False)
    _make_null: Callable[[str, int], Cured] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The method's name, and its null's."""
        return title_of(self.method, self.null)

    @checked_arguments
    def make_null(self, null: str, *, seed: int = 0) -> Cured:
        """Make one of the cure's nulls (see ``NULLS``), with the same options and budget.

        Raises
        ------
        DataError
            If this is a null, or was loaded: only what ``mitigate`` returned knows what it was made from.
        """
        if self._make_null is None:
            raise DataError(f"make_null: wanted a cure that mitigate made just now, got {self.name}; make it once more")
        return self._make_null(null, seed)

    @checked_arguments
    def save(self, folder: str | Path) -> list[Path]:
        """Write ``cure.json`` and what the cure adds to the model (vector or adapter), under a seal.

        The weights of the model that was given are not written; ``load_cure`` wants that model again.
        """
        record = {
            "method": method_name(self.method),
            "options": asdict(self.method),
            "null": self.null,
            "seed": self.seed,
            "base": self.base,
            "cost": asdict(self.cost),
            "about": self.about,
        }

        def write(scratch: Path) -> None:
            write_json(scratch / FILE, record)
            if self._write is not None:
                self._write(scratch)

        return save_result(folder, "cure", write)

    def __repr__(self) -> str:
        """Say method, null and price."""
        made = f"{self.cost.tokens:,} tokens and {self.cost.seconds:.1f} s to make"
        return f"Cured({self.name}, of {self.base['name']}, {made}, {self.cost.prompt_tokens} tokens more a prompt)"
