"""The two verbs that need no other word than a model: measure it, and cure it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.commands.inputs import given, printer, require_figures, task_options
from sycophancy_core.commands.scoring import evaluate_tasks, foremost
from sycophancy_core.errors import DataError
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.runs.surroundings import today

if TYPE_CHECKING:
    from argparse import Namespace

    import pyarrow as pa

USUAL_TASKS = ("facts", "claims", "addition_factorial")


def measure(options: Namespace) -> Any:
    """Ask a model the usual tasks, facts, claims about texts (or one's own) and sums, and questions of one's own."""
    name = _begin("measure", options)
    questions = [] if options.questions is None else [str(options.questions)]
    options.tasks, options.users = [*questions, *USUAL_TASKS], bool(questions)
    options.folder, options.journal, options.in_words = None, True, True
    wanted = task_options(options)
    own = "claims" if options.claims is None else _own_claims(options, wanted["options"].claims)
    asked = ", ".join(own if task == "claims" else task for task in options.tasks)
    options.begins = f"measuring {name}: {asked}, {options.limit} of each; results go to {options.out}"
    return evaluate_tasks(options, wanted)


def _own_claims(options: Namespace, claims: pa.Table) -> str:
    """Say of which file how many claims are asked."""
    from sycophancy_core.tasks.named_tasks import drawn_claims

    drawn = drawn_claims(claims, options.limit, seed=options.seed)["is_true"].to_pylist()
    counts = f"{sum(drawn):,} true, {len(drawn) - sum(drawn):,} false"
    return f"claims of {options.claims} ({len(drawn):,} of {claims.num_rows:,}: {counts})"


def cure(options: Namespace) -> Any:
    """Run the whole method on a model, as a small study with its null variant, and say where the adapter is."""
    require_figures("cure")
    from sycophancy_core.results.in_words import text_in_words
    from sycophancy_core.scoring.sources import ORGANISM, resolve_source
    from sycophancy_core.studies.closing import closing_table
    from sycophancy_core.studies.demo import demo_options
    from sycophancy_core.studies.study import run_study

    if "://" in str(options.model):
        raise DataError(
            f"{options.model} is a server, which gives no weights to train; give a folder, a hub id or a GGUF file"
        )
    name = _begin("cure", options)
    changes = given(options, ("claims", "candidates", "steps", "chat_template", "think", "seed"))
    wanted = demo_options({**changes, "model": options.model})
    if options.model != ORGANISM:
        resolve_source(options.model)
    print(
        f"curing {name}: measure, find out what it knows, train on that with users of both opinions, measure again; "
        f"results go to {options.out}",
        flush=True,
    )
    done = run_study(wanted, options.out, printer=printer(options), out=sys.stdout)
    (variant, comparison), *nulls = done.comparisons.items()
    effects = done.result.null_effects
    in_words = text_in_words(comparison) if effects is None else closing_table(comparison, nulls[0][1], effects)
    print("\n".join(["", in_words, "", *foremost(comparison.findings)]))
    adapter, report = done.tuned[variant], options.out / done.result.reports[variant]
    control = options.out / "study.html"
    print(f"\nadapter: {adapter} (use it with --adapter)\nreport:  {report}")
    print(f"control: {control} (the same training without users)")
    return {"comparison": comparison, "adapter": adapter, "report": report, "control": control}


def demo(options: Namespace) -> Any:
    """Run the demo."""
    from sycophancy_core.studies.demo import demo_options, run_demo

    check_output_folder(options.out)
    changes = given(options, ("claims", "candidates", "steps", "model", "chat_template", "seed"))
    return run_demo(options.out, options=demo_options(changes), printer=printer(options))


def _begin(verb: str, options: Namespace) -> str:
    """Say how the model is called, and choose a folder where none is given; the command to resume then names it."""
    name = str(options.model or "the embedded model")
    if options.out is None:
        options.out = _dated(verb, "embedded" if options.model is None else re.sub(r"\.gguf$", "", Path(name).name))
        options.command = f"{options.command} -o {options.out}"
    check_output_folder(options.out)
    return name


def _dated(verb: str, name: str) -> Path:
    """Return a folder's name that is not taken: verb, model and day."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
    first = Path(f"{verb}-{plain}-{today()}")
    number, path = 1, first
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path
