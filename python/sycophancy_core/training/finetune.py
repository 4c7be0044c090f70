"""Fine-tuning on answers only: batches of few shapes, logits for supervised tokens only, checkpoints and resume."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.interrupts import Interrupt, InterruptFlag, deferred_interrupt
from sycophancy_core.runs.locks import one_writer
from sycophancy_core.runs.outputs import check_output_folder, require_room
from sycophancy_core.runs.progress import Progress, shown_progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.limits import context_length
from sycophancy_core.scoring.processes import prepare_process
from sycophancy_core.training.adapters import AdapterOptions, take_adapter, trained_adapter
from sycophancy_core.training.batching import EncodedRow, digest_rows, encode_for, make_batch, plan_batches
from sycophancy_core.training.checkpoint import Checkpoints, LogRow, load_checkpoint, save_checkpoint
from sycophancy_core.training.compiled_blocks import compiled_blocks, plain_blocks
from sycophancy_core.training.curve import CurveOptions, CurveRecorder
from sycophancy_core.training.finite import require_finite_step, require_finite_weights
from sycophancy_core.training.options import FinetuneOptions, Precision
from sycophancy_core.training.result import FinetuneResult, log_table

# A trained number is kept with AdamW's two means of it, twice while a checkpoint is replaced, and once in the result.
BYTES_KEPT = 4 * (2 * 3 + 1)


def finetune(
    model: LanguageModel,
    rows: pa.Table,
    *,
    options: FinetuneOptions | None = None,
    curve: CurveOptions | None = None,
    run: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> FinetuneResult:
    """Fine-tune a causal language model on training rows, in place.

    The loss is taken on each row's completion only; a model with ``chat_template=True`` learns it as the assistant's
    reply (see ``encode_rows``). On several processes (``accelerate launch``) each takes
    its share of every batch; only the main one writes and reports progress.

    Parameters
    ----------
    rows
        Training rows: ``id``, ``origin``, ``prompt``, ``completion`` and maybe ``turns``.
    curve
        What to measure on the way, and whether to stop early and keep the best step. It changes no step of the
        training: without it, the weights after each step are the same, to the bit.
    run
        Folder for the checkpoint ``finetune.checkpoint.safetensors``, which all processes see; a call with the same
        arguments goes on from it. It stays until :meth:`FinetuneResult.save` has written the result.

    Raises
    ------
    DataError
        If a row has no supervised token or is too long, the folder's checkpoint belongs to another training, no task of
        the curve has its metric, or there are more processes than rows in a batch.
    ModelError
        If the model is an encoder-decoder, its weights are not in float32, it carries an adapter of PEFT's, the
        launcher shares the weights out over processes (FSDP, DeepSpeed, Megatron), the processes do not know of each
        other, or an adapter is to sit on blocks with matrices outside linear layers (GPT-2's); or if a loss, a gradient
        or a weight stops being finite.
    KeyboardInterrupt
        On Ctrl-C, SIGTERM or SIGHUP in any process, after the checkpoint of the last whole step is written. After this
        or any other exception a model that was to get an adapter is as it was; without one its weights have changed:
        load it once more.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> rows = sc.mix(sc.training_prompts(sc.read_claims("claims.csv"), n=40), sc.load_instructions())
    >>> options = sc.FinetuneOptions(steps=1, batch_size=4, lora_rank=2)
    >>> sc.finetune(sc.load_model("my-model"), rows, options=options, progress=False).log.num_rows
    1
    """
    options = options or FinetuneOptions()
    require_trainable(model)
    if run is not None:
        check_output_folder(run)
    encoded = encode_for(model, rows, max_tokens=options.max_tokens)
    lengths = np.array([len(row.ids) for row in encoded], np.int64)
    plan = plan_batches(lengths, num_batches=options.steps, batch_size=options.batch_size, seed=options.seed)
    checkpoint, identity = None, ""
    if run is not None:
        checkpoint = Path(run) / "finetune.checkpoint.safetensors"
        identity = _identity(model, rows, encoded, options, curve)
    recorder = None if curve is None else CurveRecorder(model, curve)
    shape = None if options.lora_rank is None else AdapterOptions(rank=options.lora_rank, alpha=options.lora_alpha)
    if shape is None:
        select_trainable(model.model, embeddings=options.train_embeddings)
    adapted = nullcontext() if shape is None else trained_adapter(model.model, shape, seed=options.seed)
    with adapted, shown_progress(progress, "fine-tune", "steps") as show:
        log = train_batches(
            model.model,
            encoded,
            plan,
            options=options,
            curve=recorder,
            checkpoint=checkpoint,
            identity=identity,
            progress=show,
        )
        adapter = None if shape is None else take_adapter(model.model, shape, base=model.name)
    measured = None if recorder is None else recorder.table()
    return FinetuneResult(
        model=model, log=log_table(log), options=options, adapter=adapter, curve=measured, checkpoint=checkpoint
    )


def _identity(
    model: LanguageModel,
    rows: pa.Table,
    encoded: Sequence[EncodedRow],
    options: FinetuneOptions,
    curve: CurveOptions | None,
) -> str:
    """Return the digest of all that decides a training: not how often it is kept."""
    deciding = {name: value for name, value in asdict(options).items() if name != "checkpoint_steps"}
    inputs = {"options": deciding, "rows": digest_table(rows), "tokens": digest_rows(encoded), "model": model.digest}
    return digest_json(inputs if curve is None else {**inputs, "curve": curve.identity()})


def require_trainable(model: LanguageModel) -> None:
    """Refuse a model that cannot be trained.

    A step is smaller than the distance between neighbouring numbers in half precision: the optimizer would round most
    of it away, and so would a merge the adapter's sum.

    Raises
    ------
    ModelError
        If it is an encoder-decoder, its weights are not in float32, or it carries an adapter of PEFT's.
    """
    import torch

    for name, module in model.model.named_modules():
        if type(module).__module__.partition(".")[0] == "peft":
            raise ModelError(
                f"finetune: {name or 'the model'} of model {model.name} is PEFT's {type(module).__name__}, which "
                "would not be saved as it is trained; merge the adapter first (merge_and_unload), and give the model "
                "that this returns"
            )
    if model.model.config.is_encoder_decoder:
        raise ModelError(
            f"finetune: model {model.name} is an encoder-decoder; wanted a decoder, which alone is trained"
        )
    for name, parameter in model.model.named_parameters():
        if parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise ModelError(
                f"finetune: {name} of model {model.name} is in {kind}, wanted float32, since {kind} rounds small steps "
                "away; load the model with dtype='float32', and train with precision='bfloat16' for speed"
            )


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
    curve: CurveRecorder | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> list[LogRow]:
    """Train a module's trainable parameters on planned batches, one step a row of the plan, and return the log."""
    import torch

    from sycophancy_core.training.answer_loss import AnswerLoss  # a torch module, so it imports torch

    prepare_process()
    accelerator = _join_processes(module, options)
    path = checkpoint if accelerator.is_main_process else None
    with nullcontext() if path is None else one_writer(path.parent):
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if path is not None:
            num_bytes = BYTES_KEPT * sum(parameter.numel() for parameter in trainable)
            require_room(path.parent, num_bytes, "the checkpoints and the result of this training")
        optimizer = torch.optim.AdamW(
            trainable, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        trial = torch.tensor(encoded[plan[0][0]].ids)
        loss_module = AnswerLoss(module, bfloat16=uses_bfloat16(options.precision, accelerator.device), trial=trial)
        wrapped = accelerator.prepare_model(loss_module)
        log: list[LogRow] = []
        if checkpoint is not None and checkpoint.exists():
            log = load_checkpoint(checkpoint, module, optimizer, identity=identity, curve=curve)
        # Where no step is left, the main process soon removes the checkpoint: not before all have looked for it.
        accelerator.reduce(torch.zeros((), device=accelerator.device))
        keep = partial(save_checkpoint, module=module, optimizer=optimizer, identity=identity, curve=curve)
        kept = Checkpoints(path, steps=options.checkpoint_steps, num_saved=len(log), save=keep)
        training = _Training(accelerator, wrapped, optimizer, trainable, options, log, context_length(module))
        module.train()
        try:
            with compiled_blocks(module, enabled=options.compile_blocks):
                _train(training, encoded, plan, curve=curve, kept=kept, progress=progress)
            if curve is not None:
                curve.keep_best()
            require_finite_weights(module, len(log))
        finally:
            module.eval()
            module.requires_grad_(False)
    return log


class _Training(NamedTuple):
    """What a step works on."""

    accelerator: Any
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
                _share_interrupt(accelerator, interrupt)
                is_last = len(log) == len(plan) or (curve is not None and curve.is_over)
                if is_last or interrupt.raised or kept.is_due(len(log)):
                    with interrupt.hold():
                        kept.save(log)
                if interrupt.raised or is_last:
                    break
                _do_step(training, [encoded[index] for index in plan[len(log)]], interrupt)
                if progress is not None and accelerator.is_main_process:
                    progress(len(log), len(plan))
        except Interrupt:
            kept.save(log)
        if interrupt.raised:
            raise _stopped(
                interrupt, len(log), kept, in_place=options.lora_rank is None, is_main=accelerator.is_main_process
            )


@contextmanager
def _open_to_signals(trainable: list[Any]) -> Iterator[None]:
    """Let signals be heard within a backward pass: by a line of Python a tensor, where else none runs until its end."""
    hooks = [parameter.register_hook(lambda _: None) for parameter in trainable]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _join_processes(module: Any, options: FinetuneOptions) -> Any:
    """Return the accelerator of this process, on the module's kind of device."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=next(module.parameters()).device.type == "cpu")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ModelError(
            f"finetune: the launcher started {started} processes, but this one joined {accelerator.num_processes}; "
            "where models are trained on the CPU, make PartialState(cpu=True) or none before"
        )
    if accelerator.distributed_type in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise ModelError(
            f"finetune: the launcher shares the weights out ({accelerator.distributed_type.value}); wanted the whole "
            "model in every process; use accelerate launch --multi_gpu"
        )
    if accelerator.num_processes > options.batch_size:
        raise DataError(
            f"finetune: got {accelerator.num_processes} processes for batches of {options.batch_size} rows; "
            "start fewer, or take a larger batch_size"
        )
    return accelerator


def _share_interrupt(accelerator: Any, interrupt: InterruptFlag) -> None:
    """Let every process know of a Ctrl-C in any of them, so that all stop after the same step."""
    import torch

    raised = torch.tensor(float(interrupt.raised), device=accelerator.device)
    interrupt.raised = bool(accelerator.reduce(raised))


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

    _, _, optimizer, trainable, options, log, _ = training
    start, step = time.monotonic(), len(log)
    _set_rate(optimizer, step, options)
    torch.manual_seed(options.seed * 1_000_003 + step)
    loss = _backward(training, rows)
    norm = torch.nn.utils.clip_grad_norm_(trainable, options.max_grad_norm or math.inf)
    require_finite_step(loss, float(norm), step + 1)
    tokens = sum(len(row.ids) for row in rows)
    with interrupt.hold():
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        rate, seconds = optimizer.param_groups[0]["lr"], round(time.monotonic() - start, 4)
        log.append({"step": step + 1, "loss": loss, "learning_rate": rate, "tokens": tokens, "seconds": seconds})


def _backward(training: _Training, rows: list[EncodedRow]) -> float:
    """Add up the gradients of a step's rows, and return the loss."""
    import torch

    accelerator, wrapped, _, _, options, _, limit = training
    num_targets = sum(len(row.ids) - row.first_supervised for row in rows)
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    size = -(-len(mine) // options.accumulation)
    parts = [mine[start : start + size] for start in range(0, len(mine), size)]
    total = torch.zeros((), device=accelerator.device)
    for index, part in enumerate(parts):
        batch = make_batch(part, pad_id=0, multiple=options.pad_multiple, limit=limit)
        with _synced(accelerator, wrapped, last=index == len(parts) - 1):
            arrays = (batch.ids, batch.row, batch.column, batch.target)
            loss = wrapped(*(torch.from_numpy(array).to(accelerator.device) for array in arrays))
            # Gradients are averaged over processes; the loss is a mean over the supervised tokens of all of them.
            accelerator.backward(loss * accelerator.num_processes / num_targets)
        total += loss.detach()
    return float(accelerator.reduce(total)) / num_targets


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


def _stopped(flag: InterruptFlag, num_steps: int, kept: Checkpoints, *, in_place: bool, is_main: bool) -> Interrupt:
    """Return the exception that says what of an interrupted training is kept."""
    path = kept.path if kept.num_saved else None
    again = " on the model loaded once more" if in_place else ""
    what = f"kept in {path}; the same call{again} goes on from there" if path else "not kept"
    what += "" if kept.path or not num_steps else ": no run folder"
    what = what if is_main else "the main process says what is kept"
    return Interrupt(f"fine-tuning stopped after step {num_steps}; {what}", kept=path, number=flag.number)
