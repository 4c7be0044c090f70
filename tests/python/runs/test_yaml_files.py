"""YAML: plain values come through, and every other thing is one sentence."""

from pathlib import Path

import pytest

from sycophancy_core.errors import DataError
from sycophancy_core.runs.formats.yaml_files import read_yaml


def test_plain_values_come_through(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: [x, 2.5, null, true]\nc: {d: -9223372036854775808, e: '1'}\n")
    assert read_yaml(path) == {"a": 1, "b": ["x", 2.5, None, True], "c": {"d": -(2**63), "e": "1"}}


def test_nested_anchors_cannot_blow_up(tmp_path: Path) -> None:
    levels = "".join(f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    path = tmp_path / "a.yaml"
    path.write_text("model:\n  - &a0 [x]\n" + levels)
    with pytest.raises(DataError, match=r"a\.yaml: wanted YAML, got an alias \(line 3\); write the part out"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: 2\na: 3\n", 1), ("b: 2\nc:\n  a: 1\n  'a': 2\n", 3)], ids=["top", "inside"]
)
def test_a_key_that_is_there_twice_is_refused(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(
        DataError, match=rf"a\.yaml: wanted YAML, got the key 'a' twice \(from line {line}\); drop one$"
    ):
        read_yaml(path)


@pytest.mark.parametrize(
    "text",
    [
        "a: 2001-13-45",
        "a: 2001-01-01 99:00:00",
        f"a: {'1' * 5000}",
        f"a: 0x{'f' * 5000}",
        "a: 99999999999999999999999",
        "a: 1:59:59:59:59:59:59:59:59:59:59:59:59",
        "a: !!int ''",
        "a: !!float x",
        "a: !!timestamp x",
        "a: !!bool x",
        "a: !!binary é",
        "!!python/object/apply:os.system ['true']",
        "? [a, b]\n: 1",
        'a: "b\\0c"',
        "a: [",
        "- " * 5000,
        "a: \x07",
    ],
)
def test_a_value_without_a_plain_form_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.yaml: wanted YAML, got ") as refused:
        read_yaml(path)
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("#" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="wanted at most 1048576 bytes of YAML, got 1048577"):
        read_yaml(path)
