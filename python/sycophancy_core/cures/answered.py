"""What models with cures and with their nulls answered: made one by one, and kept in a run folder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sycophancy_core.cures.cured import Cost, Cured
from sycophancy_core.cures.methods import NULLS, Method, Steered, method_name
from sycophancy_core.cures.mitigate import mitigate
from sycophancy_core.cures.other_text import OtherText, divergence, draw_other_text
from sycophancy_core.metrics.null_contrast import Side
from sycophancy_core.pipeline import evaluate
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.progress import Progress
from sycophancy_core.runs.run_folder import Run
from sycophancy_core.scoring.language_model import LanguageModel

_MADE = "made.json"  # the seconds, of which no digest is kept
_REPLIES = "replies.json"


class Material(NamedTuple):
    """What cures are made from and measured on."""

    model: LanguageModel
    facts: pa.Table
    validation: pa.Table | None
    tasks: dict[str, pa.Table]
    known: frozenset[str]
    other: OtherText | None
    seed: int  # of thoughts
    think: int | None
    progress: Progress | bool | None

    def inputs(self) -> dict[str, Any]:
        """Return the digests of all of it, which decide every answer."""
        tables = {"facts": self.facts, "validation": self.validation}
        return {
            "model": {**self.model.identity, "tokenizer": self.model.tokenizer_digest},
            "asked": [self.model.asked_as, self.model.system_prompt, self.model.precision],
            "known": digest_json(sorted(self.known)),
            "other": None if self.other is None else digest_json(self.other.replies),
            **({} if self.think is None else {"think": [self.think, self.seed]}),
            **{name: None if table is None else digest_table(table) for name, table in tables.items()},
            "tasks": {name: digest_table(table) for name, table in self.tasks.items()},
        }


class Answered(NamedTuple):
    """What a model with a cure, or with one of its nulls, answered; and what it cost to make."""

    method: Method | None  # None: the model as it was given
    null: str | None
    seed: int
    side: Side
    cost: Cost
    about: dict[str, Any]
    divergence: tuple[float, float, float] | None = None  # of other text, with its interval, in nats a token


def other_text(model: LanguageModel, prompts: pa.Table, *, seed: int, run: Run | None) -> OtherText:
    """Draw the untreated model's replies to ordinary instructions, or read those that an earlier process drew."""
    if run is None:
        return draw_other_text(model, prompts, seed=seed)
    weights = {**model.identity, "tokenizer": model.tokenizer_digest, "precision": model.precision}
    inputs = {**weights, "prompts": digest_table(prompts), "seed": seed}
    stage = f"other_text-{digest_json(inputs)[:16]}"
    path = run.path(stage) / _REPLIES

    def save(text: OtherText) -> list[Path]:
        return [write_json(path, {"replies": text.replies, "log_prob": text.log_prob.tolist()})]

    def load() -> OtherText:
        found = read_json(path)
        return OtherText(prompts, found["replies"], np.array(found["log_prob"]))

    return run.stage(
        stage, inputs=inputs, make=lambda: draw_other_text(model, prompts, seed=seed), save=save, load=load
    )


def untreated(material: Material, run: Run | None = None) -> Answered:
    """Measure the model as it was given."""

    def make() -> list[Answered]:
        return [Answered(None, None, 0, _side(material, material.model), Cost(), {})]

    return _kept(run, "untreated", material.inputs(), None, make)[0]


def answers_of(
    material: Material, method: Method, *, seed: int, num_random: int, run: Run | None = None
) -> list[Answered]:
    """Make a cure and its nulls one by one, each of which is let go of when it has answered.

    Parameters
    ----------
    run
        Where a finished cure is kept with its nulls; a call with the same material and options then reads them.
    """
    draws = range(num_random) if isinstance(method, Steered) else (seed,)

    def make() -> Iterator[Answered]:
        cured = mitigate(
            material.model,
            method,
            facts=material.facts,
            validation=material.validation,
            seed=seed,
            progress=material.progress,
        )
        yield _answered(material, cured)
        for null, number in itertools.product(NULLS[type(method)], draws):
            yield _answered(material, cured.make_null(null, seed=number))

    inputs = {"method": method_name(method), "options": asdict(method), "seed": seed, "draws": len(draws)}
    return _kept(run, method_name(method), material.inputs() | inputs, method, make)


def _answered(material: Material, cured: Cured) -> Answered:
    side = _side(material, cured.model)
    moved = None
    if material.other is not None:
        found = divergence(material.other, cured.model)
        moved = (found.value, found.low, found.high)
    return Answered(cured.method, cured.null, cured.seed, side, cured.cost, cured.about, moved)


def _side(material: Material, model: LanguageModel) -> Side:
    asked: dict[str, Any] = {
        "tasks": material.tasks,
        "seed": material.seed,
        "think": material.think,
        "known": material.known,
    }
    found = evaluate(model, **asked, progress=material.progress)
    return Side(found.measurements, found.estimates)


def _kept(run: Run | None, name: str, inputs: dict[str, Any], method: Method | None, make: Any) -> list[Answered]:
    """Do what is to be done, or read what an earlier process did."""
    if run is None:
        return list(make())
    stage = f"{name}-{digest_json(inputs)[:16]}"
    folder = run.path(stage)
    return run.stage(
        stage,
        inputs=inputs,
        make=lambda: list(make()),
        save=lambda answers: _save(folder, answers),
        load=lambda: _load(folder, method),
    )


def _save(folder: Path, answers: list[Answered]) -> list[Path]:
    paths = []
    for i, one in enumerate(answers):
        for part in Side._fields:
            paths.append(write_table(folder / f"{i}-{part}.parquet", getattr(one.side, part)))
    keys = ("null", "seed", "about", "divergence")
    records = [
        {**{key: getattr(one, key) for key in keys}, "options": None if one.method is None else asdict(one.method)}
        | {"tokens": one.cost.tokens, "prompt_tokens": one.cost.prompt_tokens}
        for one in answers
    ]
    write_json(folder / _MADE, {"seconds": [one.cost.seconds for one in answers]})
    return [*paths, write_json(folder / "answers.json", {"answers": records})]


def _load(folder: Path, method: Method | None) -> list[Answered]:
    records = read_json(folder / "answers.json")["answers"]
    made = read_json(folder / _MADE)["seconds"] if (folder / _MADE).is_file() else [math.nan] * len(records)
    found = []
    for i, (record, seconds) in enumerate(zip(records, made, strict=True)):
        side = Side(*(read_table(folder / f"{i}-{part}.parquet") for part in Side._fields))
        cost = Cost(tokens=record["tokens"], seconds=seconds, prompt_tokens=record["prompt_tokens"])
        options = {key: tuple(one) if isinstance(one, list) else one for key, one in (record["options"] or {}).items()}
        made_with: Any = method
        own = None if method is None else replace(made_with, **options)
        moved = None if record["divergence"] is None else tuple(record["divergence"])
        found.append(Answered(own, record["null"], record["seed"], side, cost, record["about"], moved))
    return found
