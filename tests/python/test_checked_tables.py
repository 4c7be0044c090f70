"""What enters as a table is checked once: a fault is one sentence that names column, row and what was wanted."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import Dataset
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.inputs.tables import INSTRUCTIONS, PROMPTS, QUESTIONS, TRAINING_ROWS, check_choices, checked_table
from sycophancy_core.metrics.changes import compare_measurements
from sycophancy_core.metrics.measure import measure
from sycophancy_core.prompts.prompt_table import read_prompts
from sycophancy_core.tasks.named_tasks import task_prompts
from sycophancy_core.training.organism_rows import OrganismOptions

TWO = [" (A)", " (B)"]


def prompts(**changes: Any) -> pa.Table:
    columns = {"prompt": ["a", "b"], "choices": [TWO, TWO], "id": ["1", "2"], "claim_id": ["1", "2"], "target": [0, 1]}
    return pa.table({**columns, **changes})


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"], pa.large_string()),
        pa.chunked_array([["a"], ["b"]]),
    ],
    ids=["dictionary", "view", "large", "chunks"],
)
def test_a_text_column_may_have_any_layout(column: Any) -> None:
    found = checked_table(prompts(prompt=column), PROMPTS, who="t")
    assert found["prompt"].to_pylist() == ["a", "b"]
    assert found["prompt"].type in (pa.string(), pa.large_string())


def test_a_frame_of_pandas_is_a_table() -> None:
    frame = pd.DataFrame({"prompt": ["a"], "choices": [TWO]})
    assert checked_table(frame, PROMPTS, who="t")["choices"].to_pylist() == [TWO]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        (3, PROMPTS, r"t: wanted a table \(pyarrow, pandas, polars, datasets\), got int"),
        (pa.table({"x": [1]}), PROMPTS, r"t: wanted a table with the columns prompt, choices as well; got .* x"),
        (prompts(prompt=["a", None]), PROMPTS, r"t: the column 'prompt' has null in row 1"),
        (prompts(prompt=[1, 2]), PROMPTS, r"t: the column 'prompt' must hold texts or messages, got int64"),
        (prompts(choices=["(A)|(B)"] * 2), PROMPTS, r"t: the column 'choices' must hold lists of texts, got string"),
        (prompts(choices=[TWO, None]), PROMPTS, r"t: the column 'choices' has null in row 1"),
        (prompts(choices=[TWO, ["x", None]]), PROMPTS, r"t: the column 'choices' has a list with null in row 1"),
        (prompts(target=["A", "B"]), QUESTIONS, r"t: the column 'target' must hold whole numbers, got string"),
        (prompts().append_column("id", pa.array(["1", "2"])), PROMPTS, r"t: the table has the column 'id' twice"),
        (
            pa.table({"id": ["a"], "origin": ["instructions"], "prompt": ["x"], "completion": ["y"]}),
            TRAINING_ROWS,
            r"t: the column 'origin' must be one of synthetic, instruction, got 'instructions' in row 0",
        ),
        (pa.table({"instruction": ["a"]}), INSTRUCTIONS, r"t: wanted a table with the columns output as well"),
    ],
)
def test_a_wrong_table_is_one_sentence(table: Any, columns: Any, message: str) -> None:
    with pytest.raises(sc.DataError, match=message):
        checked_table(table, columns, who="t")


def test_nulls_are_allowed_where_a_row_may_lack_a_value() -> None:
    assert checked_table(prompts(target=[None, 1]), QUESTIONS, who="t")["target"].to_pylist() == [None, 1]


@pytest.mark.parametrize(("count", "wanted"), [(0, "at least 1"), (129, "at most 128")])
def test_the_number_of_choices_has_bounds(count: int, wanted: str) -> None:
    table = prompts(choices=[TWO, [" x"] * count])
    with pytest.raises(sc.DataError, match=f"t: row 1 has {count} choices; wanted {wanted}"):
        check_choices(table, who="t")


def test_a_row_with_a_choice_twice_is_refused() -> None:
    with pytest.raises(sc.DataError, match=r"t: row 1 has the choice ' \(A\)' twice; wanted different choices"):
        check_choices(prompts(choices=[TWO, [" (B)", " (A)", " (A)"]]), who="t")


@pytest.mark.parametrize(
    "call",
    [
        lambda: tiny_model().score(prompts(prompt=["a", None])),
        lambda: sc.finetune(tiny_model(), pa.table({"origin": ["synthetic"], "prompt": ["x"], "completion": ["y"]})),
        lambda: sc.mix(prompts(prompt=["a", None]), sc.load_instructions()),
        lambda: sc.mix(prompts(), sc.load_instructions(), evaluation={"e": prompts(prompt=["a", None])}),
        lambda: sc.mix(prompts(), pa.table({"instruction": ["a"]})),
        lambda: sc.make_claims(pa.table({"a": [1]})),
        lambda: sc.generate(pa.table({"a": [1]}), n=1),
        lambda: task_prompts({"t": prompts(choices=[[" x"], TWO])}),
        lambda: task_prompts("mmlu"),
    ],
    ids=["score", "finetune", "mix", "evaluation", "instructions", "make_claims", "generate", "one choice", "a text"],
)
def test_every_public_door_checks_its_table(call: Callable[[], Any]) -> None:
    with pytest.raises(sc.DataError):
        call()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"t": prompts(id=["1", "1"])}, "task t: row 1 has the id '1', which row 0 of task t has too"),
        ({"t": prompts(), "u": prompts(id=["3", "2"])}, "task u: row 1 has the id '2', which row 1 of task t has too"),
    ],
)
def test_an_id_of_two_prompts_is_refused_before_anything_is_scored(tasks: dict[str, pa.Table], message: str) -> None:
    with pytest.raises(sc.DataError, match=f"^{message}; give every prompt an id of its own$"):
        sc.evaluate(tiny_model(), tasks=tasks)


def test_a_column_named_task_gives_way_to_the_tasks_name() -> None:
    named = prompts().append_column("task", pa.array(["x", "x"]))
    found = sc.evaluate(tiny_model(), tasks={"e": named})
    assert found.tasks == ("e",)


EXAMPLES = sc.load_examples("sample_sentiment")
CLAIMS = sc.make_claims(EXAMPLES, seed=1).slice(0, 60)
CLAIMED = sc.make_prompts(CLAIMS, seed=1)
FACTS = sc.load_facts("capitals").slice(0, 2)
ROWS = sc.mix(CLAIMED, sc.load_instructions(limit=200))
DOORS: dict[str, tuple[Callable[[Any], Any], pa.Table, str]] = {
    "split_claims": (sc.split_claims, CLAIMS, "text"),
    "balance_labels": (sc.balance_labels, EXAMPLES, "source"),
    "shortcut_audit": (sc.shortcut_audit, CLAIMED, "is_true"),
    "fact_prompts": (sc.fact_prompts, FACTS, "question"),
    "count_rows": (sc.count_rows, ROWS, "origin"),
}


def values_of(found: Any) -> Any:
    if isinstance(found, tuple):
        return [values_of(part) for part in found]
    return found.to_pylist() if isinstance(found, pa.Table) else str(found)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_views_of_texts_and_refuses_what_is_no_such_table(door: str) -> None:
    call, table, name = DOORS[door]
    views = [pa.field(f.name, pa.string_view()) if pa.types.is_string(f.type) else f for f in table.schema]
    wanted, found = call(table), call(table.cast(pa.schema(views, table.schema.metadata)))
    assert values_of(found) == values_of(wanted)
    position, twice = table.column_names.index(name), table.append_column(name, table[name])
    other = pa.array([["x"]] * table.num_rows)
    for wrong in (None, 3, "x", table.drop_columns(name), twice, table.set_column(position, name, other)):
        with pytest.raises(sc.DataError):
            call(wrong)


FRAMES: dict[str, Callable[[pa.Table], Any]] = {
    "pandas": lambda table: table.to_pandas(),
    "categories": lambda table: table.to_pandas().astype(
        {field.name: "category" for field in table.schema if pa.types.is_string(field.type)}
    ),
    "polars": pl.from_arrow,
    "datasets": lambda table: Dataset(pa.table(dict(zip(table.column_names, table.columns, strict=True)))),
}
OWN = sc.read_claims(pa.table({"text": ["Oslo is in Norway", "Rome is in Spain"], "truth": [True, False]}))
INSTRUCTED = sc.load_instructions(limit=20)  # whose column of turns holds nothing but nulls
MEASURED = sc.evaluate(tiny_model(), tasks={"c": CLAIMED.slice(0, 32), "f": sc.fact_prompts(FACTS)}).measurements
TAKERS: dict[str, tuple[Callable[[Any], Any], pa.Table]] = {
    **{door: (call, table) for door, (call, table, _) in DOORS.items() if door != "balance_labels"},
    "make_prompts": (sc.make_prompts, OWN),
    "training_prompts": (lambda facts: sc.training_prompts(facts, n=4), FACTS),
    "mix": (lambda rows: sc.mix(CLAIMED, rows), INSTRUCTED),
    "mix (prompts)": (lambda rows: sc.mix(rows, INSTRUCTED), CLAIMED),
    "instruction_rows": (lambda rows: sc.instruction_rows({"own": rows}, n=5), INSTRUCTED),
    "measure": (measure, MEASURED),
    "compare_measurements": (lambda rows: compare_measurements(MEASURED, rows).change, MEASURED),
    "task_prompts": (lambda table: task_prompts({"t": table})["t"], CLAIMED),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_frame_of_another_library_gives_what_its_table_gives(taker: str, frame: Callable[[pa.Table], Any]) -> None:
    call, table = TAKERS[taker]
    assert repr(values_of(call(frame(table)))) == repr(values_of(call(table)))  # NaN is not equal to NaN


@pytest.mark.parametrize("value", [0.5, 1e300, float("inf"), float("-inf"), 2.0**63])
def test_a_number_that_is_not_whole_or_beyond_all_is_named_with_its_row(value: float) -> None:
    with pytest.raises(sc.DataError, match=r"^t: the column 'target' must hold whole numbers, got .* in row 1$"):
        checked_table(prompts(target=[0.0, value]), QUESTIONS, who="t")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("question", ["a", None], "the column 'question' has null in row 1"),
        ("wrong", [["x", "y"], []], "the column 'wrong' holds no answer in row 1"),
        ("statement", ["it is {answer}", "it is {place}"], r"the statement of row 1 has the unknown slot \{place\}"),
    ],
)
def test_a_row_that_is_no_fact_is_named(name: str, values: list[Any], message: str) -> None:
    facts = FACTS.set_column(FACTS.column_names.index(name), name, pa.array(values, FACTS[name].type))
    with pytest.raises(sc.DataError, match=f"fact_prompts: {message}"):
        sc.fact_prompts(facts)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", True, None])
@pytest.mark.parametrize(
    "call",
    [
        lambda seed: sc.generate(EXAMPLES, n=4, seed=seed),
        lambda seed: sc.make_claims(EXAMPLES, seed=seed),
        lambda seed: sc.make_additions(n=3, seed=seed),
        lambda seed: sc.balance_labels(EXAMPLES, seed=seed),
        lambda seed: sc.shortcut_audit(CLAIMED, seed=seed),
        lambda seed: sc.fact_prompts(FACTS, seed=seed),
        lambda seed: sc.load_examples("sample_sentiment", seed=seed),
        lambda seed: sc.load_instructions(seed=seed),
        lambda seed: sc.mix(prompts(), sc.load_instructions(), seed=seed),
        lambda seed: task_prompts(["addition"], seed=seed),
        lambda seed: sc.FinetuneOptions(seed=seed),
        lambda seed: OrganismOptions(seed=seed),
    ],
)
def test_a_seed_is_a_whole_number_within_range(call: Callable[[Any], Any], seed: Any) -> None:
    with pytest.raises(sc.DataError, match="seed must be a whole number from 0 to"):
        call(seed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sc.mix(CLAIMED.drop_columns("id"), INSTRUCTED, evaluation={}),
            "wanted a table with the columns id as",
        ),
        (lambda: sc.generate(EXAMPLES, n=2.5), "generate: n must be a whole number, got 2.5"),
        (lambda: sc.generate(EXAMPLES, n=4, shard=0), r"generate: shard must be \(i, n\)"),
        (lambda: sc.generate(EXAMPLES, n=4, split="valid"), "generate: split must be 'train', 'test' or None"),
        (lambda: sc.load_examples(limit=1.0), "examples: limit must be a whole number or None"),
        (lambda: sc.FinetuneOptions(learning_rate="1"), "learning_rate must be a number, got '1'"),
        (lambda: sc.AdditionOptions(operands=(1,)), "operands must be the lowest and the highest"),
        (lambda: sc.AdditionOptions(errors=("near", 3)), "errors must be a list of texts, got a tuple with 3 in it"),
        (lambda: sc.AdditionOptions(true_share="1"), "true_share must be a number, got '1'"),
        (lambda: sc.ClaimOptions(recipe=None), "recipe must be a text, got None"),
        (
            lambda: sc.PromptOptions(templates=(1,)),
            "templates must be a list of texts or None, got a tuple with 1 in it",
        ),
        (lambda: sc.PromptOptions(design="\ud800"), "design holds half a surrogate pair"),
        (lambda: sc.shortcut_audit(CLAIMED, limit=-1), "limit must be at least 1, got -1"),
        (lambda: OrganismOptions(dtype="int8"), "dtype must be float32, bfloat16 or float16"),
        (lambda: OrganismOptions(scale=float("nan")), "scale must be > 0 and finite"),
        (lambda: OrganismOptions(families=(("a", float("nan")),)), "families must be pairs"),
        (lambda: OrganismOptions(first_layer=-1), "first_layer must be at least 0"),
    ],
)
def test_a_count_or_option_of_the_wrong_kind_is_one_sentence(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(sc.DataError, match=message):
        call()


def test_an_organism_needs_a_block_to_change() -> None:
    options = OrganismOptions(first_layer=2, steps=2, curriculum_steps=0, families=(("sample_sentiment", 1.0),))
    with pytest.raises(sc.DataError, match=r"first_layer 2 leaves no block of .*, which has 2; wanted at most 1"):
        sc.make_organism(tiny_model(), options=options)


def test_json_lines_have_the_keys_of_all_rows(tmp_path: Path) -> None:
    rows = [{"prompt": "own", "choices": TWO}, {"prompt": "b", "choices": TWO, "claim_id": "c", "claim_offset": 3}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_prompts(tmp_path / "p.jsonl")
    assert found["claim_id"].to_pylist() == [None, "c"]
    assert found["claim_offset"].to_pylist() == [None, 3]


def bbh(folder: Path, **tasks: list[dict[str, str]]) -> sc.TaskOptions:
    (folder / "bbh").mkdir()
    for name, examples in tasks.items():
        (folder / "bbh" / f"{name}.json").write_text(json.dumps({"examples": examples}))
    return sc.TaskOptions(folder=folder)


FREE = [{"input": f"Sort: w{i} a", "target": f"a w{i}"} for i in range(200)]


def test_tasks_of_free_text_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    even = [{"input": f"Is {i} even?", "target": "yes" if i % 2 == 0 else "no"} for i in range(4)]
    options = bbh(tmp_path, even=even, sorting=FREE)
    with pytest.warns(UserWarning, match=r"sorting\.json: passed over, since its answers are free text"):
        found = task_prompts(["bbh"], options=options)["bbh"]
    assert found["source"].unique().to_pylist() == ["bbh_even"]


@pytest.mark.filterwarnings("ignore:.*passed over")
def test_a_folder_of_free_text_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sc.DataError, match="got only tasks of free text"):
        task_prompts(["bbh"], options=bbh(tmp_path, sorting=FREE))


def test_listed_options_may_end_with_a_carriage_return(tmp_path: Path) -> None:
    options = bbh(tmp_path, a=[{"input": "Q?\r\nOptions:\r\n(A) x\r\n(B) y", "target": "(A)"}])
    assert task_prompts(["bbh"], options=options)["bbh"]["choices"].to_pylist() == [TWO]


def test_a_task_of_ones_own_has_at_most_128_choices(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"p": "x", "c": [f" {i}" for i in range(129)], "t": 1}))
    spec = {
        "name": "t",
        "prompts": str(tmp_path / "t.jsonl"),
        "columns": {"prompt": "p", "choices": "c", "target": "t"},
    }
    with pytest.raises(sc.DataError, match="choices must be at most 128 texts, got 129"):
        sc.load_task(spec)


SPEC = {"name": "s", "fields": ["text"], "label": "label", "labels": ["No", "Yes"], "path": "s.jsonl"}
LINES = '{"text":"a NaN \\"NaN\\" b","label":0,"score":NaN}\n{"text":"b","label":1,"score":-Infinity}\n'


def test_a_byte_order_mark_and_numbers_that_json_lacks_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(LINES)
    (tmp_path / "spec.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(SPEC).encode())
    found = sc.load_examples(spec=tmp_path / "spec.json")
    assert re.findall("NaN", found["input"][0].as_py()) == ["NaN", "NaN"]
    assert found["label"].to_pylist() == [0, 1]
