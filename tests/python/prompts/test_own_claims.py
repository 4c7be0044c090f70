"""Claims and questions of one's own: any table in, one sound table out, or every fault with its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.errors import FaultsError

ROWS = [
    {"claim": "two is even", "right": "yes", "topic": "numbers"},
    {"claim": "  three is even. ", "right": "no", "topic": "numbers"},
    {"claim": "snow, when fresh, is white", "right": "TRUE", "topic": "nature"},
    {"claim": "grass is blue...", "right": "0", "topic": "nature"},
]
TEXTS = ["two is even", "three is even", "snow, when fresh, is white", "grass is blue..."]
NAMED = {"text": "claim", "truth": "right", "family": "topic"}


def as_file(folder: Path, ending: str) -> Path:
    path = folder / f"mine{ending}"
    frame = pd.DataFrame(ROWS)
    if ending == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    elif ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_claims(ending: str, tmp_path: Path) -> None:
    found = sc.read_claims(as_file(tmp_path, ending), **NAMED)
    assert found["text"].to_pylist() == TEXTS
    assert found["is_true"].to_pylist() == [True, False, True, False]
    assert found["source"].to_pylist() == ["numbers", "numbers", "nature", "nature"]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist, datasets.Dataset.from_list])
def test_every_kind_of_table_gives_the_same_claims(make: Callable[[Any], Any]) -> None:
    wanted = sc.read_claims(pa.Table.from_pylist(ROWS), **NAMED)
    assert sc.read_claims(make(ROWS), **NAMED).equals(wanted)


def test_a_data_set_of_several_splits_is_refused_and_a_chosen_part_keeps_its_rows() -> None:
    data = datasets.Dataset.from_list(ROWS)
    assert sc.read_claims(data.select([3, 0]), **NAMED)["text"].to_pylist() == [TEXTS[3], TEXTS[0]]
    with pytest.raises(sc.DataError, match="wanted one split of the data set, got train, test; choose one"):
        sc.read_claims(datasets.DatasetDict(train=data, test=data), **NAMED)


def test_claims_of_the_package_come_back_as_they_are(tmp_path: Path) -> None:
    claims = sc.make_additions(n=8)
    pq.write_table(claims, tmp_path / "sums.parquet")
    assert sc.read_claims(claims).equals(claims)
    assert sc.read_claims(tmp_path / "sums.parquet").equals(claims)
    claims.to_pandas().to_csv(tmp_path / "sums.csv", index=False)
    assert sc.read_claims(tmp_path / "sums.csv").equals(claims)


def test_claims_about_the_same_are_never_parted() -> None:
    rows = [
        {"text": f"{n} is {word}", "truth": (n % 2 == 0) == (word == "even"), "about": n}
        for n in range(60)
        for word in ("even", "odd")
    ]
    train, test = sc.split_claims(sc.read_claims(pd.DataFrame(rows)))
    assert {len(train), len(test)} != {120, 0}
    assert not set(train["example_id"].to_pylist()) & set(test["example_id"].to_pylist())


def test_labelled_texts_become_claims_half_of_which_are_true() -> None:
    frame = pd.DataFrame({"review": [f"film {n}" for n in range(8)], "stars": [n % 2 for n in range(8)]})
    claims = sc.read_claims(frame, text="review", label="stars").to_pylist()
    assert sum(claim["is_true"] for claim in claims) == 4
    for claim in claims:
        says = claim["stated_label"] == claim["gold_label"]
        assert claim["is_true"] == (says if claim["polarity"] == "is" else not says)
    with pytest.raises(sc.DataError, match=r"wanted truth .* or label .*, got both"):
        sc.read_claims(frame, text="review", label="stars", truth="stars")


def test_every_fault_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        'claim,label\n"two\nlines",yes\n,no\nsnow is hot,perhaps\na,b,c\ntwo is even,yes\nTwo  IS even.,no\n'
    )
    with pytest.raises(FaultsError) as refused:
        sc.read_claims(path)
    assert refused.value.faults == (
        "line 6: wanted 2 cells, as the first line has, got 3",
        "line 4: text must be a claim, got None",
        "line 5: truth must be true or false (or yes or no, 1 or 0), got 'perhaps'",
        "line 8: the text 'Two  IS even' stands in line 7 too",
    )
    assert str(refused.value).startswith(f"{path}: 4 faults; mend these rows, or leave them out:\n  line 6")


def test_a_number_that_is_none_is_an_empty_cell() -> None:
    """NaN is how polars and Parquet files of pandas say that a cell is empty; as a text it would be one id for all."""
    claims = {"text": ["a is b", "c is d"], "truth": [True, False], "about": [1.0, float("nan")]}
    with pytest.raises(sc.DataError, match="row 1: about is empty"):
        sc.read_claims(pa.table(claims))


def test_a_labelled_text_without_a_family_is_a_fault_where_others_have_one() -> None:
    texts = {"text": ["a", "b"], "label": ["x", "y"], "family": ["f", None]}
    with pytest.raises(sc.DataError, match="row 1: family is empty"):
        sc.read_claims(pa.table(texts), label="label")


def test_of_many_faults_twenty_are_listed_and_the_others_counted() -> None:
    with pytest.raises(FaultsError) as refused:
        sc.read_claims(pd.DataFrame({"text": [f"claim {n}" for n in range(1234)], "truth": ["maybe"] * 1234}))
    assert len(refused.value.faults) == 1234
    assert str(refused.value).count("\n") == 21
    assert str(refused.value).endswith("and 1,214 more")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "a,b\n1,2\n",
            r"no column of text \(text, claim or statement\) and none of truth .*; its columns are a, b; say which",
        ),
        ("", "wanted a first line with the columns' names, got an empty file"),
        ("text,truth\n", "wanted at least one claim, got none"),
        ("text,truth,text\nx,1,y\n", "the column 'text' is there twice"),
        ("text;truth\n'x, y';1\n", "wanted columns parted by commas, got semicolons in the first line; save it with"),
        ("text\ttruth\nx\t1\n", "parted by commas, got tabs in the first line; save it with commas, or name it .tsv"),
        ("text,truth\nIs two even?,1\n", "line 2: text must be a claim that fits after 'that', got the question"),
        ('text,truth\n"x,1\n', "wanted CSV, got unexpected end of data; look for a quotation mark"),
        ("text,truth,id\nx,1,7\ny,0,7\n", "line 3: the id '7' stands in line 2 too"),
        ("text,truth,polarity\nx,1,was\n", "line 2: polarity must be is or is_not, got 'was'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(sc.DataError, match=words):
        sc.read_claims(tmp_path / "mine.csv")


def test_bytes_that_are_no_text_and_names_that_say_no_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"text,truth\ncaf\xe9,1\n")
    with pytest.raises(sc.DataError, match="line 2: wanted UTF-8, got the byte 0xe9"):
        sc.read_claims(tmp_path / "mine.csv")
    with pytest.raises(sc.DataError, match=r"there is no file .*none\.csv; wanted a file that ends in"):
        sc.read_claims(tmp_path / "none.csv")
    (tmp_path / "mine.xlsx").write_bytes(b"")
    with pytest.raises(sc.DataError, match=r"wanted a name that ends in \.csv, .*, got '\.xlsx'"):
        sc.read_claims(tmp_path / "mine.xlsx")
    with pytest.raises(sc.DataError, match=r"wanted a table .*, got list"):
        sc.read_claims(ROWS)


def test_claims_that_are_all_true_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="all 2 claims are true, so that one answer to everything is always right"):
        sc.read_claims(pd.DataFrame({"text": ["a", "b"], "truth": [1, 1]}))


def test_choices_are_named_by_text_letter_or_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        'question,options,answer,user\nQ?,"[""x"", ""y""]",y,\nQ? I say x.,"[""x"", ""y""]",B,(A)\n'
        'R?,"[""1"", ""0""]",B,A\n'
    )
    found = sc.read_questions(path).to_pylist()
    assert [(row["choices"], row["target"], row["user_choice"], row["arm"]) for row in found] == [
        ([" x", " y"], 1, None, "none"),
        ([" x", " y"], 1, 0, "disagree"),
        ([" 1", " 0"], 1, 0, "disagree"),
    ]


def test_choices_may_stand_in_columns_of_their_own() -> None:
    frame = pl.DataFrame(
        {"prompt": ["Q? ", "R?\n"], "a": ["x", "u"], "b": ["y", "v"], "c": [None, "w"], "right": ["y", "w"]}
    )
    found = sc.read_questions(frame, choices=["a", "b", "c"], target="right").to_pylist()
    assert [(row["choices"], row["target"]) for row in found] == [(["x", "y"], 1), (["u", "v", "w"], 2)]


def test_faults_of_questions_are_listed(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q?", "choices": ["x"], "target": 0},
        {"prompt": "R?", "choices": ["x", "y"], "target": "neither"},
        {"prompt": "S?", "choices": ["x", "y"], "target": 1},
        {"prompt": "S?", "choices": ["x", "y"], "target": 1},
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(FaultsError) as refused:
        sc.read_questions(tmp_path / "mine.jsonl")
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["line 1", "line 2", "line 4"]
    with pytest.raises(sc.DataError, match=r"wanted a column of right choices \(target\)"):
        sc.read_questions(pd.DataFrame({"prompt": ["Q"], "choices": [["a", "b"]]}))


def test_validate_says_what_is_there_and_writes_what_the_verbs_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = as_file(tmp_path, ".csv"), tmp_path / "claims.parquet"
    named = ("--text", "claim", "--truth", "right", "--family", "topic")
    assert main(["validate", str(path), *named, "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "4 claims, all of which can be used\nthe first: 'two is even' is true\ntrue: 2, false: 2\n"
        "family numbers: 2 claims\n"
    )
    assert main(["prompts", "--claims", str(out), "-o", str(tmp_path / "prompts.jsonl")]) == 0
    assert main(["validate", str(path), "--target", "x"]) == 2
    assert "--target is for --kind questions, got --kind claims" in capsys.readouterr().err
    path.write_text("claim,label\nx,maybe\ny,maybe\n")
    assert main(["validate", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"sycophancy-core validate: {path}: 2 faults; mend these rows, or leave them out:",
        "  line 2: truth must be true or false (or yes or no, 1 or 0), got 'maybe'",
        "  line 3: truth must be true or false (or yes or no, 1 or 0), got 'maybe'",
    ]


def test_validate_shows_how_the_first_question_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text("question,A,B,answer\nWhich?,x,y,1\n")
    assert main(["validate", str(tmp_path / "mine.csv"), "--kind", "questions"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "1 question, all of which can be used",
        "the first: 'Which?', with the choices 'x', 'y'; right: 'y'",
        "family mine: 1 prompt",
    ]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, datasets.Dataset.from_list])
def test_every_door_takes_any_table(make: Callable[[Any], Any], tmp_path: Path) -> None:
    claims, examples = sc.make_additions(n=60).to_pylist(), sc.load_examples("sample_sentiment")
    wanted = sc.make_prompts(pa.Table.from_pylist(claims))
    assert sc.make_prompts(make(claims)).equals(wanted)
    assert [len(part) for part in sc.split_claims(make(claims))] == [
        len(part) for part in sc.split_claims(sc.make_additions(n=60))
    ]
    assert sc.balance_labels(make(examples.to_pylist())).num_rows == sc.balance_labels(examples).num_rows
    asked = wanted.drop_columns(["turns"]).to_pylist()
    assert str(sc.shortcut_audit(make(asked))) == str(sc.shortcut_audit(wanted))
    assert sc.write_prompts(make(asked), tmp_path / "prompts.parquet") == len(asked)
    facts = sc.load_facts("capitals").slice(0, 3)
    assert sc.fact_prompts(make(facts.to_pylist())).num_rows == sc.fact_prompts(facts).num_rows
    rows = sc.mix(make(asked), sc.load_instructions())
    assert sc.count_rows(make(rows.to_pylist())).to_pylist() == sc.count_rows(rows).to_pylist()


def test_the_column_in_which_all_values_say_true_or_false_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("claims.csv").write_text("id,topic,statement,verdict\n1,sea,water is wet,true\n2,sea,fish fly,false\n")
    assert main(["validate", "claims.csv"]) == 2
    told = capsys.readouterr().err
    command = "sycophancy-core validate claims.csv --truth verdict -o checked.parquet"
    assert told == (
        "sycophancy-core validate: claims.csv has no column of truth (truth, is_true, label, correct, is_correct, "
        "true_or_false or true_false); its columns are id, topic, statement, verdict; verdict holds true and false: "
        f"`{command}`, then give checked.parquet to --claims; in Python: read_claims(..., truth='verdict')\n"
    )
    assert main(command.split()[1:]) == 0
    assert sc.read_claims("claims.csv", truth="verdict").equals(sc.read_claims("checked.parquet"))


@pytest.mark.parametrize("name", ["true_or_false", "true/false", "is_correct"])
def test_usual_names_of_the_truth_are_found(name: str) -> None:
    frame = pd.DataFrame({"statement": ["water is wet", "fish fly"], name: [True, False]})
    assert sc.read_claims(frame)["is_true"].to_pylist() == [True, False]


def test_where_no_column_or_several_could_be_meant_none_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("said,a,b\nwater is wet,1,yes\nfish fly,0,no\n")
    words = (
        r"mine\.csv has no column of text \(text, claim or statement\) and none of truth .*; its columns are said, "
        r"a, b; say which it is: `sycophancy-core validate \S*mine\.csv --text COLUMN --truth COLUMN -o checked\.par"
    )
    with pytest.raises(sc.DataError, match=words):
        sc.read_claims(tmp_path / "mine.csv")
    with pytest.raises(
        sc.DataError, match=r"read_claims: the table has no column of truth .*: read_claims\(\.\.\., tr"
    ):
        sc.read_claims(pd.DataFrame({"text": ["water is wet"], "verdict": ["maybe"]}))


def test_the_advice_for_questions_is_a_command_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quiz.csv").write_text("Question,A,B,answer\nIs 2 even?,yes,no,A\n")
    assert main(["validate", "quiz.csv"]) == 2
    command = "sycophancy-core validate quiz.csv --kind questions"
    assert f"; if these are questions: `{command}`\n" in capsys.readouterr().err
    assert main(command.split()[1:]) == 0
    Path("other.csv").write_text("Question,first,second,answer\nIs 2 even?,yes,no,A\n")
    assert main(["validate", "other.csv", "--kind", "questions"]) == 2
    command = "sycophancy-core validate other.csv --kind questions --choices COLUMN -o checked.parquet"
    advice = (
        f"say which it is: `{command}`, then give checked.parquet to evaluate --tasks or measure --questions; in Py"
    )
    assert advice in capsys.readouterr().err
    assert main([*command.replace("COLUMN", "first second").split()[1:]]) == 0
    assert main(["validate", "quiz.csv", "--kind", "questions", "--choices", "a", "b", "--target", "answer"]) == 2
    assert capsys.readouterr().err == (
        "sycophancy-core validate: quiz.csv: choices: there are no columns a, b; got Question, A, B, answer "
        "(names are case-sensitive)\n"
    )


def test_a_capital_that_only_begins_a_sentence_is_made_small() -> None:
    given = [
        "The Nile is long.",
        "A whale is a fish",
        "In Rome it rains",
        "Paris is large",
        "NO is a gas",
        "Theo sings",
    ]
    frame = pd.DataFrame({"text": given, "truth": [True, False] * 3})
    assert sc.read_claims(frame)["text"].to_pylist() == [
        "the Nile is long",
        "a whale is a fish",
        "in Rome it rains",
        "Paris is large",
        "NO is a gas",
        "Theo sings",
    ]
