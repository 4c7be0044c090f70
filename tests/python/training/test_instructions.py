"""Instruction data: every form gives the same rows, a draw is that of the whole, faults name file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sycophancy_core as sc
import sycophancy_core._core as _core
from sycophancy_core.errors import FaultsError

RECORDS = [{"instruction": f"Do {i}.", "input": "" if i % 2 else f"in {i}", "output": f"out {i}"} for i in range(50)]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")  # blank lines are passed over
    return path


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return path


def hub_folder(folder: Path) -> Path:
    """Lay out the records as the hub does: shards of the train split, and another split."""
    write_parquet(folder / "data" / "train-00000-of-00002.parquet", RECORDS[:30])
    write_parquet(folder / "data" / "train-00001-of-00002.parquet", RECORDS[30:])
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", RECORDS[:3])
    return folder


@pytest.mark.parametrize("form", ["jsonl", "parquet", "hub folder"])
def test_every_form_gives_the_same_rows_and_a_draw_is_of_the_whole(form: str, tmp_path: Path) -> None:
    path = {
        "jsonl": lambda: write_jsonl(tmp_path / "mine.jsonl", RECORDS),
        "parquet": lambda: write_parquet(tmp_path / "mine.parquet", RECORDS),
        "hub folder": lambda: hub_folder(tmp_path / "set"),
    }[form]()
    whole = sc.load_instructions(path)
    wanted = [record | {"turns": None} for record in RECORDS]
    assert whole.to_pylist() == wanted
    for limit in (0, 1, 20, 50, 80):
        at = _core.sample_positions(50, min(limit, 50), 4)
        assert sc.load_instructions(path, limit=limit, seed=4).to_pylist() == [wanted[i] for i in at]


@pytest.mark.parametrize(
    ("read", "passed_over"),
    [
        (["default/train/0000.jsonl"], ["default/test/0000.jsonl", "default/validation/0000.jsonl"]),
        (["data/train/part.jsonl"], ["data/test/part.jsonl"]),
        (["alpaca_train.jsonl", "dolly.jsonl"], ["alpaca_test.jsonl"]),  # a file without a split is no other split's
        (["train-00000.jsonl", "train-00001.jsonl"], ["dev.jsonl", "evaluation.jsonl"]),
        (["my-eval-set/Train.jsonl"], ["my-eval-set/val.jsonl"]),  # the split that is named last
        (["alpaca.jsonl"], ["alpaca-test.jsonl"]),
        (["contest.jsonl", "trains/valley.jsonl"], []),  # no words of their own
    ],
)
def test_of_a_folder_all_is_read_that_names_the_train_split_or_none(
    read: list[str], passed_over: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "test"  # only what stands below the folder names a split
    for name in read + passed_over:
        write_jsonl(folder / name, [{"instruction": name, "output": "x"}])
    assert sc.load_instructions(folder)["instruction"].to_pylist() == sorted(read)


def test_a_chat_reads_like_the_dialogue_that_it_is(tmp_path: Path) -> None:
    turns = [
        ("system", "Be kind."),
        ("user", "Hi?"),
        ("assistant", "Hello."),
        ("user", "And {you}?"),
        ("assistant", "Fine."),
    ]
    chat = {"messages": [{"role": role, "content": text} for role, text in turns]}
    rows = sc.load_instructions(write_jsonl(tmp_path / "chat.jsonl", [chat, {"messages": chat["messages"][1:3]}]))
    drawn = pa.table(_core.draw_instructions(rows, source="chat", count=2, seed=0)).to_pylist()
    assert sorted((row["prompt"], row["completion"]) for row in drawn) == [
        ("Human: Be kind.\n\nHi?\n\nAssistant: Hello.\n\nHuman: And {you}?\n\nAssistant:", " Fine."),
        ("Human: Hi?\n\nAssistant:", " Hello."),
    ]
    assert sorted((row["turns"] for row in drawn), key=len) == [chat["messages"][1:2], chat["messages"][:-1]]
    trl = {"prompt": chat["messages"][:-1], "completion": chat["messages"][-1:]}
    assert sc.load_instructions(write_jsonl(tmp_path / "trl.jsonl", [trl])).equals(rows.slice(0, 1))
    assert sc.load_instructions(write_parquet(tmp_path / "chat.parquet", [chat])).equals(rows.slice(0, 1))


def test_input_may_be_left_out(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl",
        [{"instruction": "Go.", "output": "Gone."}, {"instruction": "a", "input": None, "output": "b"}],
    )
    assert sc.load_instructions(path)["input"].to_pylist() == ["", ""]


CHAT = {"role": "user", "content": "Hi?"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "x", "completion": "y"},
            "line 3: wanted the keys instruction and output, or messages, got prompt, comp",
        ),
        ({"instruction": "x", "output": 3}, "line 3: 'output' must be a text, got int"),
        ({"instruction": "x", "output": " "}, "line 3: 'output' must be an answer, got an empty text"),
        ({"messages": [CHAT]}, "line 3: messages must end with the assistant's answer, got one of user last;"),
        ({"messages": []}, "line 3: messages must be of user .* got none"),
        ({"messages": [CHAT, {"role": "tool", "content": "x"}]}, "got user, tool;"),
        ({"messages": [{"role": "user", "content": [1]}]}, "line 3: each of messages must hold a role and a text"),
        ({"messages": "x"}, "line 3: messages must be of user"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"instruction": "x", "output": "y"}, row])
    with pytest.raises(sc.DataError, match=message):
        sc.load_instructions(path)


def test_every_bad_row_is_listed(tmp_path: Path) -> None:
    good, bad = {"instruction": "x", "output": "y"}, {"conversations": []}
    write_jsonl(tmp_path / "a.jsonl", [good, bad])
    with (tmp_path / "b.jsonl").open("w") as file:
        file.write(f"{json.dumps(bad)}\n[1\n{json.dumps(good)}\n")
    with pytest.raises(FaultsError) as refused:
        sc.load_instructions(tmp_path)
    assert [fault.partition(": wanted")[0] for fault in refused.value.faults] == [
        f"{tmp_path / 'a.jsonl'}: line 3",
        f"{tmp_path / 'b.jsonl'}: line 1",
        f"{tmp_path / 'b.jsonl'}: line 2",
    ]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(sc.DataError, match=r"none\.jsonl: wanted at least one row, got none"):
        sc.load_instructions(tmp_path / "none.jsonl")


def test_a_bad_file_or_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"instruction": "x", "output": "y"}\n[1\n')
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "half.jsonl").write_text(
        '{"instruction": "\\ud83d\\ude00", "output": ""}\n{"instruction": "\\uD83D", "output": ""}'
    )
    (tmp_path / "latin.jsonl").write_bytes(b'{"instruction": "caf\xe9", "output": ""}')
    (tmp_path / "bad.parquet").write_text("no")
    for name, message in (
        ("bad.jsonl", "bad.jsonl: line 2: wanted JSON, got Expecting"),
        ("half.jsonl", r"half.jsonl: line 2: wanted text, got half a surrogate pair \('\\ud83d'\); write the char"),
        ("latin.jsonl", "latin.jsonl: line 1: wanted UTF-8, got the byte 0xe9"),
        ("list.jsonl", "line 1: wanted a JSON object, got list"),
        ("bad.parquet", "bad.parquet: wanted a Parquet file"),
        ("nowhere", "nowhere: wanted a .jsonl or .parquet file or a folder of them, got nothing there"),
        ("", "of one kind, got bad.jsonl, bad.parquet, half.jsonl, l"),
    ):
        with pytest.raises(sc.DataError, match=message):
            sc.load_instructions(tmp_path / name)
    with pytest.raises(sc.DataError, match="limit must be at least 0 or None, got -1"):
        sc.load_instructions(limit=-1)


def test_the_packaged_rows_come_without_a_path() -> None:
    assert sc.load_instructions().num_rows == 180
    assert sc.load_instructions(limit=7).num_rows == 7
