"""A study of cures from one YAML file: several cures of one model, each less its nulls, in one folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa

from sycophancy_core.cures.cure_effects import CureEffects
from sycophancy_core.cures.head_to_head import RUN, head_to_head
from sycophancy_core.cures.methods import NULLS, Method
from sycophancy_core.cures.report import cures_page
from sycophancy_core.errors import DataError, require_counts, require_seed, require_whole
from sycophancy_core.prompts.fact_families import candidate_facts
from sycophancy_core.prompts.facts import load_facts
from sycophancy_core.prompts.splits import sample_rows
from sycophancy_core.runs.files import replace_file
from sycophancy_core.runs.formats.yaml_files import read_yaml
from sycophancy_core.runs.formats.yaml_records import record_of
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.run_folder import open_run
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.tasks.named_tasks import TaskOptions, task_prompts

_CURES = "cures"  # the key that tells such a file from that of another study
_REPORT = "report.html"
_METHODS: dict[str, Any] = {kind.__name__.lower(): kind for kind in NULLS}


@dataclass(frozen=True, kw_only=True)
class CureStudy:
    """What a study of cures does.

    Attributes
    ----------
    cures
        Options of methods, by name.
    model
        Any source of ``load_model``; None is the embedded model.
    chat_template
        Whether to ask in the chat template: true, false, or auto, where the model has one; see ``load_model``.
    families
        Families of facts that are asked: of these nothing is made.
    candidate_families
        Families that trainings and vectors are made from.
    validation_families
        Families on which layer and strength of a vector are chosen.
    claims
        Facts of each family that are asked.
    candidates
        Facts of each candidate family, at most.
    seeds
        Of trainings; intervals over seeds need several.
    num_random
        How many vectors of each null a vector is compared with.
    other_prompts
        Ordinary instructions by which it is measured how far a cure moves other text; 0 for none.
    tasks
        Further tasks, such as mmlu and bbh, on which a cure should change nothing; see ``task_prompts``.
    task_folder
        Folder of their files (``folder`` of ``TaskOptions``); in a YAML file, relative to that file.
    limit
        At most this many claims or questions of each further task; None for all.
    seed
        Of the facts, the prompts, the replies to other prompts, thoughts, and what the model knows.
    think
        Let every model think for at most so many tokens before each answer; see ``head_to_head``.
    """

    cures: Mapping[str, Method]
    model: str | None = None
    chat_template: Literal["auto", True, False] = "auto"
    families: tuple[str, ...] = ("capitals", "cities", "continents", "languages", "opposites", "plurals")
    candidate_families: tuple[str, ...] = ("successors", "past_tenses", "professions")
    validation_families: tuple[str, ...] = ("animal_young", "currencies", "products")
    claims: int = 32
    candidates: int = 120
    seeds: tuple[int, ...] = (0,)
    num_random: int = 10
    other_prompts: int = 20
    tasks: tuple[str, ...] = ()
    task_folder: str | None = None
    limit: int | None = None
    seed: int = 0
    think: int | None = None

    def __post_init__(self) -> None:
        for name in ("families", "candidate_families", "validation_families", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise DataError(f"{name} wants at least one and none twice, got {list(values)}")
        require_counts("study of cures", self, ("claims", "candidates", "num_random"))
        require_counts("study of cures", self, ("think",), none="null")
        require_whole("study of cures", "other_prompts", self.other_prompts)
        require_whole("study of cures", "limit", self.limit, least=1, none="null")
        for name in ("task_folder", "limit"):
            if getattr(self, name) is not None and not self.tasks:
                raise DataError(f"{name} is for further tasks, got no tasks; leave it out, or name some in tasks")
        for seed in (self.seed, *self.seeds):
            require_seed("study of cures", seed)


def is_cure_study(path: str | Path) -> bool:
    """Tell whether a YAML file has the key ``cures``."""
    found = read_yaml(path)
    return isinstance(found, Mapping) and _CURES in found


def read_cure_study(path: str | Path) -> CureStudy:
    """Read a study of cures from a YAML file. Its keys are the fields of :class:`CureStudy`.

    Each of ``cures`` has its ``method`` and the options of that method.

    Raises
    ------
    DataError
        If the file is no YAML, a method or key is unknown, or a value is of a wrong type or out of range.
    """
    path = Path(path)
    found = read_yaml(path)
    try:
        options = _study(found)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if options.task_folder is None:
        return options
    return replace(options, task_folder=str(path.parent / options.task_folder))


def _study(found: Any) -> CureStudy:
    if not isinstance(found, Mapping) or not isinstance(found.get(_CURES), Mapping) or not found[_CURES]:
        raise DataError(f"the file must hold {_CURES}: names with a method and its options, got {found!r:.200}")
    cures = {str(name): _method(str(name), value) for name, value in found[_CURES].items()}
    rest = {key: value for key, value in found.items() if key != _CURES}
    options: CureStudy = record_of(CureStudy, rest, "the file", cures=cures)
    return options


def _method(name: str, value: Any) -> Method:
    if not isinstance(value, Mapping) or value.get("method") not in _METHODS:
        got = value.get("method") if isinstance(value, Mapping) else value
        raise DataError(f"cure {name}: method must be one of {', '.join(_METHODS)}, got {got!r}")
    options = {key: item for key, item in value.items() if key != "method"}
    made: Method = record_of(_METHODS[value["method"]], options, f"cure {name}")
    return made


def study_cures(
    options: CureStudy,
    folder: str | Path,
    *,
    progress: Progress | bool | None = None,
    out: TextIO | None = None,
) -> CureEffects:
    """Make and measure what of a study of cures is not done yet; write the result and ``report.html``.

    Parameters
    ----------
    folder
        The study's folder: what ``CureEffects.save`` writes, ``report.html``, ``manifest.json``, and a folder for each
        finished cure with its nulls, from which an interrupted study goes on.
    out
        Where the text goes; standard output by default.

    Raises
    ------
    DataError
        As ``head_to_head`` and ``task_prompts``; or if the folder is that of another study, or a file of it was
        changed.
    """
    folder, out = Path(folder), out or sys.stdout
    asked = [sample_rows(load_facts(family), options.claims, seed=options.seed) for family in options.families]
    files = TaskOptions(folder=options.task_folder)
    also = task_prompts(options.tasks, options=files, limit=options.limit, seed=options.seed) if options.tasks else None
    with open_run(folder, config=RUN) as run:
        model = load_model(options.model, dtype="float32", chat_template=options.chat_template)
        names = "; ".join(options.cures)
        print(f"{model.name}: prompts are asked {model.asked_as}\ncures: {names}", file=out, flush=True)
        found = head_to_head(
            model,
            options.cures,
            facts=candidate_facts(options.candidate_families, n=options.candidates, seed=options.seed),
            validation=load_facts(options.validation_families),
            test=pa.concat_tables(asked),
            seeds=options.seeds,
            num_random=options.num_random,
            also=also,
            other_prompts=options.other_prompts,
            seed=options.seed,
            think=options.think,
            run=run,
            progress=progress,
        )
        report = replace_file(folder / _REPORT, lambda file: file.write(cures_page(found).encode()))
        run.name_results([*found.save(folder), report])
    print(f"\n{found}\n\nstudy folder: {folder}\nreport:       {report}", file=out, flush=True)
    return found
