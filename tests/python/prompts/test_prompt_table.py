"""Prompts in files."""

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sycophancy_core import DataError, generate, load_examples, make_claims, make_prompts
from sycophancy_core.cli import main
from sycophancy_core.prompts.generation import stream_prompts
from sycophancy_core.prompts.prompt_table import TURNS, prompt_schema, read_prompts, write_prompts


def test_streams_and_tables_give_the_same_files(tmp_path: Path) -> None:
    examples = load_examples()
    table = generate(examples, n=20_000, repeat_claims=True)
    for suffix in ("parquet", "jsonl"):
        reader = stream_prompts(examples, n=20_000, repeat_claims=True)
        assert write_prompts(reader, tmp_path / f"stream.{suffix}") == 20_000
        assert write_prompts(table, tmp_path / f"table.{suffix}") == 20_000
    written = [(tmp_path / f"{name}.jsonl").read_bytes() for name in ("stream", "table")]
    assert written[0] == written[1]
    assert [json.loads(line) for line in written[0].splitlines()[:100]] == table.slice(0, 100).to_pylist()
    for name in ("stream", "table"):
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(table)


def test_written_prompts_are_read_again_in_either_form(tmp_path: Path) -> None:
    table = make_prompts(make_claims(load_examples(limit=2)))  # without an opinion, user_choice is null
    for prompts in (table, table.filter(pc.equal(table["arm"], "none"))):
        for suffix in ("parquet", "jsonl"):
            write_prompts(prompts, tmp_path / f"prompts.{suffix}")
            assert read_prompts(tmp_path / f"prompts.{suffix}").to_pylist() == prompts.to_pylist()
    (tmp_path / "odd.jsonl").write_text('{"id": "a"}\n{"id": 1}\n')
    with pytest.raises(DataError, match=r"odd\.jsonl: wanted one kind of value a key"):
        read_prompts(tmp_path / "odd.jsonl")
    with pytest.raises(DataError, match=r"there is no file .*none\.jsonl"):
        read_prompts(tmp_path / "none.jsonl")


def test_prompts_as_messages_and_turns_of_version_0_1_are_read_as_they_are(tmp_path: Path) -> None:
    messages = [{"content": "Is it?", "role": "user"}]
    for row in (
        {"prompt": messages},
        {"prompt": "Is it?", "turns": ["Is it?", ""]},
        {"prompt": "a", "turns": messages},
    ):
        (tmp_path / "own.jsonl").write_text(json.dumps({"id": "1", **row}))
        table = read_prompts(tmp_path / "own.jsonl")
        assert table.to_pylist() == [{"id": "1", **row}]
    assert table.schema.field("turns").type == TURNS
    assert prompt_schema().field("turns").type == TURNS == generate(load_examples(), n=1).schema.field("turns").type


def test_the_mix_takes_prompts_in_either_form(tmp_path: Path) -> None:
    for suffix in ("parquet", "jsonl"):
        asked = str(tmp_path / f"prompts.{suffix}")
        assert main(["generate", "--n", "20", "-o", asked]) == 0
        assert main(["mix", "--prompts", asked, "-o", str(tmp_path / f"{suffix}.rows.parquet")]) == 0
    lines = (tmp_path / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == pq.read_table(tmp_path / "prompts.parquet").to_pylist()
    assert pq.read_table(tmp_path / "jsonl.rows.parquet").equals(pq.read_table(tmp_path / "parquet.rows.parquet"))


def test_a_file_name_says_its_form(tmp_path: Path) -> None:
    table = generate(load_examples(), n=1)
    with pytest.raises(DataError, match=r"wanted a file name that ends in \.parquet, \.jsonl, \.csv, got '\.tsv'"):
        write_prompts(table, tmp_path / "prompts.tsv")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    reader = stream_prompts(load_examples(), n=5)
    reader.read_all()
    write_prompts(reader, tmp_path / "empty.parquet")
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0
