"""Our evaluations as logs of Inspect: read by Inspect, and back into the same answers."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from inspect_ai.analysis import samples_df
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ContentReasoning, ContentText
from makers.tiny_llama import thinking_model, tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.integrations.inspect import evaluation_from_inspect
from sycophancy_core.integrations.inspect_log import write_inspect_logs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def evaluation() -> sc.Evaluation:
    model = sc.load_model((tiny_llama(), tiny_tokenizer()))
    return sc.evaluate(model, tasks=["facts", "addition"], limit=6, progress=False)


@pytest.fixture(scope="module")
def folder(evaluation: sc.Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "logs"
    assert [path.name for path in write_inspect_logs(evaluation, folder)] == ["facts.eval", "addition.eval"]
    return folder


def test_inspect_lists_them_and_its_samples_are_ours(evaluation: sc.Evaluation, folder: Path) -> None:
    assert len(list_eval_logs(str(folder))) == 2
    frame = samples_df(str(folder / "facts.eval"), quiet=True)
    mine = evaluation.measurements.to_pandas().query("task == 'facts'")
    assert frame["metadata_id"].to_list() == mine["id"].to_list()
    right = (mine["answer"] == mine["target"]).map({True: "C", False: "I"})
    assert frame["score_named_choice"].to_list() == right.to_list()


def test_what_was_asked_answered_and_estimated_is_there(evaluation: sc.Evaluation, folder: Path) -> None:
    log = read_eval_log(str(folder / "facts.eval"))
    row = evaluation.measurements.to_pylist()[0]
    (sample,) = (one for one in log.samples if one.metadata["id"] == row["id"])
    turns = evaluation.prompts["turns"][0].as_py()
    assert sample.input[0].text.startswith(turns[0]["content"])
    assert sample.output.completion == row["choices"][row["answer"]].strip()
    assert f"{max(row['log_prob']):.3f} nats" in sample.scores["named_choice"].explanation
    estimates = pd.DataFrame(evaluation.estimates.to_pylist()).query("task == 'facts' and subset == 'all'")
    wanted = estimates.set_index("metric").loc["accuracy_none"]
    found = log.results.scores[0].metrics["accuracy_none"]
    assert (found.value, found.params["low"], found.params["n"]) == (wanted["value"], wanted["low"], wanted["n"])


def test_read_back_as_replies_they_give_the_same_answers(evaluation: sc.Evaluation, folder: Path) -> None:
    again = evaluation_from_inspect(folder / "facts.eval", folder / "addition.eval")

    def answers(found: sc.Evaluation) -> dict[str, int]:
        ids = [identity.partition("#")[0] for identity in found.measurements["id"].to_pylist()]
        return dict(zip(ids, found.measurements["answer"].to_pylist(), strict=True))

    assert answers(again) == answers(evaluation)
    assert again.tasks == evaluation.tasks


def test_a_log_is_never_replaced(evaluation: sc.Evaluation, folder: Path) -> None:
    with pytest.raises(sc.DataError, match=r"facts\.eval is there already; remove it"):
        write_inspect_logs(evaluation, folder)


@pytest.mark.parametrize("sampling", [None, sc.SamplingOptions(draws=2, max_tokens=4)])
def test_ids_of_ones_own_stay_whole_and_a_draw_is_an_epoch(sampling: sc.SamplingOptions | None, tmp_path: Path) -> None:
    names = ["q#a", "q#7"]
    mine = pa.table({"id": names, "claim_id": names, "prompt": ["So?", "Not?"], "target": [0, 1]})
    mine = mine.append_column("choices", pa.array([[" (A)", " (B)"]] * 2))
    model = sc.load_model((tiny_llama(), tiny_tokenizer()))
    found = sc.evaluate(model, tasks={"mine": mine}, sampling=sampling, progress=False)
    (path,) = write_inspect_logs(found, tmp_path)
    log = read_eval_log(str(path))
    epochs = 1 if sampling is None else 2
    asked = {(name, epoch) for name in names for epoch in range(1, epochs + 1)}
    assert {(sample.metadata["id"], sample.epoch) for sample in log.samples} == asked
    assert (log.eval.config.epochs or 1) == epochs
    assert (log.eval.dataset.samples, log.eval.dataset.sample_ids) == (2, ["qa-none-q#a", "q7-none-q#7"])
    assert log.results.total_samples == 2 * epochs
    again = evaluation_from_inspect(path)
    assert again.measurements.num_rows == 2 * epochs


@pytest.mark.parametrize("sampling", [None, sc.SamplingOptions(draws=2, max_tokens=4)])
def test_a_thought_is_the_reasoning_before_a_reply(sampling: sc.SamplingOptions | None, tmp_path: Path) -> None:
    model = thinking_model()
    found = sc.evaluate(model, tasks="facts", limit=2, think=4, sampling=sampling, progress=False)
    (path,) = write_inspect_logs(found, tmp_path)
    log = read_eval_log(str(path))
    assert found.prompts is not None
    thoughts = dict(zip(*(found.prompts[name].to_pylist() for name in ("id", "thought")), strict=True))
    rows = found.measurements.to_pylist()
    assert len(log.samples) == len(rows)
    samples = {(one.metadata["id"], one.epoch): one for one in log.samples}
    for row in rows:
        sample = samples[row["id"].partition("#")[0], row.get("draw") or 1]
        reply = row["choices"][row["answer"]].strip() if sampling is None else row["reply"]
        wanted = [ContentReasoning(reasoning=thoughts[row["id"]]), ContentText(text=reply)]
        assert sample.messages[-1].content == sample.output.message.content == wanted
        assert sample.output.completion == reply
        assert sample.metadata["thought_ended"] == row["thought_ended"]
        assert "thought" not in sample.metadata
    assert log.eval.metadata["thinking"] == found.facts["thinking"]
    again = evaluation_from_inspect(path)
    assert again.measurements.num_rows == len(rows)
