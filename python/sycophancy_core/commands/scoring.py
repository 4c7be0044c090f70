"""The verbs that score a model: score, filter and evaluate, whole or in shards, and merge."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.commands.inputs import claims_of, given, load, option_name, printer, require_figures, task_options
from sycophancy_core.commands.outputs import (
    check_table,
    journal_folder,
    remove_journals,
    result_folder,
    say_what_is_there,
    write_rows,
)
from sycophancy_core.errors import DataError
from sycophancy_core.flags import record_from
from sycophancy_core.reporting.finding import one_line_each
from sycophancy_core.runs.outputs import check_output_folder
from sycophancy_core.runs.shards import read_shard, shard_file

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from sycophancy_core.reporting.finding import Finding
    from sycophancy_core.results.evaluation import Evaluation
    from sycophancy_core.results.knowledge_filter import FilterResult
    from sycophancy_core.results.shard import Shard
    from sycophancy_core.scoring.sampled.sampling import SamplingOptions

MOST_FINDINGS = 3  # that are printed; the report has them all


def score(options: Namespace) -> Any:
    """Score prompts."""
    from sycophancy_core.prompts.prompt_table import read_prompts
    from sycophancy_core.studies.shards import score_shard
    from sycophancy_core.tasks.asking import measured_prompts

    check_table(options.out)
    table = read_prompts(options.prompts)
    if options.shard is not None:
        return _shard(options, "score", lambda **asked: score_shard(load(options), table, **asked))
    with journal_folder(options.out, options.run) as run:
        model = load(options)
        with printer(options).stage("score", "tokens" if run is None else "prompts") as progress:
            measured = measured_prompts(model, table, "score", run=run, progress=progress)
        return write_rows(options.out, measured, "measurements")


def filter_claims(options: Namespace) -> Any:
    """Keep known claims."""
    from sycophancy_core.pipeline import filter_known
    from sycophancy_core.results.knowledge_filter import FilterOptions
    from sycophancy_core.studies.shards import filter_shard

    for path in filter(None, (options.out, options.every_claim)):
        check_table(path)
    wanted = record_from(FilterOptions, options)
    table = claims_of(options.claims)
    asking = {"options": wanted, "seed": options.seed}
    if options.shard is not None:
        if options.every_claim is not None:
            raise DataError("--every-claim: which claims are kept is decided by merge; give it there")
        return _shard(options, "filter", lambda **asked: filter_shard(load(options), table, **asking, **asked))
    with journal_folder(options.out, options.run) as run:
        model = load(options)
        with printer(options).stage("filter", "tokens" if run is None else "prompts") as progress:
            found = filter_known(model, table, **asking, run=run, progress=progress)
        return _write_filter(options, found)


def _write_filter(options: Namespace, found: FilterResult) -> Any:
    print(found.summary())
    if options.every_claim is not None:
        write_rows(options.every_claim, found.table, "claims, kept or not,")
    written = write_rows(options.out, found.kept, "claims")
    return {**written, "counts": found.counts, "accuracy": found.accuracy}


def evaluate(options: Namespace) -> Any:
    """Evaluate: the numbers, the report and the figures."""
    return evaluate_tasks(options, task_options(options))


def evaluate_tasks(options: Namespace, wanted: dict[str, Any]) -> Any:
    """Evaluate tasks, as :func:`task_options` returns them."""
    from sycophancy_core.pipeline import evaluate as measure_model
    from sycophancy_core.studies.shards import evaluate_shard

    sampling = _sampling(options)
    if getattr(options, "shard", None) is not None:
        if sampling is not None:
            raise DataError("--draws: samples are not made in shards; leave --draws or --shard out")
        if options.think is not None:
            raise DataError("--think: thoughts are not made in shards; leave --think or --shard out")
        return _shard(options, "evaluate", lambda **asked: evaluate_shard(load(options), **wanted, **asked))
    require_figures("evaluate")
    with result_folder(options.out, "evaluation") as out:
        model = load(options)
        say_what_is_there(out)
        if begins := getattr(options, "begins", ""):
            print(begins, flush=True)
        run = None if options.journal is False else out
        unit = "tokens" if run is None and sampling is None else "prompts"
        with printer(options).stage("evaluate", unit) as progress:
            asked = {"sampling": sampling, "think": options.think, "run": run, "progress": progress}
            result = measure_model(model, **asked, **wanted)
        return _write_evaluation(options, result, out)


def _sampling(options: Namespace) -> SamplingOptions | None:
    from sycophancy_core.scoring.sampled.sampling import SamplingOptions

    chosen = given(options, ("draws", "temperature", "max_tokens"))
    if chosen and "draws" not in chosen:
        raise DataError(f"{option_name(next(iter(chosen)))} is for samples, got no --draws; add --draws")
    if not chosen:
        return None
    for name in ("engine", "matmul_precision"):
        if getattr(options, name) not in (None, "auto", "transformers"):
            flag = option_name(name)
            raise DataError(f"{flag} is for scores, got --draws, and transformers makes the samples; leave {flag} out")
    return SamplingOptions(**chosen)


def _write_evaluation(options: Namespace, result: Evaluation, out: Path) -> Any:
    from sycophancy_core.reporting.pictures.gallery import save_gallery
    from sycophancy_core.reporting.report import report as write_report
    from sycophancy_core.runs.seals import seal_more

    result = result.made_by(options.command)
    result.save(out)
    figures = save_gallery(result, out / "figures")
    path = write_report(result, out / "report.html")
    seal_more(out, [*figures, path])
    remove_journals(out)
    print(f"\n{summary(result)}" if getattr(options, "in_words", False) else result)
    print(f"\nreport: {path}")
    return {**result.to_dict(), "report": path}


def summary(result: Evaluation) -> str:
    """Return the main numbers of an evaluation in words, and what stands out most."""
    from sycophancy_core.results.in_words import text_in_words

    return "\n".join([text_in_words(result), "", *foremost(result.findings)]).rstrip()


def foremost(findings: Sequence[Finding]) -> list[str]:
    """Return the first findings as lines, and how many more there are."""
    lines = [f"- {line}" for _, line in one_line_each(findings)]
    more = [f"- and {len(lines) - MOST_FINDINGS} more in the report"] if len(lines) > MOST_FINDINGS else []
    return [*lines[:MOST_FINDINGS], *more]


def merge_shards(options: Namespace) -> Any:
    """Put the shards of a job together, and write what one process would have written."""
    from sycophancy_core.results.shard import Shard, merge

    parts = [Shard.load(path) for given_path in options.shards for path in _shard_files(given_path)]
    if options.every_claim is not None and parts[0].stage != "filter":
        raise DataError(
            f"--every-claim is for shards of filter, got shards of {parts[0].stage}; leave --every-claim out"
        )
    claims = None if options.claims is None else claims_of(options.claims)
    if parts[0].stage == "evaluate":
        require_figures("merge")
        check_output_folder(options.out)
        found: Any = merge(parts, claims=claims)
        with result_folder(options.out, "evaluation") as out:
            say_what_is_there(out)
            return _write_evaluation(options, found, out)
    for path in filter(None, (options.out, options.every_claim)):
        check_table(path)
    found = merge(parts, claims=claims)
    if parts[0].stage == "filter":
        return _write_filter(options, found)
    return write_rows(options.out, found, "measurements")


def _shard_files(path: Path) -> list[Path]:
    """Return the shards that a folder holds, or the file itself."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*-of-*.parquet"))
    if not found:
        raise DataError(f"{path}: wanted a folder of shards (shard-00000-of-00003.parquet, ...), got none in it")
    return found


def _shard(options: Namespace, stage: str, make: Callable[..., Shard]) -> Any:
    """Make one shard, with a journal of its own unless none is wanted; another file of its name is replaced."""
    part = read_shard(options.shard)
    path = shard_file(options.out, part)
    check_table(path)
    is_kept = getattr(options, "journal", None) is not False
    with journal_folder(path, getattr(options, "run", None)) if is_kept else nullcontext() as run:
        with printer(options).stage(stage, "tokens" if run is None else "prompts") as progress:
            found = make(shard=part, run=run, progress=progress)
        found.save(path)
    print(f"shard {part[0]} of {part[1]}: {found.table.num_rows:,} prompts in {path}")
    return {"file": path, "num_rows": found.table.num_rows}
