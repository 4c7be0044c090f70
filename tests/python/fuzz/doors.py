"""Public functions that take tables, texts, arrays and numbers: only DataError, ModelError and OSError leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from fuzz.calls import Call, call, cases_of
from fuzz.runner import Target
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.metrics.measure import known_claims, measure
from sycophancy_core.scoring.scores import join_scores
from sycophancy_core.tasks.named_tasks import task_prompts


def _read_all(reader: pa.RecordBatchReader) -> pa.Table:
    try:
        return reader.read_all()
    except MemoryError as error:  # pyarrow's own, in the caller's hands
        raise sc.DataError(str(error)) from error


def generation() -> dict[str, Call]:
    whole = sc.load_examples()
    examples = whole.slice(0, 40)
    claims = sc.make_claims(whole, seed=1).slice(0, 12)
    prompts = sc.make_prompts(claims, seed=1)
    sums = sc.make_prompts(sc.make_additions(n=4), seed=1)
    rows = sc.load_instructions(limit=20)
    claim_options = call(sc.ClaimOptions, negated_share=0.5, claims_per_example=1)
    prompt_options = call(
        sc.PromptOptions, arms=("none", "agree"), orders=("agree_first",), split="train", templates=("before_first_1",)
    )
    plan: dict[str, Any] = {
        "n": 8,
        "recipe": "balanced",
        "split": "train",
        "repeat_claims": False,
        "seed": 0,
        "threads": 1,
    }
    near = call(sc.AdditionOptions, operands=(1, 50), true_share=0.5, near_max=10)
    return {
        "make_claims": call(sc.make_claims, examples=examples, options=claim_options, seed=1),
        "make_prompts": call(sc.make_prompts, claims=claims, options=prompt_options, seed=1),
        "make_additions": call(sc.make_additions, options=near, n=9, seed=1),
        "generate": call(sc.generate, examples=examples, shard=(0, 1), **plan),
        "stream_prompts": Call(sc.stream_prompts, {"examples": examples, "shard": (0, 1), **plan}, _read_all),
        "split_claims": call(sc.split_claims, claims=claims, share=0.2),
        "balance_labels": call(sc.balance_labels, examples=examples, seed=0),
        "shortcut_audit": call(sc.shortcut_audit, prompts=prompts, confidence=0.95, limit=100, seed=0),
        "fact_prompts": call(sc.fact_prompts, facts=sc.load_facts("capitals").slice(0, 4), seed=0),
        "mix": call(sc.mix, prompts=prompts, instructions=rows, ratio=2.0, weights=None, seed=0),
        "mix several": call(
            sc.mix, prompts=prompts, instructions={"a": rows, "b": rows}, ratio=2.0, weights={"a": 1.0, "b": 2.0}
        ),
        "mix, checked": call(sc.mix, prompts=prompts, instructions=rows, evaluation={"t": sums}),
        "count_rows": call(sc.count_rows, rows=sc.mix(prompts, rows, seed=0)),
        "load_examples": call(sc.load_examples, limit=3, seed=0),
        "load_instructions": call(sc.load_instructions, limit=3, seed=0),
        "task_prompts": call(task_prompts, tasks=("addition_factorial",), limit=2, seed=0),
    }


def measurement() -> dict[str, Call]:
    model = tiny_model()
    claims = sc.make_claims(sc.load_examples(), seed=1).slice(0, 6)
    prompts = sc.make_prompts(claims, seed=1)
    scores = model.score(prompts)
    measured = join_scores(prompts, scores)
    rows = sc.mix(prompts, sc.load_instructions(limit=20), seed=1).slice(0, 6)
    options = call(sc.FinetuneOptions, steps=1, batch_size=2, learning_rate=1e-3, seed=0, precision="float32")
    turns = [{"role": "user", "content": "Is it?"}]

    def evaluated(model: Any, **arguments: Any) -> object:
        return repr(sc.evaluate(model, **arguments))

    def trained(**arguments: Any) -> object:
        return sc.finetune(tiny_model(), **arguments)

    def score(prompts: Any) -> object:
        return model.score(prompts)

    def log_probs(contexts: Any, continuations: Any) -> object:
        return model.log_probs(contexts, continuations)

    def filtered(**arguments: Any) -> object:
        return repr(sc.filter_known(model, **arguments))

    return {
        "score": call(score, prompts=prompts),
        "log_probs": call(log_probs, contexts=["a b", turns], continuations=[[" c", " d"], [" e"]]),
        "evaluate": call(evaluated, model=model, tasks={"t": prompts}, seed=0, known=None),
        "filter_known": call(filtered, claims=claims, seed=0),
        "finetune": call(trained, rows=rows, options=options),
        "measure": call(measure, measurements=measured, confidence=0.95, known=None, subset_by=("source",)),
        "known_claims": call(known_claims, measurements=measured),
        "fit_opinion_model": call(sc.fit_opinion_model, measurements=measured, confidence=0.95),
        "power": call(sc.power, sd=0.5, effect=0.1, prompts_per_claim=2, correlation=0.5, alpha=0.05, power=0.8),
    }


def results(folder: Path) -> dict[str, Call]:
    """Return what is done with results, with tables of one's own, and with models that get a cure."""
    model = tiny_model()
    prompts = sc.make_prompts(sc.make_claims(sc.load_examples(), seed=1).slice(0, 6), seed=1)
    found = sc.evaluate(model, tasks={"t": prompts}, progress=False)
    facts, others = (sc.load_facts(family).slice(0, 3) for family in ("plurals", "past_tenses"))
    shard = sc.score_shard(model, prompts, shard=(0, 1), progress=False)
    cured = sc.mitigate(model, sc.Prompted(), progress=False)
    for result, name in ((found, "evaluation"), (cured, "cure")):
        result.save(folder / name)
    quick: dict[str, Any] = {"model": model, "seed": 0, "progress": False}
    made = call(sc.Steered, layers=(1,), strengths=(1.0,), most_lost=1.0)

    def head_to_head(methods: Any, seeds: Any, also: Any) -> object:
        tables = {"facts": facts, "test": others}
        return sc.head_to_head(
            **quick, **tables, methods=methods, seeds=seeds, also=also, num_random=2, other_prompts=0
        )

    return {
        "compare": call(sc.compare, before=found, after=found, known=None, equivalence_margin=0.05),
        "compare_models": call(sc.compare_models, evaluations={"a": found, "b": found}, baseline="a"),
        "report": call(sc.report, result=found, path=folder / "report.html", manifest=None, training_log=None),
        "save_gallery": call(sc.save_gallery, result=found, folder=folder / "gallery"),
        "estimate": call(found.estimate, task="t", metric="sycophancy_effect"),
        "load": call(sc.Evaluation.load, folder=folder / "evaluation"),
        "load_cure": call(sc.load_cure, folder=folder / "cure", model=model),
        "verify": call(sc.verify, folder=folder / "evaluation"),
        "power": call(sc.power, pilot=found, task="t", metric="sycophancy_effect", effect=0.1),
        "evaluate": call(sc.evaluate, **quick, tasks={"t": prompts}, known=None, sampling=None, think=None, run=None),
        "evaluate_many": call(
            sc.evaluate_many, models={"a": model}, tasks={"t": prompts}, families=None, progress=False
        ),
        "score_shard": call(sc.score_shard, model=model, prompts=prompts, shard=(0, 1), run=None, progress=False),
        "merge": call(sc.merge, shards=[shard], claims=None),
        "write_prompts": call(sc.write_prompts, prompts=prompts, path=folder / "prompts.parquet"),
        "mitigate": call(sc.mitigate, **quick, method=made, facts=facts, validation=None),
        "head_to_head": call(head_to_head, methods={"a": sc.Prompted()}, seeds=(0,), also=None),
        **own_data(),
    }


def own_data() -> dict[str, Call]:
    """Return what is done with tables of one's own, and records of options."""
    claims = pa.table({"text": ["a b", "c d"], "truth": [True, False]})
    questions = pa.table({"prompt": ["a?", "b?"], "choices": [["x", "y"]] * 2, "target": [0, 1]})
    return {
        "read_claims": call(sc.read_claims, source=claims, text=None, truth=None, seed=0),
        "read_questions": call(sc.read_questions, source=questions, choices=None, users=False, split="test", seed=0),
        "flattering_rows": call(sc.flattering_rows, facts=sc.load_facts("plurals").slice(0, 3), n=4, ratio=5.0, seed=0),
        "study options": call(sc.StudyOptions, seed=0, families=("addition",), candidates=40, learning_rate=1e-3),
        "filter options": call(sc.FilterOptions, rule="margin", threshold=0.5, max_error=None),
    }


TARGETS = (
    Target("doors: results", lambda folder: cases_of(lambda: results(folder))(folder), 400),
    Target("doors: generation", cases_of(generation), 1000),
    Target("doors: measurement", cases_of(measurement), 400),
)
