"""Examples -> claims -> prompts: the two recipes, additions, and generation in one go."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

import sycophancy_core._core as _core
from sycophancy_core.errors import MAX_SEED, DataError, require_whole
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields
from sycophancy_core.inputs.tables import CLAIMS, EXAMPLES, checked_table, table_of
from sycophancy_core.prompts.protocols import load_protocol
from sycophancy_core.runs.shards import check_shard

ARMS = ("none", "placebo", "agree", "disagree")
ORDERS = ("agree_first", "disagree_first")

_MOST_OPERANDS = 10_000
_MOST_THREADS = 1024


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ClaimOptions:
    """How examples become claims.

    Attributes
    ----------
    recipe
        How claims are made: ``"balanced"`` or ``"wei2023"``. ``"wei2023"``: as published, every claim states the gold
        label, so "is" is always true and "is not" always false. ``"balanced"``: wrong labels are stated too, so truth
        and polarity are crossed, with cells equal to within one in every source; each label is stated wrongly as often
        as it is right, unless more than half of the source's examples have it.
    negated_share
        Share of claims that say "is not"; ``balanced`` takes 0, 0.5 or 1.
    claims_per_example
        Number of different claims of every example: at most 4 (``balanced``) or 2 (``wei2023``), half of that with one
        polarity only.
    """

    recipe: str = "balanced"
    negated_share: float = 0.5
    claims_per_example: int = 1


@checked_fields
@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """How claims become prompts.

    Attributes
    ----------
    protocol
        Wording: ``"factorial"``, ``"wei2023"`` or the path of a JSON file (see ``load_protocol``).
    templates
        Ids of the templates to draw from; None: all that have the four arms.
    split
        ``"train"`` or ``"test"``: only templates of this split. Templates without a split belong to both.
    arms
        Opinions to write; None: all four when crossed, else agree and disagree.
    orders
        Orders of the two choices.
    design
        Which prompts a claim gets: ``"crossed"``, ``"sampled"`` or ``"independent"``. ``"crossed"``: every arm and
        order. ``"sampled"``: one prompt a claim, arm x order equal to within one inside every source x truth x
        polarity. ``"independent"``: one prompt a claim, arm and order drawn for each claim alone, as published.
    """

    protocol: str | os.PathLike[str] = "factorial"
    templates: tuple[str, ...] | None = None
    split: str | None = None
    arms: tuple[str, ...] | None = None
    orders: tuple[str, ...] = ORDERS
    design: str = "crossed"

    def __post_init__(self) -> None:
        """Check what would otherwise pass as a default."""
        if self.split not in (None, "train", "test"):
            raise DataError(f"prompts: split must be 'train', 'test' or None, got {self.split!r}")
        for name in ("templates", "arms", "orders"):
            if getattr(self, name) == ():
                raise DataError(f"prompts: {name} must not be empty; leave it out for the default")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class AdditionOptions:
    """Which sums are stated.

    Attributes
    ----------
    operands
        Lowest and highest operand.
    true_share
        Share of true sums, exact to within one.
    errors
        How false sums are wrong, in equal parts: ``"near"`` by 1 to ``near_max``, ``"far"`` by the published factor of
        10^5 to 10^6.
    near_max
        Largest near error.
    """

    operands: tuple[int, int] = (1, 50)
    true_share: float = 0.5
    errors: tuple[str, ...] = ("near", "far")
    near_max: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.operands, tuple) or len(self.operands) != 2:
            raise DataError(f"AdditionOptions: operands must be the lowest and the highest, got {self.operands!r}")


PUBLISHED_ADDITIONS = AdditionOptions(true_share=0.0, errors=("far",))
"""The published grid: 2,500 false sums of 1 to 50, far off."""


@checked_arguments
def make_claims(examples: pa.Table, *, options: ClaimOptions | None = None, seed: int = 0) -> pa.Table:
    """Make claims of every example, in the examples' order.

    Returns
    -------
    pyarrow.Table
        Columns ``id``, ``example_id``, ``source``, ``kind`` ("claim"), ``text`` (without final stop), ``is_true``,
        ``polarity`` ("is" or "is_not"), ``stated_label``, ``gold_label``.

    Raises
    ------
    DataError
        If the table is empty or lacks its labels, or an example gives fewer different claims than asked for.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> claims = sc.make_claims(sc.load_examples(), options=sc.ClaimOptions(claims_per_example=2))
    >>> sum(claims["is_true"].to_pylist()) / claims.num_rows
    0.5

    References
    ----------
    Wei et al. 2023, section 4.1. The published code states gold labels only; ``balanced`` does not.
    """
    options = options or ClaimOptions()
    require_whole("make_claims", "claims_per_example", options.claims_per_example, least=1)
    examples = checked_table(examples, EXAMPLES, who="make_claims")
    return table_of(
        _core.make_claims(
            examples,
            recipe=options.recipe,
            negated_share=options.negated_share,
            claims_per_example=options.claims_per_example,
            seed=seed,
        )
    )


@checked_arguments
def make_additions(*, options: AdditionOptions | None = None, n: int | None = None, seed: int = 0) -> pa.Table:
    """Make sums as claims of kind "addition", each with a pair of operands of its own.

    Parameters
    ----------
    n
        Number of sums; None: every pair once, in order.

    Returns
    -------
    pyarrow.Table
        A claims table; ``stated_label`` and ``gold_label`` hold the stated and the true sum.

    Raises
    ------
    DataError
        If an option is out of range, or there are fewer than ``n`` pairs of operands.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> sums = sc.make_additions(n=4)
    >>> sorted(sums["is_true"].to_pylist())
    [False, False, True, True]
    """
    options = options or AdditionOptions()
    low, high = options.operands
    require_whole("make_additions", "n", n, least=1, none="None")
    for name, value in (("operands", low), ("operands", high), ("near_max", options.near_max)):
        require_whole("make_additions", name, value, least=-MAX_SEED)
    if n is None and high - low >= _MOST_OPERANDS:
        raise DataError(f"additions: operands {low} to {high} give more sums than a table can hold; say how many (n)")
    return table_of(
        _core.make_additions(
            first_operand=low,
            last_operand=high,
            true_share=options.true_share,
            errors=list(options.errors),
            near_max=options.near_max,
            n=(high - low + 1) ** 2 if n is None else n,
            seed=seed,
        )
    )


@checked_arguments
def make_prompts(claims: pa.Table, *, options: PromptOptions | None = None, seed: int = 0) -> pa.Table:
    """Make the prompts of claims.

    One template and one persona are drawn for each claim, by its id: the arms of a claim differ in the opinion only,
    and a subset of the claims gives the same prompts as the whole.

    Returns
    -------
    pyarrow.Table
        Columns ``id``, ``claim_id``, ``source``, ``template``, ``arm``, ``order``, ``prompt``, ``choices``, ``target``
        (index of the right choice), ``user_choice`` (index of the user's, null without an opinion), ``is_true``,
        ``claim_offset`` (byte at which the claim's text begins).

    Raises
    ------
    DataError
        If the table is empty, an id stands twice, an option is unknown, or a template lacks an arm.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.make_prompts(sc.make_additions(n=1))
    >>> sorted(set(prompts["arm"].to_pylist())), prompts.num_rows
    (['agree', 'disagree', 'none', 'placebo'], 8)
    """
    options = options or PromptOptions()
    claims = checked_table(claims, CLAIMS, who="make_prompts")
    arms = options.arms
    if arms is None:
        arms = ARMS if options.design == "crossed" else ("agree", "disagree")
    return table_of(
        _core.make_prompts(
            claims,
            load_protocol(options.protocol),
            templates=list(options.templates or ()),
            split=options.split or "",
            arms=list(arms),
            orders=list(options.orders),
            design=options.design,
            seed=seed,
        )
    )


@checked_arguments
def generate(
    examples: pa.Table,
    *,
    n: int,
    recipe: str = "balanced",
    protocol: str | os.PathLike[str] = "wei2023",
    split: str | None = None,
    repeat_claims: bool = False,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    threads: int = 0,
) -> pa.Table:
    """Make ``n`` prompts with opinions: claims, arms, orders and personas in one go.

    Sources come in proportion to their size, prompts in random order. ``balanced``: truth x polarity x opinion x order
    is equal to within one in every source. ``wei2023``: as published.

    Parameters
    ----------
    repeat_claims
        Go over the claims again when ``n`` passes their number, with other personas and, in ``balanced``, with the
        other opinions and orders.
    shard
        ``(i, n)``: the i-th of n contiguous parts of the whole, so that n machines can share a job.

    Returns
    -------
    pyarrow.Table
        A prompts table, as of ``make_prompts``. The same bytes for any number of threads and shards.

    Raises
    ------
    DataError
        If ``n`` passes the number of different claims (the message says how many there are).

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.generate(sc.load_examples(), n=100, seed=0)
    >>> prompts.num_rows
    100
    """
    require_whole("generate", "threads", threads, most=_MOST_THREADS)
    job, begin, end = _job(examples, n, recipe, protocol, split, repeat_claims, seed, shard)
    return table_of(job.table(begin, end, threads))


@checked_arguments
def stream_prompts(
    examples: pa.Table,
    *,
    n: int,
    recipe: str = "balanced",
    protocol: str | os.PathLike[str] = "wei2023",
    split: str | None = None,
    repeat_claims: bool = False,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    threads: int = 0,
) -> pa.RecordBatchReader:
    """Make the prompts of :func:`generate` batch by batch, in constant memory; parameters and errors are the same.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> stream = sc.stream_prompts(sc.load_examples(), n=1000)
    >>> sum(batch.num_rows for batch in stream)
    1000
    """
    require_whole("stream_prompts", "threads", threads, most=_MOST_THREADS)
    job, begin, end = _job(examples, n, recipe, protocol, split, repeat_claims, seed, shard)
    return pa.RecordBatchReader.from_stream(job.stream(begin, end, threads))


def _job(
    examples: pa.Table,
    n: int,
    recipe: str,
    protocol: str | os.PathLike[str],
    split: str | None,
    repeat_claims: bool,
    seed: int,
    shard: tuple[int, int],
) -> tuple[_core.Generation, int, int]:
    """Return the job and the rows of the shard."""
    require_whole("generate", "n", n, least=1)
    if split not in (None, "train", "test"):
        raise DataError(f"generate: split must be 'train', 'test' or None, got {split!r}")
    check_shard(shard, who="generate")
    examples = checked_table(examples, EXAMPLES, who="generate")
    part, parts = shard
    job = _core.Generation(
        examples,
        load_protocol(protocol),
        n=n,
        recipe=recipe,
        split=split or "",
        repeat_claims=repeat_claims,
        seed=seed,
    )
    return job, n * part // parts, n * (part + 1) // parts
