"""One function for all methods: a model and a record of options in, a model with that cure out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from sycophancy_core.cures.cured import Cured
from sycophancy_core.cures.methods import NULLS, Method, Prompted, Steered, Trained, method_name
from sycophancy_core.cures.saved import SavedCure, read_cure
from sycophancy_core.cures.texts.prompting import prompted
from sycophancy_core.cures.trainings.trained import load_trained, trained
from sycophancy_core.cures.vectors.steered import load_steered, steered
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import FACTS, checked_table
from sycophancy_core.runs.progress import Progress
from sycophancy_core.scoring.language_model import LanguageModel


@checked_arguments
def mitigate(
    model: LanguageModel,
    method: Method,
    *,
    facts: pa.Table | None = None,
    validation: pa.Table | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Cured:
    """Make a model with a cure; the model that is given stays as it is.

    Parameters
    ----------
    method
        The options of one method: :class:`Prompted`, :class:`Steered`, :class:`Synthetic`, :class:`Consistent`,
        :class:`Activations` or :class:`Preference`.
    facts
        Facts of ``load_facts`` that the cure is made from; :class:`Prompted` needs none.
    validation
        Facts of other families, on which layer and strength of :class:`Steered` are chosen. Test on a third set of
        families.
    seed
        Of all draws.
    progress
        A callback of done and total; by default a bar in a terminal or a notebook; False for none.

    Raises
    ------
    DataError
        If the method needs facts and gets none, a family is in both tables, or every layer and
        strength loses too much without a user.
    ModelError
        If the model is on a server or reads an instruction already, or the method does not fit it.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> facts = sc.load_facts("plurals").slice(0, 4)
    >>> cured = sc.mitigate(model, sc.Steered(layers=(1,), strengths=(1.0,)), facts=facts, progress=False)
    >>> found = sc.evaluate(cured.model, tasks="facts", limit=4, progress=False)
    >>> cured.make_null("random", seed=1).name
    'steered, null random'
    """
    require_uncured("mitigate", model)
    if type(method) not in NULLS:
        raise DataError(f"mitigate: wanted the options of a method, got {type(method).__name__}")
    if isinstance(method, Prompted):
        return prompted(model, method, seed=seed)
    if facts is None:
        raise DataError(f"mitigate: {method_name(method)} is made from facts, got none; give facts=load_facts(...)")
    facts = checked_table(facts, FACTS, who="mitigate (facts)")
    if validation is not None:
        validation = checked_table(validation, FACTS, who="mitigate (validation)")
        require_other_families(facts, validation, who="mitigate: facts and validation")
    if isinstance(method, Steered):
        return steered(model, method, facts, validation, seed=seed, progress=progress)
    assert isinstance(method, Trained)
    return trained(model, method, facts, seed=seed, progress=progress)


def require_uncured(who: str, model: LanguageModel) -> None:
    """Refuse a model that no cure can be put on.

    Raises
    ------
    ModelError
        If it is on a server, or reads an instruction already.
    """
    if type(model) is not LanguageModel:
        raise ModelError(
            f"{who}: wanted a local model without another cure's instruction, got a {type(model).__name__}; load "
            "the model once more"
        )


def require_other_families(first: pa.Table, second: pa.Table, *, who: str) -> None:
    """Refuse two tables of facts that share a family.

    Raises
    ------
    DataError
        Naming the families.
    """
    shared = sorted({*first["family"].to_pylist()} & {*second["family"].to_pylist()})
    if shared:
        raise DataError(f"{who} must be of different families, got {', '.join(shared)} in both; leave it out of one")


@checked_arguments
def load_cure(folder: str | Path, model: LanguageModel) -> Cured:
    """Read what :meth:`Cured.save` wrote, and put the cure on a model again.

    Parameters
    ----------
    model
        The model that the cure was made for, as ``load_model`` gives it.

    Raises
    ------
    DataError
        If the folder holds no whole cure, a file of it was changed, or the model has other weights or would read
        another text.
    ModelError
        If the model is on a server or reads an instruction already.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> _ = sc.mitigate(model, sc.Prompted()).save("cure")
    >>> sc.load_cure("cure", model).name
    'prompted'
    """
    require_uncured("load_cure", model)
    saved = read_cure(Path(folder))
    if saved.base["weights"] != model.digest:
        raise DataError(
            f"{folder}: the cure was made for the weights of {saved.base['name']}, got a model with others "
            f"({model.name}); load that model"
        )
    if isinstance(saved.method, Prompted):
        made = prompted(model, saved.method, null=saved.null, seed=saved.seed)
        _require_same_text(folder, saved, made)
    elif isinstance(saved.method, Trained):
        made = load_trained(model, saved)
    else:
        made = load_steered(model, saved)
    return replace(made, cost=saved.cost, about=saved.about, _make_null=None)


def _require_same_text(folder: str | Path, saved: SavedCure, made: Cured) -> None:
    """Refuse a prompt that is made again in other words: by another tokenizer, or another version's packaged text."""
    then, now = saved.about.get("text"), made.about["text"]
    if then != now:
        raise DataError(
            f"{folder}: the cure's text was {then!r}, and with this model it is {now!r}; load the model and tokenizer "
            "that it was made for, or make the cure once more"
        )
