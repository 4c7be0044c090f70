"""What each verb of the command line does: read files, call one function of the package, write files."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sycophancy_core.commands.inputs import (
    SCORING,
    claims_of,
    examples_of,
    files_by_name,
    given,
    is_adapter,
    load,
    option_name,
    printer,
    read_kind,
    refuse,
    require_figures,
    task_options,
)
from sycophancy_core.commands.outputs import check_table, remove_journals, result_folder, say_what_is_there, write_rows
from sycophancy_core.errors import DataError
from sycophancy_core.flags import record_from
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.outputs import check_output_file, check_output_folder
from sycophancy_core.runs.shards import read_shard
from sycophancy_core.runs.tables import read_rows

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path


def examples(options: Namespace) -> Any:
    """Load examples."""
    from sycophancy_core.prompts.examples import dropped_of, load_examples

    check_table(options.out)
    table = load_examples(options.source, folder=options.folder, limit=options.limit, seed=options.seed)
    written = write_rows(options.out, table, "examples")
    for source, counts in dropped_of(table).items():
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in counts.items() if number)
        if reasons:
            print(f"{source}: dropped {reasons}")
    return written


def claims(options: Namespace) -> Any:
    """Make claims."""
    from sycophancy_core.prompts.generation import ClaimOptions, make_claims

    check_table(options.out)
    wanted = record_from(ClaimOptions, options)
    return write_rows(options.out, make_claims(examples_of(options), options=wanted, seed=options.seed), "claims")


def additions(options: Namespace) -> Any:
    """Make sums."""
    from sycophancy_core.prompts.generation import AdditionOptions, make_additions

    check_table(options.out)
    wanted = record_from(AdditionOptions, options)
    return write_rows(options.out, make_additions(options=wanted, n=options.n, seed=options.seed), "claims")


def prompts(options: Namespace) -> Any:
    """Make prompts."""
    from sycophancy_core.prompts.generation import PromptOptions, make_prompts

    check_table(options.out)
    wanted = record_from(PromptOptions, options)
    return write_rows(
        options.out, make_prompts(claims_of(options.claims), options=wanted, seed=options.seed), "prompts"
    )


def generate(options: Namespace) -> Any:
    """Make claims and prompts in one go."""
    from sycophancy_core.prompts.generation import generate as generate_prompts

    check_table(options.out)
    table = generate_prompts(
        examples_of(options),
        n=options.n,
        recipe=options.recipe,
        protocol=options.protocol,
        seed=options.seed,
        shard=read_shard(options.shard or "0/1"),
    )
    return write_rows(options.out, table, "prompts")


def mix(options: Namespace) -> Any:
    """Mix training rows."""
    from sycophancy_core.training.instructions import load_instructions
    from sycophancy_core.training.mixing import count_rows
    from sycophancy_core.training.mixing import mix as mix_rows

    check_table(options.out)
    if options.unit == "rows":
        names = ("model", "adapter", "tokenizer", "concurrency", *SCORING, "device", "system_prompt", "chat_template")
        refuse(options, names, wanted="--unit tokens", got="--unit rows, which count without a model")
    paths = files_by_name(options.instructions or (), "--instructions")
    asked = files_by_name(options.evaluation or (), "--evaluation")
    if options.weights is not None and len(options.weights) != len(paths):
        raise DataError(f"mix: wanted a weight for each source, got {len(options.weights)} for {len(paths)}")
    weights = None if options.weights is None else dict(zip(paths, options.weights, strict=True))
    sources = {name: load_instructions(path, limit=options.limit, seed=options.seed) for name, path in paths.items()}
    prompts = read_kind(options.prompts, "prompts", ("id", "claim_id", "prompt"))
    evaluation = {name: read_kind(path, "prompts", ("id", "prompt")) for name, path in asked.items()}
    model = load(options) if options.unit == "tokens" else None
    rows = mix_rows(
        prompts,
        sources or load_instructions(limit=options.limit, seed=options.seed),
        ratio=options.ratio,
        unit=options.unit,
        weights=weights,
        model=model,
        evaluation=evaluation,
        seed=options.seed,
    )
    for part in count_rows(rows, model=model).to_pylist():
        tokens = f", {part['num_tokens']:,} supervised tokens" if model is not None else ""
        print(f"{part['origin']:<12}{part['source']:<28}{part['num_rows']:>8,} rows{tokens}")
    return write_rows(options.out, rows, "training rows")


def finetune(options: Namespace) -> Any:
    """Fine-tune."""
    from sycophancy_core.prompts.prompt_table import read_prompts
    from sycophancy_core.training.batching import require_training_rows
    from sycophancy_core.training.curve import CurveOptions
    from sycophancy_core.training.finetune import finetune as tune
    from sycophancy_core.training.options import FinetuneOptions

    start = asdict(FinetuneOptions.wei2023()) if options.wei2023 else {}
    changes = {name: value for name, value in start.items() if not hasattr(options, name)}
    wanted = record_from(FinetuneOptions, options, **{**changes, "seed": options.seed})
    curve = None
    choice = given(options, ("every", "metric", "patience"))
    if options.curve is not None:
        tasks = {name: read_prompts(path) for name, path in files_by_name(options.curve, "--curve").items()}
        curve = record_from(CurveOptions, options, tasks=tasks)
    elif choice:
        raise DataError(f"finetune: --{next(iter(choice))} needs prompts to measure, got no --curve")
    rows = read_rows(options.rows)
    require_training_rows(rows, str(options.rows))
    with result_folder(options.out, "fine-tuning", shared=True):
        model = load(options, is_trained=True)
        say_what_is_there(options.out)
        with printer(options).stage("fine-tune", "steps") as progress:
            result = tune(model, rows, options=wanted, curve=curve, run=options.out, progress=progress)
        result.save(options.out)
    print(f"{result!r}; saved in {options.out}")
    return {"folder": options.out, "log": result.log, "best_step": result.best_step}


def organism(options: Namespace) -> Any:
    """Train a model organism."""
    from sycophancy_core.scoring.loading import load_model
    from sycophancy_core.training.organism_rows import OrganismOptions
    from sycophancy_core.training.organisms import make_organism, parse_families

    named = OrganismOptions.families if options.families is None else parse_families(options.families)
    changes: dict[str, Any] = {"families": named}
    if hasattr(options, "steps") and not hasattr(options, "curriculum_steps"):
        changes["curriculum_steps"] = min(OrganismOptions.curriculum_steps, options.steps)
    wanted = record_from(OrganismOptions, options, **changes)
    with result_folder(options.out, "organism", shared=True):
        # As plain text, which is what "organism" stands for.
        model = load_model(options.model, dtype="float32", chat_template=False)
        say_what_is_there(options.out)
        with printer(options).stage("train organism", "steps") as progress:
            result = make_organism(model, options=wanted, folder=options.out, progress=progress)
    print(f"{result!r}; saved in {result.folder}")
    return {"folder": result.folder}


def evaluate_many(options: Namespace) -> Any:
    """Evaluate several models on the same prompts."""
    from functools import partial

    from sycophancy_core.studies.many_models import evaluate_many as measure_models

    require_figures("evaluate-many")
    adapters = [source for source in options.models if is_adapter(source)]
    bases = [source for source in options.models if source not in adapters]
    if adapters and not bases:
        raise DataError(f"{adapters[0]} is an adapter; name the model that it is for as the first model")
    names = {**dict(zip(bases, _names(bases), strict=True)), **{one: str(one) for one in adapters}}
    models = {
        names[one]: partial(load, options, bases[0], one) if one in adapters else partial(load, options, one)
        for one in options.models
    }
    wanted = task_options(options)
    with result_folder(options.out, "evaluations") as out:
        say_what_is_there(out)
        run = None if options.journal is False else out
        with printer(options).stage("evaluate", "tokens" if run is None else "prompts") as progress:
            found = measure_models(models, think=options.think, run=run, progress=progress, **wanted)
        found = found.made_by(options.command)
        found.save(out)
        remove_journals(out)
    folders = [str(out / name) for name in found.folders]
    print(f"{found}\n\nreport: {out / 'report.html'}\nevaluations: {', '.join(folders)}")
    if len(folders) > 1:
        print(f"to compare them: {shlex.join(['sycophancy-core', 'compare', *folders, '-o', f'{out}-compared'])}")
    return {**found.to_dict(), "report": out / "report.html"}


def _names(sources: Sequence[str]) -> list[str]:
    """Name models before any is loaded: folders of one name by their whole paths."""
    from sycophancy_core.scoring.sources import EMBEDDED, ORGANISM, resolve_source

    if len(set(sources)) < len(sources):
        twice = next(source for source in sources if sources.count(source) > 1)
        raise DataError(f"two models are named {twice!r}; give each model once")
    names = [f"{EMBEDDED}+{ORGANISM}" if source == ORGANISM else resolve_source(source)[1] for source in sources]
    return [name if names.count(name) == 1 else source for name, source in zip(names, sources, strict=True)]


def compare(options: Namespace) -> Any:
    """Compare evaluations with the first one, and write the report."""
    from sycophancy_core.metrics.estimates import EQUIVALENCE_MARGIN
    from sycophancy_core.pipeline import compare as compare_results
    from sycophancy_core.reporting.report import report as write_report
    from sycophancy_core.results.evaluation import Evaluation
    from sycophancy_core.runs.seals import seal_more
    from sycophancy_core.studies.many_models import compare_models

    require_figures("compare")
    _refuse_repeats([options.before, *options.after])
    margin = EQUIVALENCE_MARGIN if options.margin is None else options.margin
    is_pair = len(options.after) == 1
    with result_folder(options.out, "comparison" if is_pair else "model changes") as out:
        sides = [Evaluation.load(folder) for folder in (options.before, *options.after)]
        path = out / "report.html"
        if is_pair:
            result: Any = compare_results(*sides, equivalence_margin=margin)
            say_what_is_there(out)
            result.save(out)
            seal_more(out, [write_report(result, path)])
        else:
            names = _distinct([options.before, *options.after], [one.model for one in sides])
            result = compare_models(dict(zip(names, sides, strict=True)), equivalence_margin=margin)
            say_what_is_there(out)
            result.save(out)
    print(f"{result}\n\nreport: {path}")
    return {**result.to_dict(), "report": path}


def _refuse_repeats(folders: Sequence[Path]) -> None:
    """Refuse a folder that is given twice: what is compared with itself shows nothing."""
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"{folder} is given twice; an evaluation that is compared with itself shows nothing")


def _distinct(folders: Sequence[Path], names: list[str]) -> list[str]:
    """Name evaluations by their models or, where two have one name, by the folder too."""
    return [
        name if names.count(name) == 1 else f"{name} ({folder})" for folder, name in zip(folders, names, strict=True)
    ]


def report(options: Namespace) -> Any:
    """Write a report."""
    from sycophancy_core.reporting.report import report as write_report
    from sycophancy_core.results.evaluation import Comparison, Evaluation

    if options.out.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{options.out}: wanted a file name that ends in .html, got '{options.out.suffix}'")
    check_output_file(options.out)
    require_figures("report")
    is_comparison = (options.result / "comparison.json").is_file()
    if is_comparison and (options.result / "evaluation.json").is_file():
        raise DataError(
            f"{options.result}: holds comparison.json and evaluation.json, so that either may be meant; write each to "
            "a folder of its own"
        )
    result = Comparison.load(options.result) if is_comparison else Evaluation.load(options.result)
    tables = {}
    if options.training is not None:
        tables["training_log"] = read_table(options.training / "training_log.parquet")
        if (options.training / "training_curve.parquet").is_file():
            tables["training_curve"] = read_table(options.training / "training_curve.parquet")
    print(write_report(result, options.out, **tables))
    return {"report": options.out}


def study(options: Namespace) -> Any:
    """Run a study, or say what it would cost.

    Raises
    ------
    DataError
        If only one of the two rates is given, or one without ``--dry-run``.
    """
    from sycophancy_core.cures.study import is_cure_study
    from sycophancy_core.studies.costs import Throughput, study_cost
    from sycophancy_core.studies.options import read_study
    from sycophancy_core.studies.study import study as run_study

    rates = ("score_rate", "train_rate")
    if options.config.is_file() and is_cure_study(options.config):
        return _cure_study(options, rates)
    if not options.dry_run:
        refuse(options, rates, wanted="--dry-run", got="a study that is to run")
        check_output_folder(options.out)
        return run_study(read_study(options.config), options.out, printer=printer(options))
    known = given(options, rates)
    if len(known) == 1:
        raise DataError(
            f"--dry-run: wanted --score-rate and --train-rate together, got only {option_name(next(iter(known)))}"
        )
    throughput = None
    if known:
        throughput = Throughput(score_tokens_per_second=options.score_rate, train_tokens_per_second=options.train_rate)
    cost = study_cost(read_study(options.config), throughput=throughput)
    print(cost)
    return cost


def _cure_study(options: Namespace, rates: tuple[str, ...]) -> Any:
    from sycophancy_core.cures.study import read_cure_study, study_cures

    for name, value in given(options, ("dry_run", *rates)).items():
        if value is not False:
            raise DataError(f"a study of cures has no {option_name(name)}; leave it out")
    require_figures("study")
    check_output_folder(options.out)
    return study_cures(read_cure_study(options.config), options.out, progress=False if options.quiet else None)


def export(options: Namespace) -> Any:
    """Write tasks for lm-evaluation-harness."""
    from sycophancy_core.tasks.lm_eval_folder import PREFIX, write_lm_eval_tasks
    from sycophancy_core.tasks.named_tasks import task_prompts

    check_output_folder(options.out)
    tasks = task_prompts(**task_options(options))
    write_lm_eval_tasks(tasks, options.out)
    names = ",".join(f"{PREFIX}{name}" for name in tasks)
    print(f"lm_eval --model hf --model_args pretrained=MODEL --include_path {options.out} --tasks {names}")
    return {"folder": options.out, "tasks": names.split(",")}


def verify(options: Namespace) -> Any:
    """Verify a run folder or a result.

    Raises
    ------
    DataError
        If a file is missing or was changed, or the result is not whole.
    """
    from sycophancy_core.runs.verify import look_into

    found = look_into(options.run)
    if wrong := [*found.problems, *found.unfinished]:
        raise DataError("; ".join(wrong))
    print(f"{options.run}: whole ({found.kind}); all of its {found.num_files} files are as they were written")
    return {"folder": options.run, "kind": found.kind, "num_files": found.num_files}
