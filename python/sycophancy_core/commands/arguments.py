"""The arguments of each verb of the command line, as people read them; options of records are added by the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from sycophancy_core.commands.numbers import facts_to_ask, positive, seed_number
from sycophancy_core.flags import comma_list

Add = Callable[..., argparse.Action]

_TABLE = "ends in .parquet, .jsonl or .csv"
_OWN_CLAIMS = "file of claims, your own too (docs/howto/own-claims.md)"
_MODELS = "model folder, GGUF file, hub id,{} 'organism', or the embedded model (default)"


def _seed(add: Add, default: int | None = 0) -> None:
    add("--seed", type=seed_number, default=default, help="seed of all random choices (default 0)")


def _file(add: Add, flag: str, what: str, *, required: bool = False) -> None:
    add(flag, type=Path, required=required, default=None, help=what)


def _out(add: Add, what: str) -> None:
    add("-o", "--out", type=Path, required=True, help=what)


def _shard(add: Add) -> None:
    add(
        "--shard",
        default=None,
        metavar="I/N",
        help="only the i-th of n parts, from 0, for the verb merge; auto: as Slurm's array or torchrun numbers it",
    )


def _model_name(add: Add, *, is_trained: bool = False) -> None:
    what = _MODELS.format("" if is_trained else " URL of a server,")
    add("model", nargs="?", default=argparse.SUPPRESS, metavar="MODEL", help=what)
    add("--model", default=None, metavar="MODEL", help="the same as MODEL")


def _model(add: Add, *, is_trained: bool = False) -> None:
    _model_name(add, is_trained=is_trained)
    add("--adapter", default=None, help="folder of a LoRA adapter to merge, or 'organism' (for the packaged model)")
    if not is_trained:
        _server(add)
    _scoring(add)


def _server(add: Add) -> None:
    add("--tokenizer", default=None, help="tokenizer of a server's model: folder or hub id (default: the server's)")
    add("--concurrency", type=int, default=None, help="requests to a server at once (default 8)")


def _scoring(add: Add) -> None:
    add(
        "--engine",
        default=None,
        choices=("auto", "native", "transformers"),
        help="what scores: the package's own engine where it knows the model (default auto), else transformers",
    )
    add(
        "--matmul-precision",
        default=None,
        choices=("highest", "high", "medium"),
        help="precision of the native engine's matrix products (default highest: float32)",
    )
    add(
        "--dtype",
        default=None,
        choices=("auto", "float32", "bfloat16", "float16"),
        help="number type of the weights (default auto: the checkpoint's; float32 where weights are changed)",
    )
    add("--device", default=None, help="device for the weights, such as cuda (default: the CPU)")
    add("--system-prompt", default=None, help="text of the chat template's system turn")
    _chat_template(add)


def _chat_template(add: Add) -> None:
    add(
        "--chat-template",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="ask in the turns of the chat template, or as plain text (default: in the template, where there is one)",
    )


def _examples(add: Add) -> None:
    add("--source", default=None, help="a data set by name (default: the packaged sample)")
    add("--folder", type=Path, default=None, help="folder of JSON Lines or Parquet files named after their data sets")
    add("--limit", type=positive, default=None, help="most examples of a data set")
    _seed(add)
    _out(add, f"file for the examples; {_TABLE}")


def _claims(add: Add) -> None:
    _file(add, "--examples", "file of examples (default: the packaged sample)")
    _seed(add)
    _out(add, f"file for the claims; {_TABLE}")


def _additions(add: Add) -> None:
    add("--n", type=positive, default=2500, help="number of sums (default 2500)")
    _seed(add)
    _out(add, f"file for the claims; {_TABLE}")


def _prompts(add: Add) -> None:
    _file(add, "--claims", _OWN_CLAIMS, required=True)
    _seed(add)
    _out(add, f"file for the prompts; {_TABLE}")


def _generate(add: Add) -> None:
    _file(add, "--examples", "file of examples (default: the packaged sample)")
    add("--n", type=positive, required=True, help="number of prompts")
    add(
        "--recipe",
        default="balanced",
        choices=("balanced", "wei2023"),
        help="how claims are made: true and false in every wording (balanced), or as published",
    )
    add("--protocol", default="wei2023", help="wording: wei2023, factorial or a JSON file (default wei2023)")
    _shard(add)
    _seed(add)
    _out(add, f"file for the prompts; {_TABLE}")


def _score(add: Add) -> None:
    _file(add, "--prompts", "file of prompts, Parquet or JSON Lines", required=True)
    _file(add, "--run", "folder for the journal (default: one next to the output)")
    _shard(add)
    _model(add)
    _out(add, f"file for the measurements; {_TABLE}")


def _filter(add: Add) -> None:
    _file(add, "--claims", _OWN_CLAIMS, required=True)
    _file(add, "--run", "folder for the journal (default: one next to the output)")
    add("--every-claim", type=Path, default=None, help="file for all claims with margin, status and reason")
    _seed(add)
    _shard(add)
    _model(add)
    _out(add, f"file for the claims that the model knows; {_TABLE}")


def _merge(add: Add) -> None:
    add(
        "shards",
        type=Path,
        nargs="+",
        metavar="SHARD",
        help="all shards of score, filter or evaluate: their files, or a folder with them",
    )
    add("--claims", type=Path, default=None, help="of filter: the file of claims that was filtered")
    add("--every-claim", type=Path, default=None, help="of filter: file for all claims with margin, status and reason")
    _out(add, "what one process would have written: a file, or the folder of an evaluation")


def _mix(add: Add) -> None:
    _file(add, "--prompts", "file of prompts, Parquet or JSON Lines", required=True)
    add(
        "--instructions",
        type=Path,
        nargs="+",
        default=None,
        help="JSONL or Parquet files, or folders of them: instruction, input, output, or messages "
        "(default: the packaged rows)",
    )
    add("--weights", **comma_list(float), default=None, help="part of each of them among the instructions")
    add("--limit", type=positive, default=None, help="most rows drawn from each of them (default: all)")
    add("--ratio", type=float, default=5.0, help="synthetic rows for each instruction row (default 5)")
    add("--unit", default="rows", choices=("rows", "tokens"), help="what ratio and weights count (default rows)")
    add("--evaluation", type=Path, nargs="+", default=None, help="files of prompts that must not be trained on")
    _seed(add)
    _model(add)
    _out(add, f"file for the training rows; {_TABLE}")


def _finetune(add: Add) -> None:
    add("--rows", type=Path, required=True, help="file of training rows, Parquet or JSON Lines")
    add("--curve", type=Path, nargs="+", default=None, help="files of prompts to measure during the training")
    add("--wei2023", action="store_true", help="start from the published size: 1,000 steps on all weights")
    _seed(add)
    _model(add, is_trained=True)
    _out(add, "folder for the tuned model (or its adapter), the log and checkpoints")


def _organism(add: Add) -> None:
    add("--families", default=None, help="name:weight,name:weight (addition, or a data set of the sample)")
    _model_name(add, is_trained=True)
    _out(add, "folder for the adapter and its checkpoint")


def _asked(add: Add) -> None:
    add(
        "--tasks",
        **comma_list(str),
        default=None,
        help="names of tasks (see the verb tasks), or files of your own questions (docs/howto/own-questions.md)",
    )
    add(
        "--users",
        action="store_true",
        help="add users to questions of your own that have none (docs/howto/own-questions.md)",
    )
    _file(add, "--claims", "file of claims for the task claims, your own too (docs/howto/own-claims.md)")
    _file(add, "--folder", "folder with perez/, sharma/, mmlu/, bbh/ (default: fetched into the cache)")
    add("--limit", type=positive, default=None, help="most claims or questions of a task")
    _seed(add)


def _export(add: Add) -> None:
    _asked(add)
    _out(add, "folder for the tasks")


def _journal(add: Add) -> None:
    add(
        "--journal",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep a journal in the folder, from which the same call goes on after a stop (default)",
    )


def _evaluate(add: Add) -> None:
    _asked(add)
    add("--draws", type=positive, default=None, help="sample so many answers to each prompt instead of scoring choices")
    add("--temperature", type=float, default=None, help="temperature of the samples (default 1)")
    add("--max-tokens", type=positive, default=None, help="most tokens of a sample (default 32)")
    _think(add)
    _journal(add)
    _shard(add)
    _model(add)
    _out(add, "folder for the evaluation, its report and figures")


def _evaluate_many(add: Add) -> None:
    add("models", nargs="+", metavar="MODEL", help="folders, GGUF files, hub ids, 'organism', or adapters of the first")
    _asked(add)
    _think(add)
    _journal(add)
    _scoring(add)
    _out(add, "folder for the evaluations, their report and figure")


def _think(add: Add) -> None:
    what = "let a reasoning model think for at most N tokens before each reply (default: its thought is empty)"
    add("--think", type=positive, default=None, metavar="N", help=what)


def _measure(add: Add) -> None:
    _model(add)
    _think(add)
    _file(add, "--claims", "file of claims of your own to ask in place of the packaged ones (docs/howto/own-claims.md)")
    _file(add, "--questions", "file of questions of your own to ask too; users are added where it has none")
    add("--limit", type=positive, default=40, help="claims, facts or questions of each task (default 40)")
    _seed(add)
    add("-o", "--out", type=Path, default=None, help="folder for the result (default: measure-MODEL-DATE here)")


def _cure(add: Add) -> None:
    _model_name(add, is_trained=True)
    _chat_template(add)
    add("--claims", type=facts_to_ask, default=None, help="facts of each family that are asked (default 20)")
    add("--candidates", type=positive, default=None, help="facts of each family that may be trained on (default 80)")
    add("--steps", type=positive, default=None, help="fine-tuning steps (default 30)")
    _think(add)
    _seed(add, default=None)
    add("-o", "--out", type=Path, default=None, help="folder for the run (default: cure-MODEL-DATE here)")


def _compare(add: Add) -> None:
    add("before", type=Path, help="folder of an evaluation, the baseline")
    add("after", type=Path, nargs="+", help="folders of other evaluations of the same prompts")
    add("--margin", type=float, default=None, help="change of accuracy that counts as none, a share (default 0.05)")
    _out(add, "folder for the comparison and its report")


def _report(add: Add) -> None:
    add("result", type=Path, help="folder of an evaluation or a comparison")
    add("--training", type=Path, default=None, help="folder of a fine-tuning, to show its log and curve")
    _out(add, "HTML file")


def _demo(add: Add) -> None:
    add("-o", "--out", type=Path, default=Path("demo-run"), help="run folder (default demo-run)")
    add("--claims", type=int, default=None, help="facts or claims of each family that are asked")
    add("--candidates", type=int, default=None, help="facts or claims of each family that may be trained on")
    add("--steps", type=int, default=None, help="fine-tuning steps")
    _model_name(add)
    _chat_template(add)
    _seed(add, default=None)


def _study(add: Add) -> None:
    add("config", type=Path, help="YAML file, of trainings or of cures; docs/study.yaml and docs/cures.yaml")
    add("-o", "--out", type=Path, default=Path("study-run"), help="study folder (default study-run)")
    add("--dry-run", action="store_true", help="print prompts, tokens, time and disk of every stage, and run none")
    add("--score-rate", type=float, default=None, help="tokens/s of scoring, for --dry-run (default: measured)")
    add("--train-rate", type=float, default=None, help="tokens/s of fine-tuning, for --dry-run (default: measured)")


def _verify(add: Add) -> None:
    add("run", type=Path, help="folder of a run, an evaluation, a comparison, a fine-tuning, ...")


def _validate(add: Add) -> None:
    add("file", type=Path, help="file that ends in .csv, .tsv, .jsonl or .parquet")
    add(
        "--kind",
        default="claims",
        choices=("claims", "questions", "facts", "instructions"),
        help="what the rows are (default claims)",
    )
    for name, what in (
        ("text", "claims, or labelled texts"),
        ("truth", "whether a claim is true"),
        ("label", "the right label of a text, to make claims from labelled texts"),
        ("id", "the claim's id"),
        ("about", "what a claim is about"),
        ("family", "the group of a claim or question"),
        ("prompt", "the question"),
        ("target", "the right choice"),
        ("user-choice", "the choice that the user favours"),
        ("claim-id", "the question that rows share"),
        ("arm", "what the user says"),
    ):
        add(f"--{name}", default=None, metavar="COLUMN", help=f"column: {what}")
    add("--choices", **comma_list(str), default=None, metavar="COLUMN", help="column of lists of choices, or one each")
    add(
        "--users",
        action="store_true",
        default=None,
        help="add users to questions, who name the right answer or a wrong one",
    )
    add("-o", "--out", type=Path, default=None, help=f"file for the table as the other verbs read it; {_TABLE}")


def _tasks(add: Add) -> None:
    add("name", nargs="*", metavar="TASK", help="tasks to show (default: all)")
    add("--folder", type=Path, default=None, help="folder with perez/, sharma/, mmlu/, bbh/, to show their prompts too")


def _power(add: Add) -> None:
    add("pilot", type=Path, help="folder of an evaluation or a comparison")
    add("--task", default=None, help="its task (default: the first)")
    add("--metric", default=None, help="metric, by name or as it is printed (default: the task's main one)")
    add("--effect", type=float, default=None, help="effect to find, in the metric's own unit (shares, not points)")
    add("--num-claims", type=positive, default=None, help="claims at hand: what effect do they show?")


def _doctor(add: Add) -> None:
    del add


def _cache(add: Add) -> None:
    add("action", nargs="?", default="list", choices=("list", "clear"), help="list (default) or clear")
    add("--yes", action="store_true", help="clear without asking first")


def _completion(add: Add) -> None:
    add("shell", choices=("bash", "zsh", "tcsh"), help="the shell to complete in")


ARGUMENTS: dict[str, Callable[[Add], None]] = {
    "measure": _measure,
    "cure": _cure,
    "demo": _demo,
    "validate": _validate,
    "examples": _examples,
    "claims": _claims,
    "additions": _additions,
    "prompts": _prompts,
    "generate": _generate,
    "mix": _mix,
    "score": _score,
    "filter": _filter,
    "finetune": _finetune,
    "organism": _organism,
    "evaluate": _evaluate,
    "merge": _merge,
    "evaluate-many": _evaluate_many,
    "compare": _compare,
    "report": _report,
    "export": _export,
    "power": _power,
    "study": _study,
    "verify": _verify,
    "tasks": _tasks,
    "doctor": _doctor,
    "cache": _cache,
    "completion": _completion,
}
