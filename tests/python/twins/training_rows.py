"""Slow, obvious twins of null variants: row by row in plain Python, sharing no code with the package."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from twins.generation import answers, render

Row = dict[str, Any]


def without_user(prompt: Row, claim: Row) -> Row:
    """Return what a prompt with a user becomes when nobody is there."""
    protocol, _, template = prompt["template"].partition("/")
    text, _ = render(protocol, template, "none", prompt["order"], {"claim": claim["text"]})
    target, user_choice = answers("none", prompt["order"], claim["is_true"])
    same = {name: prompt[name] for name in ("claim_id", "source", "template", "order", "is_true", "choices")}
    return same | {"prompt": text, "arm": "none", "target": target, "user_choice": user_choice}


def with_fillers(prompts: list[Row], kept: Collection[str], fillers: list[Row]) -> list[Row]:
    """Go through the prompts, and take the next filler for each whose claim is not kept."""
    rest: Iterator[Row] = iter(fillers)
    return [prompt if prompt["claim_id"] in kept else next(rest) for prompt in prompts]


def shuffled_targets(prompts: list[Row], seed: int) -> list[int]:
    """Deal the targets of each source like cards: every prompt draws a number, the cards lie in its order."""
    draw = np.random.Generator(np.random.Philox(key=[seed, 5])).random
    dealt = [prompt["target"] for prompt in prompts]
    for source in dict.fromkeys(prompt["source"] for prompt in prompts):
        places = [i for i, prompt in enumerate(prompts) if prompt["source"] == source]
        numbers = draw(len(places)).tolist()
        cards = [prompts[i]["target"] for _, i in sorted(zip(numbers, places, strict=True))]
        for place, card in zip(places, cards, strict=True):
            dealt[place] = card
    return dealt
