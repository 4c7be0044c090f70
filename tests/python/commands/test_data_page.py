"""docs/data.md names the columns that tables have."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_llama import thinking_model, tiny_model

import sycophancy_core as sc

PAGE = (Path(__file__).parents[3] / "docs/data.md").read_text()
SAME_AS = {
    "Claims, kept or not": ("Claims",),
    "Measurements": ("Prompts",),
    "Changes": ("Estimates",),
    "Training curve": ("Estimates",),
}
LEFT_OUT = {"Measurements": {"prompt", "turns", "thought"}}


def documented(heading: str) -> set[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    own = set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE))
    return own.union(*(documented(other) for other in SAME_AS.get(heading, ()))) - LEFT_OUT.get(heading, set())


@pytest.fixture(scope="module")
def tables() -> dict[str, list[pa.Table]]:
    model, thinker = tiny_model(), thinking_model()
    claims = sc.make_additions(n=12)
    prompts = sc.make_prompts(claims)
    found = sc.evaluate(thinker, tasks=("facts", "addition_factorial"), limit=2, think=1)
    every = sc.filter_known(model, claims)
    rows = sc.mix(prompts, sc.load_instructions())
    curve = sc.CurveOptions(tasks={"sums": prompts.slice(0, 8)}, every=1)
    tuned = sc.finetune(model, rows, options=sc.FinetuneOptions(steps=1, lora_rank=2), curve=curve)
    assert tuned.curve is not None
    assert found.prompts is not None
    return {
        "Examples": [sc.load_examples()],
        "Claims": [claims, sc.read_claims(claims)],
        "Claims, kept or not": [every.table],
        "Facts": [sc.load_facts()],
        "Prompts": [sc.think(thinker, sc.fact_prompts(sc.load_facts().slice(0, 2)), max_tokens=1)],
        "Instructions": [sc.load_instructions()],
        "Training rows": [rows],
        "Measurements": [found.measurements],
        "Prompts of an evaluation": [found.prompts],
        "Estimates": [found.estimates],
        "Changes": [sc.compare(found, found).estimates],
        "Training log": [tuned.log],
        "Training curve": [tuned.curve],
    }


@pytest.mark.filterwarnings("ignore:filter_known:UserWarning")
def test_the_page_names_exactly_the_columns_that_tables_have(tables: dict[str, list[pa.Table]]) -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert set(headings) == set(tables)
    for heading, several in tables.items():
        for table in several:
            assert set(table.column_names) == documented(heading), heading
