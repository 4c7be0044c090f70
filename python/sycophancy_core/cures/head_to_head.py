"""Several cures of one model, side by side: each less its own null, on facts of families that none was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.cures.answered import Answered, Material, answers_of, other_text, untreated
from sycophancy_core.cures.cure_effects import EFFECT_COLUMNS, TASK, UNTREATED, CureEffects
from sycophancy_core.cures.methods import Method, Prompted, Trained, method_name
from sycophancy_core.cures.mitigate import require_other_families
from sycophancy_core.cures.other_text import instructions_apart
from sycophancy_core.cures.prices import price_rows
from sycophancy_core.errors import DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import FACTS, checked_table
from sycophancy_core.metrics.catalogue import better
from sycophancy_core.metrics.changes import adjust_primary
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import Contrast, Side, contrast_rows, shown_numbers
from sycophancy_core.pipeline import filter_known
from sycophancy_core.prompts.splits import sample_rows
from sycophancy_core.prompts.stance import FactOptions, fact_prompts
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.run_folder import Run, open_run
from sycophancy_core.scoring.language_model import LanguageModel

ARMS = ("none", "persona", "endorse", "deny")
RUN = {"kind": "cures"}  # of the folder, which may hold the cures of several calls


@checked_arguments
def head_to_head(
    model: LanguageModel,
    methods: Mapping[str, Method] | Sequence[Method],
    *,
    facts: pa.Table,
    test: pa.Table,
    validation: pa.Table | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (0,),
    num_random: int = 10,
    also: Mapping[str, pa.Table] | None = None,
    other_prompts: int = 20,
    seed: int = 0,
    think: int | None = None,
    run: str | Path | Run | None = None,
    progress: Progress | bool | None = None,
) -> CureEffects:
    """Make each cure and its nulls, and measure all of them on the same facts.

    The effect of a cure is its difference from its null: a text of equal length, vectors of equal length in other
    directions, the same training without users.

    Parameters
    ----------
    methods
        Options of methods, maybe by name; by default a cure is called by its method and, of a prompt, its instruction.
    facts
        What trainings and vectors are made from.
    test
        What is asked: facts of other families, in wordings that no cure was made from.
    validation
        On which layer and strength of a vector are chosen: facts of a third set of families.
    limit
        Facts of ``test`` that are asked, drawn by ``seed``; None for all.
    seeds
        Of trainings, each with its nulls for each seed. Other cures are made once, with the first of them.
    num_random
        How many vectors of each null, random and shuffled, a vector is compared with.
    also
        Prompts of further tasks by name, such as ``task_prompts`` gives of MMLU, on which a cure should change nothing.
    other_prompts
        Ordinary instructions, 60 at most, to each of which the untreated model writes three replies: ``prices`` says
        how far each cure moves them. 0 for none.
    seed
        Of the prompts, of these replies, of thoughts, and of what the model knows.
    think
        Let every model, with a cure or with its null, think for at most so many tokens before each answer; see
        ``evaluate``. What is known, cures and other text are made with an empty thought.
    run
        Folder in which each finished cure is kept with its nulls: a call with the same model, facts and options goes on
        from it, and one with more cures makes only these. Or such a folder that is open already.
    progress
        A callback of done and total; by default bars in a terminal or a notebook; False for none.

    Raises
    ------
    DataError
        If a family is in two of the tables, two cures have one name, a cure cannot be made, or a file of ``run`` was
        changed.
    ModelError
        If a model is to think that cannot; see ``evaluate``.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> found = sc.head_to_head(
    ...     sc.load_model("my-model"),
    ...     [sc.Prompted()],
    ...     facts=sc.load_facts("plurals").slice(0, 4),
    ...     test=sc.load_facts("capitals").slice(0, 8),
    ...     progress=False,
    ... )
    >>> found.prices["null"].to_pylist()
    [None, 'equal_length']
    """
    require_whole("head_to_head", "num_random", num_random, least=1)
    require_whole("head_to_head", "other_prompts", other_prompts)
    other = instructions_apart(other_prompts, seed=seed)
    named = _named(methods)
    if TASK in (also or {}):
        raise DataError(f"head_to_head: also has a task {TASK!r}, which is what the test asks; give it another name")
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(f"head_to_head: seeds wants at least one seed and none twice, got {list(seeds)}")
    tables = {"facts": facts, "test": test} | ({} if validation is None else {"validation": validation})
    tables = {name: checked_table(table, FACTS, who=f"head_to_head ({name})") for name, table in tables.items()}
    for first, second in combinations(tables, 2):
        require_other_families(tables[first], tables[second], who=f"head_to_head: {first} and {second}")
    asked = sample_rows(tables["test"], limit, seed=seed)
    known = frozenset(filter_known(model, asked, seed=seed, progress=progress).known)
    tasks = {TASK: fact_prompts(asked, options=FactOptions(split="test", arms=ARMS), seed=seed), **(also or {})}
    with nullcontext(run) if run is None or isinstance(run, Run) else open_run(run, config=RUN) as opened:
        text = other_text(model, other, seed=seed, run=opened) if other_prompts else None
        material = Material(model, tables["facts"], tables.get("validation"), tasks, known, text, seed, think, progress)
        found = [(UNTREATED, untreated(material, opened))]
        for name, method in named.items():
            for number in seeds if isinstance(method, Trained) else seeds[:1]:
                made = answers_of(material, method, seed=number, num_random=num_random, run=opened)
                found += [(name, one) for one in made]
    measured = pa.concat_tables([_labelled(name, one) for name, one in found])
    return CureEffects(
        model=model.name,
        effects=effects_table(found, known),
        prices=price_rows([_price(name, one) for name, one in found[1:]]),
        measurements=measured,
        known=tuple(sorted(known)),
        thinking={} if think is None else {"max_tokens": think, "seed": seed, **_counted(measured["thought_ended"])},
    )


def _counted(ended: pa.ChunkedArray) -> dict[str, int]:
    return {"num_thoughts": len(ended) - ended.null_count, "num_ended": sum(ended.to_pylist())}


def _named(methods: Mapping[str, Method] | Sequence[Method]) -> dict[str, Method]:
    if isinstance(methods, Mapping):
        named, names = dict(methods), list(methods)
    else:
        names = [_default_name(method) for method in methods]
        named = dict(zip(names, methods, strict=True))
    if not named or len(named) < len(names) or UNTREATED in named:
        raise DataError(
            f"head_to_head: wanted cures of different names, none of them {UNTREATED!r}, got "
            f"{', '.join(names) or 'none'}; give {{name: options}}"
        )
    return named


def _default_name(method: Method) -> str:
    what = ("own text" if method.text else method.instruction) if isinstance(method, Prompted) else ""
    return f"{method_name(method)} {what}".rstrip()


def _price(name: str, one: Answered) -> dict[str, Any]:
    method = {} if one.method is None else {"method": method_name(one.method), "options": asdict(one.method)}
    moved = dict(zip(("divergence", "divergence_low", "divergence_high"), one.divergence or [None] * 3, strict=True))
    return {"cure": name, "null": one.null, "seed": one.seed, "cost": one.cost, "about": one.about, **moved, **method}


def effects_table(found: Sequence[tuple[str, Answered]], known: frozenset[str]) -> pa.Table:
    """Contrast every cure with the untreated model and with each of its nulls."""
    rows: list[dict[str, Any]] = []
    as_given = found[0][1].side
    for name in dict.fromkeys(name for name, _ in found[1:]):
        mine = [one for cure, one in found if cure == name]
        cures = {one.seed: one.side for one in mine if one.null is None}
        nulls: dict[str, dict[int, Side]] = {UNTREATED: dict.fromkeys(cures, as_given)}
        for one in mine:
            if one.null is not None:
                nulls.setdefault(one.null, {})[one.seed] = one.side
        first = next(iter(cures.values()))
        for null, sides in nulls.items():
            pairs = {seed: (side, cures.get(seed, first)) for seed, side in sides.items()}
            ranks = rank_ps(first, list(sides.values())) if len(cures) == 1 < len(sides) else {}
            made = contrast_rows(Contrast(null, name, pairs), known)
            rows += [{**row, "cure": name, "rank_p": ranks.get((row["task"], row["metric"]))} for row in made]
    for unit in ("claim", "seed"):
        adjust_primary([row for row in rows if row["unit"] == unit and row["null"] != UNTREATED])
    return estimates_table(rows, columns=EFFECT_COLUMNS)


def rank_ps(cure: Side, nulls: Sequence[Side]) -> dict[tuple[str, str], float]:
    """Return, by task and metric, (1 + nulls that do at least as well) / (1 + nulls): the cure's rank among them.

    It is exact where the cure, if it did nothing of its own, were one more draw of the null. Metrics of which neither
    high nor small values are better have none.
    """
    own, others = shown_numbers(cure.estimates), [shown_numbers(one.estimates) for one in nulls]
    found = {}
    for key, mine in own.items():
        values = [mine, *(other.get(key, math.nan) for other in others)]
        if key[1] in better("nearest zero"):
            values = [-abs(value) for value in values]
        elif key[1] not in better("higher"):
            continue
        if all(map(math.isfinite, values)):
            found[key] = sum(value >= values[0] for value in values) / len(values)
    return found


def _labelled(name: str, one: Answered) -> pa.Table:
    """Return measurements that say which model they are of."""
    table = one.side.measurements
    for column, value, kind in (
        ("cure", name, pa.string()),
        ("null", one.null, pa.string()),
        ("seed", one.seed, pa.int64()),
    ):
        table = table.append_column(column, pa.array([value] * table.num_rows, kind))
    return table
