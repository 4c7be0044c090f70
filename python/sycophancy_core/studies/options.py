"""What a study does: one frozen record, from Python or a YAML file, and the variants of its sweep."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sycophancy_core.errors import DataError, require_counts, warn
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields
from sycophancy_core.prompts.fact_families import is_fact_family
from sycophancy_core.prompts.families import FamilyOptions
from sycophancy_core.runs.formats.yaml_files import read_yaml
from sycophancy_core.runs.formats.yaml_records import record_of

FilterChoice = Literal["margin", "wei2023", "none"]
Recipe = Literal["balanced", "wei2023"]
Training = Literal["users", "no_users", "shuffled_targets", "instructions_only"]

OTHER_TASKS = ("nlp", "phil", "poli", "answer", "mmlu", "bbh")
_RENAMED = {"folder": "task_folder"}  # keys of a study's file


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One intervention of a study.

    Attributes
    ----------
    filter
        Rule by which the claims to train on are kept (see ``FilterOptions``), or ``"none"``: all of them.
    recipe
        ``"balanced"`` or ``"wei2023"``: how the claims to train on are made (see ``ClaimOptions``). The wording of the
        prompts is the same, so that two variants differ in the recipe only.
    training
        What is trained on. ``"users"``: claims with a user's opinion, answered by the truth, and instructions. The rest
        are null variants, of as many rows and steps and the same seed, which tell the users' effect from that of any
        training: ``"no_users"`` asks the same claims in the same wordings without a user, ``"shuffled_targets"`` deals
        the right answers out at random, ``"instructions_only"`` asks no claim.
    ratio
        Synthetic rows for each instruction row.
    steps
        Of the fine-tuning.
    seed
        Of the training prompts, the mix and the fine-tuning. The claims are the same for all variants.
    """

    filter: FilterChoice = "margin"
    recipe: Recipe = "balanced"
    training: Training = "users"
    ratio: float = 5.0
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("filter", FilterChoice), ("recipe", Recipe), ("training", Training)):
            if getattr(self, name) not in get_args(kind):
                raise DataError(f"sweep: {name} must be one of {get_args(kind)}, got {getattr(self, name)!r}")
        if not 0 < self.ratio < float("inf"):
            raise DataError(f"sweep: ratio must be > 0, got {self.ratio}")
        require_counts("sweep", self, ("steps",))
        require_counts("sweep", self, ("seed",), least=0)


def name_of(variant: Variant, options: Sequence[str]) -> str:
    """Name a variant by some of its options."""
    return " ".join(f"{name}={_plain(getattr(variant, name))}" for name in options) or "the only variant"


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The values that each option takes; a study has a variant for every combination, the last option changing first.

    Attributes
    ----------
    filter, recipe, training, ratio, steps, seed
        Values of the same option of :class:`Variant`.
    """

    filter: tuple[FilterChoice, ...] = ("margin",)
    recipe: tuple[Recipe, ...] = ("balanced",)
    training: tuple[Training, ...] = ("users",)
    ratio: tuple[float, ...] = (5.0,)
    steps: tuple[int, ...] = (40,)
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            if not values or len(set(values)) < len(values):
                raise DataError(f"sweep: {name} wants at least one value and none twice, got {list(values)}")
        self.variants()  # each checks its own values

    def variants(self) -> dict[str, Variant]:
        """Return every variant by its name, which says what it differs in from the others."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        swept = [name for name, several in values.items() if len(several) > 1]
        variants = [Variant(**dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]
        return {name_of(variant, swept): variant for variant in variants}


@checked_fields
@dataclass(frozen=True, kw_only=True)
class StudyOptions(FamilyOptions):
    """A study: one model, its measurement, and the interventions to try on it.

    The families and their sizes are those of :class:`FamilyOptions`; ``seed`` is of the claims and of the evaluation.
    Claims of the recipe ``wei2023`` have a negated share of 0.5, since there the polarity is the truth.

    Attributes
    ----------
    model
        ``"organism"`` (the packaged one), or any source of ``load_model``; None is the embedded model.
    chat_template
        Whether to ask in the chat template: true, false, or auto, where the model has one; see ``load_model``.
    threshold
        Least margin towards the truth of a known claim, in nats.
    max_error
        Bound on the error of what the filter ``"margin"`` keeps of each source; see ``FilterOptions``. None keeps every
        right answer.
    filler_family
        A family that no task asks and no variant trains on otherwise. Its known claims take the rows of the claims that
        a filter drops, so that a kept claim is asked as often as without the filter (equal dose). None: the kept claims
        are asked more often instead.
    tasks
        Further tasks: nlp, phil, poli, answer, and mmlu and bbh for side effects.
    task_folder
        Folder of their files (``folder`` of ``TaskOptions``); in a YAML file, relative to that file.
    limit
        Questions of each further task; None for all.
    think
        Let the model think for at most so many tokens before each reply of the evaluations; see ``evaluate``. In
        trainings, their curves and the question what is known the thought is empty.
    batch_size, learning_rate
        Of the fine-tuning; see ``FinetuneOptions``.
    lora_rank
        Rank of the adapter; None trains the weights.
    curve_points
        How often each fine-tuning is measured on its way, on at most ten claims of each family; 0 for never.
    sweep
        The variants.
    """

    model: str | None = "organism"
    chat_template: Literal["auto", True, False] = "auto"
    threshold: float = 0.0
    max_error: float | None = None
    filler_family: str | None = None
    tasks: tuple[str, ...] = ()
    task_folder: str | None = None
    limit: int | None = None
    think: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    lora_rank: int | None = 8
    curve_points: int = 0
    sweep: Sweep = Sweep()

    def __post_init__(self) -> None:
        for name in ("families", "candidate_families"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise DataError(f"study: {name} wants at least one family and none twice, got {list(values)}")
        require_counts("study", self, ("claims", "candidates", "batch_size"))
        super().__post_init__()
        self._check_filler()
        self._check_facts()
        require_counts("study", self, ("seed", "curve_points"), least=0)
        require_counts("study", self, ("limit", "lora_rank", "think"), none="null")
        if not self.threshold >= 0:
            raise DataError(f"study: threshold must be at least 0, got {self.threshold}")
        if self.max_error is not None and not 0 < self.max_error < 1:
            raise DataError(f"study: max_error must be between 0 and 1 or be null, got {self.max_error}")
        if not 0 < self.learning_rate < float("inf"):
            raise DataError(f"study: learning_rate must be > 0, got {self.learning_rate}")
        unknown = [name for name in self.tasks if name not in OTHER_TASKS]
        if unknown:
            raise DataError(
                f"study: tasks must be of {', '.join(OTHER_TASKS)}, got {unknown[0]!r}; claims and sums are families"
            )
        if self.tasks and self.task_folder is None:
            raise DataError(f"study: tasks {', '.join(self.tasks)} need the folder of their files, got no task_folder")

    def _check_facts(self) -> None:
        if self.filler_family is not None and is_fact_family(self.filler_family) != self.trains_on_facts:
            kind = "facts" if self.trains_on_facts else "claims"
            raise DataError(
                f"study: filler_family must be of {kind}, as the candidates are, got {self.filler_family!r}"
            )
        of_claims = [f"filter {name}" for name in self.sweep.filter if name == "wei2023"]
        of_claims += [f"recipe {name}" for name in self.sweep.recipe if name != "balanced"]
        if self.trains_on_facts and of_claims:
            raise DataError(f"study: {of_claims[0]} is for claims, got candidate families of facts; leave it out")

    def _check_filler(self) -> None:
        for name in ("families", "candidate_families"):
            if self.filler_family in getattr(self, name):
                raise DataError(f"study: filler_family must be none of {name}, got {self.filler_family!r}")
        if self.filler_family is not None and self.sweep.filter == ("none",):
            raise DataError("study: filler_family is for variants with a filter, got none; sweep one, or leave it out")


@checked_arguments
def read_study(path: str | Path) -> StudyOptions:
    """Read a study from a YAML file. Its keys are the fields of :class:`StudyOptions`.

    Warns
    -----
    FutureWarning
        If a key has the name of an earlier version.

    Raises
    ------
    DataError
        If the file is larger than 1 MiB or no YAML, a key is unknown, or a value is of a wrong type or out of range.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> options = sc.read_study("study.yaml")
    >>> options.sweep.training
    ('users', 'no_users')
    """
    path = Path(path)
    value = read_yaml(path)
    try:
        options: StudyOptions = record_of(StudyOptions, _in_todays_words(value, path), "the file")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if options.task_folder is None:
        return options
    return replace(options, task_folder=str(path.parent / options.task_folder))


def _in_todays_words(value: Any, path: Path) -> Any:
    """Rename the keys of an earlier version."""
    if not isinstance(value, Mapping):
        return {} if value is None else value
    for old, new in _RENAMED.items():
        if old in value and new not in value:
            warn(f"{path}: the key {old} is now called {new}; rename it", FutureWarning)
            value = {new if key == old else key: item for key, item in value.items()}
    return value


def _plain(value: object) -> str:
    """Return a value as a text that no other value has."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"  # of six digits
    return short if float(short) == value else repr(float(value))
