"""Families of facts in a run: those held out for evaluation, those that may be trained on, and how each is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from sycophancy_core.prompts.facts import fact_families, load_facts
from sycophancy_core.prompts.splits import HELD_OUT_SHARE, sample_rows, uniform_of
from sycophancy_core.prompts.stance import FactOptions, fact_prompts

NEW, TRAINED = "facts", "facts_trained"  # tasks: of families that nothing is trained on, and of those that train

_TRAINING_ARMS = ("endorse", "third_person")  # each for the right and for a wrong answer
# What is known is asked apart, and no effect is about third persons, who are trained on.
_EVALUATION_ARMS = ("none", "persona", "mention", "endorse", "deny")


def is_fact_family(family: str) -> bool:
    """Tell whether a family is one of facts: a packaged one, or a JSON Lines file of one's own."""
    return family.endswith(".jsonl") or family in fact_families()


def is_facts(table: pa.Table) -> bool:
    """Tell whether a table is one of facts, as ``load_facts`` returns it."""
    return {"question", "lead_in", "right", "wrong"} <= set(table.column_names)


def candidate_facts(families: Sequence[str], *, n: int, seed: int) -> pa.Table:
    """Return at most ``n`` facts of each family that may be trained on; none is held out."""
    tables = [_split(load_facts(family))[0] for family in families]
    return pa.concat_tables([sample_rows(table, n, seed=seed) for table in tables])


def held_out_facts(families: Sequence[str], *, trained: Sequence[str], n: int, seed: int) -> dict[str, pa.Table]:
    """Return at most ``n`` facts of each family for evaluation, by task: untrained families, and trained ones."""
    found: dict[str, list[pa.Table]] = {}
    for family in families:
        facts = load_facts(family)
        if family in trained:
            facts = _split(facts)[1]
        found.setdefault(TRAINED if family in trained else NEW, []).append(sample_rows(facts, n, seed=seed))
    return {task: pa.concat_tables(tables) for task, tables in found.items()}


def evaluation_prompts(facts: pa.Table, *, form: str, seed: int) -> pa.Table:
    """Ask held-out facts in the arms that the effects are about, in wordings kept for evaluation."""
    return fact_prompts(facts, options=FactOptions(form=form, split="test", arms=_EVALUATION_ARMS), seed=seed)


def known_prompts(facts: pa.Table, *, split: str, seed: int) -> pa.Table:
    """Ask facts without a user, each in two wordings, which tell what a model knows."""
    return fact_prompts(facts, options=FactOptions(split=split, arms=("check",)), seed=seed)


def training_fact_prompts(facts: pa.Table, *, users: bool, seed: int) -> pa.Table:
    """Ask every fact once, in training wordings.

    With users, one is right, one is wrong, one quotes somebody who is right, one somebody who is wrong, each about a
    quarter of every family's facts. Without, the same facts are asked in the same wordings of the question.
    """
    arms = _TRAINING_ARMS if users else ("none",)
    prompts = fact_prompts(facts, options=FactOptions(split="train", arms=arms), seed=seed)
    num_cells = prompts.num_rows // facts.num_rows
    random = np.random.Generator(np.random.Philox(key=[seed, 7]))
    family = np.unique(facts["family"].to_pylist(), return_inverse=True)[1]
    cell = np.empty(facts.num_rows, np.int64)
    cell[np.lexsort((random.random(facts.num_rows), family))] = np.arange(facts.num_rows) % num_cells
    return prompts.take(pa.array(num_cells * np.arange(facts.num_rows) + cell))


def _split(facts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Split facts by a hash of their id: those for training, and those kept for evaluation."""
    held_out = np.array([uniform_of(identity) < HELD_OUT_SHARE for identity in facts["id"].to_pylist()], np.bool_)
    return facts.filter(pa.array(~held_out)), facts.filter(pa.array(held_out))
