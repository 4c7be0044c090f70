"""GGUF files, converted once into safetensors folders; what changes the model's forward is honoured or refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sycophancy_core.runs.digests import digest_file
from sycophancy_core.runs.files import clear_scratch, saving, scratch_folder
from sycophancy_core.runs.outputs import require_room
from sycophancy_core.scoring.checkpoints.foreign import transformers_needed, translated
from sycophancy_core.scoring.gguf.by_transformers import convert_by_transformers
from sycophancy_core.scoring.gguf.families import Family, known_family, stated_config, wanted_weights
from sycophancy_core.scoring.gguf.fields import check_counts, check_tensors, honour
from sycophancy_core.scoring.gguf.header import GgufHeader, read_header
from sycophancy_core.scoring.gguf.tokenizer_files import write_tokenizer
from sycophancy_core.scoring.gguf.weights import write_weights

_CONVERSION = 4  # counts the ways in which files were converted: another one is another model
_FLOAT32 = 0
_HALVES = {1: "float16", 30: "bfloat16"}  # by GGUF's numbers; norms are float32 next to them
# What transformers has for every model, and does not save where it says nothing.
_OF_EVERY_MODEL = (
    *("transformers_version", "output_hidden_states", "return_dict", "chunk_size_feed_forward"),
    *("is_encoder_decoder", "id2label", "label2id", "problem_type"),
)


def converted_gguf(file: Path, *, name: str, folder: Path) -> Path:
    """Convert a GGUF file once into a safetensors folder below ``folder``.

    Families and tokenizers that are not known here are converted by transformers; the weights are the same either way.

    Its weights are float32. But where the file's matrices are float16 or bfloat16, and this type holds every number of
    the file, they are of that type.

    Returns
    -------
    Path
        Its folder, named by the file's content; it is either absent or complete, since it gets its final name last.

    Raises
    ------
    ModelError
        If the file is damaged, or says of its model what is not read.
    """
    clear_scratch(folder)
    content = digest_file(file)
    places = {half: folder / f"{name}-{_key(content, half)}" for half in (None, *_HALVES.values())}
    for place in places.values():  # of which the file's content allows one: its header need not be read
        if place.is_dir():
            return place
    header = read_header(file)
    check_counts(header, what=f"load_model: {file}")
    half = _half_of(header)
    final = places[half]
    require_room(folder, 8 * file.stat().st_size, f"the converted weights of {file.name}")
    with scratch_folder(folder, name) as scratch:
        with saving(final):
            family = known_family(header)
            config = None if family is None else stated_config(header, family)
            if family is None or config is None:
                convert_by_transformers(file, header, scratch, half)
            else:
                (scratch / "made").mkdir()
                _convert(file, header, family, SimpleNamespace(**config), scratch / "made", half)
        _move_into_place(scratch / "made", final)
    return final


def _key(content: str, half: str | None) -> str:
    made_as = f"{_CONVERSION}:{content}" + (f":{half}" if half else "")
    return hashlib.sha256(made_as.encode()).hexdigest()[:20]


def _half_of(header: GgufHeader) -> str | None:
    """Name the type of 16 bits that all matrices of a file have; None where they have another, or several."""
    kinds = header.kinds - {_FLOAT32}
    return _HALVES.get(next(iter(kinds))) if len(kinds) == 1 else None


def _convert(file: Path, header: GgufHeader, family: Family, config: Any, made: Path, half: str | None) -> None:
    from sycophancy_core.scoring.sources import check_loaded

    what = f"load_model: {file}"
    with translated(f"{what} cannot be converted"), transformers_needed(f"the first reading of {file.name}"):
        honour(header, config, what=what)
        weights = wanted_weights(family, config)
        check_tensors(
            header, sum(weight.size for weight in weights.values()), what=what, is_tied=config.tie_word_embeddings
        )
        other = [name for name, weight in weights.items() if not weight.is_in(header)]
        check_loaded(file, {"missing_keys": other, "mismatched_keys": (), "unexpected_keys": ()})
        dtype = write_weights(made / "model.safetensors", file, header, weights, half) or "float32"
        _write_json(made / "config.json", _saved(config, family, dtype))
        ends = ("bos_token_id", "eos_token_id", "pad_token_id")
        found = {key: getattr(config, key) for key in ends if getattr(config, key, None) is not None}
        _write_json(made / "generation_config.json", {"_from_model_config": True, **found})
        write_tokenizer(made, header, family)


def _saved(config: Any, family: Family, dtype: str) -> dict[str, Any]:
    kept = {key: value for key, value in vars(config).items() if key not in _OF_EVERY_MODEL}
    return {**kept, "architectures": [family.architecture], "dtype": dtype}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


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
