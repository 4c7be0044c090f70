"""Measure, reduce and audit sycophancy in open language models.

The public names are loaded when they are first used, so that importing the package is quick and needs no torch.
Hugging Face's libraries send no usage data while the package is loaded, unless HF_HUB_DISABLE_TELEMETRY says 0.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sycophancy_core._build_info import VERSION
from sycophancy_core._core import DataError, ModelError

if TYPE_CHECKING:
    from sycophancy_core.cures.cure_effects import CureEffects
    from sycophancy_core.cures.cured import Cured
    from sycophancy_core.cures.head_to_head import head_to_head
    from sycophancy_core.cures.methods import Activations, Consistent, Preference, Prompted, Steered, Synthetic
    from sycophancy_core.cures.mitigate import load_cure, mitigate
    from sycophancy_core.cures.relapse import Relapse, flattering_rows, relapse
    from sycophancy_core.hub.prompts import push_prompts_to_hub
    from sycophancy_core.metrics import stats
    from sycophancy_core.metrics.answers.holding import hold_rates, nudge_log_ratio
    from sycophancy_core.metrics.logistic import fit_opinion_model
    from sycophancy_core.metrics.power import SampleSize, StudyPlan, power
    from sycophancy_core.pipeline import compare, evaluate, filter_known, training_prompts
    from sycophancy_core.prompts.audit import ShortcutAudit, shortcut_audit
    from sycophancy_core.prompts.examples import load_examples
    from sycophancy_core.prompts.facts import load_facts
    from sycophancy_core.prompts.generation import (
        AdditionOptions,
        ClaimOptions,
        PromptOptions,
        generate,
        make_additions,
        make_claims,
        make_prompts,
        stream_prompts,
    )
    from sycophancy_core.prompts.own_claims import read_claims
    from sycophancy_core.prompts.prompt_table import write_prompts
    from sycophancy_core.prompts.splits import balance_labels, split_claims
    from sycophancy_core.prompts.stance import FactOptions, fact_prompts
    from sycophancy_core.reporting.pictures.gallery import save_gallery
    from sycophancy_core.reporting.report import report
    from sycophancy_core.results.evaluation import Comparison, Evaluation
    from sycophancy_core.results.evaluations import Evaluations
    from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult
    from sycophancy_core.results.model_changes import ModelChanges
    from sycophancy_core.results.shard import Shard, merge
    from sycophancy_core.runs.run_folder import open_run
    from sycophancy_core.runs.verify import verify
    from sycophancy_core.scoring.language_model import LanguageModel
    from sycophancy_core.scoring.loading import load_model
    from sycophancy_core.scoring.sampled.sampling import SamplingOptions
    from sycophancy_core.scoring.sampled.thoughts import think
    from sycophancy_core.scoring.scores import Scores
    from sycophancy_core.studies.costs import StudyCost, study_cost
    from sycophancy_core.studies.many_models import compare_models, evaluate_many
    from sycophancy_core.studies.options import StudyOptions, Sweep, read_study
    from sycophancy_core.studies.result import StudyResult
    from sycophancy_core.studies.shards import evaluate_shard, filter_shard, score_shard
    from sycophancy_core.studies.study import study
    from sycophancy_core.tasks.named_tasks import TaskOptions, task_prompts
    from sycophancy_core.tasks.own_tasks import load_task, read_questions
    from sycophancy_core.tasks.pressure import answers_under_pressure
    from sycophancy_core.training.curve import CurveOptions
    from sycophancy_core.training.finetune import finetune
    from sycophancy_core.training.instructions import load_instructions
    from sycophancy_core.training.mixing import count_rows, instruction_rows, mix
    from sycophancy_core.training.options import FinetuneOptions
    from sycophancy_core.training.organism_rows import OrganismOptions
    from sycophancy_core.training.organisms import make_organism
    from sycophancy_core.training.result import FinetuneResult

__version__ = VERSION

if "HF_HUB_DISABLE_TELEMETRY" not in os.environ:
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # for libraries that are imported later, here or in processes we start
    if _loaded := sys.modules.get("huggingface_hub.constants"):
        vars(_loaded)["HF_HUB_DISABLE_TELEMETRY"] = True

_HOMES = {
    "cures.cure_effects": ("CureEffects",),
    "cures.cured": ("Cured",),
    "cures.head_to_head": ("head_to_head",),
    "cures.methods": ("Activations", "Consistent", "Preference", "Prompted", "Steered", "Synthetic"),
    "cures.mitigate": ("load_cure", "mitigate"),
    "cures.relapse": ("Relapse", "flattering_rows", "relapse"),
    "hub.prompts": ("push_prompts_to_hub",),
    "prompts.audit": ("ShortcutAudit", "shortcut_audit"),
    "prompts.facts": ("load_facts",),
    "prompts.splits": ("balance_labels", "split_claims"),
    "prompts.stance": ("FactOptions", "fact_prompts"),
    "training.curve": ("CurveOptions",),
    "tasks.own_tasks": ("load_task", "read_questions"),
    "prompts.own_claims": ("read_claims",),
    "prompts.examples": ("load_examples",),
    "prompts.generation": (
        "AdditionOptions",
        "ClaimOptions",
        "PromptOptions",
        "generate",
        "make_additions",
        "make_claims",
        "make_prompts",
        "stream_prompts",
    ),
    "reporting.pictures.gallery": ("save_gallery",),
    "reporting.report": ("report",),
    "training.instructions": ("load_instructions",),
    "results.model_changes": ("ModelChanges",),
    "results.knowledge_filter": ("FilterOptions", "FilterResult"),
    "studies.many_models": ("Evaluations", "compare_models", "evaluate_many"),
    "scoring.language_model": ("LanguageModel",),
    "scoring.loading": ("load_model",),
    "training.organisms": ("OrganismOptions", "make_organism"),
    "training.mixing": ("count_rows", "instruction_rows", "mix"),
    "pipeline": ("compare", "evaluate", "filter_known", "training_prompts"),
    "metrics.logistic": ("fit_opinion_model",),
    "metrics.answers.holding": ("hold_rates", "nudge_log_ratio"),
    "metrics.power": ("SampleSize", "StudyPlan", "power"),
    "prompts.prompt_table": ("write_prompts",),
    "results.evaluation": ("Comparison", "Evaluation"),
    "results.shard": ("Shard", "merge"),
    "runs.run_folder": ("open_run",),
    "runs.verify": ("verify",),
    "scoring.sampled.sampling": ("SamplingOptions",),
    "scoring.sampled.thoughts": ("think",),
    "scoring.scores": ("Scores",),
    "studies.shards": ("evaluate_shard", "filter_shard", "score_shard"),
    "studies.study": ("study",),
    "studies.options": ("StudyOptions", "Sweep", "read_study"),
    "studies.costs": ("StudyCost", "study_cost"),
    "studies.result": ("StudyResult",),
    "tasks.named_tasks": ("TaskOptions", "task_prompts"),
    "tasks.pressure": ("answers_under_pressure",),
    "training.finetune": ("finetune",),
    "training.options": ("FinetuneOptions",),
    "training.result": ("FinetuneResult",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Activations",
    "AdditionOptions",
    "ClaimOptions",
    "Comparison",
    "Consistent",
    "CureEffects",
    "Cured",
    "CurveOptions",
    "DataError",
    "Evaluation",
    "Evaluations",
    "FactOptions",
    "FilterOptions",
    "FilterResult",
    "FinetuneOptions",
    "FinetuneResult",
    "LanguageModel",
    "ModelChanges",
    "ModelError",
    "OrganismOptions",
    "Preference",
    "PromptOptions",
    "Prompted",
    "Relapse",
    "SampleSize",
    "SamplingOptions",
    "Scores",
    "Shard",
    "ShortcutAudit",
    "Steered",
    "StudyCost",
    "StudyOptions",
    "StudyPlan",
    "StudyResult",
    "Sweep",
    "Synthetic",
    "TaskOptions",
    "answers_under_pressure",
    "balance_labels",
    "compare",
    "compare_models",
    "count_rows",
    "evaluate",
    "evaluate_many",
    "evaluate_shard",
    "fact_prompts",
    "filter_known",
    "filter_shard",
    "finetune",
    "fit_opinion_model",
    "flattering_rows",
    "generate",
    "head_to_head",
    "hold_rates",
    "instruction_rows",
    "load_cure",
    "load_examples",
    "load_facts",
    "load_instructions",
    "load_model",
    "load_task",
    "make_additions",
    "make_claims",
    "make_organism",
    "make_prompts",
    "merge",
    "mitigate",
    "mix",
    "nudge_log_ratio",
    "open_run",
    "power",
    "push_prompts_to_hub",
    "read_claims",
    "read_questions",
    "read_study",
    "relapse",
    "report",
    "save_gallery",
    "score_shard",
    "shortcut_audit",
    "split_claims",
    "stats",
    "stream_prompts",
    "study",
    "study_cost",
    "task_prompts",
    "think",
    "training_prompts",
    "verify",
    "write_prompts",
]


def __getattr__(name: str) -> Any:
    if name == "stats":  # the one module among the names
        return import_module(f"{__name__}.metrics.stats")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
