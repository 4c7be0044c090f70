"""A study: the whole method on one model, for every arm of a sweep, in one folder.

The model is measured and asked what it knows once; each arm then makes its training rows, fine-tunes, is measured
again, compared and reported. Every stage lies in a folder named after the digest of its inputs: arms share what they
have in common, a changed option makes anew only what depends on it, and an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sycophancy_core.prompts.families import candidate_claims, held_out_claims, held_out_prompts
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult, kept_digest
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.run_folder import Run, open_run
from sycophancy_core.studies.options import Arm, StudyOptions
from sycophancy_core.studies.result import StudyResult, study_table
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.scoring.language_model import LanguageModel


def study(
    options: StudyOptions,
    folder: str | Path,
    *,
    printer: ProgressPrinter | None = None,
    out: TextIO | None = None,
) -> StudyResult:
    """Run every arm of a study, or what of it is not done yet.

    Parameters
    ----------
    folder
        The study's folder: ``study.parquet``, ``study.html``, ``manifest.json``, and a folder for each stage.
    printer
        Shows progress.
    out
        Where the text goes; standard output by default.

    Raises
    ------
    DataError
        If a family has no claims, a task's files are missing, a filter keeps no claim, or a finished stage's file was
        changed.
    """
    printer, out = printer or ProgressPrinter(), out or sys.stdout
    with open_run(folder, config={"kind": "study"}) as run:
        stages = _Stages(run=run, options=options, printer=printer, out=out)
        stages.measure()
        comparisons, reports = {}, {}
        for name, arm in options.sweep.arms().items():
            print(f"arm: {name}", file=out, flush=True)
            comparisons[name], reports[name] = stages.run_arm(name, arm)
        result = StudyResult(
            table=study_table(options.sweep.arms(), comparisons),
            findings={name: comparison.findings for name, comparison in comparisons.items()},
            reports={name: path.relative_to(run.folder).as_posix() for name, path in reports.items()},
        )
        paths = result.save(run.folder)
        run.name_results(paths)
    print(f"\n{result}\n\nstudy folder: {run.folder}\nreport:       {paths[-1]}", file=out, flush=True)
    return result


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A finished stage: its name, which holds the digest of its inputs, and its folder."""

    name: str
    folder: Path


@dataclass(kw_only=True)
class _Stages:
    """The stages of a study, each done once for the same inputs."""

    run: Run
    options: StudyOptions
    printer: ProgressPrinter
    out: TextIO
    base: dict[str, str] = field(default_factory=dict)
    base_name: str = ""
    kept: dict[tuple[str, str], FilterResult] = field(default_factory=dict)

    def measure(self) -> None:
        """Do what arms share while the unmodified model is loaded: measure it, and ask it what it knows."""
        with self.printer.stage("load model"):
            model = load(self.options)
        self.base = {"model": model.digest, "tokenizer": model.tokenizer_digest, "precision": model.precision}
        self.base_name = model.name
        self.before = self.evaluate("before", dict(self.base), lambda: model)
        self.known = self.ask("what is known", FilterOptions(threshold=self.options.threshold), self.held_out, model)
        for arm in self.options.sweep.arms().values():
            if arm.filter != "none" and (arm.filter, arm.recipe) not in self.kept:
                of_margins = FilterOptions(threshold=self.options.threshold, max_error=self.options.max_error)
                rule = of_margins if arm.filter == "margin" else FilterOptions(rule=arm.filter)
                found = self.ask(
                    f"filter {arm.filter} {arm.recipe}", rule, candidate_claims(self.options, recipe=arm.recipe), model
                )
                self.kept[arm.filter, arm.recipe] = found

    @cached_property
    def held_out(self) -> pa.Table:
        """The claims of the evaluation, of all families."""
        import pyarrow as pa

        return pa.concat_tables(list(held_out_claims(self.options).values()))

    @cached_property
    def tasks(self) -> dict[str, pa.Table]:
        """The prompts of the evaluation."""
        return study_prompts(self.options)

    def run_arm(self, name: str, arm: Arm) -> tuple[Comparison, Path]:
        """Fine-tune one arm, measure it, and report; return the comparison and the report's path."""
        tuned = self.finetune(arm, self.rows(arm))
        after = self.evaluate("after", {"tuned": tuned.name}, lambda: load(self.options, tuned.folder))
        compared = self.compare(after)
        comparison = Comparison.load(compared.folder)
        return comparison, self.report(name, arm, comparison, compared, tuned, self.audit(arm))

    def once(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], list[Path]],
        *,
        scratch: str | None = None,
    ) -> _Step:
        """Do a stage in the folder that its inputs name, or find it done."""
        name = f"{stage.replace(' ', '-')}-{digest_json(inputs)[:16]}"
        folder = self.run.path(name)
        journal = None if scratch is None else folder / scratch

        def nothing() -> list[Path]:
            return []

        def keep(paths: list[Path]) -> list[Path]:
            return paths

        self.run.stage(name, inputs=inputs, make=lambda: make(folder), save=keep, load=nothing, scratch=journal)
        return _Step(name=name, folder=folder)

    def evaluate(self, phase: str, subject: dict[str, str], loaded: Callable[[], LanguageModel]) -> _Step:
        """Score all tasks."""
        from sycophancy_core.pipeline import evaluate

        def make(folder: Path) -> list[Path]:
            model = loaded()
            with self.printer.stage(phase) as progress:
                found = evaluate(model, tasks=self.tasks, seed=self.options.seed, run=folder, progress=progress)
            return found.save(folder)

        inputs = {**subject, "prompts": {name: digest_table(table) for name, table in self.tasks.items()}}
        return self.once(phase, {**inputs, "seed": self.options.seed}, make, scratch="evaluate.journal")

    def ask(self, stage: str, rule: FilterOptions, claims: pa.Table, model: LanguageModel) -> FilterResult:
        """Ask the unmodified model claims without an opinion, and say what it knows."""
        from sycophancy_core.pipeline import filter_known

        def make(folder: Path) -> list[Path]:
            with self.printer.stage(stage) as progress, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "filter_known: the model is at chance", UserWarning)  # said below
                found = filter_known(model, claims, options=rule, seed=self.options.seed, run=folder, progress=progress)
            return found.save(folder)

        inputs = {**self.base, "claims": digest_table(claims), "options": asdict(rule), "seed": self.options.seed}
        found = FilterResult.load(self.once(stage, inputs, make, scratch="filter.journal").folder)
        chance = "; WARNING: that is chance, so what is kept are coin flips" if found.is_at_chance else ""
        print(f"  {stage}: {found.summary()}{chance}", file=self.out, flush=True)
        return found

    def claims(self, arm: Arm) -> pa.Table:
        """Return the claims that an arm may train on."""
        if arm.filter == "none":
            return candidate_claims(self.options, recipe=arm.recipe)
        return self.kept[arm.filter, arm.recipe].kept

    def audit(self, arm: Arm) -> dict[str, str]:
        """Say what the words of an arm's training prompts give away."""
        from sycophancy_core.prompts.audit import audit_training

        claims = self.claims(arm)
        number = num_synthetic(self.options, arm)

        def make(folder: Path) -> list[Path]:
            with self.printer.stage("audit the training prompts"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "training_prompts: .* true claims", UserWarning)  # said below
                found = audit_training(synthetic_prompts(claims, self.options, arm), claims)
                return [write_json(folder / "shortcut_audit.json", {"training data": found})]

        step = self.once("audit", {"claims": digest_table(claims), "prompts": number, "seed": arm.seed}, make)
        found: dict[str, str] = read_json(step.folder / "shortcut_audit.json")
        return found

    def rows(self, arm: Arm) -> _Step:
        """Make the training rows of an arm."""
        claims = self.claims(arm)

        def make(folder: Path) -> list[Path]:
            with self.printer.stage("generate and mix"), warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always", UserWarning)
                rows = training_rows(claims, self.options, arm, evaluation=self.tasks)
            for warning in raised:
                print(f"  warning: {warning.message}", file=self.out, flush=True)
            return [write_table(folder / "training_rows.parquet", rows)]

        number = arm.steps * self.options.batch_size
        inputs = {"claims": digest_table(claims), "rows": number, "ratio": arm.ratio, "seed": arm.seed}
        inputs["evaluation"] = {name: digest_table(prompts) for name, prompts in self.tasks.items()}
        return self.once("rows", inputs, make)

    def finetune(self, arm: Arm, rows: _Step) -> _Step:
        """Train the model on the rows."""
        from sycophancy_core.pipeline import finetune

        table = read_table(rows.folder / "training_rows.parquet")
        training = finetune_options(self.options, arm)

        def make(folder: Path) -> list[Path]:
            model = load(self.options)
            with self.printer.stage("fine-tune") as progress:
                found = finetune(model, table, options=training, run=folder, progress=progress)
            # The stage removes the checkpoint, when its manifest is written.
            return replace(found, checkpoint=None).save(folder)

        inputs = {**self.base, "rows": digest_table(table), "options": asdict(training)}
        return self.once("tuned", inputs, make, scratch="finetune.checkpoint.safetensors")

    def compare(self, after: _Step) -> _Step:
        """Pair the evaluations before and after."""
        from sycophancy_core.pipeline import compare

        def make(folder: Path) -> list[Path]:
            sides = [Evaluation.load(step.folder) for step in (self.before, after)]
            return compare(*sides, known=self.known.known).save(folder)

        inputs = {"before": self.before.name, "after": after.name, "known": kept_digest(self.known)}
        return self.once("compared", inputs, make)

    def report(
        self,
        name: str,
        arm: Arm,
        comparison: Comparison,
        compared: _Step,
        tuned: _Step,
        audit: dict[str, str],
    ) -> Path:
        """Write an arm's HTML report."""
        from sycophancy_core.reporting.report import report

        kept = self.kept.get((arm.filter, arm.recipe))
        training = asdict(finetune_options(self.options, arm))
        manifest = {
            "subject": f"Model {self.base_name}, arm {name} of a study",
            "model": {"name": self.base_name, **self.base},
            "filter": {"none": "every claim is trained on"} if kept is None else kept.counts,
            "shortcut_audit": audit,
            "training": training,
            "arm": asdict(arm),
            "versions": self.run.manifest["versions"],
        }

        def make(folder: Path) -> list[Path]:
            log = read_table(tuned.folder / "training_log.parquet")
            with self.printer.stage("report"):
                return [report(comparison, folder / "report.html", manifest=manifest, training_log=log)]

        inputs = {"compared": compared.name, "tuned": tuned.name, "manifest": digest_json(manifest)}
        return self.once("report", inputs, make).folder / "report.html"


def load(options: StudyOptions, tuned: Path | None = None) -> LanguageModel:
    """Load the study's model as it is, or as the fine-tuning in a folder left it."""
    from sycophancy_core.scoring.language_model import load_model
    from sycophancy_core.scoring.saved_adapter import merge_adapter

    if tuned is not None and options.lora_rank is None:
        return load_model(str(tuned))
    model = load_model(options.model)
    if tuned is not None:
        merge_adapter(model.model, tuned)
    return model


def study_prompts(options: StudyOptions) -> dict[str, pa.Table]:
    """Return the prompts of every task: held-out claims in wordings kept for evaluation, and the further tasks."""
    from sycophancy_core.tasks.named_tasks import TaskOptions, task_prompts

    asked = held_out_prompts(options)
    if not options.tasks:
        return asked
    files = TaskOptions(folder=options.folder)
    return asked | task_prompts(options.tasks, options=files, limit=options.limit, seed=options.seed)


def num_synthetic(options: StudyOptions, arm: Arm) -> int:
    """Return how many of an arm's rows ask claims."""
    return max(1, round(arm.steps * options.batch_size * arm.ratio / (arm.ratio + 1)))


def synthetic_prompts(claims: pa.Table, options: StudyOptions, arm: Arm) -> pa.Table:
    """Ask claims with opinions, in training wordings, answered by truth."""
    from sycophancy_core.pipeline import training_prompts

    return training_prompts(claims, n=num_synthetic(options, arm), seed=arm.seed)


def training_rows(
    claims: pa.Table, options: StudyOptions, arm: Arm, *, evaluation: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """Ask claims with opinions, in training wordings, answered by truth; add instruction rows.

    Raises
    ------
    DataError
        If one of them is in the prompts of the evaluation.
    """
    from sycophancy_core.pipeline import mix
    from sycophancy_core.training.instructions import load_instructions

    prompts = synthetic_prompts(claims, options, arm)
    return mix(prompts, load_instructions(), ratio=arm.ratio, evaluation=evaluation, seed=arm.seed)


def finetune_options(options: StudyOptions, arm: Arm) -> FinetuneOptions:
    """Return the options of an arm's fine-tuning."""
    return FinetuneOptions(
        steps=arm.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lora_rank=options.lora_rank,
        seed=arm.seed,
    )
