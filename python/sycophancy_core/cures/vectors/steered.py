"""The cure by an added vector: made, chosen, saved and loaded; and its nulls."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from sycophancy_core.cures.cured import Cost, Cured, base_of
from sycophancy_core.cures.methods import Method, Steered, check_null, title_of
from sycophancy_core.cures.saved import SavedCure
from sycophancy_core.cures.vectors.steered_module import block_names, steered_model
from sycophancy_core.cures.vectors.steering import Array, Differences, choose, differences
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.prompts.splits import sample_rows
from sycophancy_core.runs.formats.tensor_files import check_tensors, save_tensors
from sycophancy_core.runs.progress import Progress, shown_progress
from sycophancy_core.scoring.language_model import LanguageModel

_VECTOR = "steering.safetensors"
_NUM_LAYERS = 6


def steered(
    model: LanguageModel,
    method: Steered,
    facts: pa.Table,
    validation: pa.Table | None,
    *,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Cured:
    """Make the vector from facts, choose layer and strength on other facts, and add it."""
    started = time.perf_counter()
    count = len(block_names(model.model))
    layers = middle_layers(count) if method.layers is None else method.layers
    if max(layers) >= count:
        raise ModelError(
            f"Steered: model {model.name} has {count} blocks, counted from 0, got layer {max(layers)}; take a layer "
            f"below {count}"
        )
    with shown_progress(progress, "steering vector", "prompts") as show:
        found = differences(model, sample_rows(facts, method.num_facts, seed=seed), seed=seed, progress=show)
    num_tokens, tried = found.num_tokens, []
    if len(layers) == len(method.strengths) == 1:
        taken = (layers[0], method.strengths[0])
    else:
        if validation is None:
            raise DataError(
                "mitigate: to choose among layers and strengths takes facts of further families; give validation=, or "
                "options with one layer and one strength"
            )
        validation = sample_rows(validation, method.num_validation, seed=seed)
        with shown_progress(progress, "layer and strength", "candidates") as show:
            chosen = choose(model, found, validation, method, layers=layers, seed=seed, progress=show)
        taken = (chosen.taken.layer, chosen.taken.strength)
        tried = [one._asdict() for one in chosen.tried]
        num_tokens += chosen.num_tokens
    method = replace(method, layers=taken[:1], strengths=taken[1:])
    made = _made(model, method, found, null=None, seed=seed)
    cost = Cost(tokens=num_tokens, seconds=time.perf_counter() - started)
    return replace(made, cost=cost, about={**made.about, "tried": tried})


def middle_layers(count: int) -> tuple[int, ...]:
    """Return at most six layers of a model, evenly between a quarter and three quarters of its depth."""
    return tuple(sorted({round(place) for place in np.linspace((count - 1) / 4, 3 * (count - 1) / 4, _NUM_LAYERS)}))


def _made(model: LanguageModel, method: Steered, found: Differences, *, null: str | None, seed: int) -> Cured:
    """Add the vector, or one of its nulls, where the method says one layer and one strength."""
    check_null(method, null)
    layer, strength = (method.layers or (0,))[0], method.strengths[0]
    vector = np.float32(strength) * found.vector(layer, null=null, seed=seed)
    made = with_vector(model, method, layer, vector, null=null, seed=seed)
    about = {"num_facts": len(found.values), "strength": strength}
    return replace(
        made,
        cost=Cost(tokens=found.num_tokens),
        about={**made.about, **about},
        _make_null=None if null else lambda kind, seed: _made(model, method, found, null=kind, seed=seed),
    )


def with_vector(
    model: LanguageModel, method: Method, layer: int, vector: Array, *, null: str | None, seed: int
) -> Cured:
    """Return the cure that a vector is."""
    steered_one = steered_model(model, layer, vector, name=f"{model.name} + {title_of(method, null)}")

    def write(folder: Path) -> None:
        import torch

        save_tensors(folder / _VECTOR, {"vector": torch.from_numpy(vector)}, metadata={"layer": str(layer)})

    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=steered_one,
        base=base_of(model),
        cost=Cost(),
        about={"layer": layer, "length": float(np.linalg.norm(vector)), "engine": steered_one.engine},
        _write=write,
    )


def load_steered(model: LanguageModel, saved: SavedCure) -> Cured:
    """Read the vector of a saved cure, and add it to a model again.

    Raises
    ------
    DataError
        If the file of the vector is damaged, or holds something else.
    """
    from safetensors.numpy import load_file

    path = saved.folder / _VECTOR
    if not path.is_file():
        raise DataError(f"{path}: wanted the vector of a saved cure, got no such file; save the cure again")
    layer, tensors = check_tensors(path).get("layer", ""), load_file(str(path))
    if not layer.isdecimal() or "vector" not in tensors:
        raise DataError(f"{path}: wanted a vector and its layer, got {', '.join(tensors) or 'nothing'}")
    vector = tensors["vector"].astype(np.float32)
    return with_vector(model, saved.method, int(layer), vector, null=saved.null, seed=saved.seed)
