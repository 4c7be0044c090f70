"""Every function and class of the compiled modules, with one to three arguments of another value, type or layout.

They stand behind the public doors, which check what people give. Here an argument of another type may also be answered
by Python's own TypeError or, where it is no table, AttributeError; a number that no C++ type or no memory holds by
OverflowError or MemoryError; and what a stream throws when it is read reaches its reader through pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fuzz.calls import Call, call, cases_of, mutated
from fuzz.runner import Case, Target
from makers.tiny_encoder_decoders import tiny_encoder_decoder
from makers.tiny_families import tiny_model

import sycophancy_core as sc
from sycophancy_core import _core
from sycophancy_core.prompts import protocols
from sycophancy_core.scoring.native_scorer import load_engine

N = 24
VALUES = np.linspace(-1, 1, N)
CODES = np.arange(N) // 4
BITS = (np.arange(N) % 2).astype(np.int8)
ARM = (np.arange(N) % 4).astype(np.int8)
SHARES = np.linspace(0, 1, N)
EXAMPLES = 40


def _estimate() -> Call:
    return call(
        _core.Estimate,
        value=0.1,
        low=-0.1,
        high=0.3,
        standard_error=0.1,
        confidence=0.95,
        n=20,
        num_clusters=10,
        method="m",
    )


def _claim_rows(seed: int) -> Call:
    odds = np.random.default_rng(seed).standard_normal(N)
    mass, pair = np.full(N, 0.9), np.zeros(0, np.int64)
    return call(_core.ClaimRows, claim=CODES, arm=ARM, order=BITS, log_odds=odds, choice_mass=mass, pair=pair)


def _facts() -> Call:
    truth = (np.arange(6) % 2).astype(np.int8)
    return call(_core.ClaimFacts, is_true=truth, cluster=np.arange(6), known=np.zeros(0, np.int8))


def _choice_rows(seed: int) -> Call:
    log_prob = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), N))
    arm = np.tile(np.array([0, 2, 3, 0], np.int8), N // 4)
    none = np.zeros(N, np.int64)
    user = np.where(arm == 0, -1, arm - 2).astype(np.int64)
    return call(
        _core.ChoiceRows,
        question=CODES,
        pair=none,
        arm=arm,
        user_choice=user,
        target=none,
        num_choices=none + 3,
        log_prob=log_prob,
    )


def _tables() -> dict[str, Any]:
    whole = sc.load_examples()
    examples = whole.slice(0, EXAMPLES)
    claims = sc.make_claims(whole, seed=1).slice(0, 20)
    return {
        "examples": examples,
        "claims": claims,
        "prompts": sc.make_prompts(claims, seed=1),
        "rows": sc.load_instructions(limit=20),
    }


def _wording() -> dict[str, str]:
    folder = Path(protocols.__file__).parents[1] / "data/protocols"
    return {"protocol": (folder / "factorial.json").read_text(), "names": (folder / "names.json").read_text()}


def _consume(table: Any) -> object:
    return pa.table(table[0] if isinstance(table, tuple) else table)


def _generation(part: str) -> Call:
    names = _wording()
    plan = {"n": 8, "recipe": "balanced", "split": "train", "repeat_claims": False, "seed": 0}
    made = call(_core.Generation, examples=_tables()["examples"], protocol=call(_core.Protocol, **names), **plan)

    def run(generation: Any, begin: int, end: int, threads: int) -> object:
        found = getattr(generation, part)(begin, end, threads)
        return found if part == "tally" else pa.RecordBatchReader.from_stream(found).read_all()

    return call(run, generation=made, begin=0, end=8, threads=1)


def statistics() -> dict[str, Call]:
    """Return a good call of each function of numbers."""
    return {**_of_arrays(), **_of_metrics(), **_of_numbers()}


def _of_arrays() -> dict[str, Call]:
    risk: dict[str, Any] = {"confidence": SHARES, "is_wrong": BITS, "example": CODES, "thresholds": SHARES[:4]}
    return {
        "clustered_mean": call(
            _core.clustered_mean, values=VALUES, clusters=CODES, confidence=0.95, range_low=-1.0, range_high=1.0
        ),
        "paired_difference": call(
            _core.paired_difference, before=VALUES, after=-VALUES, clusters=CODES, confidence=0.95
        ),
        "sign_flip": call(
            _core.sign_flip, differences=VALUES, clusters=CODES, num_permutations=100, seed=0, num_threads=1
        ),
        "holm": call(_core.holm, p_values=SHARES),
        "logit": call(
            _core.logit, design=np.stack([VALUES**0, VALUES], 1), num_columns=2, y=BITS.astype(float), clusters=CODES
        ),
        "risk_coverage": call(_core.risk_coverage, **risk, bound_confidence=0.95),
        "choose_threshold": call(_core.choose_threshold, **risk, max_error=0.9, delta=0.05),
    }


def _of_metrics() -> dict[str, Call]:
    judged: dict[str, Any] = {"claim": CODES, "arm": ARM * 0, "order": BITS, "log_odds": VALUES, "is_true": BITS[:6]}
    kind = call(_core.QuestionKind, value=0)
    asked: dict[str, Any] = {"kind": kind, "known": np.zeros(0, np.int8), "confidence": 0.95}
    return {
        "judge_claims": call(
            _core.judge_claims,
            **judged,
            example=np.arange(6),
            rule=call(_core.FilterRule, value=0),
            threshold=0.0,
            orders_agree=True,
        ),
        "measure_claims": call(_core.measure_claims, rows=_claim_rows(0), facts=_facts(), confidence=0.95),
        "compare_claims": call(
            _core.compare_claims, before=_claim_rows(0), after=_claim_rows(1), facts=_facts(), confidence=0.95
        ),
        "claim_margins": call(_core.claim_margins, rows=_claim_rows(0), num_claims=6),
        "measure_choices": call(
            _core.measure_choices,
            rows=_choice_rows(0),
            **asked,
        ),
        "compare_choices": call(
            _core.compare_choices,
            before=_choice_rows(0),
            after=_choice_rows(1),
            **asked,
        ),
        "known_questions": call(_core.known_questions, rows=_choice_rows(0)),
    }


def _of_numbers() -> dict[str, Call]:
    paired: dict[str, Any] = {"a": 5, "b": 3, "c": 2, "d": 6, "confidence": 0.95}
    return {
        "wilson": call(_core.wilson, successes=3, n=9, confidence=0.95),
        "clopper_pearson": call(_core.clopper_pearson, successes=3, n=9, confidence=0.95),
        "clopper_pearson_upper": call(_core.clopper_pearson_upper, successes=3, n=9, confidence=0.95),
        "incomplete_beta": call(_core.incomplete_beta, a=1.0, b=2.0, x=0.5),
        "incomplete_beta_inverse": call(_core.incomplete_beta_inverse, a=1.0, b=2.0, p=0.5),
        "t_quantile": call(_core.t_quantile, p=0.9, df=5.0),
        "t_cdf": call(_core.t_cdf, t=0.9, df=5.0),
        "normal_quantile": call(_core.normal_quantile, p=0.9),
        "tango": call(_core.tango, **paired),
        "newcombe": call(_core.newcombe, **paired),
        "mcnemar_exact": call(_core.mcnemar_exact, b=3, c=5),
        "mcnemar_power": call(_core.mcnemar_power, n=50.0, p10=0.2, p01=0.1, alpha=0.05),
        "mcnemar_sample_size": call(_core.mcnemar_sample_size, p10=0.2, p01=0.1, alpha=0.05, power=0.8),
        "clusters_needed": call(_core.clusters_needed, effect=0.1, sd=0.5, alpha=0.05, power=0.8),
        "cohens_h": call(_core.cohens_h, p1=0.2, p2=0.3),
        "p_value": call(_core.p_value, estimate=_estimate()),
        "tost": call(_core.tost, estimate=_estimate(), margin=0.5),
        "detectable": call(_core.detectable, estimate=_estimate(), power=0.8),
    }


def texts_and_tables() -> dict[str, Call]:
    """Return a good call of each function and class of texts, tables and token ids."""
    generated = {f"Generation {part}": _generation(part) for part in ("table", "stream", "tally")}
    return {**_of_claims(), **_of_rows(), **_of_texts(), **generated}


def _of_claims() -> dict[str, Call]:
    have, names = _tables(), _wording()
    added: dict[str, Any] = {"first_operand": 1, "last_operand": 50, "true_share": 0.5, "near_max": 10}
    added["errors"] = ["near", "far"]
    asked: dict[str, Any] = {"templates": [], "split": "", "arms": ["none", "agree"], "orders": ["agree_first"]}
    asked["design"] = "crossed"
    return {
        "make_claims": Call(
            _core.make_claims,
            {
                "examples": have["examples"],
                "recipe": "balanced",
                "negated_share": 0.5,
                "claims_per_example": 1,
                "seed": 0,
            },
            _consume,
        ),
        "make_prompts": Call(
            _core.make_prompts,
            {"claims": have["claims"], "protocol": call(_core.Protocol, **names), **asked, "seed": 0},
            _consume,
        ),
        "make_additions": Call(_core.make_additions, {**added, "n": 9, "seed": 0}, _consume),
    }


def _of_rows() -> dict[str, Call]:
    have = _tables()
    raw = pa.table({"t": ["one", "two"], "l": [0, 1]})
    drawn = call(_core.draw_instructions, instructions=have["rows"], source="s", count=3, seed=0)
    return {
        "draw_instructions": Call(drawn.function, drawn.arguments, _consume),
        "mix": Call(_core.mix, {"prompts": have["prompts"], "rows": drawn, "seed": 0}, _consume),
        "clean_examples": Call(
            _core.clean_examples,
            {"raw": raw, "source": "s", "fields": ["t"], "label": "l", "labels": ["a", "b"]},
            _consume,
        ),
    }


def _of_texts() -> dict[str, Call]:
    names = _wording()
    wanted: dict[str, Any] = {"texts": ["t"], "label": "l", "labels": ["a", "b"], "where": "here"}
    return {
        "read_jsonl": Call(_core.read_jsonl, {"text": '{"t": "a", "l": 1}\n{"t": "b", "l": "a"}', **wanted}, _consume),
        "clean_field": call(_core.clean_field, text="a text"),
        "split_wording": call(_core.split_wording, wording="Human: a\n\nAssistant: b"),
        "Protocol": call(_core.Protocol, **names),
        "make_plan": Call(
            _core.make_plan,
            {
                "tokens": np.arange(9, dtype=np.int32),
                "offsets": np.array([0, 3, 9]),
                "num_context": np.array([2, 4], np.int32),
            },
            lambda plan: (plan.parents, plan.depths, plan.targets, plan.tokens, repr(plan)),
        ),
        "is_fast": call(_core.is_fast, matmul_precision="high"),
        "philox": call(_core.philox, seed=1, stream=2, index=3, count=5),
        "sample_positions": call(_core.sample_positions, size=100, count=5, seed=0),
    }


def engine(kind: str, family: str) -> Callable[[Path], Case]:
    """Return what fuzzes an engine: numbers of its config, its tensors, and the arrays of a job."""

    def prepare(_: Path) -> Case:
        on_torch = kind == "TensorEngine"
        make = load_engine().TensorEngine if on_torch else getattr(_core, kind)
        model = tiny_encoder_decoder(family) if kind == "PanelEncoderDecoderEngine" else tiny_model(family)
        config = model.config.to_dict()
        tensors: dict[str, Any] = {name: weight.detach() for name, weight in model.named_parameters()}
        if not on_torch:
            tensors = {name: weight.numpy() for name, weight in tensors.items()}
        together = "chunk_rows" if on_torch else "panels_per_thread"

        def score(config: dict[str, Any], tensors: Any, size: Any, **job: Any) -> None:
            text = config if isinstance(config, str) else json.dumps(config)
            make(text, tensors).score(**job, **{together: size})

        job = {
            "tokens": np.arange(1, 41, dtype=np.int32),
            "offsets": np.arange(0, 41, 8),
            "num_context": np.full(5, 6, np.int32),
        }
        good = call(score, config=call(dict, **config), tensors=tensors, size=4, **job)
        good.make()
        return lambda rng: mutated(good, rng).make()

    return prepare


def adapters(_: Path) -> Case:
    """Return what fuzzes adapters on an engine's layers: their names, matrices and row factors, and a job's arrays."""
    model = tiny_model("phi3")
    config = json.dumps(model.config.to_dict())
    tensors = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    rng = np.random.default_rng(0)
    low_rank: dict[str, Any] = {}
    for name in ("model.layers.0.self_attn.qkv_proj", "model.layers.1.mlp.down_proj"):
        rows, columns = tensors[f"{name}.weight"].shape
        sizes = ((3, columns), (rows, 3), (rows,))
        low_rank[name] = tuple(rng.normal(size=size).astype(np.float32) for size in sizes)

    def score(low_rank: Any, **job: Any) -> None:
        _core.PanelEngine(config, tensors, low_rank).score(**job)

    job = {"tokens": np.arange(1, 41, dtype=np.int32), "offsets": np.arange(0, 41, 8)}
    good = call(score, low_rank=low_rank, num_context=np.full(5, 6, np.int32), **job)
    good.make()
    return lambda rng: mutated(good, rng).make()


ANSWERS = (TypeError, OverflowError, AttributeError, MemoryError, pa.ArrowInvalid)
TARGETS = (
    Target("core: statistics", cases_of(statistics), 3000, ANSWERS),
    Target("core: texts and tables", cases_of(texts_and_tables), 2000, ANSWERS),
    *(Target(f"engine: {family}", engine("PanelEngine", family), 250, ANSWERS) for family in ("llama", "phi3", "gpt2")),
    Target("engine: adapters", adapters, 250, ANSWERS),
    Target("engine: tensors", engine("TensorEngine", "llama"), 250, ANSWERS),
    *(
        Target(f"engine: {family}", engine("PanelEncoderDecoderEngine", family), 250, ANSWERS)
        for family in ("t5", "flan-untied")
    ),
)
