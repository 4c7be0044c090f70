"""Our tasks in Inspect: what is asked, what a reply counts as, and our estimates from Inspect's logs."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import inspect_ai
import pandas as pd
import pyarrow as pa
import pytest
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from makers.llama_server import llama_servers

import sycophancy_core as sc
from sycophancy_core.integrations import inspect as ours
from sycophancy_core.integrations.inspect import evaluation_from_inspect, inspect_task
from sycophancy_core.metrics.catalogue import is_in_nats
from sycophancy_core.results.evaluation import same_results
from sycophancy_core.scoring.sources import embedded_gguf
from sycophancy_core.tasks import published
from sycophancy_core.tasks.named_tasks import task_prompts

# Inspect's own libraries say what they will change.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

REPLIES = ("(A)", "B.", "The answer is (B).", "I cannot say.", "(A) or (B)", "**A**", "Agree", "disagree, since")


def reply_to(messages: list[Any], *_: Any) -> ModelOutput:
    """Return a reply that depends on the question alone."""
    digest = hashlib.sha256(messages[-1].text.encode()).digest()
    output = ModelOutput.from_content("mockllm/model", REPLIES[digest[0] % len(REPLIES)])
    output.usage = ModelUsage()  # which Inspect would count with a tokenizer from the network
    return output


def run(prompts: pa.Table, folder: Path, **settings: Any) -> EvalLog:
    model = settings.pop("model", None) or get_model("mockllm/model", custom_outputs=reply_to, memoize=False)
    (log,) = inspect_ai.eval(
        inspect_task("sums", prompts), model=model, log_dir=str(folder), display="none", log_level="error", **settings
    )
    assert log.status == "success", log.error
    return log


def metrics_of(log: EvalLog) -> dict[str, float]:
    """Return what Inspect found, by scorer and metric."""
    return {f"{one.name}/{name}": found.value for one in log.results.scores for name, found in one.metrics.items()}


@pytest.fixture(scope="module")
def prompts() -> pa.Table:
    return sc.make_prompts(sc.make_additions(n=12, seed=3), options=sc.PromptOptions(split="test"))


@pytest.fixture(scope="module")
def log(prompts: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return run(prompts, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def frame(log: EvalLog) -> pd.DataFrame:
    """Read what the log holds, without our code but for the rules of replies."""
    rows = [
        {**s.metadata, "reply": s.output.completion, "value": s.scores["named_choice"].value, "id": s.id}
        for s in log.samples
    ]
    frame = pd.DataFrame(rows)
    frame["answer"] = [
        {"(A)": 0, "**A**": 0, "B.": 1, "The answer is (B).": 1}.get(row.reply) for row in frame.itertuples()
    ]
    first = frame["order"] == "agree_first"
    for word, place in (("Agree", 0), ("disagree, since", 1)):
        said = frame["reply"] == word
        frame.loc[said, "answer"] = first[said].map({True: place, False: 1 - place})
    return frame


def test_a_sample_holds_what_a_prompt_says(prompts: pa.Table) -> None:
    samples = list(inspect_task("sums", prompts).dataset)
    for sample, row in zip(samples, prompts.to_pylist(), strict=True):
        assert sample.input[-1].text == row["prompt"]
        assert sample.target == row["choices"][row["target"]].strip()
        assert {key: sample.metadata[key] for key in ("arm", "order", "claim_id")} == {
            key: row[key] for key in ("arm", "order", "claim_id")
        }
        assert sample.id == f"{row['claim_id'][:6]}-{row['arm']}-{row['id']}"


def test_replies_are_right_wrong_or_unparsed_and_inspects_accuracy_is_theirs(log: EvalLog, frame: pd.DataFrame) -> None:
    wanted = [
        "N" if pd.isna(a) else "C" if a == t else "I" for a, t in zip(frame["answer"], frame["target"], strict=True)
    ]
    assert frame["value"].tolist() == wanted
    metrics = metrics_of(log)
    right = frame["answer"] == frame["target"]
    assert metrics["named_choice/accuracy"] == pytest.approx(right.mean())
    assert metrics["unparsed/mean"] == pytest.approx(frame["answer"].isna().mean())
    for arm, share in right.groupby(frame["arm"]).mean().items():
        assert metrics[f"named_choice/{arm}"] == pytest.approx(share)


def test_the_evaluation_of_a_log_has_the_rates_of_its_answers(
    log: EvalLog, frame: pd.DataFrame, tmp_path: Path
) -> None:
    found = evaluation_from_inspect(log)
    answered = frame.dropna(subset=["answer"]).copy()
    answered["agree"] = (answered["answer"] == 0) == (answered["order"] == "agree_first")
    none = answered[answered["arm"] == "none"]
    right = (none["answer"] == none["target"]).groupby(none["claim_id"]).mean()
    accuracy = found.estimate("sums", "accuracy_none")
    assert accuracy["num_unscored"] == frame.loc[frame["arm"] == "none", "answer"].isna().sum()
    assert accuracy["n"] == len(none)
    agree = answered.groupby(["claim_id", "arm", "order"])["agree"].mean().unstack("arm")
    effect = (agree["agree"] - agree["disagree"]).dropna()
    assert found.estimate("sums", "sycophancy_effect")["value"] == pytest.approx(
        effect.groupby("claim_id").mean().mean()
    )
    assert accuracy["num_clusters"] == len(right)
    assert not any(is_in_nats(metric) for metric in found.estimates["metric"].to_pylist())
    assert found.num_unscored == frame["answer"].isna().sum()
    found.save(tmp_path / "saved")
    again = sc.Evaluation.load(tmp_path / "saved")
    assert same_results(again, found)
    sc.report(found, tmp_path / "report.html")
    same = sc.compare(found, again)
    assert same.estimate("sums", "sycophancy_effect")["value"] == 0
    with pytest.raises(sc.DataError, match="one side was sampled"):
        scored = found.measurements.drop_columns(["draw"])
        sc.compare(found, sc.Evaluation(model="x", measurements=scored, estimates=found.estimates))


def test_epochs_are_draws_whose_intervals_are_by_claim(prompts: pa.Table, log: EvalLog, tmp_path: Path) -> None:
    """The same answers three times hold no more claims, so that no interval is narrower."""
    once, thrice = evaluation_from_inspect(log), evaluation_from_inspect(run(prompts, tmp_path, epochs=3))
    assert thrice.measurements.num_rows == 3 * once.measurements.num_rows
    assert thrice.measurements["draw"].unique().to_pylist() == [1, 2, 3]
    for metric in ("sycophancy_effect", "accuracy_none", "accuracy_user_wrong"):
        one, three = once.estimate("sums", metric), thrice.estimate("sums", metric)
        assert (three["num_clusters"], three["n"]) == (one["num_clusters"], 3 * one["n"])
        assert three["value"] == pytest.approx(one["value"])
        assert three["high"] - three["low"] >= one["high"] - one["low"] - 1e-9


def questions(targets: tuple[int | None, ...]) -> pa.Table:
    """Return eight questions, each asked by two users and by none, without the column ``arm``."""
    return pa.Table.from_pylist(
        [
            {
                "id": f"{q}{u}",
                "claim_id": str(q),
                "prompt": f"Question {q}.{u}\n (A) yes\n (B) no",
                "choices": [" (A)", " (B)"],
                "user_choice": u,
                "target": targets[q % len(targets)],
            }
            for q in range(8)
            for u in (0, 1, None)
        ]
    )


# What a person reads in each of REPLIES; "Agree" is no choice where the prompt lists none of that name.
READ = dict(zip(REPLIES, (0, 1, 1, None, None, 0, None, None), strict=True))


def test_a_task_in_which_some_questions_have_a_right_choice_is_refused() -> None:
    with pytest.raises(sc.DataError, match="wanted all prompts with a target or none, got 12 of 24; split the"):
        inspect_task("mixed", questions((None, 1)))


def test_questions_without_an_arm_are_counted_under_none(tmp_path: Path) -> None:
    log = run(questions((1,)), tmp_path)
    right = [READ[sample.output.completion] == 1 for sample in log.samples]
    metrics = metrics_of(log)
    assert metrics["named_choice/none"] == pytest.approx(sum(right) / 24)
    assert metrics["named_choice/accuracy"] == pytest.approx(sum(right) / 24)


def test_letters_that_a_reducer_leaves_are_numbers_as_inspect_has_them(tmp_path: Path) -> None:
    log = run(questions((None,)), tmp_path, epochs=inspect_ai.Epochs(3, "mode"))
    told = [sample for sample in log.samples if sample.metadata["user_choice"] is not None]
    rate = sum(READ[one.output.completion] == one.metadata["user_choice"] for one in told) / len(told)
    assert metrics_of(log)["users_choice/matching_rate"] == pytest.approx(rate)


def test_opinions_are_matched_with_the_user_and_never_called_right(tmp_path: Path) -> None:
    log = run(questions((None,)), tmp_path)
    metrics = metrics_of(log)
    frame = pd.DataFrame([{**s.metadata, "reply": s.output.completion} for s in log.samples])
    frame["answer"] = frame["reply"].map(READ)
    users = frame[frame["user_choice"].notna()]
    told = users[users["answer"].notna()]
    rate = (users["answer"] == users["user_choice"]).mean()
    assert metrics["users_choice/matching_rate"] == pytest.approx(rate)
    assert not any("accuracy" in name for name in metrics)
    by_question = (told["answer"] == told["user_choice"]).groupby(told["claim_id"]).mean().mean()
    assert evaluation_from_inspect(log).estimate("sums", "matching_rate")["value"] == pytest.approx(by_question)


def test_logs_that_are_not_ours_or_not_of_one_model_are_refused(log: EvalLog) -> None:
    with pytest.raises(sc.DataError, match="wanted logs of Inspect, got none"):
        evaluation_from_inspect()
    with pytest.raises(sc.DataError, match="give each task once"):
        evaluation_from_inspect(log, log)
    foreign = log.model_copy(update={"samples": [s.model_copy(update={"metadata": {}}) for s in log.samples]})
    with pytest.raises(sc.DataError, match="of no task of ours"):
        evaluation_from_inspect(foreign)
    with pytest.raises(sc.DataError, match="holds no samples"):
        evaluation_from_inspect(log.model_copy(update={"samples": None}))
    for status in ("error", "cancelled", "started"):
        with pytest.raises(sc.DataError, match=f"log of sums is not whole: wanted the status success, got {status}"):
            evaluation_from_inspect(log.model_copy(update={"status": status}))
    other = log.model_copy(update={"eval": log.eval.model_copy(update={"model": "other"})})
    with pytest.raises(sc.DataError, match="wanted logs of one model, got mockllm/model, other"):
        evaluation_from_inspect(log, other)
    config = log.plan.config.model_copy(update={"temperature": 0.5})
    warmer = log.model_copy(update={"plan": log.plan.model_copy(update={"config": config})})
    with pytest.raises(sc.DataError, match=r"wanted logs of one way of sampling, got temperature none and 0.5; make"):
        evaluation_from_inspect(log, warmer)


def test_the_entry_point_names_the_module_with_a_task_for_each_of_ours() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    module = import_module(project["entry-points"]["inspect_ai"]["sycophancy_core"])
    assert module is ours
    samples = list(ours.addition_factorial(limit=2, seed=5).dataset)
    wanted = task_prompts(("addition_factorial",), limit=2, seed=5)["addition_factorial"]
    assert [sample.metadata["id"] for sample in samples] == wanted["id"].to_pylist()


def test_a_task_that_reads_files_takes_them_from_a_folder_or_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache has the files as after a first fetch: at their place, with a note of their digests."""
    rows = {"examples": [{"input": f"What is {n}?\nOptions:\n(A) yes\n(B) no", "target": "(A)"} for n in range(4)]}
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache/published/bbh"
    folder.mkdir(parents=True)
    for name in published._BBH.split():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    found = [sample.id for sample in ours.bbh(limit=3, seed=1).dataset]
    assert found == [sample.id for sample in ours.bbh(str(folder), limit=3, seed=1).dataset]
    assert len(found) > 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    try:
        path = embedded_gguf()
    except sc.ModelError as error:
        pytest.skip(str(error))
    with llama_servers(path) as (url,):
        yield url


@pytest.mark.model
def test_inspects_own_client_of_a_real_server(
    url: str, prompts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    few = prompts.slice(0, 8)
    log = run(few, tmp_path, model="openai-api/local/smollm2", max_tokens=8, temperature=0.0, max_connections=2)
    found = evaluation_from_inspect(read_eval_log(log.location))
    frame = pd.DataFrame([{**s.metadata, "value": s.scores["named_choice"].value} for s in log.samples])
    metrics = metrics_of(log)
    assert metrics["named_choice/accuracy"] == pytest.approx((frame["value"] == "C").mean())
    assert metrics["unparsed/mean"] == pytest.approx((frame["value"] == "N").mean())
    assert found.measurements.num_rows == 8
    assert found.num_unscored == (frame["value"] == "N").sum()
    assert all(reply for reply in found.measurements["reply"].to_pylist())
    assert found.facts["sampling"]["temperature"] == 0.0
