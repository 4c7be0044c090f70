"""The steps of a training: planned batches, run over processes, logged, checkpointed, stopped between two of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.interrupts import Interrupt, InterruptFlag, deferred_interrupt
from sycophancy_core.runs.locks import one_writer
from sycophancy_core.runs.outputs import require_room
from sycophancy_core.runs.progress import Progress, note
from sycophancy_core.scoring.checks.limits import context_length
from sycophancy_core.scoring.processes import prepare_process
from sycophancy_core.training.batching import Batch, EncodedRow, make_batch
from sycophancy_core.training.curve import CurveRecorder
from sycophancy_core.training.loop.checkpoint import (
    Checkpoints,
    LogRow,
    load_checkpoint,
    parts_folder,
    save_checkpoint,
)
from sycophancy_core.training.loop.compiled_blocks import compiled_blocks, plain_blocks
from sycophancy_core.training.loop.finite import require_finite_step, require_finite_weights
from sycophancy_core.training.loop.processes import are_weights_sharded, decide_together, join_processes
from sycophancy_core.training.loop.sharded_checkpoint import has_parts, load_parts, save_parts
from sycophancy_core.training.loop.sharded_weights import (
    full_value,
    gather_weights,
    require_same_start,
    require_shardable,
    sharded,
)
from sycophancy_core.training.loop.trackers import Trackers
from sycophancy_core.training.options import FinetuneOptions, Precision

FLOAT16_SCALE = 1024.0  # of the loss, so that small gradients of a float16 base do not round to zero on their way


def train_batches(
    module: Any,
    encoded: Sequence[EncodedRow],
    plan: Any,
    *,
    options: FinetuneOptions,
    curve: CurveRecorder | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
    trackers: Trackers | None = None,
    progress: Progress | None = None,
) -> list[LogRow]:
    """Train a module's trainable parameters on planned batches, one step a row of the plan, and return the log."""
    import torch

    prepare_process()
    accelerator = join_processes(module, options, trackers)
    if are_weights_sharded(accelerator):
        require_shardable(module, options, has_curve=curve is not None)
        require_same_start(identity)
    is_writer = checkpoint is not None and accelerator.is_main_process
    with one_writer(checkpoint.parent) if checkpoint is not None and is_writer else nullcontext():
        wrapped, learning = _wrapped(accelerator, module, options, trial=torch.tensor(encoded[plan[0][0]].ids))
        trainable = [parameter for parameter in learning.parameters() if parameter.requires_grad]
        if checkpoint is not None and is_writer:
            what = "the checkpoints and the result of this training"
            require_room(checkpoint.parent, _bytes_kept(trainable, curve), what)
        optimizer = torch.optim.AdamW(
            trainable, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        state = {"module": learning, "optimizer": optimizer, "identity": identity}
        log, kept = _taken_up(accelerator, checkpoint, state, steps=options.checkpoint_steps, curve=curve)
        training = _Training(accelerator, learning, wrapped, optimizer, trainable, options, log, context_length(module))
        learning.train()
        try:
            with (
                compiled_blocks(module, enabled=options.compile_blocks),
                _checkpointed_blocks(learning, enabled=options.gradient_checkpointing),
                nullcontext() if trackers is None else trackers.watching(accelerator, log, curve),
            ):
                _train(training, encoded, plan, curve=curve, kept=kept, trackers=trackers, progress=progress)
            if curve is not None:
                curve.keep_best()
            if learning is not module:
                gather_weights(learning, module)
            require_finite_weights(module, len(log))
        finally:
            module.eval()
            module.requires_grad_(False)
    return log


def _wrapped(accelerator: Any, module: Any, options: FinetuneOptions, *, trial: Any) -> tuple[Any, Any]:
    """Return what runs a batch on every process together, and the module in it whose parameters learn."""
    from sycophancy_core.training.loop.answer_loss import AnswerLoss  # a torch module, so it imports torch

    bfloat16 = uses_bfloat16(options.precision, accelerator.device)
    loss_module = AnswerLoss(module, bfloat16=bfloat16, trial=trial)
    if are_weights_sharded(accelerator):
        twin = sharded(loss_module, accelerator, bfloat16=bfloat16)
        return twin, twin.model
    return accelerator.prepare_model(loss_module), module


def _taken_up(
    accelerator: Any, checkpoint: Path | None, state: dict[str, Any], *, steps: int | None, curve: CurveRecorder | None
) -> tuple[list[LogRow], Checkpoints]:
    """Take up the training of a checkpoint, if there is one; return its log, and where further steps are kept.

    Raises
    ------
    DataError
        If the training was begun with sharded weights, and now they are not, or the other way round.
    """
    is_sharded = are_weights_sharded(accelerator)
    path, other = checkpoint, None if checkpoint is None else parts_folder(checkpoint)
    if is_sharded:
        path, other = other, path
        save, load = partial(save_parts, accelerator=accelerator, **state), partial(load_parts, accelerator=accelerator)
    else:
        save, load = partial(save_checkpoint, curve=curve, **state), partial(load_checkpoint, curve=curve)
    if other is not None and other.exists():
        raise DataError(
            f"{other}: this training was begun {'without' if is_sharded else 'with'} FSDP; go on as it was begun, or "
            "delete it to train from the first step"
        )
    log: list[LogRow] = []
    if path is not None and (has_parts(path) if is_sharded else path.exists()):
        log = load(path, **state)
    # Where no step is left, the main process soon removes the checkpoint: not before all have looked for it.
    accelerator.wait_for_everyone()
    writes = is_sharded or accelerator.is_main_process
    return log, Checkpoints(path if writes else None, steps=steps, num_saved=len(log), save=save)


def _bytes_kept(trainable: list[Any], curve: CurveRecorder | None) -> int:
    """Return what lies on disk at most: two checkpoints while one replaces the other, and the result.

    A checkpoint holds a trained number, AdamW's two means of it and, with a curve, its value at the best step.
    """
    copies = 2 * (3 if curve is None else 4) + 1
    return 4 * copies * sum(int(parameter.numel()) for parameter in trainable)


class _Training(NamedTuple):
    """What a step works on."""

    accelerator: Any
    model: Any
    wrapped: Any
    optimizer: Any
    trainable: list[Any]
    options: FinetuneOptions
    log: list[LogRow]
    limit: int | None  # positions that the model has


def _train(
    training: _Training,
    encoded: Sequence[EncodedRow],
    plan: Any,
    *,
    curve: CurveRecorder | None,
    kept: Checkpoints,
    trackers: Trackers | None,
    progress: Progress | None,
) -> None:
    """Do the steps that the log lacks, and keep them; on an interrupt keep every whole step."""
    log, options, accelerator = training.log, training.options, training.accelerator
    is_alone = accelerator.num_processes == 1  # others wait for this one's share of the step
    doing = "finishing the current step" + (" and writing a checkpoint" if kept.path else "")
    with deferred_interrupt(doing, insist=is_alone) as interrupt, _open_to_signals(training.trainable):
        try:
            while True:
                _measure(curve, len(log), len(plan), options)
                if trackers is not None and curve is not None:
                    trackers.log_curve(accelerator, curve)
                is_due = decide_together(accelerator, interrupt, is_due=kept.is_due(len(log)))
                is_last = len(log) == len(plan) or (curve is not None and curve.is_over)
                if is_last or interrupt.raised or is_due:
                    with interrupt.hold():
                        kept.save(log)
                if interrupt.raised or is_last:
                    break
                _do_step(training, [encoded[index] for index in plan[len(log)]], interrupt)
                if trackers is not None:
                    trackers.log_step(accelerator, log[-1])
                if progress is not None and accelerator.is_main_process:
                    _show(progress, log, len(plan))
        except Interrupt:
            kept.save(log)
        if interrupt.raised:
            in_place = options.lora_rank is None and not are_weights_sharded(accelerator)
            raise _stopped(interrupt, len(log), kept, in_place=in_place, is_main=accelerator.is_main_process)


def _show(progress: Progress, log: list[LogRow], num_steps: int) -> None:
    """Tell whoever watches of the step that was done, with the rate of the last ten."""
    told = log[-10:]
    rate = sum(row["tokens"] for row in told) / max(1e-9, sum(row["seconds"] for row in told))
    note(progress, f"loss {log[-1]['loss']:.3f}, {rate:,.0f} tokens/s")
    progress(len(log), num_steps)


@contextmanager
def _checkpointed_blocks(module: Any, *, enabled: bool) -> Iterator[None]:
    """Keep each block's input only while the context lasts, and compute the rest again in the backward pass.

    Raises
    ------
    ModelError
        If the model cannot do that.
    """
    if not enabled:
        yield
        return
    kind = "activation" if hasattr(module, "activation_checkpointing_enable") else "gradient"  # as versions call it
    try:
        getattr(module, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    except ValueError as error:
        raise ModelError(
            f"finetune: gradient_checkpointing: {type(module).__name__} cannot compute blocks again; leave it out"
        ) from error
    try:
        yield
    finally:
        getattr(module, f"{kind}_checkpointing_disable")()


@contextmanager
def _open_to_signals(trainable: list[Any]) -> Iterator[None]:
    """Let signals be heard within a backward pass: by a line of Python a tensor, where else none runs until its end."""
    hooks = [parameter.register_hook(lambda _: None) for parameter in trainable]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _measure(curve: CurveRecorder | None, step: int, num_steps: int, options: FinetuneOptions) -> None:
    if curve is not None and curve.is_due(step, num_steps):
        with plain_blocks(enabled=options.compile_blocks):
            curve.measure(step)


def uses_bfloat16(precision: Precision, device: Any) -> bool:
    """Tell whether matrix products run in bfloat16: as asked, or for ``"auto"`` where the hardware has them."""
    import torch

    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _do_step(training: _Training, rows: list[EncodedRow], interrupt: InterruptFlag) -> None:
    """Do one step and log it; an interrupt finds it done and logged, or neither."""
    import torch

    optimizer, trainable, options, log = training.optimizer, training.trainable, training.options, training.log
    start, step = time.monotonic(), len(log)
    set_rate(optimizer, step, options)
    torch.manual_seed(options.seed * 1_000_003 + step)
    loss = _backward(training, rows)
    norm = torch.nn.utils.clip_grad_norm_(trainable, options.max_grad_norm or math.inf)
    require_finite_step(loss, full_value(norm), step + 1)
    tokens = sum(len(row.ids) for row in rows)
    with interrupt.hold():
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        rate, seconds = optimizer.param_groups[0]["lr"], round(time.monotonic() - start, 4)
        log.append({"step": step + 1, "loss": loss, "learning_rate": rate, "tokens": tokens, "seconds": seconds})


def _backward(training: _Training, rows: list[EncodedRow]) -> float:
    """Add up the gradients of a step's rows, and return the loss."""
    import torch

    accelerator, wrapped, options = training.accelerator, training.wrapped, training.options
    num_targets = sum(len(row.ids) - row.first_supervised for row in rows)
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    # As many parts in every process, however the rows divide: sharded weights are gathered for each.
    number = min(options.accumulation, len(rows) // accelerator.num_processes)
    parts = [mine[len(mine) * index // number : len(mine) * (index + 1) // number] for index in range(number)]
    total = torch.zeros((), device=accelerator.device)
    scale = FLOAT16_SCALE if next(training.model.parameters()).dtype == torch.float16 else 1.0
    for index, part in enumerate(parts):
        batch = make_batch(part, pad_id=0, multiple=options.pad_multiple, limit=training.limit)
        with _synced(accelerator, wrapped, now=index == number - 1 or are_weights_sharded(accelerator)):
            loss = wrapped(*_tensors(batch, accelerator.device))
            # Gradients are averaged over processes; the loss is a mean over the supervised tokens of all of them.
            accelerator.backward(loss * (scale * accelerator.num_processes / num_targets))
        total += loss.detach()
    if scale != 1.0:
        for parameter in training.trainable:
            if parameter.grad is not None:  # the forward uses it
                parameter.grad.div_(scale)
    return float(accelerator.reduce(total)) / num_targets


def _tensors(batch: Batch, device: Any) -> list[Any]:
    import torch

    return [torch.from_numpy(part).to(device) for part in (batch.ids, batch.row, batch.column, batch.target)]


@contextmanager
def _synced(accelerator: Any, wrapped: Any, *, now: bool) -> Iterator[None]:
    """Add up gradients over processes at the end of a part, or only at that of the step's last one."""
    if now:
        yield
    else:
        with accelerator.no_sync(wrapped):
            yield


def set_rate(optimizer: Any, step: int, options: FinetuneOptions) -> None:
    """Set the rate of a step, counted from 0: rising at first, then falling in a line."""
    warmup = max(1, round(options.warmup_share * options.steps))
    left = min(1.0, (options.steps - step) / max(1, options.steps - warmup))
    decayed = options.final_rate_share + (1 - options.final_rate_share) * left
    for group in optimizer.param_groups:
        group["lr"] = float(options.learning_rate) * min(1.0, (step + 1) / warmup, decayed)


def _stopped(flag: InterruptFlag, num_steps: int, kept: Checkpoints, *, in_place: bool, is_main: bool) -> Interrupt:
    """Return the exception that says what of an interrupted training is kept."""
    path = kept.path if kept.num_saved else None
    again = " on the model loaded once more" if in_place else ""
    what = f"kept in {path}; the same call{again} goes on from there" if path else "not kept"
    what += "" if kept.path or not num_steps else ": no run folder"
    what = what if is_main else "the main process says what is kept"
    return Interrupt(f"fine-tuning stopped after step {num_steps}; {what}", kept=path, number=flag.number)
