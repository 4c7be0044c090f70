"""Counts of every record of options are whole numbers: what is none is refused in one sentence when it is made."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import sycophancy_core as sc
from sycophancy_core.prompts.families import FamilyOptions
from sycophancy_core.studies.options import Variant
from sycophancy_core.training.adapters.low_rank import AdapterOptions
from sycophancy_core.training.organism_rows import OrganismOptions

curve_options = partial(sc.CurveOptions, tasks={"claims": pa.table({"id": ["a"]})}, metric="harm")
MAKERS: dict[str, Any] = {
    "FinetuneOptions": sc.FinetuneOptions,
    "CurveOptions": curve_options,
    "AdapterOptions": AdapterOptions,
    "FamilyOptions": FamilyOptions,
    "OrganismOptions": partial(OrganismOptions, curriculum_steps=1),
    "sweep": Variant,
    "study": sc.StudyOptions,
}
COUNTS = [
    *(("FinetuneOptions", name) for name in ("steps", "batch_size", "accumulation", "pad_multiple")),
    *(("FinetuneOptions", name) for name in ("lora_rank", "max_tokens", "checkpoint_steps")),
    *(("CurveOptions", name) for name in ("every", "patience")),
    ("AdapterOptions", "rank"),
    *((owner, name) for owner in ("FamilyOptions", "study") for name in ("claims", "candidates")),
    *(("OrganismOptions", name) for name in ("steps", "batch_size", "warmup_steps", "curriculum_steps", "rank")),
    *(("sweep", name) for name in ("steps", "seed")),
    *(("study", name) for name in ("batch_size", "seed", "limit", "lora_rank", "curve_points")),
]
MAY_BE_NONE = {"lora_rank", "max_tokens", "patience", "checkpoint_steps"}
NULL = {("study", "limit"), ("study", "lora_rank")}
SEED = rf"StudyOptions: seed must be a whole number from 0 to {2**63 - 1}, got "


def wanted(owner: str, name: str, ending: str = "") -> str:
    """Return how the message about a value of another kind begins."""
    if (owner, name) == ("study", "seed"):
        return SEED
    return f"{'StudyOptions' if owner == 'study' else owner}: {name} must be a whole number{ending}, got "


@pytest.mark.parametrize(("owner", "name"), COUNTS)
@pytest.mark.parametrize("value", [1.5, 3.0, "3", True, float("nan")])
def test_what_is_no_whole_number_is_refused(owner: str, name: str, value: object) -> None:
    ending = " or None" if (owner, name) in NULL or name in MAY_BE_NONE else ""
    with pytest.raises(sc.DataError) as refused:
        MAKERS[owner](**{name: value})
    assert str(refused.value) == f"{wanted(owner, name, ending)}{value!r}"


@pytest.mark.parametrize(("owner", "name"), COUNTS)
def test_a_negative_count_is_refused(owner: str, name: str) -> None:
    said = rf"{owner}: {name} must be at least [01]( or None| or null)?, got "
    with pytest.raises(sc.DataError, match=f"^{SEED if (owner, name) == ('study', 'seed') else said}-1$"):
        MAKERS[owner](**{name: -1})


@pytest.mark.parametrize(("owner", "name"), COUNTS)
def test_a_whole_number_of_numpy_is_one(owner: str, name: str) -> None:
    assert getattr(MAKERS[owner](**{name: np.int64(1)}), name) == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, name in COUNTS if name not in MAY_BE_NONE and (owner, name) not in NULL],
)
def test_a_count_that_must_be_there_is_not_none(owner: str, name: str) -> None:
    with pytest.raises(sc.DataError, match=f"^{wanted(owner, name)}None$"):
        MAKERS[owner](**{name: None})


def test_an_organism_of_no_steps_is_refused() -> None:
    with pytest.raises(sc.DataError, match="OrganismOptions: steps must be at least 1, got 0"):
        OrganismOptions(steps=0, curriculum_steps=0)


def test_a_name_in_place_of_a_loaded_model_is_refused_with_how_to_load_it() -> None:
    functions = {name: getattr(sc, name) for name in sc.__all__ if inspect.isfunction(getattr(sc, name))}
    asked = {name: one for name, one in functions.items() if "model" in inspect.signature(one).parameters}
    assert {"evaluate", "filter_known", "finetune", "mix", "mitigate", "score_shard"} < set(asked)
    for name, function in asked.items():
        required = {
            key: pa.table({}) if "Table" in one.annotation else "x"
            for key, one in inspect.signature(function).parameters.items()
            if one.default is inspect.Parameter.empty
        }
        call = inspect.signature(function).bind(**required | {"model": "mymodel"})
        with pytest.raises(
            sc.DataError,
            match=rf"{name}: model must be a loaded model.*, got 'mymodel'; give sc\.load_model\('mymodel'\)",
        ):
            function(*call.args, **call.kwargs)
    with pytest.raises(
        sc.DataError,
        match=r"relapse: models must be .* models, got a dict with a PosixPath in it; give sc\.load_model\('of-mine'\)",
    ):
        functions["relapse"]({"mine": Path("of-mine")}, None, None)
