"""Good calls, as values that can be changed anywhere before they are made."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from fuzz.mutations import REAL, STRANGE, TEXTS, WHOLE, mutated_array, mutated_table
from fuzz.runner import Case


@dataclass(frozen=True)
class Call:
    """A function and its arguments, some of which may be calls."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    after: Callable[[Any], object] | None = None  # what else is done with the value

    def make(self) -> Any:
        """Make the calls inside, then this one."""
        found = self.function(
            **{name: value.make() if isinstance(value, Call) else value for name, value in self.arguments.items()}
        )
        if self.after:
            self.after(found)
        return found


def call(function: Callable[..., Any], /, **arguments: Any) -> Call:
    """Return a call."""
    return Call(function, arguments)


def mutated(value: Any, rng: random.Random) -> Any:
    """Change a value as its kind allows; of a call, one to three arguments."""
    if isinstance(value, Call):
        arguments = dict(value.arguments)
        for _ in range(rng.choice((1, 1, 2, 3)) if arguments else 0):
            name = rng.choice(list(arguments))
            arguments[name] = rng.choice(STRANGE) if rng.random() < 0.2 else mutated(arguments[name], rng)
        return Call(value.function, arguments, value.after)
    if isinstance(value, (bool, np.bool_)):
        return not value
    if isinstance(value, int):
        return rng.choice(WHOLE)
    if isinstance(value, float):
        return rng.choice((*REAL, 0, 1, 2, 10**400))
    if isinstance(value, str):
        return rng.choice(TEXTS)
    if isinstance(value, pa.Table):
        return mutated_table(value, rng)
    if isinstance(value, np.ndarray):
        return mutated_array(value, rng)
    if isinstance(value, torch.Tensor):
        return mutated_tensor(value, rng)
    return mutated_container(value, rng)


def mutated_container(value: Any, rng: random.Random) -> Any:
    """Change one entry of a list, a tuple or a mapping, or how many there are."""
    if isinstance(value, Mapping) and value:
        found, key = dict(value), rng.choice(list(value))
        kind = rng.randrange(3)
        if kind == 0:
            del found[key]
        else:
            found[f"{key}x" if kind == 1 else key] = mutated(value[key], rng)
        return found
    if isinstance(value, (list, tuple)) and value:
        at = rng.randrange(len(value))
        entry = mutated(value[at], rng)
        return type(value)(rng.choice(([], [*value, entry], [*value[:at], entry, *value[at + 1 :]], [*value[:at]])))
    return value


def mutated_tensor(tensor: torch.Tensor, rng: random.Random) -> Any:
    """Change a weight's shape, type, layout or values."""
    kind = rng.randrange(8)
    if kind == 0:
        return tensor[: rng.randrange(tensor.shape[0] + 1)]
    if kind == 1:
        return tensor.flatten()
    if kind == 2:
        return tensor.repeat(2, *[1] * (tensor.dim() - 1))
    if kind == 3:
        return tensor.to(rng.choice((torch.float64, torch.bfloat16, torch.int8, torch.int64, torch.bool)))
    if kind == 4:
        return tensor.t() if tensor.dim() == 2 else tensor.repeat(2)[::2]
    if kind == 5:
        return torch.full_like(tensor, rng.choice((1e30, *REAL[-3:])))
    if kind == 6:
        return rng.choice((tensor.to("meta"), tensor[:0], tensor.to_sparse(), torch.tensor(1.0), None))
    return tensor.expand(2, *tensor.shape)


def cases_of(make: Callable[[], Mapping[str, Call]]) -> Callable[[Path], Case]:
    """Return what fuzzes calls, one a case; in their good form all must be accepted."""

    def prepare(_: Path) -> Case:
        good = make()
        for one in good.values():
            one.make()
        return lambda rng: mutated(good[rng.choice(sorted(good))], rng).make()

    return prepare
