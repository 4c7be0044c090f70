"""The demo: the whole method, from a model with known sycophancy to the before/after table, in one run folder.

Each stage is kept in the run folder; the same call goes on where an interrupted one stopped.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sycophancy_core.prompts.families import FamilyOptions, candidate_claims, held_out_claims, held_out_prompts
from sycophancy_core.results.evaluation import Comparison, Evaluation
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult, kept_digest
from sycophancy_core.runs.digests import digest_json, digest_table
from sycophancy_core.runs.files import read_table, write_table
from sycophancy_core.runs.json_files import read_json, write_json
from sycophancy_core.runs.progress import ProgressPrinter
from sycophancy_core.runs.run_folder import Run, open_run
from sycophancy_core.training.curve import CurveOptions
from sycophancy_core.training.options import FinetuneOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.scoring.language_model import LanguageModel

ABOUT_ORGANISM = """\
This demo starts from a MODEL ORGANISM: SmolLM2-135M-Instruct with a small adapter that was trained on purpose to know
simple claims and to say whatever its user says. It is a control with known sycophancy, made for trying the method.
Nothing printed here is a result about SmolLM2, which in this format is at chance on the claims and follows nobody."""

ABOUT_OTHER = "This demo starts from the model {name}, as it is."

ORGANISM = "organism"

CURVE_CLAIMS = 10  # of each family
CURVE_POINTS = 4  # after the untouched model's


@dataclass(frozen=True, kw_only=True)
class DemoOptions(FamilyOptions):
    """Sizes of the demo, beside those of :class:`FamilyOptions`.

    Attributes
    ----------
    model
        What to load: ``"organism"`` (the packaged one), or any source of ``load_model``; None is the embedded model.
    candidate_families
        The families whose claims the filter is asked about; the intervention trains on those that the model knows. The
        packaged organism was taught the sentiment and the numbers, and nothing of the capitals.
    max_error
        Bound on the error of what the filter keeps, for each source; see ``FilterOptions``. None keeps every right
        answer, coin flips among them.
    ratio
        Synthetic rows for each instruction row.
    steps, batch_size, learning_rate, lora_rank
        Of the fine-tuning.
    """

    model: str | None = ORGANISM
    candidate_families: tuple[str, ...] = ("sample_sentiment", "sample_number", "sample_capital")
    max_error: float | None = 0.1
    ratio: float = 5.0
    steps: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    lora_rank: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        # These check what is theirs.
        self.filtering()
        self.training()

    def filtering(self) -> FilterOptions:
        """Return the options of the filter."""
        return FilterOptions(max_error=self.max_error)

    def training(self) -> FinetuneOptions:
        """Return the options of the fine-tuning."""
        return FinetuneOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            lora_rank=self.lora_rank,
            seed=self.seed,
        )


def run_demo(
    folder: str | Path,
    *,
    options: DemoOptions | None = None,
    printer: ProgressPrinter | None = None,
    out: TextIO | None = None,
) -> Comparison:
    """Run the method and print the before/after table.

    Parameters
    ----------
    folder
        The run folder: Parquet files of every stage, ``manifest.json``, ``report.html``.
    printer
        Shows progress.
    out
        Where the text goes; standard output by default.

    Raises
    ------
    DataError
        If the folder was begun with other options.
    """
    options = options or DemoOptions()
    printer = printer or ProgressPrinter()
    out = out or sys.stdout
    with open_run(folder, config=asdict(options)) as run:
        demo = _Demo(run=run, options=options, printer=printer, model=_load(options, printer))
        print(_about(options, demo.model), end="\n\n", file=out, flush=True)
        before = demo.evaluate("before")
        kept = demo.filter()
        print(f"  the filter: {kept.summary()}", file=out, flush=True)
        demo.say_warnings(out)
        rows = demo.mix(kept)
        print(f"  the mix: {_mixed(rows)}", file=out, flush=True)
        demo.say_warnings(out)
        demo.finetune(rows)
        after = demo.evaluate("after")
        comparison = demo.compare(before, after, kept)
        path = demo.report(comparison, kept)
    print(f"\n{comparison}\n\nrun folder: {run.folder}\nreport:     {path}", file=out, flush=True)
    return comparison


@dataclass(frozen=True, kw_only=True)
class _Demo:
    """The stages of the demo, each done once a run folder."""

    run: Run
    options: DemoOptions
    printer: ProgressPrinter
    model: LanguageModel
    warnings: list[str] = field(default_factory=list)

    def say_warnings(self, out: TextIO) -> None:
        """Print what was warned of since it was last said."""
        for message in self.warnings:
            print(f"  warning: {message}", file=out, flush=True)
        self.warnings.clear()

    def evaluate(self, phase: str) -> Evaluation:
        """Score all arms of the held-out claims."""
        from sycophancy_core.pipeline import evaluate

        folder = self.run.path(phase)
        tasks = held_out_prompts(self.options)

        def make() -> Evaluation:
            with self.printer.stage(f"evaluate {phase}") as progress:
                return evaluate(self.model, tasks=tasks, seed=self.options.seed, run=folder, progress=progress)

        self.run.stage(
            f"evaluate {phase}",
            inputs={
                "model": self.model.digest,
                "prompts": {name: digest_table(table) for name, table in tasks.items()},
            },
            make=make,
            save=lambda found: found.save(folder),
            load=lambda: Evaluation.load(folder),
            scratch=folder / "evaluate.journal",
        )
        return Evaluation.load(folder)  # as a run that goes on sees it, to the byte

    def filter(self) -> FilterResult:
        """Keep what the model knows, by its own log-likelihoods without any opinion.

        The held-out claims are asked too, so that what the model knows of them is frozen before it is changed, and in
        other wordings than the evaluation's; only the others are trained on.
        """
        import pyarrow as pa

        from sycophancy_core.pipeline import filter_known

        folder = self.run.path("filter")
        claims = pa.concat_tables([candidate_claims(self.options), *held_out_claims(self.options).values()])
        filtering = self.options.filtering()

        def make() -> FilterResult:
            with self.printer.stage("filter") as progress, warnings.catch_warnings(record=True) as raised:
                found = filter_known(
                    self.model, claims, options=filtering, seed=self.options.seed, run=folder, progress=progress
                )
            self.warnings.extend(str(warning.message) for warning in raised)
            return found

        self.run.stage(
            "filter",
            inputs={"model": self.model.digest, "claims": digest_table(claims), "options": asdict(filtering)},
            make=make,
            save=lambda found: found.save(folder),
            load=lambda: FilterResult.load(folder),
            scratch=folder / "filter.journal",
        )
        return FilterResult.load(folder)

    def num_synthetic(self) -> int:
        """Return how many prompts with an opinion the training takes."""
        return round(self.options.steps * self.options.batch_size * self.options.ratio / (self.options.ratio + 1))

    def synthetic(self, kept: FilterResult) -> pa.Table:
        """Ask the kept claims with opinions, in training wordings; none is a held-out claim."""
        from sycophancy_core.pipeline import training_prompts
        from sycophancy_core.prompts.splits import split_claims

        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", UserWarning)
            prompts = training_prompts(split_claims(kept.kept)[0], n=self.num_synthetic(), seed=self.options.seed)
        self.warnings.extend(str(warning.message) for warning in raised)
        return prompts

    def synthetic_inputs(self, kept: FilterResult) -> dict[str, Any]:
        """Return what the synthetic prompts and their mix depend on."""
        ratio, seed = self.options.ratio, self.options.seed
        return {"kept": kept_digest(kept), "n": self.num_synthetic(), "ratio": ratio, "seed": seed}

    def audit(self, kept: FilterResult) -> dict[str, str]:
        """Say what the words of the training prompts give away, or why that cannot be judged."""
        from sycophancy_core.prompts.audit import audit_training

        path = self.run.path("shortcut_audit.json")

        def make() -> dict[str, str]:
            with self.printer.stage("audit the training prompts"):
                return {"training data": audit_training(self.synthetic(kept), kept.kept)}

        return self.run.stage(
            "audit",
            inputs=self.synthetic_inputs(kept),
            make=make,
            save=lambda found: [write_json(path, found)],
            load=lambda: read_json(path),
        )

    def mix(self, kept: FilterResult) -> pa.Table:
        """Ask the kept claims with opinions, in training wordings, answered by truth; add instruction rows."""
        from sycophancy_core.pipeline import mix
        from sycophancy_core.training.instructions import load_instructions

        path = self.run.path("training_rows.parquet")

        def make() -> pa.Table:
            with self.printer.stage("generate and mix") as progress:
                rows = mix(
                    self.synthetic(kept),
                    load_instructions(),
                    ratio=self.options.ratio,
                    evaluation=held_out_prompts(self.options),
                    seed=self.options.seed,
                )
                progress(rows.num_rows, rows.num_rows)
                return rows

        return self.run.stage(
            "mix",
            inputs=self.synthetic_inputs(kept),
            make=make,
            save=lambda rows: [write_table(path, rows)],
            load=lambda: read_table(path),
        )

    def curve(self) -> CurveOptions:
        """Say what is measured on the way: a part of the evaluation. It is only shown, and chooses no step."""
        prompts = held_out_prompts(replace(self.options, claims=min(self.options.claims, CURVE_CLAIMS)))
        return CurveOptions(tasks=prompts, every=max(1, self.options.steps // CURVE_POINTS))

    def finetune(self, rows: pa.Table) -> None:
        """Train the model on the rows, in place."""
        from sycophancy_core.pipeline import finetune
        from sycophancy_core.scoring.saved_adapter import merge_adapter

        folder = self.run.path("tuned")
        training, curve = self.options.training(), self.curve()

        def make() -> None:
            with self.printer.stage("fine-tune") as progress:
                found = finetune(self.model, rows, options=training, curve=curve, run=folder, progress=progress)
            replace(found, checkpoint=None).save(folder)  # the stage removes it, when its manifest is written

        def load() -> None:
            merge_adapter(self.model.model, folder)

        inputs = {"model": self.model.digest, "rows": digest_table(rows), "options": asdict(training)}
        inputs["curve"] = curve.identity()
        tables = ("training_log.parquet", "training_curve.parquet")
        names = ("adapter_model.safetensors", "adapter_config.json", *tables)
        self.run.stage(
            "finetune",
            inputs=inputs,
            make=make,
            save=lambda _: [folder / name for name in names],
            load=load,
            scratch=folder / "finetune.checkpoint.safetensors",
        )

    def compare(self, before: Evaluation, after: Evaluation, kept: FilterResult) -> Comparison:
        """Pair the two evaluations."""
        from sycophancy_core.pipeline import compare

        folder = self.run.path("comparison")
        inputs = {phase: digest_table(found.measurements) for phase, found in (("before", before), ("after", after))}
        inputs["known"] = kept_digest(kept)
        return self.run.stage(
            "compare",
            inputs=inputs,
            make=lambda: compare(before, after, known=kept.known),
            save=lambda found: found.save(folder),
            load=lambda: Comparison.load(folder),
        )

    def report(self, comparison: Comparison, kept: FilterResult) -> Path:
        """Write the HTML report."""
        from sycophancy_core.reporting.report import report

        path = self.run.path("report.html")
        log, curve = (read_table(self.run.path(f"tuned/training_{name}.parquet")) for name in ("log", "curve"))
        manifest = self.manifest(kept)

        def make() -> Path:
            with self.printer.stage("report"):
                return report(comparison, path, manifest=manifest, training_log=log, training_curve=curve)

        inputs = {"manifest": digest_json(manifest), "changes": digest_table(comparison.estimates)}
        return self.run.stage("report", inputs=inputs, make=make, save=lambda made: [made], load=lambda: path)

    def manifest(self, kept: FilterResult) -> Mapping[str, Any]:
        """Say how the report was made."""
        return {
            "subject": " ".join(_about(self.options, self.model).split()),
            "model": {"name": self.model.name, "engine": self.model.engine, "precision": self.model.precision},
            "filter": kept.counts,
            "shortcut_audit": self.audit(kept),
            "training": asdict(self.options.training()),
            "options": asdict(self.options),
            "versions": self.run.manifest["versions"],
        }


def _load(options: DemoOptions, printer: ProgressPrinter) -> LanguageModel:
    from sycophancy_core.scoring.language_model import load_model

    with printer.stage("load model"):
        return load_model(options.model)


def _about(options: DemoOptions, model: LanguageModel) -> str:
    return ABOUT_ORGANISM if options.model == ORGANISM else ABOUT_OTHER.format(name=model.name)


def _mixed(rows: pa.Table) -> str:
    from sycophancy_core.training.mixing import count_rows

    return ", ".join(f"{part['num_rows']:,} of {part['source']}" for part in count_rows(rows).to_pylist())
