"""The synthetic part of training data: claims or facts asked in turns, with a user or, for a null variant, without."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.fact_families import is_facts, training_fact_prompts
from sycophancy_core.prompts.generation import PromptOptions, make_prompts
from sycophancy_core.prompts.splits import sample_claims, sample_rows, seed_of_turn


def ask_in_turns(claims: pa.Table, *, n: int, options: PromptOptions, users: bool = True, seed: int) -> pa.Table:
    """Ask every claim or fact once a turn until there are ``n`` prompts; the last turn asks a sample of them.

    Parameters
    ----------
    users
        False asks the same claims, in the same templates and orders, without any user.
    """
    turns, rest = divmod(n, claims.num_rows)
    sample = sample_rows if is_facts(claims) else sample_claims
    asked = [claims] * turns + ([sample(claims, rest, seed=seed_of_turn(seed, turns))] if rest else [])
    tables = [_ask_once(part, options, users, seed_of_turn(seed, turn)) for turn, part in enumerate(asked)]
    return pa.concat_tables(tables).slice(0, n)


def _ask_once(claims: pa.Table, options: PromptOptions, users: bool, seed: int) -> pa.Table:
    if is_facts(claims):
        return training_fact_prompts(claims, users=users, seed=seed)
    prompts = make_prompts(claims, options=options, seed=seed)
    return prompts if users else _without_users(prompts, claims, options, seed)


def _without_users(prompts: pa.Table, claims: pa.Table, options: PromptOptions, seed: int) -> pa.Table:
    """Return the prompts of arm ``none`` that share claim, template and order with the given ones, in their order."""
    alone = make_prompts(claims, options=replace(options, arms=("none",), design="crossed"), seed=seed)
    place = {key: row for row, key in enumerate(_keys(alone))}
    return alone.take(pa.array([place[key] for key in _keys(prompts)], pa.int64()))


def _keys(prompts: pa.Table) -> list[tuple[str, str, str]]:
    columns = (prompts[name].to_pylist() for name in ("claim_id", "template", "order"))
    return list(zip(*columns, strict=True))


def replace_dropped(prompts: pa.Table, *, kept: Collection[str], fillers: pa.Table) -> pa.Table:
    """Put fillers, in their order, into the places of the prompts whose claim is not kept.

    Raises
    ------
    DataError
        If there are not as many fillers as prompts to replace.
    """
    is_dropped = ~np.isin(prompts["claim_id"].to_pylist(), list(kept))
    if is_dropped.sum() != fillers.num_rows:
        raise DataError(
            f"replace_dropped: wanted {is_dropped.sum()} fillers, one a dropped prompt, got {fillers.num_rows}"
        )
    place = np.arange(prompts.num_rows)
    place[is_dropped] = prompts.num_rows + np.arange(fillers.num_rows)
    return pa.concat_tables([prompts, fillers]).take(pa.array(place))


def shuffle_targets(prompts: pa.Table, *, seed: int) -> pa.Table:
    """Deal the right choices out at random among the prompts of one source and number of choices.

    How often each choice is right stays as it is; which prompt it belongs to says nothing any more.
    """
    choices = zip(prompts["source"].to_pylist(), map(len, prompts["choices"].to_pylist()), strict=True)
    groups: dict[tuple[str, int], list[int]] = {}
    for row, group in enumerate(choices):
        groups.setdefault(group, []).append(row)
    random = np.random.Generator(np.random.Philox(key=[seed, 5]))
    dealt = np.arange(prompts.num_rows)
    for rows in groups.values():
        dealt[rows] = np.array(rows)[np.argsort(random.random(len(rows)), kind="stable")]
    place = prompts.column_names.index("target")
    return prompts.set_column(place, prompts.schema.field(place), prompts["target"].take(pa.array(dealt)))
