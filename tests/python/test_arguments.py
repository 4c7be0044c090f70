"""Arguments of other kinds than a public function takes: one sentence that names the argument, for all of them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields, kinds_of
from sycophancy_core.metrics.measure import measure
from sycophancy_core.runs.files import write_table

FUNCTIONS = sorted(name for name in dir(sc) if inspect.isfunction(getattr(sc, name)))
RECORDS = sorted(
    name
    for name in dir(sc)
    if name.endswith("Options")
    or name in ("Activations", "Consistent", "Preference", "Prompted", "Steered", "Synthetic")
)


@checked_arguments
def measured(
    table: pa.Table,
    *,
    path: str | Path | None = None,
    share: float = 0.5,
    count: int | None = None,
    seed: int = 0,
    tasks: str | Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    model: sc.LanguageModel | None = None,
    options: sc.TaskOptions | None = None,
    before: sc.Evaluation | None = None,
    after: Callable[[], int] | None = None,
    tables: Sequence[sc.Evaluation] | Mapping[str, pa.Table] | None = None,
    pair: tuple[int, int] = (0, 1),
    anything: Any = None,
) -> pa.Table:
    """Stand for a public function."""
    return table


TABLE = pa.table({"a": [1]})


@pytest.mark.parametrize(
    "given",
    [
        {"path": "x"},
        {"path": Path("x")},
        {"path": "caf\udce9"},  # a name that is not UTF-8, as the system gives it
        {"share": 1, "count": np.int64(3)},
        {"tasks": "facts"},
        {"tasks": ["facts"]},
        {"tasks": (name for name in "ab")},
        {"weights": {"a": 1, "b": 0.5}},
        {"options": sc.TaskOptions(), "pair": [0, 1], "anything": object()},
        {"after": lambda: 1},
    ],
    ids=lambda given: "-".join(given),
)
def test_arguments_of_the_right_kinds_are_taken(given: dict[str, Any]) -> None:
    assert measured(TABLE, **given) is TABLE


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": 3}, "measured: path must be a path or None, got 3"),
        ({"path": "a\0b"}, "measured: path must be a path or None, got 'a\\x00b'"),
        ({"share": "0.5"}, "measured: share must be a number, got '0.5'"),
        ({"share": True}, "measured: share must be a number, got True"),
        ({"count": 1.5}, "measured: count must be a whole number or None, got 1.5"),
        ({"count": 2**70}, f"measured: count must be at most {2**63 - 1}, got {2**70}"),
        ({"seed": "1"}, f"measured: seed must be a whole number from 0 to {2**63 - 1}, got '1'"),
        ({"seed": -1}, f"measured: seed must be a whole number from 0 to {2**63 - 1}, got -1"),
        ({"tasks": 3}, "measured: tasks must be a text or a list of texts, got 3"),
        ({"tasks": ["facts", 3]}, "measured: tasks must be a text or a list of texts, got a list with 3 in it"),
        (
            {"tasks": {"facts"}},
            "measured: tasks must be a text or a list of texts, got a set; a set has no order, so give a list",
        ),
        ({"tasks": pd.DataFrame({"a": [1]})}, "measured: tasks must be a text or a list of texts, got a DataFrame"),
        ({"tasks": np.array("facts")}, "measured: tasks must be a text or a list of texts, got a ndarray"),
        (
            {"weights": {"a": "1"}},
            "measured: weights must be a mapping of texts to numbers or None, got a dict with '1' in it",
        ),
        ({"options": sc.TaskOptions}, "measured: options must be a TaskOptions or None, got the class TaskOptions"),
        (
            {"tables": TABLE},
            "measured: tables must be a list of Evaluations or a mapping of texts to tables or None, got a Table; give "
            'it a name, as in {"mine": table}',
        ),
        (
            {"tables": ["r"]},
            "measured: tables must be a list of Evaluations or a mapping of texts to tables or None, got a list with "
            "'r' in it; give sc.Evaluation.load('r')",
        ),
        ({"model": "m"}, "measured: model must be a loaded model or None, got 'm'; give sc.load_model('m')"),
        (
            {"options": {"limit": 3}},
            "measured: options must be a TaskOptions or None, got a dict; give sc.TaskOptions(...)",
        ),
        ({"before": "r"}, "measured: before must be an Evaluation or None, got 'r'; give sc.Evaluation.load('r')"),
        ({"after": 3}, "measured: after must be a function or None, got 3"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_an_argument_of_another_kind_is_named_with_what_was_wanted(given: dict[str, Any], said: str) -> None:
    with pytest.raises(sc.DataError) as caught:
        measured(TABLE, **given)
    assert str(caught.value) == said


def test_a_frame_is_read_as_a_table_and_what_is_no_table_refused() -> None:
    assert measured(pd.DataFrame({"a": [1]})).to_pydict() == {"a": [1]}
    with pytest.raises(sc.DataError, match=r"^measured \(table\): wanted a table \(pyarrow, pandas, .*\), got list$"):
        measured([1])


def test_python_itself_still_refuses_what_a_function_does_not_have() -> None:
    with pytest.raises(TypeError, match=r"^measured\(\) got an unexpected keyword argument 'nothing_such'$"):
        measured(TABLE, nothing_such=1)
    with pytest.raises(TypeError, match=r"^FilterOptions.__init__\(\) got an unexpected keyword .* 'nothing_such'$"):
        sc.FilterOptions(nothing_such=1)


@checked_arguments
def given(
    *,
    count: int = 0,
    share: float = 0.0,
    is_kept: bool = False,
    names: Sequence[str] = (),
    steps: Sequence[int] = (),
    ids: Collection[str] = (),
    pair: tuple[int, int] = (0, 1),
    weights: Mapping[str, float] | None = None,
    tables: Mapping[str, pa.Table] | None = None,
) -> dict[str, Any]:
    """Return what a public function gets."""
    return dict(locals())


GIVEN: list[tuple[dict[str, Any], Any]] = [
    ({"count": np.int64(3)}, 3),
    ({"count": np.uint8(3)}, 3),
    ({"share": np.float32(0.5)}, 0.5),
    ({"share": Fraction(1, 2)}, 0.5),
    ({"share": 1}, 1),
    ({"is_kept": np.bool_(True)}, True),
    ({"names": ["a", "b"]}, ("a", "b")),
    ({"names": (name for name in "ab")}, ("a", "b")),
    ({"names": {"a": 1, "b": 2}.keys()}, ("a", "b")),
    ({"names": np.array(["a", "b"])}, ("a", "b")),
    ({"names": pd.Series(["a", "b"], dtype="category")}, ("a", "b")),
    ({"names": pl.Series(["a", "b"])}, ("a", "b")),
    ({"names": pa.chunked_array([["a"], ["b"]])}, ("a", "b")),
    ({"steps": np.array([0])}, (0,)),  # which is false to Python
    ({"steps": torch.Size([1, 2])}, (1, 2)),
    ({"steps": torch.tensor([1, 2])}, (1, 2)),
    ({"steps": range(1, 3)}, (1, 2)),
    ({"ids": {"a", "b"}}, frozenset("ab")),
    ({"ids": pa.array(["a", "b"])}, frozenset("ab")),
    ({"pair": np.array([0, 2])}, (0, 2)),
    ({"pair": [np.int64(0), np.int64(2)]}, (0, 2)),
    ({"weights": {"a": np.float64(0.5), "b": 2}}, {"a": 0.5, "b": 2}),
    ({"tables": {"a": pd.DataFrame({"x": [1]})}}, {"a": pa.table({"x": [1]})}),
]


@pytest.mark.parametrize(("arguments", "wanted"), GIVEN, ids=[str(index) for index in range(len(GIVEN))])
def test_a_function_gets_pythons_own_values_whatever_library_the_callers_are_of(
    arguments: dict[str, Any], wanted: Any
) -> None:
    (name,) = arguments
    found = given(**arguments)[name]
    assert found == wanted
    assert type(found) is type(wanted)
    if isinstance(wanted, tuple):
        assert [type(one) for one in found] == [type(one) for one in wanted]
    if name == "weights":
        assert type(found["a"]) is float


def test_options_keep_pythons_own_numbers_so_that_they_can_be_written(tmp_path: Path) -> None:
    options = sc.FinetuneOptions(steps=np.int64(1), batch_size=np.int32(2), learning_rate=np.float32(0.5))
    assert options == sc.FinetuneOptions(steps=1, batch_size=2, learning_rate=0.5)
    assert json.loads(json.dumps(dataclasses.asdict(options)))["steps"] == 1
    assert sc.Sweep(steps=np.array([1, 2])) == sc.Sweep(steps=(1, 2)) == sc.Sweep(steps=iter([1, 2]))
    assert hash(sc.FactOptions(arms=["none"])) == hash(sc.FactOptions(arms=("none",)))
    prompts = sc.fact_prompts(sc.load_facts("plurals").slice(0, 4))
    shard = sc.score_shard(tiny_model(), prompts, shard=np.array([0, 2]), progress=False)
    assert sc.Shard.load(shard.save(tmp_path / "shard.parquet")).parts == 2


def test_a_text_in_place_of_a_list_of_options_is_not_read_letter_by_letter() -> None:
    with pytest.raises(sc.DataError, match=r"^Sweep: recipe must be a list of texts, got 'wei2023'$"):
        sc.Sweep(recipe="wei2023")


def test_a_method_is_called_by_its_own_name() -> None:
    found = sc.Shard(stage="score", part=0, parts=1, table=TABLE, job={})
    with pytest.raises(sc.DataError, match=r"^save: path must be a path, got None$"):
        found.save(None)


def test_a_record_checks_its_fields_before_its_own_checks() -> None:
    @checked_fields
    @dataclasses.dataclass(frozen=True)
    class Record:
        """Stand for options."""

        steps: tuple[int, ...] = ()

        def __post_init__(self) -> None:
            assert all(step > 0 for step in self.steps)

    assert Record((1, 2)).steps == (1, 2)
    with pytest.raises(sc.DataError, match=r"Record: steps must be a list of whole numbers, got 'ab'"):
        Record("ab")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_checks_its_arguments(name: str) -> None:
    assert hasattr(getattr(sc, name), "__wrapped__"), f"put @checked_arguments above {name}"


@pytest.mark.parametrize("name", RECORDS)
def test_every_public_record_of_options_checks_its_fields(name: str) -> None:
    assert hasattr(getattr(sc, name).__init__, "__wrapped__"), f"put @checked_fields above {name}"


@pytest.mark.parametrize("name", [*FUNCTIONS, *RECORDS])
def test_no_annotation_of_a_public_function_names_a_class_that_nothing_can_be_of(name: str) -> None:
    """An alias that only the type checker sees would be taken for a class, and all arguments be refused."""
    function = inspect.unwrap(getattr(sc, name) if name in FUNCTIONS else getattr(sc, name).__init__)
    modules = [module for key, module in sys.modules.items() if key.startswith("sycophancy_core")]
    known = {one.__name__ for module in modules for one in vars(module).values() if isinstance(one, type)}
    for parameter in inspect.signature(function).parameters.values():
        for kind in kinds_of(parameter.annotation, function.__globals__):
            assert not kind.name or kind.name in known | {"RecordBatchReader"}, f"{name}: {parameter}"


WRONG = (3, "x", [3], {"a": 3}, object())


@pytest.mark.parametrize("value", WRONG, ids=["number", "text", "list", "mapping", "object"])
def test_wrong_things_at_the_doors_of_results(value: Any, tmp_path: Path) -> None:
    model = tiny_model()
    doors: list[Callable[[], object]] = [
        lambda: sc.compare(value, value),
        lambda: sc.compare_models(value),
        lambda: sc.report(value, tmp_path / "report.html"),
        lambda: sc.power(pilot=value, effect=0.1),
        lambda: sc.evaluate(model, tasks={"t": value}),
        lambda: sc.evaluate(model, options=value),
        lambda: sc.finetune(model, value),
        lambda: sc.finetune(model, TABLE, options=value),
        lambda: sc.mitigate(model, value),
        lambda: sc.FilterOptions(threshold=[value]),
        lambda: sc.StudyOptions(sweep=value),
    ]
    for door in doors:
        with pytest.raises((sc.DataError, sc.ModelError)):
            door()


def test_a_warning_names_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="far beyond the spread") as caught:
        sc.power(sd=0.3, effect=10)
    assert caught[0].filename == __file__
    table = pa.table({"question": ["a?"], "A": ["x"], "B": ["y"], "answer": ["A"], "target": ["B"]})
    with pytest.warns(UserWarning, match="target may be the column") as caught:
        sc.read_questions(table)
    assert caught[0].filename == __file__


def test_a_warning_names_the_callers_line_through_whatever_it_comes(tmp_path: Path) -> None:
    """The same reason is found at other depths by other functions."""
    model, prompts = tiny_model(), sc.fact_prompts(sc.load_facts("plurals").slice(0, 4))
    found = sc.evaluate(model, tasks={"t": prompts}, progress=False)
    table = pa.table({"question": ["a?"], "A": ["x"], "B": ["y"], "answer": ["A"]})
    write_table(tmp_path / "q.parquet", table)
    ways: list[Callable[[], object]] = [
        lambda: measure(found.measurements, known=["other"]),
        lambda: sc.evaluate(model, tasks={"t": prompts}, known=["other"], progress=False),
        lambda: sc.compare(found, found, known=["other"]),
        lambda: sc.task_prompts(tmp_path / "q.parquet"),
        lambda: sc.evaluate_many([model], tasks=tmp_path / "q.parquet", progress=False),
    ]
    for way in ways:
        with pytest.warns(UserWarning, match="nothing counts as known|no user states a view") as caught:
            way()
        assert {one.filename for one in caught} == {__file__}
