"""The stages of a study, each done once for the same inputs, in a folder named after the digest of these."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa

from sycophancy_core.pipeline import compare, evaluate, filter_known, finetune
from sycophancy_core.prompts.audit import audit_training
from sycophancy_core.prompts.fact_families import is_facts
from sycophancy_core.prompts.families import candidate_claims, facts_held_out, held_out_claims, held_out_prompts
from sycophancy_core.reporting.report import report
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.run_folder import Run
from sycophancy_core.scoring.checkpoints.saved_adapter import merge_saved_adapter
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.sources import ORGANISM
from sycophancy_core.studies.options import StudyOptions, Variant
from sycophancy_core.studies.training_rows import (
    TrainingClaims,
    curve_options,
    finetune_options,
    num_synthetic,
    synthetic_prompts,
    training_rows,
)
from sycophancy_core.tasks.asking import evaluation_journals
from sycophancy_core.tasks.named_tasks import TaskOptions, task_prompts
from sycophancy_core.training.mixing import count_rows

# The stages that freeze what the unmodified model knows of the held-out claims and facts.
KNOWN, KNOWN_FACTS = "what is known", "which facts are known"
ABOUT_FACTS = "facts: a user names the right answer as often as a wrong one, so no word of theirs tells which it is"


class Question(NamedTuple):
    """Claims or facts that the unmodified model is asked without a user, and the rule by which they count as known."""

    claims: pa.Table
    rule: FilterOptions


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished stage: its name, which holds the digest of its inputs, and its folder."""

    name: str
    folder: Path


@dataclass(kw_only=True)
class Stages:
    """The stages of a study.

    Attributes
    ----------
    about
        What every report says first of the model; by default its name and the variant's.
    model_name, model_facts
        Name, and digests, of the unmodified model.
    before
        Its evaluation.
    answers
        Which claims it knows, for each of :func:`questions`.
    """

    run: Run
    options: StudyOptions
    printer: ProgressPrinter
    out: TextIO
    about: str = ""
    model_name: str = field(init=False)
    model_facts: dict[str, str] = field(init=False)
    before: Done = field(init=False)
    answers: dict[str, FilterResult] = field(init=False)

    def say(self, line: str) -> None:
        """Print a line below the variant's or the study's."""
        print(f"  {line}", file=self.out, flush=True)

    @cached_property
    def tasks(self) -> dict[str, pa.Table]:
        """The prompts of the evaluation."""
        return study_prompts(self.options)

    def measure(self) -> None:
        """Do what variants share while the unmodified model is loaded: measure it, and ask it what it knows."""
        with self.printer.stage("load model"):
            model = load(self.options)
        self.say(f"{model.name}: prompts are asked {model.asked_as}")
        self.model_name, digests = model.name, {"model": model.digest, "tokenizer": model.tokenizer_digest}
        self.model_facts = {**digests, "precision": model.precision}
        self.before = self.evaluate("before", dict(self.model_facts), lambda: model)
        self.answers = {name: self.ask(name, asked, model) for name, asked in questions(self.options).items()}

    @property
    def known(self) -> frozenset[str]:
        """Ids of the held-out claims and facts that the unmodified model knows."""
        return frozenset[str]().union(
            *(self.answers[name].known for name in (KNOWN, KNOWN_FACTS) if name in self.answers)
        )

    def run_variant(self, name: str, variant: Variant) -> tuple[Comparison, Path, Path]:
        """Fine-tune one variant, measure it, and report; return the comparison, and where report and weights are."""
        tuned = self.finetune(variant, self.rows(variant))
        after = self.evaluate("after", {"tuned": tuned.name}, lambda: load(self.options, tuned.folder))
        compared = self.compare(after)
        return Comparison.load(compared.folder), self.report(name, variant, compared, tuned), tuned.folder

    def once(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], list[Path]],
        *,
        scratch: Sequence[str] = (),
    ) -> Done:
        """Do a stage in the folder that its inputs name, or find it done."""
        name = f"{stage.replace(' ', '-')}-{digest_json(inputs)[:16]}"
        folder = self.run.path(name)

        def nothing() -> list[Path]:
            return []

        def keep(paths: list[Path]) -> list[Path]:
            return paths

        self.run.stage(
            name,
            inputs=inputs,
            make=lambda: make(folder),
            save=keep,
            load=nothing,
            scratch=[folder / one for one in scratch],
        )
        return Done(name=name, folder=folder)

    def evaluate(self, phase: str, subject: dict[str, str], loaded: Callable[[], LanguageModel]) -> Done:
        """Score all tasks."""

        def make(folder: Path) -> list[Path]:
            model = loaded()
            with self.printer.stage(phase) as progress:
                found = evaluate(model, tasks=self.tasks, **asked, run=folder, progress=progress)
            return found.save(folder)

        asked: dict[str, Any] = {"seed": self.options.seed}
        asked |= {} if self.options.think is None else {"think": self.options.think}
        inputs = {**subject, "prompts": {name: digest_table(table) for name, table in self.tasks.items()}}
        return self.once(phase, inputs | asked, make, scratch=evaluation_journals(self.tasks))

    def ask(self, stage: str, question: Question, model: LanguageModel) -> FilterResult:
        """Ask the unmodified model claims without an opinion, and say what it knows."""
        claims, rule = question

        def make(folder: Path) -> list[Path]:
            with self.printer.stage(stage) as progress, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "filter_known: ", UserWarning)  # said below
                found = filter_known(model, claims, options=rule, seed=self.options.seed, run=folder, progress=progress)
            return found.save(folder)

        inputs = {
            **self.model_facts,
            "claims": digest_table(claims),
            "options": asdict(rule),
            "seed": self.options.seed,
        }
        found = FilterResult.load(self.once(stage, inputs, make, scratch=["filter.journal"]).folder)
        self.say(f"{stage}: {found.summary()}")
        for doubt in found.doubts:
            self.say(f"warning: {doubt}")
        return found

    def kept(self, variant: Variant) -> FilterResult | None:
        """Return what a variant's filter keeps; None without a filter."""
        return self.answers.get(filter_name(variant))

    def claims(self, variant: Variant) -> TrainingClaims:
        """Return the claims that a variant trains on."""
        kept, fillers = self.kept(variant), self.answers.get(filter_name(variant, "filler"))
        if kept is not None and fillers is None:
            return TrainingClaims(kept.kept)
        candidates = candidate_claims(self.options, recipe=variant.recipe)
        if kept is None or fillers is None:
            return TrainingClaims(candidates)
        return TrainingClaims(candidates, kept=kept.known, fillers=fillers.kept)

    def audit(self, variant: Variant) -> dict[str, str]:
        """Say what the words of a variant's training prompts give away."""
        if variant.training == "instructions_only":
            return {"training data": "no claim is trained on"}
        claims = self.claims(variant)
        if is_facts(claims.asked):
            return {"training data": ABOUT_FACTS}
        every = claims.asked if claims.fillers is None else pa.concat_tables([claims.asked, claims.fillers])

        def make(folder: Path) -> list[Path]:
            with self.printer.stage("audit the training prompts"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "training_prompts: .* true claims", UserWarning)  # said below
                found = audit_training(synthetic_prompts(claims, self.options, variant), every)
                return [write_json(folder / "shortcut_audit.json", {"training data": found})]

        inputs = {**claims.inputs(), "prompts": num_synthetic(self.options, variant), "seed": variant.seed}
        done = self.once("audit", inputs | _if_null(variant), make)
        found: dict[str, str] = read_json(done.folder / "shortcut_audit.json")
        return found

    def rows(self, variant: Variant) -> pa.Table:
        """Make the training rows of a variant."""
        claims = self.claims(variant)

        def make(folder: Path) -> list[Path]:
            with self.printer.stage("generate and mix"), warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always", UserWarning)
                rows = training_rows(claims, self.options, variant, evaluation=self.tasks)
            for warning in raised:
                self.say(f"warning: {warning.message}")
            return [write_table(folder / "training_rows.parquet", rows)]

        number = variant.steps * self.options.batch_size
        inputs = {**claims.inputs(), "rows": number, "ratio": variant.ratio, "seed": variant.seed} | _if_null(variant)
        inputs["evaluation"] = {name: digest_table(prompts) for name, prompts in self.tasks.items()}
        table = read_table(self.once("rows", inputs, make).folder / "training_rows.parquet")
        parts = (f"{part['num_rows']:,} of {part['source']}" for part in count_rows(table).to_pylist())
        self.say(f"training rows: {', '.join(parts)}")
        return table

    def finetune(self, variant: Variant, rows: pa.Table) -> Done:
        """Train the model on the rows."""
        training, curve = finetune_options(self.options, variant), curve_options(self.options, variant)

        def make(folder: Path) -> list[Path]:
            model = load(self.options)
            with self.printer.stage("fine-tune") as progress:
                found = finetune(model, rows, options=training, curve=curve, run=folder, progress=progress)
            # The stage removes the checkpoint, when its manifest is written.
            return replace(found, checkpoint=None).save(folder)

        inputs = {**self.model_facts, "rows": digest_table(rows), "options": asdict(training)}
        inputs |= {} if curve is None else {"curve": curve.identity()}
        return self.once("tuned", inputs, make, scratch=["finetune.checkpoint.safetensors"])

    def compare(self, after: Done) -> Done:
        """Pair the evaluations before and after."""

        def make(folder: Path) -> list[Path]:
            sides = [Evaluation.load(done.folder) for done in (self.before, after)]
            return compare(*sides, known=self.known).save(folder)

        inputs = {"before": self.before.name, "after": after.name, "known": digest_json(sorted(self.known))}
        return self.once("compared", inputs, make)

    def report(self, name: str, variant: Variant, compared: Done, tuned: Done) -> Path:
        """Write a variant's HTML report."""
        kept = self.kept(variant)
        manifest = {
            "subject": f"{self.about or f'Model {self.model_name} in a study.'} This report is of the variant {name}.",
            "model": {"name": self.model_name, **self.model_facts},
            "filter": {"none": "every claim is trained on"} if kept is None else kept.counts,
            "shortcut_audit": self.audit(variant),
            "training": asdict(finetune_options(self.options, variant)),
            "variant": asdict(variant),
            "versions": self.run.manifest["versions"],
        }

        def make(folder: Path) -> list[Path]:
            paths = {table: tuned.folder / f"{table}.parquet" for table in ("training_log", "training_curve")}
            shown = {table: read_table(path) for table, path in paths.items() if path.is_file()}
            with self.printer.stage("report"):
                return [report(Comparison.load(compared.folder), folder / "report.html", manifest=manifest, **shown)]

        inputs = {"compared": compared.name, "tuned": tuned.name, "manifest": digest_json(manifest)}
        return self.once("report", inputs, make).folder / "report.html"


def load(options: StudyOptions, tuned: Path | None = None) -> LanguageModel:
    """Load the study's model as it is, or as the fine-tuning in a folder left it; in float32, as training needs it."""
    if tuned is not None and options.lora_rank is None:
        # What was made from the organism is asked as it is.
        is_plain = options.model == ORGANISM and options.chat_template == "auto"
        return load_model(str(tuned), dtype="float32", chat_template=False if is_plain else options.chat_template)
    model = load_model(options.model, dtype="float32", chat_template=options.chat_template)
    if tuned is not None:
        merge_saved_adapter(model.model, tuned, name=model.name)
    return model


def study_prompts(options: StudyOptions) -> dict[str, pa.Table]:
    """Return the prompts of every task: held-out claims in wordings kept for evaluation, and the further tasks."""
    asked = held_out_prompts(options)
    if not options.tasks:
        return asked
    files = TaskOptions(folder=options.task_folder)
    return asked | task_prompts(options.tasks, options=files, limit=options.limit, seed=options.seed)


def questions(options: StudyOptions) -> dict[str, Question]:
    """Return what the unmodified model is asked without an opinion, by stage: held-out claims, and candidates."""
    held_out = {KNOWN: held_out_claims(options), KNOWN_FACTS: facts_held_out(options)}
    rule = FilterOptions(threshold=options.threshold)
    found = {
        name: Question(pa.concat_tables(list(tables.values())), rule) for name, tables in held_out.items() if tables
    }
    for variant in options.sweep.variants().values():
        name = filter_name(variant)
        if variant.filter != "none" and name not in found:
            by_margin = FilterOptions(threshold=options.threshold, max_error=options.max_error)
            rule = by_margin if variant.filter == "margin" else FilterOptions(rule=variant.filter)
            found[name] = Question(candidate_claims(options, recipe=variant.recipe), rule)
            if options.filler_family is not None:
                of_filler = replace(options, candidate_families=(options.filler_family,), filler_family=None)
                fillers = candidate_claims(of_filler, recipe=variant.recipe)
                found[filter_name(variant, "filler")] = Question(fillers, rule)
    return found


def filter_name(variant: Variant, what: str = "filter") -> str:
    """Name the stage that keeps a variant's claims, or its fillers."""
    return f"{what} {variant.filter} {variant.recipe}"


def _if_null(variant: Variant) -> dict[str, str]:
    return {} if variant.training == "users" else {"training": variant.training}
