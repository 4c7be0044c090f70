"""docs/data.md names the columns that tables have, and its blocks run as they stand."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc

PAGE = (Path(__file__).parents[3] / "docs/data.md").read_text()
SAME_AS = {
    "Claims, kept or not": ("Claims",),
    "Measurements": ("Prompts",),
    "Changes": ("Estimates",),
    "Training curve": ("Estimates",),
}
LEFT_OUT = {"Measurements": {"prompt", "turns"}}


def documented(heading: str) -> set[str]:
    section = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    own = set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE))
    return own.union(*(documented(other) for other in SAME_AS.get(heading, ()))) - LEFT_OUT.get(heading, set())


@pytest.fixture(scope="module")
def tables() -> dict[str, list[pa.Table]]:
    model = tiny_model()
    claims = sc.make_additions(n=12)
    prompts = sc.make_prompts(claims)
    found = sc.evaluate(model, tasks=("facts", "addition_factorial"), limit=2)
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
        "Prompts": [sc.fact_prompts(sc.load_facts().slice(0, 2))],
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
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert set(headings) == set(tables)
    for heading, several in tables.items():
        for table in several:
            assert set(table.column_names) == documented(heading), heading


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for what in (tiny_llama(), tiny_tokenizer()):
        what.save_pretrained(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:filter_known:UserWarning", "ignore:training_prompts:UserWarning")
def test_ten_lines_go_from_a_file_of_claims_to_a_comparison(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = sc.load_facts("capitals").slice(0, 20).to_pylist()
    said = [(fact["statement"], fact["right"], "true") for fact in facts]
    said += [(fact["statement"], fact["wrong"][0], "false") for fact in facts]
    lines = [f'"{clause.format(answer=answer)}",{truth}' for clause, answer, truth in said]
    (place / "claims.csv").write_text("\n".join([blocks("csv")[0].splitlines()[0], *lines]))
    code = next(block for block in blocks("python") if "read_claims" in block)
    assert len(code.split("import sycophancy_core as sc\n\n")[1].splitlines()) == 10
    names: dict[str, object] = {}
    exec(compile(code, "docs/data.md", "exec"), names)
    assert "Comparison of my-model with my-model" in capsys.readouterr().out
    claims = names["claims"]
    assert isinstance(claims, pa.Table)
    assert claims.num_rows == 40
    assert sum(claims["is_true"].to_pylist()) == 20


def test_questions_of_the_page_are_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "questions.csv").write_text(blocks("csv")[1])
    exec(compile(next(block for block in blocks("python") if "read_questions" in block), "docs/data.md", "exec"), {})
    assert "mine" in capsys.readouterr().out


def test_claims_of_the_page_are_read(place: Path) -> None:
    (place / "claims.csv").write_text(blocks("csv")[0])
    assert sc.read_claims("claims.csv")["is_true"].to_pylist() == [True, False]
