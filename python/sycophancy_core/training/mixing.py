"""The mix: prompts with their right choice, and instruction rows among them, in a stated ratio, exactly counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core.errors import MAX_ROWS, DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import INSTRUCTIONS, QUESTIONS, Column, checked_table, table_of
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import table_thoughts
from sycophancy_core.tasks.turns import with_turns
from sycophancy_core.training.batching import encode_rows
from sycophancy_core.training.overlap import refuse_overlap

Unit = Literal["rows", "tokens"]

_PROMPT = ("id", "claim_id", "prompt")
_NAMED = (*QUESTIONS, Column("id", "text"))
_COUNTED = (Column("origin", "text"), Column("source", "text"))
_NO_LIMIT = 1 << 60  # tokens of a row; what is too long for a model is refused by the fine-tuning


@checked_arguments
def mix(
    prompts: pa.Table,
    instructions: pa.Table | Mapping[str, pa.Table],
    *,
    ratio: float = 5.0,
    unit: Unit = "rows",
    weights: Mapping[str, float] | None = None,
    model: LanguageModel | None = None,
    evaluation: Mapping[str, pa.Table] | None = None,
    seed: int = 0,
) -> pa.Table:
    """Mix prompts, completed by their right choice, with instruction rows (Wei et al. 2023, section 4.3).

    Every prompt occurs once. Instruction rows are drawn in random order, those of a source again only after all others
    of it came, and stand evenly among the prompts.

    Parameters
    ----------
    instructions
        Columns ``instruction``, ``input``, ``output``; see ``load_instructions``. Or several such tables by name.
    ratio
        Synthetic part for one part of instructions.
    unit
        What the ratio and the weights count: ``"rows"``, or supervised ``"tokens"``, which the loss is a mean over.
        Each source is then taken up to the row that comes nearest.
    weights
        Part of each source among the instructions, of any sum; by default all have the same.
    model
        The model that is to be trained, which counts the tokens of ``unit="tokens"``.
    evaluation
        Prompts tables by task, of which nothing may be trained on; see ``overlap.refuse_overlap``.

    Returns
    -------
    pyarrow.Table
        Training rows: ``id``, ``origin`` ("synthetic" or "instruction"), ``source``, ``prompt``, ``completion``, and
        ``turns``: the prompt as it is said by turns, for chat models. :func:`count_rows` counts them.

    Raises
    ------
    DataError
        If the ratio or a weight is not positive, a prompt has no right choice or has a thought, instruction rows are
        wanted of a source without any, or training and evaluation data overlap.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.training_prompts(sc.read_claims("claims.csv"), n=50)
    >>> rows = sc.mix(prompts, sc.load_instructions(), ratio=5.0)
    >>> rows["origin"].value_counts().to_pylist()
    [{'values': 'synthetic', 'counts': 50}, {'values': 'instruction', 'counts': 10}]
    """
    sources = _sources(instructions, who="mix")
    prompts = checked_table(prompts, _NAMED, who="mix (prompts)")
    if table_thoughts(prompts) is not None:
        raise DataError("mix: the prompts have thoughts, which no training teaches; leave the column thought out")
    shares = _shares(sources, weights)
    if not 0 < ratio < math.inf:
        raise DataError(f"mix: ratio must be > 0, got {ratio}")
    if prompts.num_rows > MAX_ROWS * ratio:
        raise DataError(f"mix: a ratio of {ratio} asks for more than {MAX_ROWS:,} instruction rows; give a larger one")
    if unit not in ("rows", "tokens"):
        raise DataError(f"mix: unit must be rows or tokens, got {unit!r}")
    if unit == "tokens" and model is None:
        raise DataError("mix: unit 'tokens' needs the model that is to be trained, got none; give model=")
    prompts = with_turns(prompts, "mix: prompts")
    if evaluation is not None:
        asked = {
            name: with_turns(checked_table(table, QUESTIONS, who=f"mix (evaluation {name})"), name)
            for name, table in evaluation.items()
        }
        refuse_overlap(prompts, sources, asked)
    if unit == "rows" or model is None:
        counts = _apportion(num_instructions(prompts.num_rows, ratio), shares)
        drawn = [_draw(name, sources[name], count, seed) for name, count in counts.items()]
    else:
        alone = table_of(_core.mix(prompts, _draw("", next(iter(sources.values())), 0, seed), seed=seed))
        wanted = sum(_supervised(alone, model)) / ratio
        drawn = [_draw_tokens(name, sources[name], wanted * share, model, seed) for name, share in shares.items()]
    return table_of(_core.mix(prompts, _shuffled(drawn, seed), seed=seed))


def num_instructions(num_prompts: int, ratio: float) -> int:
    """Return how many instruction rows :func:`mix` adds to so many prompts, by rows."""
    return math.floor(num_prompts / ratio + 0.5)


@checked_arguments
def instruction_rows(
    instructions: pa.Table | Mapping[str, pa.Table],
    *,
    n: int,
    weights: Mapping[str, float] | None = None,
    evaluation: Mapping[str, pa.Table] | None = None,
    seed: int = 0,
) -> pa.Table:
    """Draw ``n`` instruction rows and no prompt: the null variant of a mix of as many rows.

    Parameters, columns and errors are those of :func:`mix`.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> sc.instruction_rows(sc.load_instructions(), n=24).num_rows
    24
    """
    sources = _sources(instructions, who="instruction_rows")
    require_whole("instruction_rows", "n", n, most=MAX_ROWS)
    if evaluation is not None:
        refuse_overlap(pa.table({name: pa.array([], pa.string()) for name in _PROMPT}), sources, evaluation)
    counts = _apportion(n, _shares(sources, weights))
    return _shuffled([_draw(name, sources[name], count, seed) for name, count in counts.items()], seed)


@checked_arguments
def count_rows(rows: pa.Table, *, model: LanguageModel | None = None) -> pa.Table:
    """Count training rows by origin and source.

    Parameters
    ----------
    rows
        Training rows of :func:`mix`.
    model
        The model that is to be trained: counts supervised tokens too.

    Returns
    -------
    pyarrow.Table
        ``origin``, ``source``, ``num_rows`` and, with a model, ``num_tokens``; sorted by the names.

    Raises
    ------
    DataError
        If the table lacks origin or source, or a row of it does.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> rows = sc.mix(sc.make_prompts(sc.make_additions(n=10)), sc.load_instructions(), ratio=5.0)
    >>> sc.count_rows(rows)["origin"].to_pylist()
    ['instruction', 'synthetic']
    """
    rows = checked_table(rows, _COUNTED, who="count_rows")
    names = list(zip(rows["origin"].to_pylist(), rows["source"].to_pylist(), strict=True))
    tokens = _supervised(rows, model) if model is not None else [0] * len(names)
    found: dict[tuple[str, str], list[int]] = {}
    for name, number in zip(names, tokens, strict=True):
        found.setdefault(name, []).append(number)
    parts = sorted(found.items())
    columns: dict[str, list[Any]] = {
        "origin": [origin for (origin, _), _ in parts],
        "source": [source for (_, source), _ in parts],
        "num_rows": [len(numbers) for _, numbers in parts],
    }
    return pa.table(columns if model is None else {**columns, "num_tokens": [sum(part) for _, part in parts]})


def _sources(instructions: pa.Table | Mapping[str, pa.Table], *, who: str) -> dict[str, pa.Table]:
    """Return tables of instructions by name; a column of turns that a frame has lost to nulls is left out."""
    sources = instructions if isinstance(instructions, Mapping) else {"instructions": instructions}
    checked = {name: checked_table(rows, INSTRUCTIONS, who=f"{who} ({name})") for name, rows in sources.items()}
    return {name: _without_null_turns(rows) for name, rows in checked.items()}


def _without_null_turns(rows: pa.Table) -> pa.Table:
    is_null = "turns" in rows.column_names and pa.types.is_null(rows["turns"].type)
    return rows.drop_columns(["turns"]) if is_null else rows


def _shares(sources: Mapping[str, pa.Table], weights: Mapping[str, float] | None) -> dict[str, float]:
    weights = dict.fromkeys(sources, 1.0) if weights is None else weights
    if set(weights) != set(sources) or not sources:
        raise DataError(f"mix: weights must name each source once, got {sorted(weights)} for {sorted(sources)}")
    wrong = [name for name, weight in weights.items() if not 0 < weight < math.inf]
    if wrong:
        raise DataError(f"mix: the weight of source {wrong[0]!r} must be > 0, got {weights[wrong[0]]}")
    total = math.fsum(weights.values())
    return {name: weights[name] / total for name in sorted(sources)}


def _apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Cut a whole number by shares: the largest remainders get what is left over."""
    counts = {name: math.floor(total * share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - total * shares[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _draw(name: str, source: pa.Table, count: int, seed: int) -> pa.Table:
    return table_of(_core.draw_instructions(source, source=name, count=count, seed=seed))


def _draw_tokens(name: str, source: pa.Table, wanted: float, model: LanguageModel, seed: int) -> pa.Table:
    """Draw the rows whose supervised tokens come nearest to ``wanted``."""
    if source.num_rows == 0:
        raise DataError(f"mix: {wanted:.0f} supervised tokens are wanted of source {name!r}, but it has no row")
    count = 64
    while True:
        rows = _draw(name, source, count, seed)
        sums = np.cumsum([0, *_supervised(rows, model)])
        if sums[-1] >= wanted:
            return rows.slice(0, int(np.argmin(np.abs(sums - wanted))))
        count *= 2


def _supervised(rows: pa.Table, model: LanguageModel) -> list[int]:
    """Count each row's supervised tokens, as the fine-tuning does."""
    encoded = encode_rows(rows, model.encoder, max_tokens=_NO_LIMIT) if rows.num_rows else []
    return [len(row.ids) - row.first_supervised for row in encoded]


def _shuffled(tables: list[pa.Table], seed: int) -> pa.Table:
    """Join the rows of several sources in random order; those of one source keep theirs."""
    source = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
    random = np.random.Generator(np.random.Philox(key=[seed, 3]))
    order = source[np.argsort(random.random(len(source)), kind="stable")]
    # The i-th place of a source gets its i-th row.
    place = np.empty(len(source), np.int64)
    place[np.argsort(order, kind="stable")] = np.arange(len(source))
    return pa.concat_tables(tables).take(pa.array(place))


__all__ = ["Unit", "count_rows", "instruction_rows", "mix", "num_instructions"]
