"""The cures by training: one of three ways to teach, the same record of what was made, and its files."""

from __future__ import annotations

import time

import pyarrow as pa

from sycophancy_core.cures.cured import Cost, Cured, base_of
from sycophancy_core.cures.methods import Activations, Method, Mixed, Preference, Trained, check_null, title_of
from sycophancy_core.cures.saved import SavedCure
from sycophancy_core.cures.trainings.activations import taught_activations
from sycophancy_core.cures.trainings.asked import Asked, ask_alone
from sycophancy_core.cures.trainings.mixed import taught_rows
from sycophancy_core.cures.trainings.preferences import require_trl, taught_preferences
from sycophancy_core.cures.trainings.taught import Taught, with_adapter
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.training.finetune import require_trainable

FOLDER = "training"  # of the adapter in a saved cure


def trained(
    model: LanguageModel,
    method: Trained,
    facts: pa.Table,
    *,
    null: str | None = None,
    seed: int = 0,
    asked: Asked | None = None,
    progress: Progress | bool | None = None,
) -> Cured:
    """Train an adapter on a copy of the model; the model that is given stays as it is.

    Parameters
    ----------
    asked
        What the model answered alone, where that is known: a cure's nulls of the same seed are made from it too.
    """
    check_null(method, null)
    require_trainable(model, has_adapter=True)
    if isinstance(method, Preference):
        require_trl()
    started = time.perf_counter()
    asked = asked or ask_alone(model, method, facts, seed=seed)
    found = _taught(model, method, asked, null, seed, progress)
    found.model.name = _name_of(model, method, null)

    def make_null(kind: str, at: int) -> Cured:
        same = asked if at == seed else None
        return trained(model, method, facts, null=kind, seed=at, asked=same, progress=progress)

    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=found.model,
        base=base_of(model),
        cost=Cost(tokens=asked.num_tokens + found.num_tokens, seconds=time.perf_counter() - started),
        about={**found.about, "first_loss": found.losses[0], "last_loss": found.losses[-1]},
        _write=lambda folder: found.save(folder / FOLDER),
        _make_null=None if null else make_null,
    )


def _taught(
    model: LanguageModel,
    method: Trained,
    asked: Asked,
    null: str | None,
    seed: int,
    progress: Progress | bool | None,
) -> Taught:
    if isinstance(method, Activations):
        return taught_activations(model, method, asked, null, seed, progress)
    if isinstance(method, Preference):
        return taught_preferences(model, method, asked, null, seed, progress)
    assert isinstance(method, Mixed)
    return taught_rows(model, method, asked, null, seed, progress)


def load_trained(model: LanguageModel, saved: SavedCure) -> Cured:
    """Read the adapter of a saved cure, and put it on a copy of a model."""
    tuned = with_adapter(model, saved.folder / FOLDER)
    tuned.name = _name_of(model, saved.method, saved.null)
    return Cured(method=saved.method, null=saved.null, seed=saved.seed, model=tuned, base=saved.base, cost=saved.cost)


def _name_of(model: LanguageModel, method: Method, null: str | None) -> str:
    return f"{model.name} + {title_of(method, null)}"
