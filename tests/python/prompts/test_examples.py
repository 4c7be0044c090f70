"""Loading and cleaning of labelled examples."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import generation as reference

from sycophancy_core import DataError, _core, load_examples, load_instructions, make_claims
from sycophancy_core.prompts.dataset_specs import DatasetSpec, packaged_specs, parse_specs
from sycophancy_core.prompts.examples import dropped_of, labels_of, read_hub
from sycophancy_core.prompts.protocols import load_protocol, read_protocol

REAL = Path(__file__).parents[4] / "shared/data/nlp17"
SPEC = {"name": "own", "fields": ["text"], "label": "label", "labels": ["Bad", "Good"]}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_packaged_sample_is_large_labelled_and_of_six_kinds() -> None:
    examples = load_examples()
    assert len(examples) >= 600
    assert len(set(examples["source"].to_pylist())) >= 6
    assert len(set(examples["id"].to_pylist())) == len(examples)
    assert set(labels_of(examples)) == set(examples["source"].to_pylist())
    assert len(load_instructions()) >= 150


@given(st.text())
def test_a_field_is_cleaned_as_published(text: str) -> None:
    wanted = reference.clean(text)
    assert _core.clean_field(text) == ("" if wanted == '""' else wanted)


@given(st.lists(st.fixed_dictionaries({"a": st.sampled_from([None, "", " x", 'x"', "y"]), "b": st.sampled_from("pq"),
                                       "label": st.sampled_from([None, -1, 0, 1, 2, -7])}), min_size=1))  # fmt: skip
def test_rows_are_dropped_and_counted_as_by_the_slow_twin(rows: list[dict[str, Any]]) -> None:
    columns = {key: [row[key] for row in rows] for key in ("a", "b")}
    raw = pa.table({**{key: pa.array(column, pa.string()) for key, column in columns.items()},
                    "label": pa.array([row["label"] for row in rows], pa.int64())})  # fmt: skip
    table, dropped = _core.clean_examples(raw, source="s", fields=["a", "b"], label="label", labels=["no", "yes"])
    cleaned = pa.table(table)
    kept, counts = reference.drop_and_count(rows, ["a", "b"], "label", ["no", "yes"])
    assert list(zip(cleaned["input"].to_pylist(), cleaned["label"].to_pylist(), strict=True)) == kept
    assert dropped == counts
    assert len(kept) + sum(counts.values()) == len(rows)


def test_unlabelled_rows_do_not_become_the_last_label(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "snli.jsonl", [{"premise": "a", "hypothesis": "b", "label": -1},
                                          {"premise": "c", "hypothesis": "d", "label": 2}])  # fmt: skip
    examples = load_examples(folder=tmp_path)
    assert examples["input"].to_pylist() == ['"c" and "d"']
    assert dropped_of(examples)["snli"]["unlabelled"] == 1


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_labels_that_count_from_one_are_refused(suffix: str, tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate([1, 2, 1, -1, None])]
    write_jsonl(tmp_path / "own.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "own.parquet")
    message = r"data set 'own': labels run 1 to 2, wanted 0 to 1, the places in \['Bad', 'Good'\]; .* -1 or null"
    with pytest.raises(DataError, match=message):
        load_examples(spec={**SPEC, "path": str(tmp_path / f"own.{suffix}")})


def test_a_file_that_a_spec_names_must_be_there(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "own.jsonl", [{"text": "fine", "label": 1}])
    specs = [SPEC, {**SPEC, "name": "other"}]
    (tmp_path / "datasets.json").write_text(json.dumps(specs))
    for spec in (specs, None):
        with pytest.raises(DataError, match=r"there is no file .*other\.jsonl of data set 'other'"):
            load_examples(folder=tmp_path, spec=spec)
        assert load_examples("own", folder=tmp_path, spec=spec).num_rows == 1  # only what is asked for
    (tmp_path / "more").mkdir()
    write_jsonl(tmp_path / "more/here.jsonl", [{"text": "fine", "label": 1}])
    specs[1]["path"] = str(tmp_path / "more/here.jsonl")
    assert load_examples(folder=tmp_path, spec=specs)["source"].to_pylist() == ["own", "other"]


def test_files_of_no_data_set_are_named_in_a_warning(tmp_path: Path) -> None:
    for name in ("sst2", "rotten-tomatoes"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"sentence": "fine", "text": "fine", "label": 1}])
    with pytest.warns(UserWarning, match=r"passed over rotten-tomatoes\.jsonl, named after no known data set; rename"):
        assert load_examples(folder=tmp_path).num_rows == 1
    assert load_examples("sst2", folder=tmp_path).num_rows == 1


def test_jsonl_and_parquet_give_the_same_examples(tmp_path: Path) -> None:
    rows = [{"text": "awful", "label": 0, "more": 1}, {"text": "fine\n", "label": 1, "more": 2}]
    for folder in ("jsonl", "parquet"):
        (tmp_path / folder).mkdir()
    write_jsonl(tmp_path / "jsonl/own.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "parquet/own.parquet")
    tables = [load_examples(folder=tmp_path / folder, spec=SPEC) for folder in ("jsonl", "parquet")]
    assert tables[0].equals(tables[1], check_metadata=True)
    assert tables[0]["input"].to_pylist() == ['"awful"', '"fine"']


def test_labels_may_be_names(tmp_path: Path) -> None:
    rows = [{"text": "awful", "label": "Bad"}, {"text": "fine", "label": "Good"}, {"text": "none", "label": None}]
    write_jsonl(tmp_path / "own.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "own.parquet")
    for suffix in ("jsonl", "parquet"):
        examples = load_examples(spec={**SPEC, "path": str(tmp_path / f"own.{suffix}")})
        assert examples["label"].to_pylist() == [0, 1]
    rows[1]["label"] = "Godo"
    write_jsonl(tmp_path / "own.jsonl", rows)
    with pytest.raises(DataError, match=r"own\.jsonl, line 2: unknown label 'Godo'; the labels are 'Bad', 'Good'"):
        load_examples(spec={**SPEC, "path": str(tmp_path / "own.jsonl")})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="unknown label 'Godo'"):
        load_examples(spec={**SPEC, "path": str(tmp_path / "own.parquet")})


TEXTS = pa.array(["awful", "fine", "none"])


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (TEXTS, pa.array([0.0, 1.0, float("nan")])),  # as pandas writes a column with a gap
        (TEXTS, pa.array([0.0, 1.0, None], pa.float32())),
        (TEXTS.cast(pa.string_view()), pa.array(["Bad", "Good", None], pa.string_view())),
        (TEXTS.cast(pa.large_string()), pa.array([False, True, None])),
    ],
)
def test_labels_of_parquet_files_may_have_other_types(texts: pa.Array, labels: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "own.parquet")
    examples = load_examples(spec=SPEC, folder=tmp_path)
    assert examples["input"].to_pylist() == ['"awful"', '"fine"']
    assert examples["label"].to_pylist() == [0, 1]
    assert dropped_of(examples)["own"]["unlabelled"] == 1


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, pa.nulls(3), "no usable example is left; dropped: .*'unlabelled': 3"),
        (pa.nulls(3), pa.array([0, 1, 0]), "no usable example is left; dropped: .*'empty_text': 3"),
        (TEXTS, pa.array([0, 1.5, 0]), r"own\.parquet: column 'label' must hold indices of labels, got 1.5 \(double\)"),
        (TEXTS, pa.array([0, 1, float("inf")]), "must hold indices of labels, got inf"),
        (
            TEXTS,
            pa.array([0, 1, 0], pa.date32()),
            r"own\.parquet: column 'label' .* got date32\[day\]; cast it to",
        ),
        (
            pa.array([1, 2, 3]),
            pa.array([0, 1, 0]),
            r"own\.parquet: column 'text' must hold strings, got int64; cast it",
        ),
    ],
)
def test_columns_of_parquet_files_without_labels_or_texts_are_named(
    texts: pa.Array, labels: pa.Array, message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=message):
        load_examples(spec=SPEC, folder=tmp_path)


def test_labels_of_json_lines_may_be_whole_numbers_of_any_kind_and_booleans(tmp_path: Path) -> None:
    rows = [{"text": str(value), "label": value} for value in (0.0, 1.0, False, True, -1.0)]
    write_jsonl(tmp_path / "own.jsonl", rows)
    examples = load_examples(folder=tmp_path, spec=SPEC)
    assert examples["label"].to_pylist() == [0, 1, 0, 1]
    assert dropped_of(examples)["own"]["unlabelled"] == 1


def test_tables_joined_by_hand_need_the_labels_of_all(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "own.jsonl", [{"text": "awful", "label": 0}, {"text": "fine", "label": 1}])
    tables = [load_examples("sample_topic"), load_examples(folder=tmp_path, spec=SPEC)]
    joined = pa.concat_tables(tables)
    with pytest.raises(DataError, match=r"lacks source 'own', as after pyarrow\.concat_tables, .* examples\.labels_of"):
        make_claims(joined)
    labels = labels_of(tables[0]) | labels_of(tables[1])
    joined = joined.replace_schema_metadata({"sycophancy_core.labels": json.dumps(labels)})
    assert make_claims(joined).num_rows == joined.num_rows


def test_ids_depend_on_content_and_source_only(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(20)]
    write_jsonl(tmp_path / "own.jsonl", rows)
    ids = dict(
        zip(*load_examples(folder=tmp_path, spec=SPEC).select(["input", "id"]).to_pydict().values(), strict=True)
    )
    write_jsonl(tmp_path / "own.jsonl", rows[::-1])
    again = load_examples(folder=tmp_path, spec=SPEC)
    assert dict(zip(again["input"].to_pylist(), again["id"].to_pylist(), strict=True)) == ids
    (tmp_path / "own.jsonl").rename(tmp_path / "other.jsonl")
    other = load_examples(folder=tmp_path, spec={**SPEC, "name": "other"})
    assert not set(other["id"].to_pylist()) & set(ids.values())


def test_a_limit_draws_the_same_examples_for_the_same_seed() -> None:
    drawn = [load_examples(limit=10, seed=seed)["id"].to_pylist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) < set(load_examples()["id"].to_pylist())


def test_a_limit_of_nothing_and_a_name_given_twice_are_refused() -> None:
    with pytest.raises(DataError, match="examples: limit must be at least 1 or None, for all examples, got 0"):
        load_examples(limit=0)
    with pytest.raises(DataError, match="wanted each data set once, got 'sample_number' twice"):
        load_examples(["sample_topic", "sample_number", "sample_number"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1: expected a JSON object, got array"),
        ('{"text": 1, "label": 0}', "line 1: 'text' must be a text or null, got number"),
        ('{"text": "a", "label": 0.5}', "line 1: 'label' must be a label's index or name, got number"),
        ('{"text": "a"}', "line 1: 'label' is missing"),
        ('{"text": "a", "label": 0', "line 1: not valid JSON"),
        ('{"a":' + "[" * 70 + "]" * 70 + "}", "line 1: JSON is nested deeper than 64"),
        ('{"words": "a", "label": 0}', "no line has the key 'text'"),
        ("\n \n", "the file has no line"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "own.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        load_examples(folder=tmp_path, spec=SPEC)


def test_a_line_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_bytes(b'{"text": "a", "label": 0}\n{"text": "caf\xe9", "label": 1}\n')
    with pytest.raises(DataError, match=r"own\.jsonl, line 2: not valid JSON: .* ill-formed UTF-8 byte; .*caf\ufffd"):
        load_examples(folder=tmp_path, spec=SPEC)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "own", "fields": ["text"], "label": "label"}, r"lacks \['labels'\]"),
        ({**SPEC, "split": "train"}, r"unknown keys \['split'\]"),
        ({**SPEC, "fields": "text"}, "'fields' must be a list of texts"),
        ({**SPEC, "labels": ["One"]}, "labels must be at least two different texts"),
        ([SPEC, SPEC], "a name occurs twice"),
        (SPEC, "wanted a path or a hub id, got neither"),
        ({**SPEC, "path": "nowhere.jsonl"}, "there is no file nowhere.jsonl"),
        ([], "wanted an object or a list of objects"),
    ],
)
def test_a_wrong_spec_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_examples(spec=spec)


def test_unknown_sets_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data set \\['sst3'\\]"):
        load_examples("sst3")
    with pytest.raises(DataError, match=r"has no \.jsonl or \.parquet file"):
        load_examples(folder=tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        load_examples(folder=tmp_path / "none")
    write_jsonl(tmp_path / "sst2.jsonl", [{"sentence": '"', "label": 0}])
    with pytest.raises(DataError, match="no usable example is left"):
        load_examples(folder=tmp_path)


class Loaded:
    """What `datasets.load_dataset` gives, as far as it is used."""

    def with_format(self, name: str) -> "Loaded":
        assert name == "arrow"
        return self

    def __getitem__(self, rows: slice) -> pa.Table:
        return pa.table({"sentence": ["fine"], "label": [1]})


def test_the_hub_is_tried_by_new_id_old_id_and_parquet_conversion() -> None:
    tried: list[Any] = []

    def load(*arguments: Any, split: str, **options: Any) -> Loaded:
        tried.append(options["data_files"]["train"] if options else arguments)
        if len(tried) < 4:
            raise RuntimeError("Dataset scripts are no longer supported")
        return Loaded()

    spec = next(entry for entry in packaged_specs("datasets17") if entry.name == "glue_cola")
    assert len(read_hub(spec, load)) == 1
    convert = "@refs%2Fconvert%2Fparquet/cola/train/*.parquet"
    assert tried == [("nyu-mll/glue", "cola"), ("glue", "cola"),
                     f"hf://datasets/nyu-mll/glue{convert}", f"hf://datasets/glue{convert}"]  # fmt: skip
    tried.clear()

    def fail(*arguments: Any, split: str, **options: Any) -> Loaded:
        raise ConnectionError("offline")

    with pytest.raises(DataError, match=r"'glue_cola' cannot be read from the hub: .*ConnectionError.*offline"):
        read_hub(spec, fail)


def test_the_seventeen_sets_are_those_of_the_paper() -> None:
    specs = packaged_specs("datasets17")
    assert len(specs) == 17
    assert sum(len(spec.fields) == 2 for spec in specs) == 9
    assert all(isinstance(spec, DatasetSpec) and spec.hub is not None for spec in specs)
    assert parse_specs([SPEC])[0].labels == ("Bad", "Good")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real samples are not here")
def test_the_real_samples_load_and_their_counts_add_up() -> None:
    examples = load_examples(folder=REAL)
    rows = sum(path.read_bytes().count(b"\n") for path in REAL.glob("*.jsonl"))
    dropped = sum(sum(counts.values()) for counts in dropped_of(examples).values())
    assert len(labels_of(examples)) == 17
    assert len(examples) + dropped == rows


def test_a_protocol_that_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes(b"{\n\xff}")
    for read in (load_protocol, read_protocol):
        with pytest.raises(DataError, match=r"mine\.json.*: wanted UTF-8, got the byte 0xff; save the file as UTF-8"):
            read(tmp_path / "mine.json")
