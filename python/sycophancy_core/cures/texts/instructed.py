"""A model that reads an instruction before every prompt: the texts, their null, and where they go."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.messages import Turn

_TEXTS = Path(__file__).parents[2] / "data/cures/instructions.json"
_PROBE = "Which of the two is it?"
_GAP = "\n\n"  # between the instruction and what the user says


@functools.cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_TEXTS.read_text(encoding="utf-8"))
    return content


def instruction_text(name: str) -> str:
    """Return a packaged instruction.

    Raises
    ------
    DataError
        If there is none of this name; the message says which there are.
    """
    texts = {entry["id"]: str(entry["text"]) for entry in _content()["instructions"]}
    if name not in texts:
        raise DataError(f"instruction must be one of {', '.join(texts)}, got {name!r}; a text of your own goes to text")
    return texts[name]


def text_of_length(count: Callable[[str], int], num_tokens: int) -> str:
    """Return a text that says nothing about any question, and of which ``count`` says exactly ``num_tokens``.

    Raises
    ------
    DataError
        If no words of the packaged text have that length together.
    """
    nothing = _content()["nothing"]
    words = str(nothing["text"]).split(" ")
    while count(" ".join(words)) < num_tokens:
        words += str(nothing["text"]).split(" ")
    while words and count(" ".join(words)) > num_tokens:
        words.pop()
    text = " ".join(words)
    while (missing := num_tokens - count(text)) > 0:
        longer = (text + padding for padding in nothing["padding"])
        fitting = [one for one in longer if 0 < count(one) + missing - num_tokens <= missing]
        if not fitting:
            raise DataError(f"null text: no words make {num_tokens} tokens more a prompt; use another instruction")
        text = fitting[0]
    return text


def instructed_model(model: LanguageModel, text: str, *, place: str, name: str) -> LanguageModel:
    """Return the same model, on the same weights and engine, that reads a text before every prompt.

    Raises
    ------
    ModelError
        If the model is to get a system prompt and has one, or no chat template.
    """
    if place == "system" and not model.chat_template:
        raise ModelError(f"Prompted: model {model.name} reads plain text, which has no system turn; use place='user'")
    if place == "system" and model.system_prompt is not None:
        raise ModelError(f"Prompted: model {model.name} has a system prompt; load it without one, or use place='user'")
    kind = LanguageModel if place == "system" else InstructedModel
    made = object.__new__(kind)
    vars(made).update(vars(model), name=name)
    vars(made).update({"system_prompt": text} if place == "system" else {"instruction": text})
    return made


def added_tokens(model: LanguageModel, text: str, *, place: str) -> int:
    """Count the tokens that a short prompt has more with a text than without.

    That is more than the text's own where something stands after it, and less where the text takes the place of what
    the chat template says in the system turn, or its end becomes one token with what follows.
    """
    instructed = instructed_model(model, text, place=place, name=model.name)
    with_text, without = (len(one.encoder.rows([_PROBE], [[]])[0][0]) for one in (instructed, model))
    return with_text - without


class _InstructedEncoder(Encoder):
    """An encoder that puts an instruction before what the user says first."""

    instruction: str = ""

    def asked(self, prompt: str | Sequence[Turn]) -> str | Sequence[Turn]:
        """Return a prompt after the instruction."""
        if isinstance(prompt, str):
            return f"{self.instruction}{_GAP}{prompt}"
        turns = list(prompt)
        first = next((i for i, turn in enumerate(turns) if turn["role"] == "user"), 0)
        turns[first] = {**turns[first], "content": f"{self.instruction}{_GAP}{turns[first]['content']}"}
        return turns


class InstructedModel(LanguageModel):
    """A language model that reads an instruction at the beginning of the user's first turn."""

    _encoder_kind = _InstructedEncoder
    instruction: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy model and tokenizer, as for another process; the engine is made there."""
        remake, arguments = super().__reduce__()
        return _remade, (remake, arguments, self.instruction)

    @property
    def encoder(self) -> Encoder:
        """What turns texts into the model's token ids, the instruction among them."""
        made = super().encoder
        assert isinstance(made, _InstructedEncoder)
        made.instruction = self.instruction
        return made

    @property
    def tokenizer_digest(self) -> str:
        """sha256 of the tokenizer's own description and of the instruction."""
        return hashlib.sha256(f"{super().tokenizer_digest}\0{self.instruction}".encode()).hexdigest()

    @property
    def asked_as(self) -> str:
        """How prompts are asked, in words."""
        return f"{super().asked_as}, after an instruction"

    def with_precision(self, matmul_precision: str) -> LanguageModel:
        """Return the same model, on the same weights, scored natively with another ``matmul_precision``."""
        return _instructed(super().with_precision(matmul_precision), self.instruction)


def _instructed(model: LanguageModel, instruction: str) -> LanguageModel:
    made = object.__new__(InstructedModel)
    vars(made).update(vars(model), instruction=instruction)
    return made


def _remade(remake: Any, arguments: tuple[Any, ...], instruction: str) -> LanguageModel:
    return _instructed(remake(*arguments), instruction)
