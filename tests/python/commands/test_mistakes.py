"""Commands that cannot be read: each says what was probably meant, in a command that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from sycophancy_core.cli import main
from sycophancy_core.commands.parser import make_parser


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Run a command that is refused with status 2; return the lines on standard error."""
    try:
        code: object = main(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--limit 4 measure mymodel", "options come after the verb: sycophancy-core measure mymodel --limit 4"),
        ("--limit 4", "wanted a verb, got --limit; the verbs: sycophancy-core --help"),
        ("mesure mymodel --limit 4", "'mesure' is not a verb; did you mean: sycophancy-core measure mymodel --limit 4"),
        ("mymodel --limit 4", "'mymodel' is not a verb; did you mean: sycophancy-core measure mymodel --limit 4"),
        ("models/nosuch", "'models/nosuch' is not a verb; did you mean: sycophancy-core measure models/nosuch"),
        ("quux", "'quux' is not a verb; the verbs: sycophancy-core --help"),
    ],
)
def test_a_command_that_begins_with_no_verb_says_which_was_meant(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mymodel").mkdir()
    assert refused(capsys, *words.split()) == [f"sycophancy-core: {sentence}"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "measure mymodel --tasks facts",
            "measure has no --tasks; evaluate has it: sycophancy-core evaluate mymodel --tasks facts -o OUT",
        ),
        (
            "claims --protocol=mine.json -o x.csv",
            "claims has no --protocol; prompts has it: "
            "sycophancy-core prompts --protocol=mine.json -o x.csv --claims CLAIMS",
        ),
        ("measure mymodel --limmit 4", "measure has no --limmit; did you mean --limit?"),
        ("measure mymodel --quux", "measure has no --quux; its options: sycophancy-core measure --help"),
        ("measure mymodel other", "measure has no place for 'other'"),
    ],
)
def test_a_word_that_a_verb_does_not_know_comes_with_its_usage_and_what_was_meant(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usage, *_, last = refused(capsys, *words.split())
    verb = words.split()[0]
    assert usage.startswith(f"usage: sycophancy-core {verb} ")
    assert last == f"sycophancy-core {verb}: error: {sentence}"


def test_the_command_that_is_suggested_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    *_, last = refused(capsys, "cure", "mymodel", "--dtype", "float32")
    verb, *words = last.partition(": sycophancy-core ")[2].split()
    found = make_parser(verb).parse_args([verb, *words])
    assert (found.model, found.dtype) == ("mymodel", "float32")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("measure --limit 0", "sycophancy-core measure: --limit: wanted a whole number above 0, got '0'"),
        ("measure --limit", "sycophancy-core measure: --limit: expected one argument"),
    ],
)
def test_a_value_that_cannot_be_read_is_one_line(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *words.split()) == [line]
