"""GGUF files, converted once through transformers; what changes the model's forward is honoured or refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import clear_scratch, saving, scratch_folder
from sycophancy_core.runs.outputs import require_room
from sycophancy_core.scoring.checkpoints.foreign import transformers_needed, translated
from sycophancy_core.scoring.checkpoints.gguf_fields import check_tensors, honour
from sycophancy_core.scoring.checkpoints.gguf_header import GgufHeader, read_header

_CONVERSION = 2  # counts the ways in which files were converted: another one is another model
_FLOAT32 = 0
_HALVES = {1: "float16", 30: "bfloat16"}  # by GGUF's numbers; norms are float32 next to them


def converted_gguf(file: Path, *, name: str, folder: Path) -> Path:
    """Convert a GGUF file once, through transformers, into a safetensors folder below ``folder``.

    Its weights are float32. But where the file's matrices are float16 or bfloat16, and this type holds every number of
    the file, they are of that type.

    Returns
    -------
    Path
        Its folder, named by the file's content; it is either absent or complete, since it gets its final name last.

    Raises
    ------
    ModelError
        If the file is damaged, or says of its model what transformers does not read.
    """
    clear_scratch(folder)
    content = digest_file(file)
    places = {half: folder / f"{name}-{_key(content, half)}" for half in (None, *_HALVES.values())}
    for place in places.values():  # of which the file's content allows one: its header need not be read
        if place.is_dir():
            return place
    header = read_header(file)
    final = places[_half_of(header)]
    require_room(folder, 8 * file.stat().st_size, f"the converted weights of {file.name}")
    with scratch_folder(folder, name) as scratch:
        with saving(final):
            _convert(file, header, scratch)
        _move_into_place(scratch / "made", final)
    return final


def _key(content: str, half: str | None) -> str:
    made_as = f"{_CONVERSION}:{content}" + (f":{half}" if half else "")
    return hashlib.sha256(made_as.encode()).hexdigest()[:20]


def _half_of(header: GgufHeader) -> str | None:
    """Name the type of 16 bits that all matrices of a file have; None where they have another, or several."""
    kinds = header.kinds - {_FLOAT32}
    return _HALVES.get(next(iter(kinds))) if len(kinds) == 1 else None


def _in_its_type(model: Any, half: str | None) -> Any:
    """Return the model in a type of 16 bits, if that changes none of its numbers."""
    import torch

    if half is None or any((p.to(getattr(torch, half)).float() != p).any() for p in model.parameters()):
        return model
    return model.to(getattr(torch, half))


def _convert(file: Path, header: GgufHeader, scratch: Path) -> None:
    """Convert a file where nothing lies next to it that a reader would take for a part of it."""
    with transformers_needed(f"the first reading of {file.name}"):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from sycophancy_core.scoring.sources import check_loaded, quiet_transformers

    alone, made = scratch / "alone", scratch / "made"
    alone.mkdir()
    (alone / "model.gguf").symlink_to(file.resolve())
    options = {"gguf_file": "model.gguf", "local_files_only": True, "trust_remote_code": False}
    with quiet_transformers(), translated(f"load_model: {file} cannot be converted by transformers"):
        config = AutoConfig.from_pretrained(alone, **options)
        honour(header, config, what=f"load_model: {file}")
        read, loaded = AutoModelForCausalLM.from_pretrained(
            alone, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(alone, **options)
        # A model read from GGUF carries its quantization in the config, and could not be saved with it.
        if hasattr(read.config, "quantization_config"):
            del read.config.quantization_config
        check_tensors(header, read, what=f"load_model: {file}")
        model = type(read)(read.config)
        model.load_state_dict(read.state_dict())
        _in_its_type(model, _half_of(header)).save_pretrained(made)
        tokenizer.save_pretrained(made)
    check_loaded(file, loaded)  # here, since the context would swallow its warning


def _move_into_place(made: Path, folder: Path) -> None:
    """Give a converted model its final name, once it is on the disk."""
    for file in made.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process has converted the same file meanwhile
            raise
