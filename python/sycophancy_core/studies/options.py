"""What a study does: one frozen record, from Python or a YAML file, and the arms of its sweep."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sycophancy_core.errors import DataError, require_counts
from sycophancy_core.prompts.families import FamilyOptions
from sycophancy_core.runs.yaml_files import read_yaml

FilterChoice = Literal["margin", "wei2023", "none"]
Recipe = Literal["balanced", "wei2023"]

OTHER_TASKS = ("nlp", "phil", "poli", "answer", "mmlu", "bbh")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One intervention of a study.

    Attributes
    ----------
    filter
        Rule by which the claims to train on are kept (see ``FilterOptions``), or ``"none"``: all of them.
    recipe
        ``"balanced"`` or ``"wei2023"``: how the claims to train on are made (see ``ClaimOptions``). The wording of the
        prompts is the same, so that two arms differ in the recipe only.
    ratio
        Synthetic rows for each instruction row.
    steps
        Of the fine-tuning.
    seed
        Of the training prompts, the mix and the fine-tuning. The claims are the same for all arms.
    """

    filter: FilterChoice = "margin"
    recipe: Recipe = "balanced"
    ratio: float = 5.0
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("filter", FilterChoice), ("recipe", Recipe)):
            if getattr(self, name) not in get_args(kind):
                raise DataError(f"sweep: {name} must be one of {get_args(kind)}, got {getattr(self, name)!r}")
        if not 0 < self.ratio < float("inf"):
            raise DataError(f"sweep: ratio must be > 0, got {self.ratio}")
        require_counts("sweep", self, ("steps",))
        require_counts("sweep", self, ("seed",), least=0)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The values that each option of an arm takes; a study has an arm for every combination, the last changing first.

    Attributes
    ----------
    filter, recipe, ratio, steps, seed
        Values of the same option of :class:`Arm`.
    """

    filter: tuple[FilterChoice, ...] = ("margin",)
    recipe: tuple[Recipe, ...] = ("balanced",)
    ratio: tuple[float, ...] = (5.0,)
    steps: tuple[int, ...] = (40,)
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            if not values or len(set(values)) < len(values):
                raise DataError(f"sweep: {name} wants at least one value and none twice, got {list(values)}")
        self.arms()  # each checks its own values

    def arms(self) -> dict[str, Arm]:
        """Return every arm by its name, which says what it differs in from the others."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        swept = [name for name, several in values.items() if len(several) > 1]
        arms = [Arm(**dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]
        return {
            " ".join(f"{name}={_plain(getattr(arm, name))}" for name in swept) or "the only arm": arm for arm in arms
        }


@dataclass(frozen=True, kw_only=True)
class StudyOptions(FamilyOptions):
    """A study: one model, its measurement, and the interventions to try on it.

    The families and their sizes are those of :class:`FamilyOptions`; ``seed`` is of the claims and of the evaluation.
    Claims of the recipe ``wei2023`` have a negated share of 0.5, since there the polarity is the truth.

    Attributes
    ----------
    model
        ``"organism"`` (the packaged one), or any source of ``load_model``; None is the embedded model.
    threshold
        Least margin towards the truth of a known claim, in nats.
    max_error
        Bound on the error of what the filter ``"margin"`` keeps of each source; see ``FilterOptions``. None keeps every
        right answer.
    tasks
        Further tasks: nlp, phil, poli, answer, and mmlu and bbh for side effects.
    folder
        Folder of their files (see ``TaskOptions``); in a YAML file, relative to that file.
    limit
        Questions of each further task; None for all.
    batch_size, learning_rate
        Of the fine-tuning; see ``FinetuneOptions``.
    lora_rank
        Rank of the adapter; None trains the weights.
    sweep
        The arms.
    """

    model: str | None = "organism"
    threshold: float = 0.0
    max_error: float | None = None
    tasks: tuple[str, ...] = ()
    folder: str | None = None
    limit: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    lora_rank: int | None = 8
    sweep: Sweep = Sweep()

    def __post_init__(self) -> None:
        for name in ("families", "candidate_families"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise DataError(f"study: {name} wants at least one family and none twice, got {list(values)}")
        require_counts("study", self, ("claims", "candidates", "batch_size"))
        require_counts("study", self, ("seed",), least=0)
        require_counts("study", self, ("limit", "lora_rank"), none="null")
        if not self.threshold >= 0:
            raise DataError(f"study: threshold must be at least 0, got {self.threshold}")
        if self.max_error is not None and not 0 < self.max_error < 1:
            raise DataError(f"study: max_error must lie between 0 and 1 or be null, got {self.max_error}")
        if not 0 < self.learning_rate < float("inf"):
            raise DataError(f"study: learning_rate must be > 0, got {self.learning_rate}")
        unknown = [name for name in self.tasks if name not in OTHER_TASKS]
        if unknown:
            raise DataError(
                f"study: tasks must be of {', '.join(OTHER_TASKS)}, got {unknown[0]!r}; claims and sums are families"
            )
        if self.tasks and self.folder is None:
            raise DataError(f"study: tasks {', '.join(self.tasks)} need the folder of their files, got no folder")


def read_study(path: str | Path) -> StudyOptions:
    """Read a study from a YAML file, whose keys are the fields of :class:`StudyOptions`.

    Raises
    ------
    DataError
        If the file is larger than 1 MiB or no YAML, a key is unknown, or a value is of a wrong type or out of range.
    """
    path = Path(path)
    value = read_yaml(path)
    try:
        options: StudyOptions = _record(StudyOptions, {} if value is None else value, "the file")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return options if options.folder is None else replace(options, folder=str(path.parent / options.folder))


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} must hold keys with values, got {value!r}")
    kinds = get_type_hints(kind)
    unknown = [key for key in value if key not in kinds]
    if unknown:
        raise DataError(f"{where} has the unknown key {unknown[0]!r}; wanted some of {', '.join(kinds)}")
    return kind(**{key: _converted(kinds[key], item, key) for key, item in value.items()})


def _converted(kind: Any, value: Any, where: str) -> Any:
    """Return a YAML value as the type of its field."""
    if kind is Sweep:
        return _record(kind, value, where)
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DataError(f"{where} must be a list, got {value!r}")
        return tuple(_converted(parts[0], item, f"each of {where}") for item in value)
    if get_origin(kind) is Literal:
        if value not in parts:
            raise DataError(f"{where} must be one of {', '.join(parts)}, got {value!r}")
        return value
    if NoneType in parts:
        return None if value is None else _converted(parts[0], value, where)
    return _number_or_text(kind, value, where)


def _number_or_text(kind: type, value: Any, where: str) -> Any:
    words = {str: "a text", int: "a whole number", float: "a number"}
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3, without a point, as a text
        except (ValueError, OverflowError):
            pass
    if isinstance(value, bool) or not isinstance(value, kind):
        raise DataError(f"{where} must be {words[kind]}, got {value!r}")
    return value


def _plain(value: object) -> str:
    """Return a value as a text that no other value has."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"  # of six digits
    return short if float(short) == value else repr(float(value))
