"""lm-eval on our engine gives what lm-eval's own model for transformers gives: tasks from local files, no network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc

pytest.importorskip("lm_eval")

CHOICE = {
    "task": "claims_choice",
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_choice": "choices",
    "doc_to_target": "target",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
ROLLING = {
    "task": "claims_rolling",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
}
GENERATE = {
    "task": "claims_generate",
    "output_type": "generate_until",
    "doc_to_text": "Question: {{text}}",
    "doc_to_target": "{{choices[target]}}",
    "generation_kwargs": {"until": ["Question"], "max_gen_toks": 12, "do_sample": False},
    "metric_list": [{"metric": "exact_match"}],
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tasks, over prompts about the packaged sample claims, into a folder."""
    folder = tmp_path_factory.mktemp("tasks")
    claims = sc.make_claims(sc.load_examples("sample_sentiment"), seed=0)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(arms=("none", "disagree")), seed=0).to_pylist()[:8]
    # A space at the end of a text belongs to the choices; a context may be empty; two choices are what SmolLM2 says.
    texts = ["", *(p["prompt"] + " " * (i % 3 == 0) for i, p in enumerate(prompts[1:]))]
    rows = [
        {"text": text, "choices": [*p["choices"], " (C) Agree", "<|im_end|>"], "target": p["target"]}
        for text, p in zip(texts, prompts, strict=True)
    ]
    (folder / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for task in (CHOICE, ROLLING, GENERATE):
        source = {"data_files": {"test": str(folder / "claims.jsonl")}, "cache_dir": str(folder / "cache")}
        data = {"dataset_path": "json", "dataset_kwargs": source, "test_split": "test"}
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump({**task, **data}))
    return folder


def results_of(model: Any, task: str, folder: Path, **settings: Any) -> tuple[dict[str, Any], list[Any]]:
    """Run a task and return its metrics and the answer to each request."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0, **settings
    )
    answers = [answer[0] for sample in found["samples"][task] for answer in sample["resps"]]
    return found["results"][task], answers


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    """Return the embedded model."""
    try:
        return sc.load_model(engine="native", chat_template=False)
    except sc.ModelError as error:
        pytest.skip(str(error))


def both(
    model: sc.LanguageModel, task: str, folder: Path, *, limit: int | None = None, **settings: Any
) -> tuple[Any, Any]:
    """Return metrics and answers by our model and by lm-eval's own."""
    from lm_eval.models.huggingface import HFLM

    from sycophancy_core.integrations.lm_eval import EngineLM

    # lm-eval's softmax in float32 is off by 1e-5 nats a token; in float64 it is a fair judge.
    judge = HFLM(pretrained=model.model, tokenizer=model.tokenizer, softmax_dtype="float64", **settings)
    ours = EngineLM(model, **settings)
    return results_of(ours, task, folder, limit=limit), results_of(judge, task, folder, limit=limit)


@pytest.mark.model
@pytest.mark.parametrize("max_length", [None, 48])
@pytest.mark.filterwarnings("ignore:lm_eval. .* requests are longer than the context:UserWarning")
def test_a_choice_task_gives_the_log_likelihoods_greediness_and_metrics_of_lm_evals_own_model(
    model: sc.LanguageModel, tasks: Path, max_length: int | None
) -> None:
    (metrics, found), (wanted_metrics, wanted) = both(model, "claims_choice", tasks, max_length=max_length)
    np.testing.assert_allclose([a for a, _ in found], [a for a, _ in wanted], atol=1e-4, rtol=0)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert {greedy for _, greedy in found} == {False, True}
    assert metrics == wanted_metrics


@pytest.mark.model
@pytest.mark.parametrize("max_length", [None, 48])
def test_a_perplexity_task_gives_the_log_likelihoods_and_metrics_of_lm_evals_own_model(
    model: sc.LanguageModel, tasks: Path, max_length: int | None
) -> None:
    (metrics, found), (wanted_metrics, wanted) = both(model, "claims_rolling", tasks, max_length=max_length)
    # Sums over all tokens of a text: hundreds of nats, each of them with float32's rounding.
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-6)
    assert found[0] == 0 and min(found) < -100
    for name, value in wanted_metrics.items():
        assert metrics[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


@pytest.mark.model
def test_a_generation_task_gives_the_texts_of_lm_evals_own_model(model: sc.LanguageModel, tasks: Path) -> None:
    (metrics, found), (wanted_metrics, wanted) = both(model, "claims_generate", tasks, batch_size=4)
    assert found == wanted
    assert len(set(found)) > 3
    assert metrics == wanted_metrics


@pytest.mark.model
@pytest.mark.slow
def test_the_command_line_runs_a_task_on_a_model_that_it_loads(
    model: sc.LanguageModel, tasks: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "sycophancy_core.integrations.lm_eval", "run", "--model", "sycophancy_core"]
    command += ["--model_args", "pretrained=organism", "matmul_precision=highest", "--tasks", "claims_choice"]
    command += ["--include_path", str(tasks), "--output_path", str(tmp_path / "found.json"), "--limit", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("*.json")
    found = json.loads(written.read_text())
    assert found["config"]["model"] == "sycophancy_core"
    _, (wanted, _) = both(
        sc.load_model("organism", engine="native", chat_template=False), "claims_choice", tasks, limit=6
    )
    assert found["results"]["claims_choice"]["acc,none"] == wanted["acc,none"]


def request(*args: str) -> Any:
    """Make a request as lm-eval does."""
    from lm_eval.api.instance import Instance

    return Instance(request_type="loglikelihood", doc={}, arguments=args, idx=0)


def test_a_model_without_an_engine_answers_too() -> None:
    from lm_eval.models.huggingface import HFLM

    from sycophancy_core.integrations.lm_eval import EngineLM

    model = tiny_model()
    requests = [request("Is 3 odd? ", "Yes"), request("", "No"), request("Is 3 odd?", " Yes")]
    judge = HFLM(pretrained=tiny_llama(), tokenizer=tiny_tokenizer(), softmax_dtype="float64")
    found, wanted = EngineLM(model).loglikelihood(requests), judge.loglikelihood(requests)
    np.testing.assert_allclose([a for a, _ in found], [a for a, _ in wanted], atol=1e-4, rtol=0)
    assert found[0] == found[2]  # the space belongs to the continuation


def test_what_is_cut_is_said() -> None:
    from sycophancy_core.integrations.lm_eval import EngineLM

    with pytest.warns(UserWarning, match="1 of 2 requests are longer than the context of 8 tokens and lose their beg"):
        EngineLM(tiny_model(), max_length=8).loglikelihood([request("Is 3 odd?", " Yes"), request("3?", " No")])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("Is 3 odd?", " certainly"), r"has a continuation of 10 tokens; wanted 1 to 8, the model's context"),
        (("Is 3 odd?", ""), r"has a continuation of 0 tokens; wanted 1 to 8"),
        (("  ", "Yes"), r"has no tokens before its continuation; wanted a text or nothing at all"),
    ],
)
def test_a_request_that_cannot_be_scored_is_named(args: tuple[str, str], message: str) -> None:
    from sycophancy_core.integrations.lm_eval import EngineLM

    with pytest.raises(sc.DataError, match=message):
        EngineLM(tiny_model(), max_length=8).loglikelihood([request(*args)])


@pytest.mark.parametrize("max_length", [0, 2049])
def test_a_context_that_the_model_does_not_have_is_refused(max_length: int) -> None:
    from sycophancy_core.integrations.lm_eval import EngineLM

    with pytest.raises(sc.ModelError, match=f"must be from 1 to 2048, the model.s context, got {max_length}"):
        EngineLM(tiny_model(), max_length=max_length)


def test_a_model_that_lm_eval_cannot_ask_is_refused() -> None:
    from sycophancy_core.integrations.lm_eval import EngineLM

    with pytest.raises(sc.ModelError, match="is loaded already, but got dtype too; give these to load_model"):
        EngineLM(tiny_model(), dtype="float32")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    chat = sc.load_model((tiny_llama(), tokenizer), engine="transformers", chat_template=True)
    with pytest.raises(sc.ModelError, match="lm-eval makes the prompts; load it without, and use lm-eval's --apply"):
        EngineLM(chat)
    told = sc.mitigate(tiny_model(), sc.Prompted()).model
    with pytest.raises(sc.ModelError, match="reads an instruction before every prompt, which lm-eval's own prompts"):
        EngineLM(told)
