"""A model's files, looked at before anything is made of them: what they name, and whether their numbers can be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.foreign import translated
from sycophancy_core.scoring.checkpoints.safetensors_map import tensor_places

Shapes = dict[str, tuple[int, ...]]

INDEX = "model.safetensors.index.json"
_PLAIN_NAME = re.compile(r"[\w.-]+\.safetensors")
_MAX_JSON_BYTES = 1 << 28
# A config counts its layers and experts under such names; each is made one by one.
_COUNTED = re.compile(r"(.*_)?(n|num)_(.*_)?(layers?|blocks?|experts)|.*(encoder|decoder)_layers|n_layers?|depth")
# Number types of weights as safetensors names them, and torch; others hold whole numbers, or parts of quantized ones.
FRACTIONS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_FEW = 1024  # which are made in a moment
_MOST_WEIGHTS_A_BYTE = 4  # of a quantized file
_MANY = 1 << 26  # numbers that any computer has room for


class WeightFiles(NamedTuple):
    """What the files of a model's weights hold.

    Attributes
    ----------
    num_bytes
        How many bytes they have.
    dtype
        The number type of every weight with a fraction, in torch's words, or None where they have several.
    """

    num_bytes: int
    dtype: str | None


def check_model_files(source: Path | str) -> WeightFiles:
    """Refuse a checkpoint, a folder or a hub id, that names code or pickles, is damaged, or counts more than it holds.

    Raises
    ------
    ModelError
        Naming the file and what is wrong with it.
    """
    what = f"load_model: {source}"
    here = "" if isinstance(source, Path) else f"there is no folder {source} here, and as a model of the hub "
    with translated(f"load_model: {here}{source} cannot be read"):
        path = _fetched_first(source)
        if path is None and isinstance(source, str) and fetched(source, "adapter_config.json") is not None:
            raise ModelError(f"{what} is an adapter; download it, and give its folder as adapter=")
        config = {} if path is None else read_json_object(path)
        _refuse_named_code(what, config)
        shapes: Shapes = {}
        kinds: set[str] = set()
        num_bytes = 0
        for name in weight_files(what, source, config):
            file = fetched(source, name)
            if file is None:
                raise ModelError(f"{what} lacks {name}; fetch the whole model again")
            tensors = tensor_places(file)
            shapes |= {tensor: place.shape for tensor, place in tensors.items()}
            kinds |= {place.kind for place in tensors.values() if place.kind in FRACTIONS}
            num_bytes += file.stat().st_size
        if shapes:
            _check_counts(what, config, shapes)
    return WeightFiles(num_bytes, FRACTIONS[kinds.pop()] if len(kinds) == 1 else None)


def _fetched_first(source: Path | str) -> Path | None:
    """Return the path of a model's config; a hub that cannot be reached is an error here, and not once a file."""
    if isinstance(source, Path):
        return fetched(source, "config.json")
    from transformers.utils import cached_file

    found = cached_file(source, "config.json")
    return None if found is None else Path(found)


def fetched(source: Path | str, name: str) -> Path | None:
    """Return the path of a model's file, from the hub into its cache if need be; None where there is none."""
    if isinstance(source, Path):
        return source / name if (source / name).is_file() else None
    from transformers.utils import cached_file

    found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of another's making.

    Raises
    ------
    ModelError
        If it is none.
    """
    with translated(f"{path} is no JSON"):
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ModelError(f"{path}: wanted at most {_MAX_JSON_BYTES} bytes of JSON")
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ModelError(f"{path}: wanted a JSON object, got a {type(found).__name__}")
    return found


def safetensors_shapes(path: Path) -> Shapes:
    """Read the names and shapes of a safetensors file; raises as :func:`tensor_places`."""
    return {name: place.shape for name, place in tensor_places(path).items()}


def check_size(source: Path | str, config: Any, kind: Any, num_bytes: int) -> None:
    """Refuse a config whose model is far larger than the files of its weights, before memory is taken for it.

    Parameters
    ----------
    config
        transformers' config.
    kind
        transformers' class that makes a model of it.
    num_bytes
        Of the weights' files.
    """
    import torch

    try:
        with torch.device("meta"):  # which gives every tensor a shape and no memory
            model = kind.from_config(config)
    except Exception:
        return  # from_pretrained says why
    most = _MOST_WEIGHTS_A_BYTE * num_bytes + _MANY
    wanted = max(sum(tensor.numel() for tensor in tensors) for tensors in (model.parameters(), model.buffers()))
    if wanted > most:
        raise ModelError(
            f"load_model: the config of {source} describes a model of {wanted} numbers, but its files hold "
            f"{num_bytes} bytes; one of its sizes is wrong"
        )


def _refuse_named_code(what: str, config: dict[str, Any]) -> None:
    for key, value in _entries(config):
        named = value if isinstance(value, str) else ""
        if key.strip("_").startswith(("attn_implementation", "experts_implementation")) and re.search(r"[/:@]", named):
            raise ModelError(
                f"{what}: config.json names code of the hub ({key}={named[:80]!r}), which is never run; remove it"
            )
        if key == "transformers_weights" and not _PLAIN_NAME.fullmatch(named):
            raise ModelError(f"{what}: config.json names {str(value)[:80]!r} as its weights; wanted safetensors")


def weight_files(what: str, source: Path | str, config: dict[str, Any]) -> list[str]:
    """Name the files that hold the weights; each a plain safetensors file of the same folder."""
    if config.get("transformers_weights"):
        return [str(config["transformers_weights"])]
    if fetched(source, "model.safetensors") is not None:
        return ["model.safetensors"]
    index = fetched(source, INDEX)
    if index is None:
        return []
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelError(f"{what}: {INDEX} has no weight_map; fetch it again")
    for tensor, name in names.items():
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise ModelError(
                f"{what}: {INDEX} names {str(name)[:80]!r} as the file of {tensor!r}; only safetensors files in the "
                "same folder are read, never pickles"
            )
    return sorted(set(names.values()))


def _check_counts(what: str, config: dict[str, Any], shapes: Shapes) -> None:
    """Refuse counts of layers and experts that no weight stands for."""
    most = max(_FEW, len(shapes), *(max(shape, default=1) for shape in shapes.values()))
    for key, value in _entries(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if _COUNTED.fullmatch(key) and not 0 <= value <= most:
            raise ModelError(f"{what}: config.json says {key}={value}, but its files hold {len(shapes)} tensors")
        if math.isfinite(value) and abs(value) >= 1 << 63:
            raise ModelError(f"{what}: config.json says {key}={value}, which no model has")


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key of a config with its value, those of configs within it too."""
    for key, value in config.items() if isinstance(config, dict) else ():
        yield str(key), value
        yield from ((str(key), one) for one in value.values()) if isinstance(value, dict) else ()
        yield from _entries(value)
