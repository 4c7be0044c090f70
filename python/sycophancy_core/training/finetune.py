"""Fine-tuning on answers only: batches of few shapes, logits for supervised tokens only, checkpoints and resume."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.interrupts import InterruptFlag, deferred_interrupt
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.adapters import AdapterOptions, take_adapter, trained_adapter
from sycophancy_core.training.batching import Batch, EncodedRow, digest_rows, encode_rows, make_batch, plan_batches
from sycophancy_core.training.checkpoint import LogRow, load_checkpoint, save_checkpoint
from sycophancy_core.training.compiled_blocks import compiled_blocks, plain_blocks
from sycophancy_core.training.curve import CurveOptions, CurveRecorder
from sycophancy_core.training.options import FinetuneOptions, Precision
from sycophancy_core.training.result import FinetuneResult, log_table


def finetune(
    model: LanguageModel,
    rows: pa.Table,
    *,
    options: FinetuneOptions | None = None,
    curve: CurveOptions | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
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
        If the model is an encoder-decoder, its weights are not in float32, the launcher shares the weights out over
        processes (FSDP, DeepSpeed, Megatron), the processes do not know of each other, or an adapter is to sit on
        blocks with matrices outside linear layers (GPT-2's).
    KeyboardInterrupt
        On Ctrl-C in any process, after the checkpoint of the last whole step is written. After this or any other
        exception a model that was to get an adapter is as it was; without one its weights have changed: load it anew.
    """
    options = options or FinetuneOptions()
    require_trainable(model)
    limit = options.max_tokens or int(getattr(model.model.config, "max_position_embeddings", 1 << 30))
    encoded = encode_rows(rows, model.encoder, max_tokens=limit)
    plan = plan_batches(_lengths(encoded), num_batches=options.steps, batch_size=options.batch_size, seed=options.seed)
    checkpoint = Path(run) / "finetune.checkpoint.safetensors" if run is not None else None
    identity = ""
    if checkpoint is not None:
        inputs = {"options": asdict(options), "rows": digest_table(rows), "tokens": digest_rows(encoded)}
        inputs["model"] = model.digest
        identity = digest_json(inputs if curve is None else {**inputs, "curve": curve.identity()})
    recorder = None if curve is None else CurveRecorder(model, curve)
    shape = None if options.lora_rank is None else AdapterOptions(rank=options.lora_rank, alpha=options.lora_alpha)
    if shape is None:
        select_trainable(model.model, embeddings=options.train_embeddings)
    with nullcontext() if shape is None else trained_adapter(model.model, shape, seed=options.seed):
        log = train_batches(
            model.model,
            encoded,
            plan,
            options=options,
            curve=recorder,
            checkpoint=checkpoint,
            identity=identity,
            progress=progress,
        )
        adapter = None if shape is None else take_adapter(model.model, shape, base=model.name)
    measured = None if recorder is None else recorder.table()
    return FinetuneResult(
        model=model, log=log_table(log), options=options, adapter=adapter, curve=measured, checkpoint=checkpoint
    )


def require_trainable(model: LanguageModel) -> None:
    """Refuse a model that cannot be trained.

    A step is smaller than the distance between neighbouring numbers in half precision: the optimizer would round most
    of it away, and so would a merge the adapter's sum.

    Raises
    ------
    ModelError
        If it is an encoder-decoder, or its weights are not in float32.
    """
    import torch

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

    accelerator = _join_processes(module, options)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)
    loss_module = AnswerLoss(module, bfloat16=uses_bfloat16(options.precision, accelerator.device))
    wrapped = accelerator.prepare_model(loss_module)
    log: list[LogRow] = []
    if checkpoint is not None and checkpoint.exists():
        log = load_checkpoint(checkpoint, module, optimizer, identity=identity, curve=curve)
    # Where no step is left, the main process soon removes the checkpoint: not before all have looked for it.
    accelerator.reduce(torch.zeros((), device=accelerator.device))
    module.train()
    try:
        with deferred_interrupt() as interrupt, compiled_blocks(module, enabled=options.compile_blocks):
            if not log:
                _measure(curve, 0, len(plan), options)
            for step in range(len(log), len(plan)):
                if curve is not None and curve.is_over:
                    break
                rows = [encoded[index] for index in plan[step]]
                log.append(_logged_step(accelerator, wrapped, optimizer, rows, trainable, options, step))
                _measure(curve, step + 1, len(plan), options)
                if progress is not None and accelerator.is_main_process:
                    progress(step + 1, len(plan))
                _share_interrupt(accelerator, interrupt)
                is_last = step + 1 == len(plan) or (curve is not None and curve.is_over)
                due = options.checkpoint_steps and (step + 1) % options.checkpoint_steps == 0
                if checkpoint is not None and (is_last or due or interrupt.raised) and accelerator.is_main_process:
                    save_checkpoint(checkpoint, module, optimizer, identity=identity, log=log, curve=curve)
                _stop_if(interrupt, step + 1, checkpoint, in_place=options.lora_rank is None)
        if curve is not None:
            curve.keep_best()
    finally:
        module.eval()
        module.requires_grad_(False)
    return log


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


def _logged_step(
    accelerator: Any,
    wrapped: Any,
    optimizer: Any,
    rows: list[EncodedRow],
    trainable: list[Any],
    options: FinetuneOptions,
    step: int,
) -> LogRow:
    import torch

    start = time.monotonic()
    _set_rate(optimizer, step, options)
    torch.manual_seed(options.seed * 1_000_003 + step)
    loss, tokens = _step(accelerator, wrapped, optimizer, rows, trainable, options)
    rate, seconds = optimizer.param_groups[0]["lr"], round(time.monotonic() - start, 4)
    return {"step": step + 1, "loss": loss, "learning_rate": rate, "tokens": tokens, "seconds": seconds}


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


def _stop_if(interrupt: InterruptFlag, step: int, checkpoint: Path | None, *, in_place: bool) -> None:
    if interrupt.raised:
        anew = " on the model loaded anew" if in_place else ""
        goes_on = f"kept in {checkpoint}; the same call{anew} goes on from there"
        raise KeyboardInterrupt(
            f"fine-tuning stopped after step {step}; {goes_on if checkpoint else 'not kept: no run folder'}"
        )


def _lengths(encoded: Sequence[EncodedRow]) -> Any:
    return np.array([len(row.ids) for row in encoded], np.int64)
