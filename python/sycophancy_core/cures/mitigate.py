"""One function for all methods: a model and a record of options in, a model with that cure out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from sycophancy_core.cures.cured import FILE, Cost, Cured
from sycophancy_core.cures.instructed import count_tokens, instructed_model, instruction_text, text_of_length
from sycophancy_core.cures.methods import NULLS, Method, Prompted, method_name
from sycophancy_core.errors import DataError, require_seed
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.runs.seals import check_seal
from sycophancy_core.scoring.language_model import LanguageModel


def mitigate(model: LanguageModel, method: Method, *, seed: int = 0) -> Cured:
    """Make a model with a cure; the model that is given stays as it is.

    Parameters
    ----------
    method
        The options of one method: :class:`Prompted`.
    seed
        Of all draws.

    Raises
    ------
    DataError
        If the method does not fit what is given.
    ModelError
        If it does not fit the model.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> cured = sc.mitigate(sc.load_model("my-model"), sc.Prompted(instruction="own_knowledge"))
    >>> found = sc.evaluate(cured.model, tasks="facts", limit=4, progress=False)
    >>> cured.cost.tokens
    0
    """
    require_seed("mitigate", seed)
    if type(method) not in NULLS:
        raise DataError(f"mitigate: wanted the options of a method, got {type(method).__name__}")
    return prompted(model, method, seed=seed)


def prompted(model: LanguageModel, method: Prompted, *, null: str | None = None, seed: int = 0) -> Cured:
    """Put an instruction before every prompt, or a text of as many tokens that says nothing about it."""
    text = method.text or instruction_text(method.instruction)
    if null is not None:
        text = text_of_length(model.tokenizer, count_tokens(model.tokenizer, text))

    def make_null(kind: str, seed: int) -> Cured:
        return prompted(model, method, null=_checked(method, kind), seed=seed)

    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=instructed_model(model, text, place=method.place, name=_named(model, method, null)),
        base=base_of(model),
        cost=Cost(prompt_tokens=count_tokens(model.tokenizer, text)),
        about={"text": text},
        _make_null=make_null if null is None else None,
    )


def base_of(model: LanguageModel) -> dict[str, str]:
    """Return name and digest of the model that gets a cure."""
    return {"name": model.name, "weights": model.digest}


def _named(model: LanguageModel, method: Method, null: str | None) -> str:
    return f"{model.name} + {method_name(method)}{'' if null is None else f' (null {null})'}"


def _checked(method: Method, null: str) -> str:
    if null not in NULLS[type(method)]:
        there = ", ".join(NULLS[type(method)])
        raise DataError(f"make_null: {method_name(method)} has the nulls {there}, got {null!r}")
    return null


def load_cure(folder: str | Path, model: LanguageModel) -> Cured:
    """Read what :meth:`Cured.save` wrote, and put the cure on a model again.

    Parameters
    ----------
    model
        The model that the cure was made for, as ``load_model`` gives it.

    Raises
    ------
    DataError
        If the folder holds no whole cure, a file of it was changed, or the model has other weights.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> model = sc.load_model("my-model")
    >>> _ = sc.mitigate(model, sc.Prompted()).save("cure")
    >>> sc.load_cure("cure", model).name
    'prompted'
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise DataError(f"{folder}: wanted a folder with a saved cure, got no {FILE}")
    check_seal(folder)
    record = read_json(path)
    kinds: dict[str, type[Method]] = {kind.__name__.lower(): kind for kind in NULLS}
    if record["method"] not in kinds:
        raise DataError(f"{path}: method: wanted one of {', '.join(kinds)}, got {record['method']!r}")
    method = _options(kinds[record["method"]], record["options"])
    if record["base"]["weights"] != model.digest:
        raise DataError(
            f"{path}: the cure was made for the weights of {record['base']['name']}, got a model with others "
            f"({model.name}); load that model"
        )
    return prompted(model, method, null=record["null"], seed=record["seed"])


def _options(kind: Any, values: dict[str, Any]) -> Any:
    """Return the record of options that JSON holds; its lists are tuples."""
    names = [field.name for field in fields(kind)]
    return kind(**{name: tuple(one) if isinstance(one, list) else one for name, one in values.items() if name in names})
