"""Tasks of one's own: read by their record, measured by what they hold, refused by row."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.tasks.named_tasks import task_prompts

COLUMNS = {"prompt": "text", "choices": "options", "target": "gold", "user_choice": "user", "claim_id": "item"}
ROWS: list[dict[str, Any]] = [
    {"text": f"{who}Is {n} even?", "options": [" yes", " no"], "gold": n % 2, "user": user, "item": f"q{n}"}
    for n in range(4)
    for who, user in (("", None), ("I say yes. ", 0))
]


def write_task(folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: object) -> Path:
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = {"name": "parity", "prompts": "mine.jsonl", "columns": COLUMNS} | changes
    (folder / "mine.json").write_text(json.dumps(spec))
    return folder / "mine.json"


def test_a_path_is_one_task_whatever_its_name_holds(tmp_path: Path) -> None:
    (folder := tmp_path / "my own, first").mkdir()
    path = write_task(folder)
    wanted = sc.load_task(path).to_pylist()
    for tasks in (path, [path], [str(path)]):
        assert task_prompts(tasks)["parity"].to_pylist() == wanted


def test_rows_keep_their_columns_and_the_arm_follows_from_the_users_choice(tmp_path: Path) -> None:
    rows = sc.load_task(write_task(tmp_path)).to_pylist()
    for row, given in zip(rows, ROWS, strict=True):
        named = ("prompt", "choices", "target", "user_choice", "claim_id")
        assert [row[name] for name in named] == [given[name] for name in ("text", "options", "gold", "user", "item")]
    assert [row["arm"] for row in rows] == ["none", "agree", "none", "disagree"] * 2


def test_parquet_and_a_mapping_give_the_same_table(tmp_path: Path) -> None:
    wanted = sc.load_task(write_task(tmp_path))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "mine.parquet")
    spec = {"name": "parity", "prompts": str(tmp_path / "mine.parquet"), "columns": COLUMNS}
    assert sc.load_task(spec).equals(wanted)


def test_texts_that_look_like_dates_stay_texts(tmp_path: Path) -> None:
    row = {"text": "2020-01-01", "options": ["2020-01-01", "2021-01-01"], "gold": 0, "user": None, "item": "2020-01-01"}
    (found,) = sc.load_task(write_task(tmp_path, [row])).to_pylist()
    assert [found[name] for name in ("prompt", "claim_id")] == [row["text"], row["item"]]
    assert found["choices"] == [" 2020-01-01", " 2021-01-01"]


def test_a_record_names_columns_of_a_csv_file_as_read_questions_takes_them(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,A,B,gold\nIs 2 even?,yes,no,A\nIs 3 even?,yes,no,no\n")
    columns = {"prompt": "text", "choices": ["A", "B"], "target": "gold"}
    found = sc.load_task(write_task(tmp_path, prompts="mine.csv", columns=columns))
    asked = sc.read_questions(tmp_path / "mine.csv", **columns)
    assert found.select(["prompt", "choices", "target"]).equals(asked.select(["prompt", "choices", "target"]))
    assert (found["target"].to_pylist(), found["source"].to_pylist()) == ([0, 1], ["parity", "parity"])


@pytest.mark.filterwarnings("ignore:.*no user states a view:UserWarning")
@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_a_checked_file_of_questions_is_a_task(ending: str, tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text('question,choices,answer\nWhich?,"[""1"", ""0""]",b\nAnd?,"[""1"", ""0""]",B\n')
    out = tmp_path / f"checked{ending}"
    assert main(["validate", str(tmp_path / "quiz.csv"), "--kind", "questions", "-o", str(out)]) == 0
    found = task_prompts([str(out), str(tmp_path / "quiz.csv")])
    assert found["checked"].equals(sc.read_questions(tmp_path / "quiz.csv"))
    assert found["quiz"].equals(found["checked"])
    assert found["checked"]["target"].to_pylist() == [1, 1]
    assert sc.evaluate(tiny_model(), tasks=(str(out),), limit=1).tasks == ("checked",)


def test_a_file_that_is_no_task_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("claim,label\n2 is even,true\n3 is even,false\n")
    with pytest.raises(sc.DataError, match=r"if these are claims: --tasks claims --claims \S*mine\.csv$"):
        task_prompts([str(tmp_path / "mine.csv")])
    table = sc.read_questions(pa.table({"prompt": ["Q?"], "choices": [["x", "y"]], "target": [0]}))
    sc.write_prompts(table, tmp_path / "prompts.csv")
    with pytest.raises(sc.DataError, match=r"prompts\.csv: wanted prompts in a Parquet or JSON Lines file"):
        task_prompts([str(tmp_path / "prompts.csv")])
    with pytest.raises(
        sc.DataError, match=r"'fact' is not a task; did you mean facts\? \(a file of your own questions ends"
    ):
        task_prompts(["fact"])


def test_a_prompt_may_be_messages(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Is 2 even?"}, {"role": "assistant", "content": "I say"}]
    (text,) = sc.load_task(write_task(tmp_path, [ROWS[0]])).to_pylist()
    (row,) = sc.load_task(write_task(tmp_path, [ROWS[0] | {"text": messages}])).to_pylist()
    assert (row["prompt"], row["turns"]) == ("Human: Is 2 even?\n\nAssistant: I say", messages)
    assert text["turns"] is None  # who says it is not known
    assert {**row, "prompt": text["prompt"], "turns": None, "id": text["id"]} == text


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    for line, message in (
        ("[1]", "line 2: wanted a JSON object, got a list"),
        ("{", "line 2: wanted JSON, got Expecting"),
    ):
        (tmp_path / "mine.jsonl").write_text(f"\n{line}\n")
        with pytest.raises(sc.DataError, match=f"mine.jsonl: {message}"):
            sc.load_task(path)


def test_a_task_is_named_by_its_file_and_measured(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    found = sc.evaluate(tiny_model(), tasks=(str(path),))
    assert found.tasks == ("parity",)
    assert found.estimate("parity", "accuracy")["num_clusters"] == 4
    assert found.estimate("parity", "harm")["metric"] == "harm"
    two = sc.evaluate(tiny_model(), tasks=(str(path),), limit=2)
    assert two.measurements.num_rows == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colums": {}}, "wanted the keys name, prompts and columns, got .*colums"),
        ({"columns": {"prompt": "text"}}, "columns must name prompt and choices"),
        ({"columns": {"prompt": "text", "choices": "options"}}, "target, user_choice or both"),
        ({"columns": COLUMNS | {"letter": "gold"}}, "may name target, .*got .*letter"),
        ({"columns": COLUMNS | {"source": "origin"}}, "mine.jsonl: source: there is no column origin; got"),
        ({"prompts": "other.jsonl"}, "there is no file .*other.jsonl; wanted a file"),
    ],
)
def test_a_wrong_record_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(sc.DataError, match=words):
        sc.load_task(write_task(tmp_path, **changes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gold": 2}, "line 2: target must be one of the choices .*, got 2"),
        ({"options": [" yes"]}, "line 2: choices must be at least two texts"),
        ({"text": ""}, "line 2: prompt must be a text, got ''"),
        ({"text": 3}, r"line 2: wanted a text or messages \(a list of role and content\), got int"),
        ({"text": [{"role": "user"}]}, "line 2: each of messages must hold a role and a text as its content"),
        (ROWS[0], "line 2: the same question, arm and prompt stand in line 1 too"),
    ],
)
def test_a_wrong_row_is_refused_by_number(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(sc.DataError, match=words):
        sc.load_task(write_task(tmp_path, [ROWS[0], ROWS[1] | change]))


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sc.DataError, match=r"none\.json: wanted a JSON file that describes a task"):
        sc.evaluate(tiny_model(), tasks=(str(tmp_path / "none.json"),))


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(sc.DataError, match="two tasks are named 'parity'"):
        sc.evaluate(tiny_model(), tasks=(str(write_task(tmp_path)),) * 2)


@pytest.mark.parametrize(("limit", "wanted"), [(8, (4, 4)), (5, (2, 3)), (12, (5, 7)), (None, (5, 20))])
def test_of_own_claims_as_many_true_as_false_ones_are_drawn(limit: int | None, wanted: tuple[int, int]) -> None:
    rows = [{"text": f"claim {n}", "truth": n % 5 == 0} for n in range(25)]
    claims = sc.read_claims(pa.Table.from_pylist(rows))
    prompts = task_prompts("claims", options=sc.TaskOptions(claims=claims), limit=limit)["claims"]
    asked = {row["claim_id"]: row["is_true"] for row in prompts.to_pylist()}
    num_true = sum(asked.values())
    assert sorted((num_true, len(asked) - num_true)) == sorted(wanted)
    assert list(asked) == [name for name in claims["id"].to_pylist() if name in asked]  # in their order


@pytest.mark.parametrize(("right", "wanted"), [("C", " Paris"), ("2", " Paris"), ("Paris", " Paris"), ("D", " Nice")])
def test_an_empty_cell_shifts_no_letter_and_no_place(right: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(f"question,A,B,C,D,right,user\nQ?,Lyon,,Paris,Nice,{right},A\n")
    asked = {"choices": ["A", "B", "C", "D"], "target": "right"}
    (row,) = sc.read_questions(tmp_path / "mine.csv", **asked).to_pylist()
    assert row["choices"] == [" Lyon", " Paris", " Nice"]
    assert row["choices"][row["target"]] == wanted
    assert row["user_choice"] == 0


@pytest.mark.parametrize("right", ["B", "1"])
def test_a_right_choice_whose_cell_is_empty_is_a_fault(right: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(f"question,A,B,C,D,right\nQ?,Lyon,,Paris,Nice,{right}\n")
    with pytest.raises(sc.DataError, match=f"line 2: target must be one of the choices .*, got '?{right}.* is empty"):
        sc.read_questions(tmp_path / "mine.csv", choices=["A", "B", "C", "D"], target="right")


@pytest.mark.parametrize(
    ("rights", "is_warned"),
    [(("1", "2"), True), (("0", "2"), False), (("B", "2"), False), (("1", "7"), False)],
)
def test_places_that_may_count_from_one_are_warned_of(rights: tuple[str, str], is_warned: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(f"question,A,B,C,right\nQ?,x,y,z,{rights[0]}\nR?,6,7,8,{rights[1]}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sc.read_questions(tmp_path / "mine.csv")
    assert ["count from 0, and no row names place 0" in str(one.message) for one in caught] == [True] * is_warned


def test_white_space_at_a_choices_end_is_not_scored(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,A,B,C,right\nQ?,Lima ,Quito\t,  ,Lima\n")
    (row,) = sc.read_questions(tmp_path / "mine.csv").to_pylist()
    assert (row["choices"], row["target"]) == ([" Lima", " Quito"], 0)


def test_a_choice_that_is_there_twice_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,A,B,C,right\nQ?,x,y,z,A\nR?,x,y,x ,A\n")
    with pytest.raises(sc.DataError, match="line 3: choices must differ, got 'x' twice"):
        sc.read_questions(tmp_path / "mine.csv")


def test_null_in_a_list_of_choices_is_a_fault() -> None:
    table = pa.table({"prompt": ["Q?"], "choices": [["x", None, "y"]], "target": ["y"]})
    with pytest.raises(sc.DataError, match=r"row 0: choices must be at least two texts, got \['x', '', 'y'\]"):
        sc.read_questions(table)


CONTAINERS = ("csv", "whole numbers", "fractions", "json lines")


def numbered(container: str, choices: list[int], right: int, folder: Path) -> Any:
    """Return one question with numbers as choices, as each kind of table keeps it."""
    names = ["a", "b", "c"]
    if container == "csv":
        (folder / "mine.csv").write_text(f"prompt,a,b,c,right\nQ?,{','.join(map(str, choices))},{right}\n")
        return folder / "mine.csv"
    row: dict[str, Any] = {"prompt": "Q?", **dict(zip(names, choices, strict=True)), "right": right}
    if container == "json lines":
        (folder / "mine.jsonl").write_text(json.dumps(row))
        return folder / "mine.jsonl"
    return pa.Table.from_pylist([row | ({"right": float(right)} if container == "fractions" else {})])


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_number_names_the_same_choice_in_every_kind_of_table(container: str, tmp_path: Path) -> None:
    asked = {"choices": ["a", "b", "c"], "target": "right"}
    for choices, right, wanted in (
        ([2, 1, 3], 1, 1),  # text and place agree
        ([2, 1, 3], 3, 2),  # there is no place 3
        ([20, 10, 30], 10, 1),
        ([20, 10, 30], 2, 2),  # no choice reads 2
    ):
        found = sc.read_questions(numbered(container, choices, right, tmp_path), **asked)
        assert found["target"].to_pylist() == [wanted]
    with pytest.raises(sc.DataError, match=r"target 2 is the text of choice A and the place of choice C; say the let"):
        sc.read_questions(numbered(container, [2, 1, 3], 2, tmp_path), **asked)


@pytest.mark.parametrize(
    "head",
    [
        "question,A,B,C,answer",
        "Question,Option A,Option B,Option C,Correct Answer",
        "QUESTION,c_b,a,b,c,Right",
        "question,option_1,option_2,option_3,correct",
        "question,Answer 1,Answer 2,Answer 3,label",
    ],
)
def test_columns_named_by_letters_are_choices(head: str, tmp_path: Path) -> None:
    names = head.split(",")
    (tmp_path / "quiz.csv").write_text(f"{head}\nWhich?,{'-,' * (len(names) - 5)}Mars,Venus,Pluto,B\n")
    (row,) = sc.read_questions(tmp_path / "quiz.csv").to_pylist()
    assert (row["choices"], row["target"]) == ([" Mars", " Venus", " Pluto"], 1)


def test_numbered_columns_beyond_the_ninth_are_choices_in_their_order() -> None:
    texts = {f"option_{place}": [f"text {place}"] for place in (10, 9, 11, *range(1, 9))}
    (row,) = sc.read_questions(pa.table({"question": ["Which?"], **texts, "answer": ["text 10"]})).to_pylist()
    assert row["choices"] == [f" text {place}" for place in range(1, 12)]
    assert row["target"] == 9


@pytest.mark.parametrize(
    "head",
    ["question,B,C,answer", "question,A,C,answer", "question,A,option a,answer", "question,option_2,option_3,answer"],
)
def test_other_letters_are_not_taken_for_choices(head: str, tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text(f"{head}\nWhich?,Mars,Venus,B\n")
    with pytest.raises(sc.DataError, match=r"quiz\.csv has no column of choices \(choices or options\)"):
        sc.read_questions(tmp_path / "quiz.csv")


def test_two_columns_that_may_hold_the_right_choice_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text("question,A,B,answer,target\nWhich?,Mars,Venus,A,B\n")
    with pytest.warns(
        UserWarning, match=r"quiz\.csv: target may be the column target or answer; target is read; say which"
    ):
        found = sc.read_questions(tmp_path / "quiz.csv")
    assert found["target"].to_pylist() == [1]
    assert sc.read_questions(tmp_path / "quiz.csv", target="answer")["target"].to_pylist() == [0]


def test_a_file_without_users_is_said_to_measure_accuracy_alone(tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text("question,A,B,answer\nWhich?,Mars,Venus,A\n")
    quiz = str(tmp_path / "quiz.csv")
    with pytest.warns(UserWarning, match=r"task quiz: no user states a view, so that only accuracy is measured"):
        assert set(task_prompts(quiz)["quiz"]["arm"].to_pylist()) == {"none"}
    assert "agree" in task_prompts(quiz, options=sc.TaskOptions(users=True))["quiz"]["arm"].to_pylist()
