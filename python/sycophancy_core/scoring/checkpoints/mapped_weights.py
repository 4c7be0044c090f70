"""The weights of a model folder as mapped arrays, where they are named and typed as transformers' module has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from sycophancy_core.scoring.checkpoints.model_files import (
    FRACTIONS,
    INDEX,
    read_json_object,
    weight_files,
)
from sycophancy_core.scoring.checkpoints.safetensors_map import map_tensors, tensor_places
from sycophancy_core.scoring.checkpoints.weight_names import are_expected

_COMPUTED = "rotary_emb.inv_freq"  # which old checkpoints hold and no module takes
_RENAMED = {"gpt_neox": {"embed_out.weight": "lm_head.weight"}}  # by transformers, when it saves and loads
_KEPT_HALVES = ("bfloat16", "float16")


class MappedWeights(NamedTuple):
    """The weights of a folder.

    Attributes
    ----------
    kind
        Their number type, in torch's words.
    tensors
        By their names; bfloat16 as its bits in uint16.
    """

    kind: str
    tensors: dict[str, NDArray[Any]]


def map_weights(folder: Path, config: dict[str, Any], dtype: str) -> MappedWeights | None:
    """Map the weights of a folder; None where transformers would change, rename or leave out any of them.

    Parameters
    ----------
    config
        The complete config.
    dtype
        As of ``load_model``: a number type that differs from the files' makes other numbers, which are not mapped.
    """
    files = weight_files(f"load_model: {folder}", folder, config)
    places = {file: tensor_places(folder / file) for file in files}
    homes = {name: file for file, found in places.items() for name in found}
    if not homes or len(homes) != sum(map(len, places.values())) or not _is_indexed(folder, files, homes):
        return None
    kinds = {place.kind for found in places.values() for name, place in found.items() if not name.endswith(_COMPUTED)}
    kind = FRACTIONS.get(kinds.pop()) if len(kinds) == 1 else None
    if kind is None or kind != _wanted(kind, dtype, is_encoder_decoder=config["is_encoder_decoder"]):
        return None
    renamed = _RENAMED.get(config["model_type"], {})
    names = {name: renamed.get(name, name) for name in homes if not name.endswith(_COMPUTED)}
    if len({*names.values()}) != len(names) or not are_expected(config, names.values()):
        return None
    parts = [map_tensors(folder / file, without=_COMPUTED) for file in files]
    return MappedWeights(kind, {names[name]: tensor for part in parts for name, tensor in part.items()})


def _wanted(kind: str, dtype: str, *, is_encoder_decoder: bool) -> str:
    """Return the number type that a model is loaded in; see ``sources.read_model``."""
    if dtype != "auto":
        return dtype
    return kind if kind in _KEPT_HALVES[: 1 if is_encoder_decoder else 2] else "float32"


def _is_indexed(folder: Path, files: list[str], homes: dict[str, str]) -> bool:
    """Tell whether an index, if there is one, names every tensor in its file and no other."""
    if files == ["model.safetensors"]:
        return True
    return read_json_object(folder / INDEX).get("weight_map") == homes
