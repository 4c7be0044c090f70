"""What a study would cost: prompts, tokens, time and disk of every stage, before anything is run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from sycophancy_core.errors import DataError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.pipeline import filter_prompts
from sycophancy_core.prompts.families import candidate_claims
from sycophancy_core.prompts.splits import sample_rows
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.tokens import tokenize_prompts
from sycophancy_core.studies.options import StudyOptions, Variant
from sycophancy_core.studies.stages import load, questions, study_prompts
from sycophancy_core.studies.training_rows import TrainingClaims, curve_options, finetune_options, training_rows
from sycophancy_core.training.adapters.low_rank import block_layers
from sycophancy_core.training.batching import encode_rows
from sycophancy_core.training.finetune import finetune

PROBE_PROMPTS = 16
SAMPLED_PROMPTS = 512  # tokens of a larger table are counted on so many of its rows
PROMPT_BYTES = 50  # a scored prompt in Parquet; the demo's 856 take 37,644 bytes

SHARED = "all variants"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast a model works here, for the estimate of times.

    Attributes
    ----------
    score_tokens_per_second
        Of scoring; tokens of every prompt with every choice, as if none were shared.
    train_tokens_per_second
        Of fine-tuning; tokens without padding.
    """

    score_tokens_per_second: float
    train_tokens_per_second: float

    def __post_init__(self) -> None:
        for name in ("score_tokens_per_second", "train_tokens_per_second"):
            if not 0 < getattr(self, name) < float("inf"):
                raise DataError(f"throughput: {name} must be > 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage costs.

    Attributes
    ----------
    variant, stage
        Whose stage it is; stages of ``"all variants"`` are done once.
    rows
        Prompts scored, or rows trained on (all steps together).
    tokens
        Their tokens; estimated from a part where there are many rows.
    seconds, num_bytes
        Estimated time, and size of the files that stay.
    """

    variant: str
    stage: str
    rows: int
    tokens: int
    seconds: float
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """The costs of a study's stages, and the throughput from which its times are estimated."""

    stages: tuple[StageCost, ...]
    throughput: Throughput

    @property
    def seconds(self) -> float:
        """Estimated time of the whole study."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def num_bytes(self) -> int:
        """Estimated size of the study's folder."""
        return sum(stage.num_bytes for stage in self.stages)

    def __repr__(self) -> str:
        """Show one line a stage, and the sum."""
        total = StageCost(
            variant="whole study",
            stage="",
            rows=sum(stage.rows for stage in self.stages),
            tokens=sum(stage.tokens for stage in self.stages),
            seconds=self.seconds,
            num_bytes=self.num_bytes,
        )
        lines = [("variant", "stage", "rows", "tokens", "minutes", "MB"), *map(_cells, (*self.stages, total))]
        widths = [max(len(line[i]) for line in lines) for i in range(6)]
        shown = [
            "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in lines
        ]
        speed = self.throughput
        return "\n".join(
            [
                *shown,
                f"at {speed.score_tokens_per_second:,.0f} tokens/s of scoring (shared ones counted each time) "
                f"and {speed.train_tokens_per_second:,.0f} tokens/s of fine-tuning",
            ]
        )


@checked_arguments
def study_cost(options: StudyOptions, *, throughput: Throughput | None = None) -> StudyCost:
    """Count a study's prompts and tokens, and estimate its time and disk; nothing is written.

    Parameters
    ----------
    throughput
        How fast the model works; None measures it on a few prompts and training steps.

    Raises
    ------
    DataError
        As ``study`` does, before it runs; or if the model is to think, since nobody knows for how long.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> cost = sc.study_cost(sc.read_study("small-study.yaml"))
    >>> cost.seconds > 0
    True
    """
    if options.think is not None:
        raise DataError("study_cost: how long a model thinks is known when it has thought; leave think out to estimate")
    model = load(options)
    tasks = study_prompts(options)
    variants = options.sweep.variants()
    rows = {
        name: training_rows(TrainingClaims(candidate_claims(options, recipe=variant.recipe)), options, variant)
        for name, variant in variants.items()
    }
    adapter_bytes = _tuned_bytes(model, options.lora_rank)
    evaluation = sum(table.num_rows for table in tasks.values()), sum(_tokens(model, t) for t in tasks.values())
    asked = {name: filter_prompts(*it, seed=options.seed) for name, it in questions(options).items()}
    counts = {name: (table.num_rows, _tokens(model, table)) for name, table in asked.items()}
    training = {name: _training(model, rows[name], options, variant) for name, variant in variants.items()}
    curves = {name: _curve(model, options, variant) for name, variant in variants.items()}
    if throughput is None:  # last, since the probe changes the model
        name, variant = next(iter(variants.items()))
        throughput = measure_throughput(model, next(iter(tasks.values())), rows[name], options, variant)
    scored, trained = throughput.score_tokens_per_second, throughput.train_tokens_per_second
    stages = [_cost(SHARED, "before", *evaluation, scored, PROMPT_BYTES * evaluation[0])]
    stages += [_cost(SHARED, name, *count, scored, PROMPT_BYTES * count[0]) for name, count in counts.items()]
    for name, count in training.items():
        stages.append(_cost(name, "fine-tune", *count, trained, adapter_bytes + PROMPT_BYTES * count[0]))
        stages += [_cost(name, "curve", *curves[name], scored, 0)] if curves[name] != (0, 0) else []
        # The comparison keeps its own copy of both evaluations.
        stages.append(_cost(name, "after", *evaluation, scored, 3 * PROMPT_BYTES * evaluation[0]))
    return StudyCost(stages=tuple(stages), throughput=throughput)


def measure_throughput(
    model: LanguageModel, prompts: pa.Table, rows: pa.Table, options: StudyOptions, variant: Variant
) -> Throughput:
    """Score a few prompts and train two steps, which changes the model, and return how fast that was.

    The first step, which sets things up, does not count.
    """
    scores = model.score(prompts.slice(0, PROBE_PROMPTS))
    last = finetune(model, rows, options=replace(finetune_options(options, variant), steps=2)).log.to_pylist()[-1]
    return Throughput(
        score_tokens_per_second=scores.num_tokens_unshared / max(scores.seconds, 1e-4),
        train_tokens_per_second=last["tokens"] / max(last["seconds"], 1e-4),
    )


def _cost(variant: str, stage: str, rows: int, tokens: int, rate: float, num_bytes: int) -> StageCost:
    return StageCost(variant=variant, stage=stage, rows=rows, tokens=tokens, seconds=tokens / rate, num_bytes=num_bytes)


def _cells(cost: StageCost) -> tuple[str, ...]:
    minutes, megabytes = f"{cost.seconds / 60:,.1f}", f"{cost.num_bytes / 1e6:,.1f}"
    return cost.variant, cost.stage, f"{cost.rows:,}", f"{cost.tokens:,}", minutes, megabytes


def _tokens(model: LanguageModel, prompts: pa.Table) -> int:
    some = sample_rows(prompts, SAMPLED_PROMPTS, seed=0)
    batch = tokenize_prompts(model.encoder, some)
    share = int(some.num_rows) / int(prompts.num_rows)
    return round(batch.num_tokens_unshared / share)


def _training(model: LanguageModel, rows: pa.Table, options: StudyOptions, variant: Variant) -> tuple[int, int]:
    some = sample_rows(rows, SAMPLED_PROMPTS, seed=0)
    encoded = encode_rows(some, model.encoder, max_tokens=1 << 20)
    number = variant.steps * options.batch_size
    return number, round(number * sum(len(row.ids) for row in encoded) / len(encoded))


def _curve(model: LanguageModel, options: StudyOptions, variant: Variant) -> tuple[int, int]:
    """Count prompts and tokens of a fine-tuning's curve, which also measures the untouched model."""
    curve = curve_options(options, variant)
    if curve is None:
        return 0, 0
    points = 1 + sum(step % curve.every == 0 or step == variant.steps for step in range(1, variant.steps + 1))
    prompts = curve.tasks.values()
    return points * sum(table.num_rows for table in prompts), points * sum(_tokens(model, table) for table in prompts)


def _tuned_bytes(model: LanguageModel, rank: int | None) -> int:
    """Size of what a fine-tuning leaves: an adapter in float32, or all weights."""
    if rank is None:
        return sum(int(weight.nbytes) for weight in model.model.parameters())
    return sum(4 * rank * int(sum(layer.weight.shape)) for _, layer in block_layers(model.model))
