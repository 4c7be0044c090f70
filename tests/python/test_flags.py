"""Every record of options becomes flags: no field lacks one, and a default stays in its record."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sycophancy_core.cli import main
from sycophancy_core.errors import DataError
from sycophancy_core.flags import add_flags, record_from, set_from_config
from sycophancy_core.prompts.generation import AdditionOptions, ClaimOptions, PromptOptions
from sycophancy_core.results.knowledge_filter import FilterOptions
from sycophancy_core.training.options import FinetuneOptions
from sycophancy_core.training.organism_rows import OrganismOptions

RECORDS = (AdditionOptions, ClaimOptions, PromptOptions, FilterOptions, FinetuneOptions, OrganismOptions)


def parser_of(record: type, *leave_out: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_flags(parser, record, leave_out=leave_out)
    return parser


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_has_a_flag_with_help(record: Any) -> None:
    actions = {action.dest: action for action in parser_of(record)._actions}
    assert {field.name for field in fields(record)} - set(actions) == set()
    assert all((action.help or "").strip() for action in actions.values())
    assert not any(mark in str(action.help) for action in actions.values() for mark in ("`", ":class:", "None"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_without_flags_the_record_has_its_defaults(record: Any) -> None:
    assert record_from(record, parser_of(record).parse_args([])) == record()


def test_flags_set_fields_of_every_kind() -> None:
    line = "--steps 7 --learning-rate 0.5 --train-embeddings --precision float32 --lora-rank none --max-tokens 9"
    given = parser_of(FinetuneOptions).parse_args(line.split())
    made = record_from(FinetuneOptions, given, seed=3)
    wanted = FinetuneOptions(
        steps=7, learning_rate=0.5, train_embeddings=True, precision="float32", lora_rank=None, max_tokens=9, seed=3
    )
    assert made == wanted
    sums = parser_of(AdditionOptions).parse_args(["--operands", "2", "9", "--errors", "far"])
    assert list(sums.operands) == [2, 9]
    assert sums.errors == ["far"]


def test_a_config_stands_for_flags_and_the_command_line_goes_first() -> None:
    parser = parser_of(FinetuneOptions)
    set_from_config(parser, {"steps": 5, "learning-rate": 0.25, "compile_blocks": True}, Path("c.yaml"))
    made = record_from(FinetuneOptions, parser.parse_args(["--steps", "6"]))
    assert made == FinetuneOptions(steps=6, learning_rate=0.25, compile_blocks=True)


def test_a_config_can_give_what_is_required() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("models", nargs="+")
    set_from_config(parser, {"out": "here", "models": ["a", "b"]}, Path("c.yaml"))
    given = parser.parse_args([])
    assert (given.out, given.models) == (Path("here"), ["a", "b"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"step": 5}, r"c\.yaml: there is no option 'step'; wanted one of .*steps"),
        ({"steps": "many"}, r"c\.yaml: steps: .*many"),
        ({"steps": [1, 2]}, r"c\.yaml: steps: wanted one value, got a list"),
        ({"precision": "float16"}, r"c\.yaml: precision: wanted one of auto, float32, bfloat16, got 'float16'"),
        ({"train_embeddings": "yes"}, r"c\.yaml: train_embeddings: wanted true or false, got 'yes'"),
        ({"steps": {"a": 1}}, r"c\.yaml: steps: wanted a text or a number"),
    ],
)
def test_a_wrong_config_is_one_sentence(config: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        set_from_config(parser_of(FinetuneOptions), config, Path("c.yaml"))


def test_a_verb_takes_its_options_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"recipe: wei2023\nseed: 3\nout: {tmp_path / 'from-file.parquet'}\n")
    assert main(["claims", "--config", str(tmp_path / "c.yaml")]) == 0
    claims = pq.read_table(tmp_path / "from-file.parquet")
    assert claims["stated_label"].equals(claims["gold_label"])  # as published
    out = tmp_path / "given.parquet"
    assert main(["claims", "--config", str(tmp_path / "c.yaml"), "--recipe", "balanced", "-o", str(out)]) == 0
    claims = pq.read_table(out)
    assert not claims["stated_label"].equals(claims["gold_label"])


def test_a_config_with_a_misspelt_option_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("recip: wei2023\n")
    assert main(["claims", "--config", str(tmp_path / "c.yaml"), "-o", str(tmp_path / "c.parquet")]) == 2
    assert "there is no option 'recip'; wanted one of" in capsys.readouterr().err
