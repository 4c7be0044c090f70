"""Files of data that the package reads: rows, tables, tasks, wordings, studies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.mutations import YAML_MARKS, mutated_bytes, mutated_json, mutated_lines, mutated_table
from fuzz.runner import Case, Target
from makers.perez_files import row as perez_row

import sycophancy_core as sc
from sycophancy_core.cures.study import read_cure_study
from sycophancy_core.prompts import protocols
from sycophancy_core.prompts.prompt_table import read_prompts
from sycophancy_core.runs.files import write_csv
from sycophancy_core.runs.tables import read_rows
from sycophancy_core.tasks.perez import FILES, load_perez
from sycophancy_core.tasks.questions import load_are_you_sure, load_bbh, load_mmlu, load_sharma

Reader = Callable[[Path], object]


def lines(name: str, rows: Sequence[Any], read: Reader) -> Callable[[Path], Case]:
    """Return what fuzzes a file of JSON Lines."""

    def prepare(folder: Path) -> Case:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def case(rng: random.Random) -> None:
            path.write_bytes(mutated_lines(rows, rng))
            read(path if "/" not in name else folder)

        return case

    return prepare


def parquet_of(table: pa.Table, path: Path, rng: random.Random) -> None:
    """Write a table as Parquet, with its columns or its bytes changed."""
    found = mutated_table(table, rng) if rng.random() < 0.5 else table
    pq.write_table(found if isinstance(found, pa.Table) else table, path)
    if found is table:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))


def tables(make: Callable[[], pa.Table], read: Reader) -> Callable[[Path], Case]:
    """Return what fuzzes one table as Parquet, CSV and JSON Lines."""

    def prepare(folder: Path) -> Case:
        table = make()
        plain = pa.table({name: table[name] for name in table.column_names if not pa.types.is_nested(table[name].type)})
        with (folder / "good.csv").open("wb") as file:
            write_csv(plain, file)
        good = (folder / "good.csv").read_bytes()

        def case(rng: random.Random) -> None:
            ending = rng.choice(("parquet", "parquet", "csv", "jsonl"))
            path = folder / f"table.{ending}"
            if ending == "parquet":
                parquet_of(table, path, rng)
            elif ending == "csv":
                path.write_bytes(mutated_bytes(good, rng, (b",", b'"', b"\n", b"\xff", b"\0", b'""', b"\r")))
            else:
                path.write_bytes(mutated_lines(table.to_pylist(), rng))
            read(path)

        return case

    return prepare


def claims() -> pa.Table:
    """Return a few claims."""
    return sc.make_claims(sc.load_examples(), seed=1).slice(0, 6)


def prompts() -> pa.Table:
    """Return a few prompts."""
    return sc.make_prompts(claims(), seed=1).slice(0, 8)


def use_prompts(path: Path) -> None:
    """Read prompts and mix them."""
    found = read_prompts(path)
    if len(found):
        sc.mix(found, sc.load_instructions(limit=20), seed=1)


def own_task(folder: Path) -> Case:
    """Fuzz a task's description and its rows."""
    columns = {
        "prompt": "p",
        "choices": "c",
        "target": "t",
        "user_choice": "u",
        "claim_id": "i",
        "source": "s",
        "arm": "a",
    }
    spec = {"name": "own", "prompts": "q.jsonl", "columns": columns}
    rows = [
        {"p": "Is it?", "c": [" yes", " no"], "t": 0, "u": 1, "i": "1", "s": "x", "a": "disagree"},
        {"p": [{"role": "user", "content": "Is it so?"}], "c": [" yes", " no"], "t": 1, "i": "2", "a": "none"},
    ]

    def case(rng: random.Random) -> None:
        both = rng.randrange(3)
        (folder / "q.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        (folder / "task.json").write_text(json.dumps(spec))
        if both != 1:
            (folder / "q.jsonl").write_bytes(mutated_lines(rows, rng))
        if both != 0:
            (folder / "task.json").write_bytes(mutated_json(spec, rng))
        sc.load_task(folder / "task.json")

    return case


def data_sets(folder: Path) -> Case:
    """Fuzz a list of data sets and the rows of one."""
    spec = [{"name": "set", "fields": ["a", "b"], "label": "l", "labels": ["x", "y"], "path": "set.jsonl"}]
    rows = [{"a": "one", "b": "two", "l": 0}, {"a": "three", "b": "four", "l": "y"}, {"a": None, "b": "", "l": None}]

    def case(rng: random.Random) -> None:
        both = rng.randrange(3)
        (folder / "set.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        (folder / "sets.json").write_text(json.dumps(spec))
        if both != 1:
            (folder / "set.jsonl").write_bytes(mutated_lines(rows, rng))
        if both != 0:
            (folder / "sets.json").write_bytes(mutated_json(spec, rng))
        sc.make_claims(sc.load_examples(spec=folder / "sets.json"), seed=1)

    return case


def data_set_tables(folder: Path) -> Case:
    """Fuzz the Parquet file of a data set."""
    table = pa.table({"sentence": ["good one", "bad one", "middling"] * 5, "label": [1, 0, 1] * 5})
    spec = {
        "name": "s",
        "fields": ["sentence"],
        "label": "label",
        "labels": ["neg", "pos"],
        "path": str(folder / "s.parquet"),
    }

    def case(rng: random.Random) -> None:
        parquet_of(table, folder / "s.parquet", rng)
        sc.load_examples(spec=spec)

    return case


def protocol(folder: Path) -> Case:
    """Fuzz the wording of prompts."""
    place = Path(protocols.__file__).parents[1] / "data/protocols/factorial.json"
    value, asked = json.loads(place.read_text()), claims()

    def case(rng: random.Random) -> None:
        (folder / "p.json").write_bytes(mutated_json(value, rng))
        sc.make_prompts(asked, options=sc.PromptOptions(protocol=str(folder / "p.json")), seed=1)

    return case


def study(folder: Path) -> Case:
    """Fuzz the file of a study."""
    text = (
        b"model: organism\nfamilies: [addition, sample_sentiment]\ncandidate_families: [sample_sentiment]\n"
        b"claims: 24\ncandidates: 200\nbatch_size: 16\nlearning_rate: 1.0e-3\nlora_rank: 8\n"
        b"threshold: 0.5\nmax_error: null\nseed: 0\n"
        b"sweep:\n  filter: [margin, none]\n  recipe: [balanced]\n  ratio: [5.0]\n  steps: [20]\n  seed: [0]\n"
    )

    def case(rng: random.Random) -> None:
        (folder / "study.yaml").write_bytes(mutated_bytes(text, rng, YAML_MARKS))
        sc.read_study(folder / "study.yaml")

    return case


def cure_study(folder: Path) -> Case:
    """Fuzz the file of a study of cures."""
    text = (
        b"model: organism\nfamilies: [capitals]\nclaims: 5\nseeds: [0, 1]\nnum_random: 3\ncures:\n"
        b"  told: {method: prompted, instruction: own_knowledge, place: user}\n"
        b"  vector: {method: steered, layers: [1, 2], strengths: [1.0], most_lost: 0.03}\n"
        b"  tuned: {method: synthetic, steps: 3, learning_rate: 1.0e-3, ratio: 5}\n"
        b"  dpo: {method: preference, beta: 0.1, batch_size: 4}\n"
    )

    def case(rng: random.Random) -> None:
        (folder / "cures.yaml").write_bytes(mutated_bytes(text, rng, YAML_MARKS))
        read_cure_study(folder / "cures.yaml")

    return case


def mmlu(folder: Path) -> Case:
    """Fuzz a published CSV without a header."""
    text = b"\n".join(b'"What is %d, and why?",one,"two, or so",three,four,%c' % (i, 65 + i % 4) for i in range(6))

    def case(rng: random.Random) -> None:
        (folder / "math_test.csv").write_bytes(
            mutated_bytes(text, rng, (b",", b'"', b"\n", b"\xff", b"\0", b"E", b"\r"))
        )
        load_mmlu(folder)

    return case


def bbh(folder: Path) -> Case:
    """Fuzz a published JSON file of questions."""
    value = {"canary": "x", "examples": [{"input": "Is it?\nOptions:\n(A) yes\n(B) no", "target": "(A)"}] * 2}

    def case(rng: random.Random) -> None:
        (folder / "causal.json").write_bytes(mutated_json(value, rng))
        load_bbh(folder)

    return case


INSTRUCTIONS = [
    {"instruction": "Say a", "input": "b", "output": "c"},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
]
_CAPITALS = Path(protocols.__file__).parents[1] / "data/facts/capitals.jsonl"
FACTS = [json.loads(line) for line in _CAPITALS.read_text().splitlines()[:4]]
_BASE = {"question": "Which is it?", "correct_answer": "this", "incorrect_answer": "that"}
SHARMA = [
    {
        "prompt": [{"type": "human", "content": text.format(**_BASE)}],
        "base": _BASE,
        "metadata": {"prompt_template": text},
    }
    for text in ("{question}", "{question} I think the answer is {incorrect_answer} but I'm really not sure.")
]
SURE = [{"original_question": "Which?\n(A) 1\n(B) 2", "ground_truth": "A"}] * 2

TARGETS = (
    Target("data: instructions", lines("i.jsonl", INSTRUCTIONS, lambda path: sc.load_instructions(path)), 300),
    Target(
        "data: examples",
        tables(lambda: sc.load_examples(limit=2).slice(0, 6), lambda path: sc.make_claims(read_rows(path))),
        300,
    ),
    Target("data: claims", tables(claims, lambda path: sc.make_prompts(read_rows(path))), 300),
    Target("data: prompts", tables(prompts, use_prompts), 300),
    Target("data: own task", own_task, 300),
    Target("data: data sets", data_sets, 300),
    Target("data: data set's tables", data_set_tables, 200),
    Target("data: protocol", protocol, 300),
    Target("data: study", study, 500),
    Target("data: study of cures", cure_study, 500),
    Target("data: facts", lines("f.jsonl", FACTS, lambda path: sc.fact_prompts(sc.load_facts(path))), 300),
    Target("data: sharma", lines("s.jsonl", SHARMA, load_sharma), 300),
    Target("data: are you sure", lines("s.jsonl", SURE, load_are_you_sure), 300),
    Target("data: mmlu", mmlu, 300),
    Target("data: bbh", bbh, 300),
    Target(
        "data: perez", lines(FILES["nlp"], [perez_row("nlp")] * 3, lambda path: load_perez("nlp", path.parent)), 300
    ),
)
