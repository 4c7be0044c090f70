"""Files that the package itself has written, and reads again: runs, journals, results, seals, checkpoints."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fuzz.data_files import claims, parquet_of, prompts
from fuzz.mutations import mutated_bytes, mutated_json, mutated_safetensors, mutated_value
from fuzz.runner import Case, Target
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.runs.journal import Journal
from sycophancy_core.runs.json_files import DIGEST, write_json, write_sealed_json
from sycophancy_core.runs.seals import SEAL, seal_more
from sycophancy_core.training.instructions import load_instructions


def mutate_file(path: Path, rng: random.Random) -> None:
    """Change a file as its kind allows."""
    if path.suffix == ".parquet" and rng.random() < 0.6:
        parquet_of(pq.read_table(path), path, rng)
    elif path.suffix == ".json" and rng.random() < 0.7:
        value = json.loads(path.read_bytes())
        if DIGEST in value and rng.random() < 0.7:  # as its writer would seal it
            write_as_sealed(path, mutated_value({key: item for key, item in value.items() if key != DIGEST}, rng))
        else:
            path.write_bytes(mutated_json(value, rng))
    elif path.suffix == ".safetensors":
        path.write_bytes(mutated_safetensors(path.read_bytes(), rng))
    else:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))


def write_as_sealed(path: Path, value: Any) -> None:
    """Write a value with its digest, if there is a way to write it."""
    with contextlib.suppress(ValueError, UnicodeError):
        write_sealed_json(path, value if isinstance(value, dict) else {"value": value})


def result(make: Callable[[Path], object], use: Callable[[Path], Any]) -> Callable[[Path], Case]:
    """Return what fuzzes a result's folder: its seal kept, taken away, or made again for what was changed."""

    def prepare(folder: Path) -> Case:
        make(folder / "good")
        names = sorted(path.relative_to(folder / "good") for path in (folder / "good").rglob("*") if path.is_file())

        def case(rng: random.Random) -> None:
            shutil.rmtree(folder / "bad", ignore_errors=True)
            shutil.copytree(folder / "good", folder / "bad")
            name = rng.choice(names)
            mutate_file(folder / "bad" / name, rng)
            seal = next((one for one in (folder / "bad" / name).parents if (one / SEAL).is_file()), None)
            kind = rng.randrange(3)
            if seal and kind == 1:
                (seal / SEAL).unlink()
            elif seal and kind == 2 and name.name != SEAL:
                seal_more(seal, [folder / "bad" / name])
            use(folder / "bad")

        return case

    return prepare


def evaluation() -> sc.Evaluation:
    """Return an evaluation of a tiny model."""
    return sc.evaluate(tiny_model(), tasks=("addition_factorial",), limit=3)


def comparison() -> sc.Comparison:
    """Return a comparison of two tiny models."""
    after = sc.evaluate(tiny_model(seed=1), tasks=("addition_factorial",), limit=3)
    return sc.compare(evaluation(), after)


def show(value: Any) -> None:
    """Print a result as people see it."""
    repr(value)
    if isinstance(value, (sc.Evaluation, sc.Comparison)):
        from sycophancy_core.reporting.report import report_html

        report_html(value)


def cure(folder: Path) -> None:
    """Save a cure of a tiny model."""
    options = sc.Steered(layers=(1,), strengths=(2.0,))
    sc.mitigate(tiny_model(), options, facts=sc.load_facts("plurals").slice(0, 2), progress=False).save(folder)


def cures(folder: Path) -> None:
    """Save the effects of a cure of a tiny model."""
    facts, test = (sc.load_facts(family).slice(0, 3) for family in ("plurals", "capitals"))
    sc.head_to_head(tiny_model(), [sc.Prompted()], facts=facts, test=test, progress=False).save(folder)


def run_folder(folder: Path) -> None:
    """Make a run of one stage."""
    with sc.open_run(folder, config={"seed": 1, "model": "m"}) as run:
        run.record("model", "abc")
        path = run.path("n.json")
        run.stage("count", inputs={"n": 3}, make=lambda: 3, save=lambda _: [write_json(path, {"n": 3})], load=lambda: 3)


def use_run(folder: Path) -> None:
    """Verify a run, then go on with it."""
    sc.verify(folder)
    run_folder(folder)


def journal(folder: Path) -> Case:
    """Fuzz a journal: what is read of it must be a beginning of what was written."""
    wanted = [b"record %d " % i * 20 for i in range(5)]
    with Journal(folder / "good") as written:
        for payload in wanted:
            written.append(payload)
    good = (folder / "good").read_bytes()

    def case(rng: random.Random) -> None:
        (folder / "bad").write_bytes(mutated_bytes(good, rng))
        with Journal(folder / "bad") as read:
            found = list(read.records)
        if found != wanted[: len(found)]:
            raise AssertionError("wrong records were taken")

    return case


def journal_of_scores(folder: Path) -> Case:
    """Fuzz the folder of an evaluation that was stopped."""
    sc.evaluate(tiny_model(), tasks=("addition_factorial",), limit=3, run=folder / "good")
    names = sorted(path for path in (folder / "good").rglob("*") if path.is_file() and path.stat().st_size)

    def case(rng: random.Random) -> None:
        shutil.rmtree(folder / "bad", ignore_errors=True)
        shutil.copytree(folder / "good", folder / "bad")
        mutate_file(folder / "bad" / rng.choice(names).relative_to(folder / "good"), rng)
        sc.verify(folder / "bad")
        sc.evaluate(tiny_model(), tasks=("addition_factorial",), limit=3, run=folder / "bad")

    return case


def checkpoint(folder: Path) -> Case:
    """Fuzz a training's checkpoint, and go on from it."""
    rows = sc.mix(prompts(), load_instructions(limit=20), seed=1).slice(0, 6)
    options = sc.FinetuneOptions(steps=2, batch_size=2, learning_rate=1e-2, precision="float32", checkpoint_steps=1)
    sc.finetune(tiny_model(), rows, options=options, run=folder / "run")
    path = folder / "run/finetune.checkpoint.safetensors"
    good = path.read_bytes()

    def case(rng: random.Random) -> None:
        path.write_bytes(mutated_safetensors(good, rng))
        sc.finetune(tiny_model(), rows, options=options, run=folder / "run")

    return case


TARGETS = (
    Target("result: run", result(run_folder, use_run), 300),
    Target("result: journal", journal, 500),
    Target("result: journal of scores", journal_of_scores, 60),
    Target("result: evaluation", result(lambda f: evaluation().save(f), lambda f: show(sc.Evaluation.load(f))), 150),
    Target("result: comparison", result(lambda f: comparison().save(f), lambda f: show(sc.Comparison.load(f))), 150),
    Target(
        "result: filter",
        result(lambda f: sc.filter_known(tiny_model(), claims()).save(f), lambda f: show(sc.FilterResult.load(f))),
        200,
    ),
    Target("result: cure", result(cure, lambda f: show(sc.load_cure(f, tiny_model()))), 150),
    Target("result: cures", result(cures, lambda f: show(sc.CureEffects.load(f))), 150),
    Target("result: verify", result(lambda f: evaluation().save(f), sc.verify), 300),
    Target("result: checkpoint", checkpoint, 60),
)
