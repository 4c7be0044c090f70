"""What is scored, as token ids, and how many operations that takes.

A folder of real data holds ``nlp17/*.jsonl`` (some of the 17 published sets, in the hub's schema) and ``perez/*.jsonl``
(the three sets of Perez et al. 2022 under their published names). Without one, the packaged sample is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scoring_peers as peers

import sycophancy_core as sc
from sycophancy_core._core import make_plan
from sycophancy_core.scoring.tokens import TokenBatch
from sycophancy_core.tasks import perez

ARMS = ("none", "placebo", "agree", "disagree")
ORDERS = ("agree_first", "disagree_first")

# Kind -> protocol, templates, arms and orders of claims.
CLAIMS: dict[str, tuple[str, tuple[str, ...] | None, tuple[str, ...], tuple[str, ...]]] = {
    "both orders": ("wei2023", None, ("agree",), ORDERS),
    "one order": ("wei2023", None, ("agree",), ORDERS[:1]),
    "four arms": ("factorial", ("after_first_3",), ARMS, ORDERS),
    "short": ("factorial", ("after_first_3",), ("none",), ORDERS),
}

# Distinct tokens of a job, and the floating-point operations of the matrix products that it needs.
Cost = Callable[[TokenBatch], tuple[int, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """A job: its name, token sequences, distinct tokens, and the operations that it needs."""

    name: str
    batch: TokenBatch
    num_tokens: int
    flops: float

    @property
    def num_prompts(self) -> int:
        """Number of prompts."""
        return len(np.unique(self.batch.prompt_index))

    def __str__(self) -> str:
        lengths = np.diff(self.batch.offsets)
        return (
            f"{self.name}: {self.num_prompts} prompts of {lengths.mean():.0f} tokens, "
            f"{self.num_tokens} of {self.batch.num_tokens_unshared} tokens distinct, {self.flops / 1e9:.0f} GFLOP"
        )


def make_work(name: str, batch: TokenBatch, cost: Cost) -> Work:
    """Count what a batch needs."""
    num_tokens, flops = cost(batch)
    return Work(name=name, batch=batch, num_tokens=num_tokens, flops=flops)


def decoder_cost(config: Any) -> Cost:
    """Cost by the sizes of a Llama: layers for distinct tokens, head for rows that predict a scored one.

    The products within attention are left out: 2 % more at 125 tokens, 6 % at 400.
    """
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 2 * head_dim * (config.num_attention_heads + config.num_key_value_heads)
    layer = config.hidden_size * (attention + 3 * config.intermediate_size)

    def cost(batch: TokenBatch) -> tuple[int, float]:
        plan = make_plan(batch.tokens, batch.offsets, batch.num_context)
        scored_rows = len(np.unique(np.asarray(plan.targets)[:, 0]))
        per_head = 2.0 * config.hidden_size * config.vocab_size
        return plan.num_tokens, 2.0 * config.num_hidden_layers * layer * plan.num_tokens + per_head * scored_rows

    return cost


def prompts_of(kind: str, num_prompts: int, folder: Path | None) -> pa.Table:
    """Make about ``num_prompts`` prompts, or as many as there are; claims and opinions are drawn from all sets."""
    if kind == "perez":
        return _opinions(num_prompts, folder)
    protocol, templates, arms, orders = CLAIMS[kind]
    claims = sc.make_claims(examples_of(folder), options=sc.ClaimOptions(recipe="balanced"), seed=0)
    options = sc.PromptOptions(protocol=protocol, templates=templates, arms=arms, orders=orders)
    return sc.make_prompts(_drawn(claims, num_prompts // (len(arms) * len(orders))), options=options, seed=0)


def examples_of(folder: Path | None) -> pa.Table:
    """Load the examples."""
    return sc.load_examples(folder=None if folder is None else folder / "nlp17")


def padded_prompts(length: int, num_prompts: int, folder: Path | None, tokenizer: Any) -> pa.Table:
    """Make claim prompts in both orders of about ``length`` tokens: real text before the claim, another for each."""
    prompts = prompts_of("short", num_prompts, folder)
    texts, claims = prompts["prompt"].to_pylist(), prompts["claim_id"].to_pylist()
    running = tokenizer("\n".join(examples_of(folder)["input"].to_pylist())).input_ids
    before: dict[str, str] = {}
    position = 0
    for claim, text in zip(claims, texts, strict=True):
        missing = length - len(tokenizer(text).input_ids)
        if claim not in before and missing > 0:
            ids = [running[i % len(running)] for i in range(position, position + missing)]
            before[claim] = tokenizer.decode(ids)
            position += missing
    padded = [before.get(claim, "") + text for claim, text in zip(claims, texts, strict=True)]
    return prompts.set_column(prompts.column_names.index("prompt"), "prompt", pa.array(padded))


def _opinions(num_prompts: int, folder: Path | None) -> pa.Table:
    """Take prompts with a biography and two choices from the three sets of Perez et al. 2022."""
    if folder is None:
        raise SystemExit("the work 'perez' needs --data")
    table = pa.concat_tables([perez.load_perez(task, folder / "perez") for task in perez.FILES])
    wanted = pc.and_(pc.equal(table["arm"], "agree"), pc.equal(pc.list_value_length(table["choices"]), 2))
    return _drawn(table.filter(wanted), num_prompts)


def _drawn(table: pa.Table, n: int) -> pa.Table:
    order = np.random.default_rng(0).permutation(table.num_rows)
    return table.take(order[: max(1, n)])


def first_prompts(batch: TokenBatch, n: int) -> TokenBatch:
    """Keep the first ``n`` prompts of a batch."""
    kept: Sequence[int] = np.unique(batch.prompt_index)[:n]
    return peers.part(batch, np.flatnonzero(np.isin(batch.prompt_index, kept)))
