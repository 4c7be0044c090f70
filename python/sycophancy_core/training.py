"""Fine-tuning on answers only: batches of few shapes, logits for supervised tokens only, checkpoints and resume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sycophancy_core._core import DataError
from sycophancy_core.adapters import Adapter, AdapterOptions, attach_adapter, merge_adapter, take_adapter
from sycophancy_core.batching import Batch, EncodedRow, encode_rows, make_batch, plan_batches
from sycophancy_core.compiled_blocks import compiled_blocks
from sycophancy_core.files import digest_json, digest_table, write_table
from sycophancy_core.interrupts import InterruptFlag, deferred_interrupt
from sycophancy_core.progress import Progress
from sycophancy_core.resume import LogRow, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import pyarrow as pa

Precision = Literal["auto", "float32", "bfloat16"]


class Tunable(Protocol):
    """What fine-tuning needs of a language model."""

    @property
    def model(self) -> Any:
        """Return the transformers module, which is changed in place."""

    @property
    def tokenizer(self) -> Any:
        """Return its tokenizer."""

    @property
    def name(self) -> str:
        """Return what reports call it."""

    @property
    def digest(self) -> str:
        """Return the digest of the weights as they are now."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How to fine-tune. The default is light: a few minutes on two CPU cores for a model of 135 million parameters.

    Attributes
    ----------
    steps
        Optimizer steps.
    batch_size
        Rows a step, over all processes and accumulation parts.
    learning_rate
        Peak of the schedule: linear warm-up from zero, then linear decay.
    warmup_share
        Share of the steps that warm up, in [0, 1).
    final_rate_share
        Share of the peak rate to which it decays, in [0, 1].
    lora_rank
        Train a low-rank adapter of this rank and merge it at the end; None trains the weights themselves.
    lora_alpha
        The adapter's update is scaled by ``lora_alpha / lora_rank``.
    train_embeddings
        In full fine-tuning, train the token embeddings and the output head too.
    weight_decay, max_grad_norm
        AdamW's decay (Loshchilov and Hutter 2019), and the norm to which gradients are clipped.
    accumulation
        Parts in which a step's rows are run one after the other, to save memory.
    precision
        ``"bfloat16"`` runs matrix products in bfloat16 and keeps weights, residual stream and loss in float32;
        ``"auto"`` does so where the hardware has bfloat16 products.
    compile_blocks
        Run the decoder blocks through ``torch.compile`` (needs a C++ compiler on a CPU): about twice as fast there,
        after half a minute for each batch shape, so it pays from a few hundred steps on.
    pad_multiple
        Batches are padded to a multiple of this many tokens, so that few shapes occur.
    max_tokens
        Longest row; a longer one is refused. None: the model's context.
    checkpoint_steps
        Steps between checkpoints, if a run folder is given; 0 writes one only on interrupt.
    seed
        Of the order of the rows, and of the adapter's start.
    """

    steps: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-4
    warmup_share: float = 0.1
    final_rate_share: float = 0.0
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    train_embeddings: bool = False
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    accumulation: int = 1
    precision: Precision = "auto"
    compile_blocks: bool = False
    pad_multiple: int = 32
    max_tokens: int | None = None
    checkpoint_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "pad_multiple"):
            if getattr(self, name) < 1:
                raise DataError(f"FinetuneOptions: {name} must be at least 1, got {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise DataError(f"FinetuneOptions: learning_rate must be > 0, got {self.learning_rate}")
        if not 0 <= self.warmup_share < 1:
            raise DataError(f"FinetuneOptions: warmup_share must lie in [0, 1), got {self.warmup_share}")
        if not 0 <= self.final_rate_share <= 1:
            raise DataError(f"FinetuneOptions: final_rate_share must lie in [0, 1], got {self.final_rate_share}")
        if self.batch_size % self.accumulation:
            raise DataError(
                f"FinetuneOptions: batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}"
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise DataError(f"FinetuneOptions: precision must be auto, float32 or bfloat16, got {self.precision!r}")

    @classmethod
    def wei2023(cls, **changes: Any) -> FinetuneOptions:
        """Return the published size: 1,000 steps on all weights (Wei et al. 2023, section 5)."""
        return replace(cls(steps=1000, train_embeddings=True, checkpoint_steps=100), **changes)


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """A tuned model and how it got there.

    Attributes
    ----------
    model
        The model that was given, with new weights.
    log
        One row a step: ``step``, ``loss`` (nats a supervised token), ``learning_rate``, ``tokens`` (without padding),
        ``seconds``.
    options
        The options that were used.
    adapter
        What was merged into the weights, if ``lora_rank`` was set.
    """

    model: Any
    log: pa.Table
    options: FinetuneOptions
    adapter: Adapter | None = None

    def save(self, folder: str | Path) -> list[Path]:
        """Write the adapter in PEFT's format or, after full fine-tuning, model and tokenizer; and the training log.

        The folder is what ``load_model`` takes, as ``adapter`` or as the model.
        """
        folder = Path(folder)
        # Without the seconds, the file of an interrupted and resumed training is that of an uninterrupted one.
        log = write_table(folder / "training_log.parquet", self.log.drop_columns("seconds"))
        if self.adapter is not None:
            return [*self.adapter.save(folder), log]
        self.model.model.save_pretrained(folder)
        self.model.tokenizer.save_pretrained(folder)
        return sorted(path for path in folder.iterdir() if path.is_file())

    def __repr__(self) -> str:
        """Say the steps and the first and last loss."""
        loss = self.log["loss"]
        return f"FinetuneResult({len(loss)} steps, loss {loss[0].as_py():.3f} -> {loss[-1].as_py():.3f})"


def finetune(
    model: Tunable,
    rows: pa.Table,
    *,
    options: FinetuneOptions | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> FinetuneResult:
    """Fine-tune a causal language model on training rows, in place.

    The loss is taken on each row's completion only.

    Parameters
    ----------
    rows
        Training rows: ``id``, ``origin``, ``prompt``, ``completion``.
    run
        Folder for the checkpoint ``finetune.checkpoint.safetensors``; a call with the same arguments goes on from it.

    Raises
    ------
    DataError
        If a row has no supervised token or is too long, or the folder's checkpoint belongs to another training.
    KeyboardInterrupt
        On Ctrl-C, after the checkpoint of the last whole step is written.
    """
    options = options or FinetuneOptions()
    limit = options.max_tokens or int(getattr(model.model.config, "max_position_embeddings", 1 << 30))
    encoded = encode_rows(rows, model.tokenizer, max_tokens=limit)
    plan = plan_batches(_lengths(encoded), num_batches=options.steps, batch_size=options.batch_size, seed=options.seed)
    checkpoint = Path(run) / "finetune.checkpoint.safetensors" if run is not None else None
    identity = ""
    if checkpoint is not None:
        identity = digest_json({"options": asdict(options), "rows": digest_table(rows), "model": model.digest})
    shape = None if options.lora_rank is None else AdapterOptions(rank=options.lora_rank, alpha=options.lora_alpha)
    if shape is None:
        select_trainable(model.model, embeddings=options.train_embeddings)
    else:
        attach_adapter(model.model, shape, seed=options.seed)
    try:
        log = train_batches(
            model.model, encoded, plan, options=options, checkpoint=checkpoint, identity=identity, progress=progress
        )
        adapter = None if shape is None else take_adapter(model.model, shape, base=model.name)
    finally:
        if shape is not None:
            merge_adapter(model.model)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return FinetuneResult(model=model, log=log_table(log), options=options, adapter=adapter)


def select_trainable(module: Any, *, embeddings: bool) -> None:
    """Let every parameter learn, or all but the token embeddings and the output head."""
    module.requires_grad_(True)
    if not embeddings:
        for part in (module.get_input_embeddings(), module.get_output_embeddings()):
            if part is not None:
                part.requires_grad_(False)


def train_batches(
    module: Any,
    encoded: Sequence[EncodedRow],
    plan: Any,
    *,
    options: FinetuneOptions,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> list[LogRow]:
    """Train a module's trainable parameters on planned batches, one step a row of the plan, and return the log.

    On several processes (``accelerate launch``) every process takes its share of each batch's rows.
    """
    import torch
    from accelerate import Accelerator

    from sycophancy_core.answer_loss import AnswerLoss

    on_cpu = next(module.parameters()).device.type == "cpu"
    accelerator = Accelerator(cpu=on_cpu)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)
    loss_module = AnswerLoss(module, bfloat16=uses_bfloat16(options.precision, accelerator.device))
    wrapped = accelerator.prepare_model(loss_module)
    log: list[LogRow] = []
    if checkpoint is not None and checkpoint.exists():
        log = load_checkpoint(checkpoint, module, optimizer, identity=identity)
    module.train()
    try:
        with deferred_interrupt() as interrupt, compiled_blocks(module, enabled=options.compile_blocks):
            for step in range(len(log), len(plan)):
                start = time.monotonic()
                _set_rate(optimizer, step, options)
                torch.manual_seed(options.seed * 1_000_003 + step)
                rows = [encoded[index] for index in plan[step]]
                loss, tokens = _step(accelerator, wrapped, optimizer, rows, trainable, options)
                rate = optimizer.param_groups[0]["lr"]
                seconds = round(time.monotonic() - start, 4)
                log.append(
                    {"step": step + 1, "loss": loss, "learning_rate": rate, "tokens": tokens, "seconds": seconds}
                )
                if progress is not None:
                    progress(step + 1, len(plan))
                due = options.checkpoint_steps and (step + 1) % options.checkpoint_steps == 0 and step + 1 < len(plan)
                if checkpoint is not None and (due or interrupt.raised) and accelerator.is_main_process:
                    save_checkpoint(checkpoint, module, optimizer, identity=identity, log=log)
                _stop_if(interrupt, step + 1, checkpoint)
    finally:
        module.eval()
        module.requires_grad_(False)
    return log


def uses_bfloat16(precision: Precision, device: Any) -> bool:
    """Tell whether matrix products run in bfloat16: as asked, or for ``"auto"`` where the hardware has them."""
    import torch

    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _step(
    accelerator: Any,
    wrapped: Any,
    optimizer: Any,
    rows: list[EncodedRow],
    trainable: list[Any],
    options: FinetuneOptions,
) -> tuple[float, int]:
    import torch

    num_targets = sum(len(row.ids) - row.first_supervised for row in rows)
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    size = -(-len(mine) // options.accumulation)
    parts = [mine[start : start + size] for start in range(0, len(mine), size)]
    total = torch.zeros((), device=accelerator.device)
    for index, part in enumerate(parts):
        batch = make_batch(part, pad_id=0, multiple=options.pad_multiple)
        with _synced(accelerator, wrapped, last=index == len(parts) - 1):
            loss = wrapped(*_tensors(batch, accelerator.device))
            # Gradients are averaged over processes; the loss is a mean over the supervised tokens of all of them.
            accelerator.backward(loss * accelerator.num_processes / num_targets)
        total += loss.detach()
    if options.max_grad_norm > 0:
        torch.nn.utils.clip_grad_norm_(trainable, options.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    return float(accelerator.reduce(total)) / num_targets, sum(len(row.ids) for row in rows)


def _tensors(batch: Batch, device: Any) -> list[Any]:
    import torch

    return [torch.from_numpy(part).to(device) for part in (batch.ids, batch.row, batch.column, batch.target)]


@contextmanager
def _synced(accelerator: Any, wrapped: Any, *, last: bool) -> Iterator[None]:
    if last:
        yield
    else:
        with accelerator.no_sync(wrapped):
            yield


def _set_rate(optimizer: Any, step: int, options: FinetuneOptions) -> None:
    warmup = max(1, round(options.warmup_share * options.steps))
    left = min(1.0, (options.steps - step) / max(1, options.steps - warmup))
    decayed = options.final_rate_share + (1 - options.final_rate_share) * left
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * min(1.0, (step + 1) / warmup, decayed)


def _stop_if(interrupt: InterruptFlag, step: int, checkpoint: Path | None) -> None:
    if interrupt.raised:
        kept = f"kept in {checkpoint}; the same call goes on from there" if checkpoint else "not kept: no run folder"
        raise KeyboardInterrupt(f"fine-tuning stopped after step {step}; {kept}")


def _lengths(encoded: Sequence[EncodedRow]) -> Any:
    import numpy as np

    return np.array([len(row.ids) for row in encoded], np.int64)


def log_table(log: list[LogRow]) -> pa.Table:
    """Return a training log as a table."""
    import pyarrow as pa

    types = {"step": pa.int64(), "loss": pa.float64(), "learning_rate": pa.float64()}
    types |= {"tokens": pa.int64(), "seconds": pa.float64()}
    return pa.table({name: pa.array([row[name] for row in log], kind) for name, kind in types.items()})
