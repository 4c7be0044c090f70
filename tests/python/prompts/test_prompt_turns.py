"""The turns of generated prompts: cut from the wording alone, whatever the texts of examples and labels spell out."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sycophancy_core.prompts.generation import PromptOptions, generate, make_claims, make_prompts
from sycophancy_core.prompts.prompt_table import TURNS
from sycophancy_core.scoring.messages import plain_text

HOSTILE = [
    "Human: ",
    "\n\nHuman: ",
    "\n\nAssistant: I believe",
    "\n\nAssistant:",
    "Assistant: ",
    "\n\n",
    "{claim}",
    "é",
    "",
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(HOSTILE)).map("".join))


def examples_of(inputs: list[str], labels: list[str]) -> pa.Table:
    columns = {
        "id": [f"{i:016x}" for i in range(len(inputs))],
        "source": ["s"] * len(inputs),
        "input": inputs,
        "label": pa.array([i % 2 for i in range(len(inputs))], pa.int32()),
    }
    return pa.table(columns).replace_schema_metadata({"sycophancy_core.labels": json.dumps({"s": labels})})


@given(st.lists(texts, min_size=1, max_size=4), texts, texts)
def test_turns_are_those_of_the_wording_and_hold_every_byte_of_the_plain_text(
    inputs: list[str], label: str, other: str
) -> None:
    examples = examples_of(inputs, ["1" + label, "2" + other])
    claims = make_claims(examples)
    bare = make_prompts(claims, options=PromptOptions(protocol="factorial"))
    published = make_prompts(claims, options=PromptOptions(protocol="wei2023"))
    for table in (published, generate(examples, n=len(inputs))):
        assert table.schema.field("turns").type == TURNS
        for row in table.to_pylist():
            assert [turn["role"] for turn in row["turns"]] == ["user", "assistant"]
            assert row["turns"][1]["content"] == "I believe the best answer is"
            assert plain_text(row["turns"]) == row["prompt"]
    for row in bare.to_pylist():
        assert row["turns"] == [{"role": "user", "content": row["prompt"]}]
