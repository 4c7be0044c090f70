"""The cure by prompt, and its null of equal length."""

from __future__ import annotations

from functools import partial

from sycophancy_core.cures.cured import Cost, Cured, base_of
from sycophancy_core.cures.methods import Prompted, check_null, title_of
from sycophancy_core.cures.texts.instructed import added_tokens, instructed_model, instruction_text, text_of_length
from sycophancy_core.scoring.language_model import LanguageModel


def prompted(model: LanguageModel, method: Prompted, *, null: str | None = None, seed: int = 0) -> Cured:
    """Put an instruction before every prompt, or a text of as many tokens that says nothing about it."""
    check_null(method, null)
    text = method.text or instruction_text(method.instruction)
    count = partial(added_tokens, model, place=method.place)
    num_tokens = count(text)
    if null is not None:
        text = text_of_length(count, num_tokens)
    name = f"{model.name} + {title_of(method, null)}"
    return Cured(
        method=method,
        null=null,
        seed=seed,
        model=instructed_model(model, text, place=method.place, name=name),
        base=base_of(model),
        cost=Cost(prompt_tokens=num_tokens),
        about={"text": text},
        _make_null=None if null else lambda kind, seed: prompted(model, method, null=kind, seed=seed),
    )
