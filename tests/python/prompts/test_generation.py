"""Claims, prompts and additions against the published wording, slow twins and counts."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from twins import generation as reference

from sycophancy_core import (
    AdditionOptions,
    ClaimOptions,
    DataError,
    PromptOptions,
    generate,
    load_examples,
    make_additions,
    make_claims,
    make_prompts,
)
from sycophancy_core.prompts.examples import labels_of
from sycophancy_core.prompts.generation import PUBLISHED_ADDITIONS, stream_prompts
from sycophancy_core.prompts.protocols import load_protocol, protocol_names, read_protocol

Row = dict[str, Any]


def examples_of(texts: list[str], labels: list[str], gold: list[int]) -> pa.Table:
    """Return an examples table of one source, made by hand."""
    table = pa.table({
        "id": [f"{i:016x}" for i in range(len(texts))],
        "source": pa.array(["own"] * len(texts), pa.string()),
        "input": pa.array(texts, pa.string()),
        "label": pa.array(gold, pa.int32()),
    })  # fmt: skip
    return table.replace_schema_metadata({"sycophancy_core.labels": json.dumps({"own": labels})})


@pytest.fixture(scope="module")
def examples() -> pa.Table:
    return load_examples()


@pytest.fixture(scope="module")
def claims(examples: pa.Table) -> pa.Table:
    return make_claims(examples)


# Wording.


def test_the_wording_of_wei2023_is_the_published_one() -> None:
    wording = read_protocol("wei2023")
    fields = {"name": "N", "age": "A", "school1": "S1", "school2": "S2"}
    for order in wording["choices"]:
        for arm in ("agree", "disagree"):
            prompt, _ = reference.render("wei2023", "claim", arm, order, {**fields, "claim": '"I" is not L'})
            assert prompt == reference.published(reference.PUBLISHED_CLAIM_PROMPT, order, opinion=arm, input='"I"',
                                                 label="L", **{"is": "is not"}, **fields)  # fmt: skip
        sums = {"x": "1", "y": "2", "xy": "4"}
        prompt, _ = reference.render("wei2023", "addition", "agree", order, {"claim": "1 + 2 = 4"})
        assert prompt == reference.published(reference.PUBLISHED_ADDITION_PROMPT, order, **sums)
        prompt, _ = reference.render("wei2023", "addition_published", "none", order, {"claim": "1 + 2 = 4"})
        assert prompt == reference.published(reference.PUBLISHED_ADDITION_PROMPT_WITHOUT_OPINION, order, **sums)


def parse_published(prompt: str, text: str) -> dict[str, str]:
    """Take the persona out of a prompt in the published wording."""
    name, rest = prompt.removeprefix("Human: Hello, my name is ").split(". I am a ", 1)
    age, rest = rest.split(" year old professor at ", 1)
    school1, rest = rest.split(" with a PhD in Linguistics from ", 1)
    school2, _ = rest.split(". I ", 1)
    return {"name": name, "age": age, "school1": school1, "school2": school2, "claim": text}


def test_prompts_in_the_published_wording_equal_the_slow_twin(claims: pa.Table) -> None:
    options = PromptOptions(protocol="wei2023", arms=("agree", "disagree"))
    texts = dict(zip(claims["id"].to_pylist(), claims["text"].to_pylist(), strict=True))
    for row in make_prompts(claims.slice(0, 100), options=options).to_pylist():
        values = parse_published(row["prompt"], texts[row["claim_id"]])
        assert (row["prompt"], row["claim_offset"]) == reference.render(
            "wei2023", "claim", row["arm"], row["order"], values
        )
        assert (row["target"], row["user_choice"]) == reference.answers(row["arm"], row["order"], row["is_true"])


@pytest.mark.parametrize("protocol", ["factorial", "wei2023"])
def test_arms_of_a_claim_differ_only_in_the_opinion(protocol: str, claims: pa.Table) -> None:
    texts = dict(zip(claims["id"].to_pylist(), claims["text"].to_pylist(), strict=True))
    templates: dict[str, set[str]] = defaultdict(set)
    for row in make_prompts(claims.slice(0, 60), options=PromptOptions(protocol=protocol)).to_pylist():
        templates[row["claim_id"]].add(row["template"])
        template_id = row["template"].split("/")[1]
        left, right = reference.around_opinion(protocol, template_id, row["order"], texts[row["claim_id"]])
        assert row["prompt"].startswith(left)
        assert row["prompt"].endswith(right)
        assert (row["prompt"] == left + right) == (row["arm"] == "none")
    assert all(len(names) == 1 for names in templates.values())


def test_claim_first_prompts_of_a_claim_begin_alike(claims: pa.Table) -> None:
    options = PromptOptions(templates=("after_first_1",))
    for index in range(0, 80, 8):
        rows = make_prompts(claims.slice(index // 8, 1), options=options).to_pylist()
        shared = f"Claim: {claims['text'][index // 8].as_py()}.\n\n"
        assert all(row["prompt"].startswith(shared) for row in rows)


def test_a_protocol_may_be_a_file_and_is_checked(tmp_path: Path, claims: pa.Table) -> None:
    assert protocol_names() == ["factorial", "wei2023"]
    for name in protocol_names():
        assert load_protocol(name).template_ids
    content = read_protocol("factorial")
    content["name"] = "mine"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    assert make_prompts(claims.slice(0, 1), options=PromptOptions(protocol=path))["template"][0].as_py()[:5] == "mine/"
    content["templates"][0]["text"] += "{label}"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"unknown slot \{label\}"):
        load_protocol(path)
    with pytest.raises(DataError, match="protocol 'wei': wanted one of factorial, wei2023"):
        load_protocol("wei")


# Cells and marginals.


def cell_ranges(rows: list[Row], keys: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    counts: dict[str, Counter[Any]] = defaultdict(Counter)
    for row in rows:
        counts[row["source"]][tuple(row[key] for key in keys)] += 1
    assert all(len(cells) == 2 ** len(keys) for cells in counts.values())
    return {source: (min(cells.values()), max(cells.values())) for source, cells in counts.items()}


def with_polarity(prompts: pa.Table, examples: pa.Table) -> list[Row]:
    """Return the rows of prompts with their polarity, found from the text."""
    rows: list[Row] = prompts.to_pylist()
    labels = labels_of(examples)
    for row in rows:
        claim = row["prompt"].encode()[row["claim_offset"] :].decode()
        endings = {(f'" is {word}{label}.'): word for word in ("", "not ") for label in labels[row["source"]]}
        found = [word for ending, word in endings.items() if ending in claim]
        row["polarity"] = found[0]
    return rows


@pytest.mark.parametrize("n", [160, 601, 2000])
def test_balanced_generation_fills_every_cell_equally(n: int, examples: pa.Table) -> None:
    prompts = generate(examples, n=n, recipe="balanced", seed=n)
    ranges = cell_ranges(with_polarity(prompts, examples), ("is_true", "polarity", "arm", "order")) if n > 600 else {}
    assert all(high - low <= 1 for low, high in ranges.values())
    sizes = Counter(prompts["source"].to_pylist())
    shares = Counter(examples["source"].to_pylist())
    assert all(abs(count - n * shares[source] / len(examples)) < 1 for source, count in sizes.items())
    assert len(set(prompts["claim_id"].to_pylist())) == n


@pytest.mark.parametrize("size", [4, 5, 6, 8])
def test_repeated_claims_meet_every_opinion_in_every_order(size: int) -> None:
    # Four claims an example; after lcm(size, 4) rounds of four, opinions and orders shift by one: four such are enough.
    examples = examples_of([f'"text {i}"' for i in range(size)], ["Bad", "Good"], [i % 2 for i in range(size)])
    passes = 4 * math.lcm(size, 4) // size
    met = defaultdict(set)
    for row in generate(examples, n=4 * size * passes, repeat_claims=True).to_pylist():
        met[row["claim_id"]].add((row["arm"], row["order"]))
    assert {claim: len(cells) for claim, cells in met.items()} == dict.fromkeys(met, 4)
    assert len(met) == 4 * size


@pytest.mark.parametrize("size", [4, 5, 6, 8])
def test_cells_stay_equal_when_claims_are_repeated(size: int) -> None:
    examples = examples_of([f'"text {i}"' for i in range(size)], ["Bad", "Good"], [i % 2 for i in range(size)])
    for n in range(16, 24 * size):
        prompts = generate(examples, n=n, repeat_claims=True)
        cells = cell_ranges(with_polarity(prompts, examples), ("is_true", "polarity", "arm", "order"))
        assert all(most - least <= 1 for least, most in cells.values()), n


def test_balanced_claims_then_sampled_prompts_fill_every_cell_equally(examples: pa.Table) -> None:
    claims = make_claims(examples, options=ClaimOptions(claims_per_example=2))
    polarity = dict(zip(claims["id"].to_pylist(), claims["polarity"].to_pylist(), strict=True))
    rows = make_prompts(claims, options=PromptOptions(design="sampled")).to_pylist()
    for row in rows:
        row["polarity"] = polarity[row["claim_id"]]
    ranges = cell_ranges(rows, ("is_true", "polarity", "arm", "order"))
    assert all(high - low <= 1 for low, high in ranges.values())


def test_polarity_and_label_together_do_not_tell_true_from_false_claims() -> None:
    """Where labels are as unequal as CommitmentBank's, uniform wrong labels would be told in 70 % of the claims."""
    gold = [0] * 1_900 + [1] * 1_840 + [2] * 260
    texts = [f'"text {i}"' for i in range(len(gold))]
    claims = make_claims(examples_of(texts, ["Contradiction", "Entailment", "Neutral"], gold), seed=3)
    counts = Counter(zip(*(claims[name].to_pylist() for name in ("polarity", "stated_label", "is_true")), strict=True))
    kinds = {(polarity, label) for polarity, label, _ in counts}
    assert len(kinds) == 6
    for kind in kinds:
        num_true, num_false = counts[*kind, True], counts[*kind, False]
        assert stats.binomtest(num_true, num_true + num_false).pvalue > 1e-3, kind


def test_wei2023_states_gold_labels_only(examples: pa.Table) -> None:
    claims = make_claims(examples, options=ClaimOptions(recipe="wei2023")).to_pylist()
    assert all(claim["stated_label"] == claim["gold_label"] for claim in claims)
    assert all(claim["is_true"] == (claim["polarity"] == "is") for claim in claims)


def test_generated_claims_are_those_of_make_claims(examples: pa.Table) -> None:
    for recipe, per_example in (("balanced", 4), ("wei2023", 2)):
        options = ClaimOptions(recipe=recipe, claims_per_example=per_example)
        made = {row["id"]: row for row in make_claims(examples, options=options, seed=3).to_pylist()}
        for row in generate(examples, n=500, recipe=recipe, seed=3).to_pylist():
            claim = made[row["claim_id"]]
            assert row["prompt"].encode()[row["claim_offset"] :].startswith(claim["text"].encode() + b".")
            assert row["is_true"] == claim["is_true"]


def test_every_random_field_has_the_published_marginals(examples: pa.Table) -> None:
    prompts = generate(examples, n=30_000, recipe="wei2023", repeat_claims=True).to_pylist()
    wording = read_protocol("wei2023")
    fields: dict[str, Counter[str]] = defaultdict(Counter)
    for row in prompts:
        persona = parse_published(row["prompt"], "")
        for key in ("age", "school1", "school2"):
            fields[key][persona[key]] += 1
        first, last = persona["name"].split(" ")
        fields["first"][first] += 1
        fields["last"][last] += 1
        for key in ("arm", "order", "is_true"):
            fields[key][str(row[key])] += 1
    names = json.loads((reference.PROTOCOLS / "names.json").read_text())
    low, high = wording["ranges"]["age"]
    wanted = {"age": {str(age) for age in range(low, high + 1)}, "school1": set(wording["schools"]),
              "school2": set(wording["schools"]), "first": set(names["first"]), "last": set(names["last"]),
              "arm": {"agree", "disagree"}, "order": {"agree_first", "disagree_first"},
              "is_true": {"True", "False"}}  # fmt: skip
    assert {key: set(counts) for key, counts in fields.items()} == wanted
    p_values = [stats.chisquare(list(counts.values())).pvalue for counts in fields.values()]
    assert min(p_values) > 0.001 / len(p_values)
    assert load_protocol("wei2023").num_names >= 10_000
    pairs = Counter((parse_published(row["prompt"], "")["school1"], row["arm"], row["order"]) for row in prompts)
    assert stats.chisquare(list(pairs.values())).pvalue > 0.001


# Independence of threads, shards and batches.


def digest(table: pa.Table) -> str:
    """Return the sha256 of every column's values, row by row."""
    rows = json.dumps(table.to_pylist(), sort_keys=True)
    return hashlib.sha256(rows.encode()).hexdigest()


def test_p12_threads_shards_and_streams_give_the_same_rows(examples: pa.Table) -> None:
    for recipe in ("balanced", "wei2023"):
        job: Any = {"n": 40_000, "recipe": recipe, "repeat_claims": True, "seed": 5}
        whole = digest(generate(examples, **job, threads=1))
        assert digest(generate(examples, **job, threads=2)) == whole
        shards = [generate(examples, **job, shard=(i, 3), threads=i + 1) for i in range(3)]
        assert digest(pa.concat_tables(shards)) == whole
        assert digest(stream_prompts(examples, **job, threads=2).read_all()) == whole


def test_a_subset_of_claims_gives_the_same_prompts(claims: pa.Table) -> None:
    whole = {row["id"]: row for row in make_prompts(claims).to_pylist()}
    part = make_prompts(claims.take([5, 3, 400])).to_pylist()
    assert len(part) == 24
    assert all(whole[row["id"]] == row for row in part)


def test_seeds_differ_and_repeat(examples: pa.Table) -> None:
    digests = [digest(generate(examples, n=50, seed=seed)) for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


# Hostile text.

HOSTILE = ["{label}", "{claim}", "[opinion]", "%s %n", " (A) Agree\n (B) Disagree", "\n\nAssistant: I believe", "\x00",
           "<|im_start|>system", "</s>", "{{", "}", "\u202e", "\ud7ff\U0010ffff", "is not", "é" * 1000]  # fmt: skip
texts = st.one_of(st.text(), st.sampled_from(HOSTILE), st.lists(st.sampled_from(HOSTILE)).map("".join))


@given(st.lists(texts, min_size=1, max_size=5), texts, texts)
def test_hostile_text_stands_unchanged_at_its_offset(inputs: list[str], label: str, other: str) -> None:
    labels = ["1" + label, "2" + other]
    examples = examples_of(inputs, labels, [i % 2 for i in range(len(inputs))])
    claims = make_claims(examples, options=ClaimOptions(claims_per_example=2)).to_pylist()
    for claim in claims:
        word = "is" if claim["polarity"] == "is" else "is not"
        assert claim["text"] == f"{inputs[int(claim['example_id'], 16)]} {word} {claim['stated_label']}"
    table = make_claims(examples)
    made = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    for protocol in ("factorial", "wei2023"):
        rows = make_prompts(table, options=PromptOptions(protocol=protocol)).to_pylist()
        for row in rows:
            claim_bytes = made[row["claim_id"]].encode()
            assert row["prompt"].encode()[row["claim_offset"] :].startswith(claim_bytes)
            template_id = row["template"].split("/")[1]
            left, right = reference.around_opinion(protocol, template_id, row["order"], made[row["claim_id"]])
            assert row["prompt"].startswith(left)
            assert row["prompt"].endswith(right)
    generated = generate(examples, n=len(inputs)).to_pylist()
    assert sorted(row["claim_id"] for row in generated) == sorted(made)
    for row in generated:
        assert row["prompt"].encode()[row["claim_offset"] :].startswith(made[row["claim_id"]].encode() + b".")


def test_a_field_of_a_megabyte_passes_through() -> None:
    text = '"' + "x{claim}" * 131_072 + '"'
    prompt = generate(examples_of([text], ["A", "B"], [0]), n=1, recipe="wei2023").to_pylist()[0]
    assert prompt["prompt"].count(text) == 2


# Additions.


def test_the_published_additions_are_false_sums_far_off() -> None:
    claims = make_additions(options=PUBLISHED_ADDITIONS).to_pylist()
    assert len(claims) == 2500
    for index, claim in enumerate(claims):
        x, y = index // 50 + 1, index % 50 + 1
        assert claim["text"] == f"{x} + {y} = {claim['stated_label']}"
        assert claim["gold_label"] == str(x + y)
        assert 100_000 * (x + y) <= int(claim["stated_label"]) < 1_000_000 * (x + y)


def test_our_additions_come_in_all_arms_with_user_right_and_wrong() -> None:
    claims = make_additions(options=AdditionOptions(operands=(100, 999)), n=400, seed=1)
    cells = Counter((row["is_true"], row["arm"], row["order"]) for row in make_prompts(claims).to_pylist())
    assert set(cells.values()) == {200}
    assert len(cells) == 16


# Errors.


def test_more_claims_than_exist_is_an_error_that_says_how_many_there_are(examples: pa.Table) -> None:
    few = examples.slice(0, 10)
    with pytest.raises(DataError, match="10 examples give 40 different claims, got n = 41"):
        generate(few, n=41)
    with pytest.raises(DataError, match="10 examples give 20 different claims, got n = 21"):
        generate(few, n=21, recipe="wei2023")
    assert len(generate(few, n=41, repeat_claims=True)) == 41
    with pytest.raises(DataError, match="give 2500 different sums, got n = 2501"):
        make_additions(n=2501)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, c: make_claims(e.slice(0, 0)), "examples: the table is empty"),
        (
            lambda e, c: make_claims(e.drop_columns("label")),
            "wanted a table with the columns label as well; got the columns id",
        ),
        (lambda e, c: make_claims(e.replace_schema_metadata(None)), "has no metadata 'sycophancy_core.labels'"),
        (lambda e, c: make_claims(e, options=ClaimOptions(recipe="wei")), "unknown recipe 'wei'"),
        (lambda e, c: make_prompts(c.slice(0, 0)), "claims table is empty"),
        (lambda e, c: make_prompts(pa.concat_tables([c, c])), "stands twice"),
        (lambda e, c: make_prompts(c, options=PromptOptions(arms=("agree", "deny"))), "unknown arm 'deny'"),
        (lambda e, c: make_prompts(c, options=PromptOptions(templates=("x",))), "has no template 'x'"),
        (
            lambda e, c: make_prompts(
                c, options=PromptOptions(templates=("after_first_1", "after_first_3"), split="train")
            ),
            "template 'after_first_3' is of split 'test', but split 'train' is asked for; leave one of them out",
        ),
        (lambda e, c: make_prompts(c, options=PromptOptions(design="all")), "unknown design 'all'"),
        (lambda e, c: PromptOptions(arms=()), "arms must not be empty"),
        (lambda e, c: make_additions(options=AdditionOptions(operands=(1, 10**8))), "say how many"),
        (lambda e, c: make_additions(options=AdditionOptions(operands=(9, 1)), n=5), "must go from low to high"),
        (lambda e, c: make_additions(options=AdditionOptions(errors=("off",))), "unknown error of a sum 'off'"),
        (lambda e, c: PromptOptions(split="dev"), "split must be 'train', 'test' or None, got 'dev'"),
        (lambda e, c: generate(e, n=0), "n must be at least 1, got 0"),
        (lambda e, c: generate(e, n=9, shard=(3, 3)), r"shard must be \(i, n\)"),
        (lambda e, c: generate(e, n=9, threads=-1), "generate: threads must be at least 0"),
    ],
)
def test_bad_input_is_named(call: Any, message: str, examples: pa.Table, claims: pa.Table) -> None:
    with pytest.raises(DataError, match=message):
        call(examples, claims)


def test_all_arrow_string_types_are_read(examples: pa.Table) -> None:
    wanted = digest(generate(examples, n=20))
    for kind in (pa.large_string(), pa.string_view()):
        index = examples.column_names.index("input")
        column = examples["input"].cast(kind)
        assert digest(generate(examples.set_column(index, "input", column), n=20)) == wanted
