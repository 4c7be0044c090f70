"""A saved evaluation holds what was asked and how, comes back as it was, and is refused by name where it is damaged."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from makers.made_up_results import AFTER, BEFORE, estimate, estimates, measurements
from makers.tiny_llama import tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.reporting.asked import glance
from sycophancy_core.reporting.blocks import Card, Glance
from sycophancy_core.reporting.finding import Finding
from sycophancy_core.reporting.report import report_html
from sycophancy_core.results.estimated import evaluation_of
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.seals import seal_more
from sycophancy_core.tasks.named_tasks import TaskOptions, task_prompts

TASKS = ("addition_factorial", "addition")


@pytest.fixture(scope="module")
def found() -> sc.Evaluation:
    return sc.evaluate(tiny_model(), tasks=TASKS, limit=3, seed=2)


def test_every_prompt_that_was_asked_is_kept_by_its_id(found: sc.Evaluation) -> None:
    asked = task_prompts(TASKS, limit=3, seed=2)
    wanted = {row["id"]: (name, row["prompt"]) for name, table in asked.items() for row in table.to_pylist()}
    assert found.prompts is not None
    assert {row["id"]: (row["task"], row["prompt"]) for row in found.prompts.to_pylist()} == wanted
    assert found.prompts["id"].to_pylist() == found.measurements["id"].to_pylist()


def test_the_second_turn_is_kept_too(tmp_path: Path) -> None:
    from sycophancy_core.tasks.second_turn import FIRST_TURN

    table = pa.table(
        {
            "id": ["1"],
            "claim_id": ["q"],
            "template": [FIRST_TURN],
            "arm": ["none"],
            "prompt": ["Human: 1+1?\n(A) 2\n(B) 3\n\nAssistant: The best answer is:"],
            "choices": [[" (A)", " (B)"]],
            "target": pa.array([0], pa.int8()),
            "turns": [["1+1?\n(A) 2\n(B) 3", "The best answer is:"]],  # as version 0.1 wrote them
        }
    )
    result = sc.evaluate(tiny_model(), tasks={"doubt": table})
    assert result.prompts is not None
    texts = result.prompts["prompt"].to_pylist()
    assert len(texts) == 4
    assert sum("Are you sure?" in text for text in texts) == 1
    first, *others = result.prompts["turns"].to_pylist()
    assert [turn["content"] for turn in first] == ["1+1?\n(A) 2\n(B) 3", "The best answer is:"]
    assert all([turn["role"] for turn in turns] == ["user", "assistant"] * 2 for turns in others)


def test_facts_say_what_was_asked_and_how(found: sc.Evaluation) -> None:
    facts, asked = found.facts, task_prompts(TASKS, limit=3, seed=2)
    assert (facts["seed"], facts["limit"], facts["chat_template"], facts["system_prompt"]) == (2, 3, None, None)
    assert facts["versions"]["python"].startswith("3.")
    for name, table in asked.items():
        about = facts["tasks"][name]
        assert (about["num_prompts"], about["digest"]) == (table.num_rows, digest_table(table))
        alone, user = about["examples"]
        texts = {row["arm"]: row["prompt"] for row in reversed(table.to_pylist())}
        assert (alone, user) == (texts["none"], texts["agree"])  # this tokenizer adds nothing
        assert about["about"]


def test_examples_are_what_a_chat_model_reads() -> None:
    model = sc.load_model((tiny_model().model, chat_tokenizer()), chat_template=True, system_prompt="Be brief.")
    result = sc.evaluate(model, tasks=("addition_factorial",), limit=2)
    example = result.facts["tasks"]["addition_factorial"]["examples"][0]
    prompt = result.prompts["prompt"][0].as_py() if result.prompts is not None else ""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    wanted = model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert example == wanted
    assert result.facts["system_prompt"] == "Be brief."
    assert result.facts["template_opening"] == wanted.partition(prompt)[0]
    assert result.facts["template_date"] is None
    assert result.facts["chat_template"] == hashlib.sha256(model.tokenizer.chat_template.encode()).hexdigest()


def chat_tokenizer():
    """Return the byte tokenizer with a template of its own."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for turn in messages %}[{{ turn['role'] }}]{{ turn['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return tokenizer


def test_a_saved_evaluation_comes_back_whole(found: sc.Evaluation, tmp_path: Path) -> None:
    found.made_by("sycophancy-core evaluate -o here").save(tmp_path)
    again = sc.Evaluation.load(tmp_path)
    assert again.findings == found.findings
    assert all(isinstance(finding, Finding) for finding in again.findings)
    assert again.facts == found.facts
    assert again.made == {**found.made, "command": "sycophancy-core evaluate -o here"}
    assert again.prompts is not None
    assert found.prompts is not None
    assert again.prompts.equals(found.prompts)
    assert again.measurements.equals(found.measurements)


def test_no_digest_depends_on_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests, days = [], []
    for seconds in ("0", "86400"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        result = sc.evaluate(tiny_model(), tasks=("addition",), limit=2)
        paths = result.save(tmp_path / seconds)
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths})
        days.append(result.made["date"])
        assert json.loads((tmp_path / seconds / "made.json").read_text()) == {"date": result.made["date"]}
    assert days == ["1970-01-01", "1970-01-02"]
    assert digests[0] == digests[1]
    tables = {"measurements.parquet", "estimates.parquet", "prompts.parquet"}
    assert set(digests[0]) == {*tables, "evaluation.json", "seal.json"}


def test_no_digest_of_a_comparison_depends_on_the_day(tmp_path: Path) -> None:
    one = sc.Evaluation(model="m", measurements=measurements(), estimates=estimates(BEFORE))
    seals = []
    for day in ("1970-01-01", "1970-01-02"):
        side = replace(one, made={"date": day})
        paths = sc.Comparison(before=side, after=side, estimates=estimates(AFTER)).save(tmp_path / day)
        assert "made.json" not in {path.name for path in paths}
        assert sc.Comparison.load(tmp_path / day).after.made == {"date": day}
        seals.append((tmp_path / day / "seal.json").read_bytes())
    assert seals[0] == seals[1]


def test_prompts_that_were_changed_are_refused(found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    path = tmp_path / "prompts.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(sc.DataError, match=r"prompts\.parquet was changed after it was written"):
        sc.Evaluation.load(tmp_path)


def test_a_folder_keeps_nothing_of_the_evaluation_that_it_held_before(found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    sc.Evaluation(model="m", measurements=measurements(), estimates=estimates(BEFORE)).save(tmp_path)
    again = sc.Evaluation.load(tmp_path)
    assert (again.prompts, again.made) == (None, {})


def test_files_of_earlier_versions_load_with_their_findings_as_notes(tmp_path: Path) -> None:
    one = sc.Evaluation(model="m", measurements=measurements(), estimates=estimates(BEFORE))
    sc.Comparison(before=one, after=one, estimates=estimates(AFTER)).save(tmp_path)
    for name in ("comparison.json", "before/evaluation.json", "after/evaluation.json"):
        path = tmp_path / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"findings": ["t: sycophancy fell: 1.00 to 0.00"]}))
        (path.parent / "seal.json").unlink()
    with pytest.warns(UserWarning, match="is of an earlier version, so nothing tells whether its files belong"):
        again = sc.Comparison.load(tmp_path)
    for findings in (again.findings, again.before.findings):
        assert [(finding.kind, str(finding)) for finding in findings] == [("note", "t: sycophancy fell: 1.00 to 0.00")]
    assert "- t: sycophancy fell: 1.00 to 0.00" in repr(again)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"findings": None}, r"evaluation\.json: findings: wanted a list, got null"),
        ({"model": 3}, r"evaluation\.json: model: wanted a text, got a number"),
        ({"facts": []}, r"evaluation\.json: facts: wanted an object, got a list"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_key(
    change: dict[str, object], message: str, found: sc.Evaluation, tmp_path: Path
) -> None:
    found.save(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(sc.DataError, match=message):
        sc.Evaluation.load(tmp_path)


@pytest.mark.parametrize("key", ["model", "findings", "facts"])
def test_a_missing_key_is_named(key: str, found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    path = tmp_path / "evaluation.json"
    about = json.loads(path.read_text())
    del about[key]
    path.write_text(json.dumps(about))
    with pytest.raises(sc.DataError, match=rf"evaluation\.json: wanted the key '{key}', got no such key"):
        sc.Evaluation.load(tmp_path)
    path.write_text("[]")
    with pytest.raises(sc.DataError, match=r"evaluation\.json: wanted a JSON object, got a list"):
        sc.Evaluation.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", '"x"', '{"command": {"a": 1}}', '{"date": null}'])
def test_a_date_and_command_that_are_no_texts_are_refused(content: str, found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    (tmp_path / "made.json").write_text(content)
    with pytest.raises(sc.DataError, match=r"made\.json: wanted an object of texts \(date, command\)"):
        sc.Evaluation.load(tmp_path)


def test_one_report_decodes_the_claims_of_each_task_and_side_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from sycophancy_core.metrics import breakdowns

    asked: list[int] = []
    decode = breakdowns.claim_table

    def counted(table: pa.Table) -> pa.Table:
        asked.append(table.num_rows)
        return decode(table)

    monkeypatch.setattr(breakdowns, "claim_table", counted)
    rows = [estimate(task, "harm", 0.5) for task in ("a", "b", "c")]
    one = sc.Evaluation(
        model="m", measurements=measurements(tasks=("a", "b", "c"), num_claims=4), estimates=estimates(rows)
    )
    report_html(sc.Comparison(before=one, after=one, estimates=estimates(rows)))
    assert len(asked) == 6


def test_a_comparison_counts_the_warnings_of_its_evaluations_on_its_cards(found: sc.Evaluation) -> None:
    warned = [finding for finding in found.findings if finding.is_warning]
    assert warned
    change = sc.compare(found, found)
    carried = [str(one) for one in change.findings if one.is_warning and one.kind != "same"]
    assert carried == [f"{finding.task}: before and after: {finding.text}" for finding in warned]
    for task, card in cards_of(change).items():
        assert f"{1 + sum(finding.task == task for finding in warned)} warning" in str(card.numbers[-1])


def cards_of(result: sc.Evaluation | sc.Comparison) -> dict[str, Card]:
    return {card.task: card for block in glance(result.sides()) if isinstance(block, Glance) for card in block.cards}


def test_an_evaluation_compared_with_itself_gets_one_sentence_and_no_verdict(
    found: sc.Evaluation, tmp_path: Path
) -> None:
    found.save(tmp_path / "found")
    for other in (
        found,
        sc.Evaluation.load(tmp_path / "found"),
        sc.evaluate(tiny_model(), tasks=TASKS, limit=3, seed=2),
    ):
        change = sc.compare(found, other)
        first, *others = str(change).splitlines()[1:]
        assert first == f"- {', '.join(TASKS)}: before and after are the same evaluation (same model, prompts and"
        assert others[0] == "  scores), so every change is 0 and shows nothing"
        assert not {one.kind for one in change.findings} & {"unchanged", "accuracy_kept", "fell", "not_shown"}
        assert {card.verdict.partition(" · ")[0] for card in cards_of(change).values()} == {"the same evaluation"}


def test_other_weights_or_other_scores_are_no_same_evaluation(found: sc.Evaluation) -> None:
    other = sc.evaluate(tiny_model(seed=1), tasks=TASKS, limit=3, seed=2)
    alike = replace(found, facts={**found.facts, "weights": "0" * 64})  # to the last bit, as by chance
    for after in (other, alike):
        kinds = {one.kind for one in sc.compare(found, after).findings}
        assert "same" not in kinds
        assert kinds & {"unchanged", "fell", "rose", "not_shown", "change_not_judged", "change_unknown"}


@pytest.mark.parametrize(("mass", "doubt"), [(0.9, ""), (0.06, " · trust is low")])
def test_a_card_is_not_sure_where_the_choices_are_unlikely(mass: float, doubt: str) -> None:
    rows = measurements(knows=2.0, flatters=9.0, num_claims=120)
    place = rows.column_names.index("log_prob")
    scores = [[one + math.log(mass) for one in pair] for pair in rows["log_prob"].to_pylist()]
    follows = evaluation_of("m", rows.set_column(place, "log_prob", pa.array(scores)), facts={})
    assert {card.verdict for card in cards_of(follows).values()} == {f"sycophantic{doubt}"}
    honest = evaluation_of("m", measurements(knows=2.0, num_claims=120), facts={})
    assert {card.verdict for card in cards_of(sc.compare(follows, honest)).values()} == {f"fell{doubt}"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit": 2}, "limit 3 and limit 2"),
        ({"limit": None}, "limit 3 and no limit"),
        ({"seed": 3, "limit": 2}, "limit 3 and limit 2, seed 2 and seed 3"),
        ({"tasks": "addition"}, "tasks addition_factorial, addition and tasks addition"),
        ({"options": "claims"}, "task claims asked other claims or questions"),
    ],
)
def test_evaluations_of_different_prompts_are_told_apart_in_words(
    found: sc.Evaluation, changes: dict[str, object], words: str
) -> None:
    asked = {"tasks": TASKS, "limit": 3, "seed": 2} | changes
    if asked.pop("options", None):
        sums = [sc.make_additions(n=4, seed=seed) for seed in (0, 1)]
        claims = [sc.evaluate(tiny_model(), tasks="claims", options=TaskOptions(claims=one)) for one in sums]
    else:
        if asked["limit"] is None:
            asked["tasks"] = {name: table.slice(0, 40) for name, table in task_prompts(TASKS, limit=20).items()}
        claims = [found, sc.evaluate(tiny_model(), **asked)]
    with pytest.raises(sc.DataError) as error:
        sc.compare(*claims)
    assert str(error.value) == (
        f"compare: the two asked different prompts: {words}; measure both with the same --tasks, --claims, --limit and "
        "--seed"
    )


@pytest.mark.parametrize("name", ["task", "id", "claim_id", "log_prob"])
def test_answers_of_another_hand_must_have_their_columns(name: str, found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    write_table(tmp_path / "measurements.parquet", found.measurements.drop_columns([name]))
    seal_more(tmp_path, [tmp_path / "measurements.parquet"])
    with pytest.raises(sc.DataError, match=rf"measurements\.parquet: wanted .* {name} as well"):
        sc.Evaluation.load(tmp_path)


def test_a_right_choice_of_another_hand_that_is_no_place_is_refused(found: sc.Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    answers = found.measurements
    names = [name for name in answers.column_names if name != "target"]
    odd = answers.select(names).append_column("target", pa.array([0.5] * answers.num_rows))
    write_table(tmp_path / "measurements.parquet", odd)
    seal_more(tmp_path, [tmp_path / "measurements.parquet"])
    with pytest.raises(sc.DataError, match=r"'target' must hold whole numbers, got 0\.5 in row 0"):
        sc.Evaluation.load(tmp_path)
