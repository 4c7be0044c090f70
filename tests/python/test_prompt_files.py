"""Prompts in files."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sycophancy_core import DataError, generate, load_examples
from sycophancy_core.generation import stream_prompts
from sycophancy_core.prompt_files import write_prompts


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


def test_a_file_name_says_its_form(tmp_path: Path) -> None:
    table = generate(load_examples(), n=1)
    with pytest.raises(DataError, match=r"wanted a file name that ends in \.parquet or \.jsonl, got '\.tsv'"):
        write_prompts(table, tmp_path / "prompts.tsv")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    reader = stream_prompts(load_examples(), n=5)
    reader.read_all()
    write_prompts(reader, tmp_path / "empty.parquet")
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0
