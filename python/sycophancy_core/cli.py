"""The command ``sycophancy-core``: one verb a stage. Tables are files, results are folders."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sycophancy_core._build_info import VERSION
from sycophancy_core.commands.records import option_records, read_options
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.flags import add_flags, set_from_config
from sycophancy_core.reporting.terminal import safe_output
from sycophancy_core.reporting.text import clean_text
from sycophancy_core.runs.interrupts import kept_by, signals_stop

MOST_CHARACTERS = 2000  # of an error

# Of the RuntimeErrors by which Python and torch say so.
_MEMORY = ("can't start new thread", "can't allocate memory", "not enough memory", "out of memory")

Add = Callable[..., argparse.Action]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    int
        0; 2 on a fault of input or installation (a sentence on standard error); 128 and the signal's number where one
        stopped the work: 130 on Ctrl-C, 143 on SIGTERM.
    """
    given = sys.argv[1:] if arguments is None else arguments
    command = f"sycophancy-core {shlex.join(given)}"
    with safe_output(), signals_stop():
        asked = given[0] if given else ""
        try:
            options = _parser(asked, _config_of(given)).parse_args(given)
            options.command = command
            _function(options.run_verb)(options)
        except (DataError, ModelError, OSError, ImportError, MemoryError, RuntimeError) as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            _complain(asked, sentence)
            return 2
        except KeyboardInterrupt as error:
            print(file=sys.stderr)  # below a bar, or the ^C of the terminal
            _complain(asked, str(error) or "stopped")
            if kept_by(error) is not None:
                print(f"To resume: {command}", file=sys.stderr)
            return 128 + int(getattr(error, "number", signal.SIGINT))
    return 0


def _function(name: str) -> Callable[[argparse.Namespace], None]:
    from sycophancy_core.commands import verbs  # and with it NumPy and pyarrow, which --help does without

    function: Callable[[argparse.Namespace], None] = getattr(verbs, name)
    return function


def _sentence(error: Exception) -> str | None:
    """Say what a user can change about an error; None of what is a fault of ours."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; README.md says what to install"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({error}); free memory, or install it once more"
    if isinstance(error, MemoryError) or any(words in str(error) for words in _MEMORY):
        return f"there is not enough memory ({str(error) or 'none left'}); free some, or take a smaller job"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, DataError | ModelError | OSError) else None


def _complain(verb: str, sentence: str) -> None:
    """Say what is wrong, in one line of a length that a reader can take."""
    text = clean_text(sentence)
    shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    print(f"sycophancy-core {verb}: {shown}", file=sys.stderr)


def _parser(asked: str, config: Path | None) -> argparse.ArgumentParser:
    """Return the parser of all verbs, with every flag of the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="sycophancy-core", description="Measure, reduce and audit sycophancy in open language models."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, (about, run_verb, add_arguments) in _VERBS.items():
        verb = verbs.add_parser(name, help=about, description=about)
        verb.add_argument("--quiet", action="store_true", help="show no progress")
        if name != "study":  # which is given its file by position
            verb.add_argument("--config", type=Path, default=None, help="YAML file with values for these options")
        verb.set_defaults(run_verb=run_verb)
        add_arguments(verb.add_argument)
        if name == asked:  # the records of the others need not be imported
            for record, leave_out in option_records(name):
                add_flags(verb, record, leave_out=leave_out)
            if config is not None:
                set_from_config(verb, read_options(config), config)
    return parser


def _config_of(given: Sequence[str]) -> Path | None:
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path, default=None)
    found: Path | None = finder.parse_known_args(given)[0].config
    return found


def _seed_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"wanted a whole number from 0 to {2**32 - 1}, got {text!r}")
    return int(text)


def _seed(add: Add) -> None:
    add("--seed", type=_seed_number, default=0, help="seed of all random choices (default 0)")


def _out(add: Add, what: str) -> None:
    add("-o", "--out", type=Path, required=True, help=what)


def _model(add: Add) -> None:
    add("--model", default=None, help="folder, GGUF file, hub id, URL, 'organism', or the embedded model (default)")
    add("--adapter", default=None, help="LoRA adapter folder to merge, or 'organism'")
    add("--tokenizer", default=None, help="of a server's model: folder, GGUF file or hub id (default: the server's)")
    add("--concurrency", type=int, default=None, help="requests to a server at once (default 8)")
    _scoring(add)


def _scoring(add: Add) -> None:
    add("--engine", default="auto", choices=("auto", "native", "transformers"), help="what scores (default auto)")
    add(
        "--matmul-precision",
        default="highest",
        choices=("highest", "high", "medium"),
        help="precision of products in the native engine",
    )
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="number type of the weights")
    add("--device", default=None, help="device of the weights, such as cuda (default: the CPU)")
    add("--system-prompt", default=None, help="system prompt of a chat model")
    _chat_template(add)


def _chat_template(add: Add) -> None:
    add(
        "--chat-template",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="ask in the turns of the chat template, or as plain text (default: in the template if there is one)",
    )


def _examples(add: Add) -> None:
    add("--source", default=None, help="name of a data set (default: the packaged sample)")
    add("--folder", type=Path, default=None, help="folder of JSON Lines or Parquet files named after their data sets")
    add("--limit", type=int, default=None, help="most examples of each data set")
    _seed(add)
    _out(add, "examples: .parquet, .jsonl or .csv")


def _claims(add: Add) -> None:
    add("--examples", type=Path, default=None, help="examples, Parquet; default: the packaged sample")
    _seed(add)
    _out(add, "claims: .parquet, .jsonl or .csv")


def _additions(add: Add) -> None:
    add("--n", type=int, default=2500, help="number of sums (default 2500)")
    _seed(add)
    _out(add, "claims: .parquet, .jsonl or .csv")


def _prompts(add: Add) -> None:
    add("--claims", type=Path, required=True, help="claims, Parquet")
    _seed(add)
    _out(add, "prompts: .parquet, .jsonl or .csv")


def _generate(add: Add) -> None:
    add("--examples", type=Path, default=None, help="examples, Parquet; default: the packaged sample")
    add("--n", type=int, required=True, help="number of prompts")
    add("--recipe", default="balanced", choices=("balanced", "wei2023"), help="how claims are made (default balanced)")
    add("--protocol", default="wei2023", help="wording: wei2023, factorial or a JSON file")
    add("--shard", default="0/1", help="part i of k, as i/k (default 0/1)")
    _seed(add)
    _out(add, "prompts: .parquet, .jsonl or .csv")


def _score(add: Add) -> None:
    add("--prompts", type=Path, required=True, help="prompts, Parquet or JSON Lines")
    add("--run", type=Path, default=None, help="folder for the journal (default: one next to the output)")
    _model(add)
    _out(add, "measurements: .parquet, .jsonl or .csv")


def _filter(add: Add) -> None:
    add("--claims", type=Path, required=True, help="claims, Parquet")
    add("--run", type=Path, default=None, help="folder for the journal (default: one next to the output)")
    add(
        "--every-claim",
        type=Path,
        default=None,
        help="also write all claims with margin, status and reason to this file, Parquet",
    )
    _seed(add)
    _model(add)
    _out(add, "kept claims: .parquet, .jsonl or .csv")


def _mix(add: Add) -> None:
    add("--prompts", type=Path, required=True, help="prompts, Parquet or JSON Lines")
    add(
        "--instructions",
        type=Path,
        nargs="+",
        default=None,
        help="JSONL or Parquet files, or folders of them: instruction, input, output, or messages; "
        "default: the packaged rows",
    )
    add("--weights", type=float, nargs="+", default=None, help="share of each of them among the instructions")
    add("--limit", type=int, default=None, help="most rows drawn from each of them (default: all)")
    add("--ratio", type=float, default=5.0, help="synthetic rows for one row of instructions (default 5)")
    add("--unit", default="rows", choices=("rows", "tokens"), help="what ratio and weights count (default rows)")
    add(
        "--evaluation",
        type=Path,
        nargs="+",
        default=None,
        help="prompts of the evaluation, which must not be trained on",
    )
    _seed(add)
    _model(add)
    _out(add, "training rows: .parquet, .jsonl or .csv")


def _finetune(add: Add) -> None:
    add("--rows", type=Path, required=True, help="training rows, Parquet")
    add("--curve", type=Path, nargs="+", default=None, help="prompts on which the model is measured during training")
    add("--wei2023", action="store_true", help="defaults as published: 1,000 steps on all weights")
    _seed(add)
    _model(add)
    _out(add, "folder for the tuned model (or its adapter), the log and checkpoints")


def _organism(add: Add) -> None:
    add("--families", default=None, help="name:weight,name:weight (addition, or a data set of the sample)")
    add("--model", default=None, help="folder, GGUF file, hub id, or the embedded model (default)")
    _out(add, "folder for the adapter and its checkpoint")


def _tasks(add: Add) -> None:
    add(
        "--tasks",
        nargs="+",
        default=None,
        help="addition, addition_factorial, claims, facts, nlp, phil, poli, answer, are_you_sure, mmlu, bbh, or a JSON "
        "file",
    )
    add("--claims", type=Path, default=None, help="held-out claims for the task claims, Parquet")
    add("--folder", type=Path, default=None, help="folder with perez/, sharma/, mmlu/, bbh/")
    add("--limit", type=int, default=None, help="most claims or questions of each task")
    _seed(add)


def _journal(add: Add) -> None:
    add(
        "--journal",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep a journal in the folder, so that the same call resumes after a stop (default)",
    )


def _evaluate(add: Add) -> None:
    _tasks(add)
    _journal(add)
    _model(add)
    _out(add, "folder for the evaluation, its report and figures")


def _evaluate_many(add: Add) -> None:
    add("models", nargs="+", help="folders, GGUF files, hub ids, or 'organism'")
    _tasks(add)
    _journal(add)
    _scoring(add)
    _out(add, "folder for the evaluations, their report and figure")


def _compare(add: Add) -> None:
    add("before", type=Path, help="folder of an evaluation")
    add("after", type=Path, help="folder of another evaluation of the same prompts")
    add(
        "--margin",
        type=float,
        default=None,
        help="change of accuracy that still counts as equal, a share (default 0.05)",
    )
    _out(add, "folder for the comparison")


def _report(add: Add) -> None:
    add("result", type=Path, help="folder of an evaluation or a comparison")
    add("--training", type=Path, default=None, help="folder of a fine-tuning, to show its log and curve")
    _out(add, "HTML file")


def _demo(add: Add) -> None:
    add("-o", "--out", type=Path, default=Path("demo-run"), help="run folder (default demo-run)")
    add("--claims", type=int, default=None, help="number of facts or claims of each family that are asked")
    add("--candidates", type=int, default=None, help="number of facts or claims of each family that may be trained on")
    add("--steps", type=int, default=None, help="number of fine-tuning steps")
    add("--model", default=None, help="a model other than the embedded one; organism for the positive control")
    _chat_template(add)
    add("--seed", type=_seed_number, default=None, help="seed of all random choices")


def _study(add: Add) -> None:
    add("config", type=Path, help="YAML file; docs/study.yaml is one")
    add("-o", "--out", type=Path, default=Path("study-run"), help="study folder (default study-run)")
    add("--dry-run", action="store_true", help="print prompts, tokens, time and disk of every stage, and run nothing")
    add("--score-rate", type=float, default=None, help="tokens/s of scoring, for --dry-run; by default measured")
    add("--train-rate", type=float, default=None, help="tokens/s of fine-tuning, for --dry-run; by default measured")


def _verify(add: Add) -> None:
    add("run", type=Path, help="folder of a run, an evaluation, a comparison, a fine-tuning, ...")


_Verb = tuple[str, str, Callable[[Add], None]]  # what it does, its function in `commands.verbs`, its arguments
_VERBS: dict[str, _Verb] = {
    "examples": ("load labelled examples", "examples", _examples),
    "claims": ("make claims from examples", "claims", _claims),
    "additions": ("make true and false sums as claims", "additions", _additions),
    "prompts": ("make prompts from claims", "prompts", _prompts),
    "generate": ("make prompts with opinions from examples, in one step", "generate", _generate),
    "score": ("score the choices of prompts", "score", _score),
    "filter": ("keep the claims that a model knows without an opinion", "filter_claims", _filter),
    "mix": ("mix prompts with instruction rows", "mix", _mix),
    "finetune": ("fine-tune a model on training rows", "finetune", _finetune),
    "organism": ("train a model organism: a model with known sycophancy", "organism", _organism),
    "evaluate": ("measure a model on tasks", "evaluate", _evaluate),
    "evaluate-many": ("measure several models on the same tasks", "evaluate_many", _evaluate_many),
    "compare": ("compare two evaluations, prompt by prompt", "compare", _compare),
    "report": ("write the HTML report of a result", "report", _report),
    "demo": ("measure and cure a small model, next to a control", "demo", _demo),
    "study": ("run the method for every variant of a sweep", "study", _study),
    "verify": ("check that a run or a result is whole and unchanged", "verify", _verify),
}
