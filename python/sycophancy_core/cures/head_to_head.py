"""Several cures of one model, side by side: each less its own null, on facts of families that none was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pyarrow as pa

from sycophancy_core.cures.cure_effects import EFFECT_COLUMNS, UNTREATED, CureEffects, price_rows
from sycophancy_core.cures.cured import Cured
from sycophancy_core.cures.methods import NULLS, Method, Prompted, Steered, Trained, method_name
from sycophancy_core.cures.mitigate import mitigate, require_other_families
from sycophancy_core.errors import DataError, require_model, require_seed, require_whole
from sycophancy_core.metrics.changes import adjust_primary
from sycophancy_core.metrics.estimates import estimates_table
from sycophancy_core.metrics.null_contrast import Contrast, Side, contrast_rows
from sycophancy_core.pipeline import evaluate, filter_known
from sycophancy_core.prompts.splits import sample_rows
from sycophancy_core.prompts.stance import FactOptions, fact_prompts
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tables import FACTS, checked_table

ARMS = ("none", "persona", "endorse", "deny")


class _Material(NamedTuple):
    """What cures are made from and measured on."""

    model: LanguageModel
    facts: pa.Table
    validation: pa.Table | None
    prompts: pa.Table
    known: frozenset[str]
    progress: Progress | bool | None


class _Answered(NamedTuple):
    """What a model with a cure, or with one of its nulls, answered; and a row of what it cost."""

    cure: str
    null: str | None
    seed: int
    side: Side
    price: dict[str, Any]


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
    seed: int = 0,
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
    seed
        Of the prompts, and of what the model knows.
    progress
        A callback of done and total; by default bars in a terminal or a notebook; False for none.

    Raises
    ------
    DataError
        If a family is in two of the tables, two cures have one name, or a cure cannot be made.

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
    require_model("head_to_head", model)
    require_seed("head_to_head", seed)
    require_whole("head_to_head", "num_random", num_random, least=1)
    named = _named(methods)
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(f"head_to_head: seeds wants at least one seed and none twice, got {list(seeds)}")
    tables = {"facts": facts, "test": test} | ({} if validation is None else {"validation": validation})
    tables = {name: checked_table(table, FACTS, who=f"head_to_head ({name})") for name, table in tables.items()}
    for first, second in combinations(tables, 2):
        require_other_families(tables[first], tables[second], who=f"head_to_head: {first} and {second}")
    asked = sample_rows(tables["test"], limit, seed=seed)
    known = frozenset(filter_known(model, asked, seed=seed, progress=progress).known)
    prompts = fact_prompts(asked, options=FactOptions(split="test", arms=ARMS), seed=seed)
    material = _Material(model, tables["facts"], tables.get("validation"), prompts, known, progress)
    found = [_Answered(UNTREATED, None, 0, _side(material, model), {})]
    for name, method in named.items():
        found += _made(material, name, method, seeds, num_random)
    return CureEffects(
        model=model.name,
        effects=_effects(found, known),
        prices=price_rows([one.price for one in found[1:]]),
        measurements=pa.concat_tables([_labelled(one) for one in found]),
        known=tuple(sorted(known)),
    )


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


def _made(material: _Material, name: str, method: Method, seeds: Sequence[int], num_random: int) -> Iterator[_Answered]:
    """Make a cure and its nulls one by one, each of which is let go of when it has answered."""
    for seed in seeds if isinstance(method, Trained) else seeds[:1]:
        cured = mitigate(
            material.model,
            method,
            facts=material.facts,
            validation=material.validation,
            seed=seed,
            progress=material.progress,
        )
        yield _answered(material, name, cured)
        for null in NULLS[type(method)]:
            for number in range(num_random) if isinstance(method, Steered) else (seed,):
                yield _answered(material, name, cured.make_null(null, seed=number))


def _answered(material: _Material, name: str, cured: Cured) -> _Answered:
    price = {"cure": name, "null": cured.null, "seed": cured.seed, "cost": cured.cost, "about": cured.about}
    return _Answered(name, cured.null, cured.seed, _side(material, cured.model), price)


def _side(material: _Material, model: LanguageModel) -> Side:
    tasks = {"facts": material.prompts}
    found = evaluate(model, tasks=tasks, known=material.known, progress=material.progress)
    return Side(found.measurements, found.estimates)


def _effects(found: Sequence[_Answered], known: frozenset[str]) -> pa.Table:
    """Contrast every cure with the untreated model and with each of its nulls."""
    rows: list[dict[str, Any]] = []
    untreated = found[0].side
    for name in dict.fromkeys(one.cure for one in found[1:]):
        mine = [one for one in found if one.cure == name]
        cures = {one.seed: one.side for one in mine if one.null is None}
        nulls: dict[str, dict[int, Side]] = {UNTREATED: dict.fromkeys(cures, untreated)}
        for one in mine:
            if one.null is not None:
                nulls.setdefault(one.null, {})[one.seed] = one.side
        first = next(iter(cures.values()))
        for null, sides in nulls.items():
            pairs = {seed: (side, cures.get(seed, first)) for seed, side in sides.items()}
            rows += [{**row, "cure": name} for row in contrast_rows(Contrast(null, name, pairs), known)]
    for unit in ("claim", "seed"):
        adjust_primary([row for row in rows if row["unit"] == unit and row["null"] != UNTREATED])
    return estimates_table(rows, columns=EFFECT_COLUMNS)


def _labelled(one: _Answered) -> pa.Table:
    """Return measurements that say which model they are of."""
    table = one.side.measurements
    for name, value, kind in (
        ("cure", one.cure, pa.string()),
        ("null", one.null, pa.string()),
        ("seed", one.seed, pa.int64()),
    ):
        table = table.append_column(name, pa.array([value] * table.num_rows, kind))
    return table
