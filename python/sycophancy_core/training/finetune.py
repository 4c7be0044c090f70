"""Fine-tuning on answers only: which weights learn, on which rows, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from sycophancy_core.errors import ModelError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import TRAINING_ROWS, checked_table
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.runs.progress import Progress, shown_progress
from sycophancy_core.scoring.checkpoints.peft_layers import base_shapes, is_float32, peft_layers, quantized_parameter
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.adapters.low_rank import Adapter, AdapterOptions, take_adapter, trained_adapter
from sycophancy_core.training.adapters.unmerged import PeftAdapter, needs_peft, unmerged_adapter
from sycophancy_core.training.batching import digest_rows, encode_for, plan_batches
from sycophancy_core.training.curve import CurveOptions, CurveRecorder
from sycophancy_core.training.loop.steps import train_batches
from sycophancy_core.training.loop.trackers import Trackers
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.result import FinetuneResult, log_table


@checked_arguments
def finetune(
    model: LanguageModel,
    rows: pa.Table,
    *,
    options: FinetuneOptions | None = None,
    curve: CurveOptions | None = None,
    run: str | Path | None = None,
    log_with: str | Sequence[str] | None = None,
    progress: Progress | bool | None = None,
) -> FinetuneResult:
    """Fine-tune a causal language model on training rows, in place.

    The loss is taken on each row's completion only; a model with ``chat_template=True`` learns it as the assistant's
    reply (see ``encode_rows``). On several processes (``accelerate launch``) each takes its share of every batch; only
    the main one saves and reports progress. With FSDP (``--use_fsdp --fsdp_version 2``) each also keeps its part only
    of weights, gradients and optimizer until the training is over: then all have the whole tuned model.

    Parameters
    ----------
    rows
        Training rows: ``id``, ``origin``, ``prompt``, ``completion`` and maybe ``turns``.
    curve
        What to measure on the way, and whether to stop early and keep the best step. It changes no step of the
        training: without it, the weights after each step are the same, to the bit.
    run
        Folder for the checkpoint ``finetune.checkpoint.safetensors`` (with FSDP: ``finetune.checkpoint.parts``), which
        all processes see; a call with the same arguments goes on from it. It stays until :meth:`FinetuneResult.save`
        has written the result.
    log_with
        Names of trackers, as Accelerate knows them (``"tensorboard"``, ``"wandb"``, ``"mlflow"``, ``"trackio"``): they
        get loss, rate and tokens a second of each step, and every metric of the curve with its interval. Those that
        write files write below ``run``.

    Raises
    ------
    DataError
        If a row has no supervised token or is too long, the folder's checkpoint belongs to another training, no task of
        the curve has its metric, there are more processes than rows in a batch, the adapter's rank is over a layer's
        width, or a tracker, or PEFT where it is needed, is not installed.
    ModelError
        If the model is an encoder-decoder, its own weights are to learn and are not in float32, it carries an adapter
        of PEFT's or PEFT cannot put this one on it, the launcher asks for DeepSpeed or Megatron, or for FSDP and
        ``lora_rank``, ``compile_blocks`` or a curve is given, the processes do not know of each other or have
        different models, or an adapter is to sit on blocks with matrices outside linear layers (GPT-2's); or if a loss,
        a gradient or a weight stops being finite.
    KeyboardInterrupt
        On Ctrl-C, SIGTERM or SIGHUP in any process, after the checkpoint of the last whole step is written. After this
        or any other exception a model that was to get an adapter is as it was; without one its weights have changed
        (not with FSDP): load it once more.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> rows = sc.mix(sc.training_prompts(sc.read_claims("claims.csv"), n=40), sc.load_instructions())
    >>> options = sc.FinetuneOptions(steps=1, batch_size=4, lora_rank=2)
    >>> sc.finetune(sc.load_model("my-model"), rows, options=options, progress=False).log.num_rows
    1
    """
    options = options or FinetuneOptions()
    require_trainable(model, has_adapter=options.lora_rank is not None)
    if run is not None:
        check_output_folder(run)
    rows = checked_table(rows, TRAINING_ROWS, who="training rows")
    encoded = encode_for(model, rows, max_tokens=options.max_tokens)
    plan = plan_batches(encoded, num_batches=options.steps, batch_size=options.batch_size, seed=options.seed)
    names = (log_with,) if isinstance(log_with, str) else tuple(log_with or ())
    trackers = Trackers(names, folder=run, config=asdict(options)) if names else None
    inputs = {"rows": digest_table(rows), "tokens": digest_rows(encoded), "model": model.digest}
    checkpoint = None if run is None else Path(run) / "finetune.checkpoint.safetensors"
    recorder = None if curve is None else CurveRecorder(model, curve)
    with adapted(model, options) as take, shown_progress(progress, "fine-tune", "steps") as show:
        log = train_batches(
            model.model,
            encoded,
            plan,
            options=options,
            curve=recorder,
            checkpoint=checkpoint,
            identity=_identity(inputs, options, curve),
            trackers=trackers,
            progress=show,
        )
        adapter = take()
    return FinetuneResult(
        model=model,
        log=log_table(log),
        options=options,
        adapter=adapter,
        curve=None if recorder is None else recorder.table(),
        checkpoint=checkpoint,
        inputs={"base": model.name, "num_rows": rows.num_rows, **inputs},
    )


def _identity(inputs: dict[str, str], options: FinetuneOptions, curve: CurveOptions | None) -> str:
    """Return the digest of all that decides a training: not how often it is kept."""
    deciding = {name: value for name, value in asdict(options).items() if name != "checkpoint_steps"}
    found = {"options": deciding, **inputs}
    return digest_json(found if curve is None else {**found, "curve": curve.identity()})


@contextmanager
def adapted(model: LanguageModel, options: FinetuneOptions) -> Iterator[Callable[[], Adapter | PeftAdapter | None]]:
    """Choose what learns: the weights, or an adapter on them; give what takes a copy of the adapter.

    On weights that are not float32 the adapter stays next to them, and the model is scored by its own forward from then
    on.
    """
    module, rank = model.model, options.lora_rank
    if rank is None:
        select_trainable(module, embeddings=options.train_embeddings)
        yield lambda: None
        return
    shapes = base_shapes(module)
    if not needs_peft(module, options):
        shape = AdapterOptions(rank=rank, alpha=options.lora_alpha)
        with trained_adapter(module, shape, seed=options.seed):
            yield lambda: take_adapter(module, shape, base=model.name, shapes=shapes)
        return
    with ExitStack() as on_error:
        with unmerged_adapter(module, options, base=model.name, shapes=shapes) as take:
            if not is_float32(module):
                on_error.callback(model.choose_engine("transformers"))
            yield take
        on_error.pop_all()


def require_trainable(model: LanguageModel, *, has_adapter: bool) -> None:
    """Refuse a model that cannot be trained.

    A step is smaller than the distance between neighbouring numbers in half precision: the optimizer would round most
    of it away. An adapter's own numbers are float32.

    Raises
    ------
    ModelError
        If it is an encoder-decoder, or carries an adapter of PEFT's; or, where its own weights learn, if they are not
        in float32.
    """
    for name, module in peft_layers(model.model):
        raise ModelError(
            f"finetune: {name or 'the model'} of model {model.name} is PEFT's {type(module).__name__}, which "
            "would not be saved as it is trained; merge the adapter first (merge_and_unload), and give the model "
            "that this returns"
        )
    if model.model.config.is_encoder_decoder:
        raise ModelError(
            f"finetune: model {model.name} is an encoder-decoder; wanted a decoder, which alone is trained"
        )
    if has_adapter:
        return
    if quantized := quantized_parameter(model.model):
        raise ModelError(
            f"finetune: {quantized} of model {model.name} is quantized, and only an adapter can be trained on it; set "
            "lora_rank"
        )
    for name, parameter in model.model.named_parameters():
        kind = str(parameter.dtype).removeprefix("torch.")
        if kind != "float32":
            raise ModelError(
                f"finetune: {name} of model {model.name} is in {kind}, wanted float32, since {kind} rounds small steps "
                "away; train an adapter (lora_rank), or load the model with dtype='float32'"
            )


def select_trainable(module: Any, *, embeddings: bool) -> None:
    """Let every parameter learn, or all but the token embeddings and the output head."""
    module.requires_grad_(True)
    if not embeddings:
        for part in (module.get_input_embeddings(), module.get_output_embeddings()):
            if part is not None:
                part.requires_grad_(False)
