"""The verbs of the command line by kind: what each is for, with an example, and where its code is."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any, NamedTuple

from sycophancy_core.commands.arguments import ARGUMENTS, Add


class Verb(NamedTuple):
    """One verb.

    Attributes
    ----------
    about
        What it does, in a few words.
    example
        A command that shows its use.
    home
        Module and function of :mod:`sycophancy_core.commands` that run it.
    """

    about: str
    example: str
    home: str

    def run(self, options: argparse.Namespace) -> Any:
        """Run it, and return what it found, for ``--json``."""
        module, _, function = self.home.partition(".")
        return getattr(import_module(f"sycophancy_core.commands.{module}"), function)(options)


GROUPS: dict[str, dict[str, Verb]] = {
    "your model": {
        "measure": Verb("measure how far a model follows its user", "measure my-model", "start.measure"),
        "cure": Verb("train a model to keep to the truth, and measure it again", "cure my-model", "start.cure"),
        "demo": Verb("measure and cure a small model, next to a control", "demo -o demo-run", "start.demo"),
    },
    "your data": {
        "validate": Verb(
            "check a table of your own, and list what is wrong with it",
            "validate claims.csv --text claim --truth label -o claims.parquet",
            "own_data.validate",
        ),
        "examples": Verb("load labelled examples", "examples --limit 100 -o examples.parquet", "verbs.examples"),
        "claims": Verb(
            "make claims from examples", "claims --examples examples.parquet -o claims.parquet", "verbs.claims"
        ),
        "additions": Verb("make true and false sums as claims", "additions --n 500 -o sums.parquet", "verbs.additions"),
        "prompts": Verb("make prompts from claims", "prompts --claims claims.csv -o prompts.jsonl", "verbs.prompts"),
        "generate": Verb(
            "make prompts with opinions in one go", "generate --n 1000 -o prompts.jsonl", "verbs.generate"
        ),
        "mix": Verb("mix prompts with instruction rows", "mix --prompts prompts.jsonl -o rows.jsonl", "verbs.mix"),
    },
    "one step of the method": {
        "score": Verb(
            "score the choices of prompts", "score my-model --prompts prompts.jsonl -o scores.parquet", "scoring.score"
        ),
        "filter": Verb(
            "keep the claims that a model knows",
            "filter my-model --claims claims.csv -o known.parquet",
            "scoring.filter_claims",
        ),
        "finetune": Verb(
            "fine-tune a model on training rows", "finetune my-model --rows rows.jsonl -o tuned", "verbs.finetune"
        ),
        "organism": Verb("train a model with known sycophancy", "organism -o organism", "verbs.organism"),
        "evaluate": Verb(
            "measure a model on the tasks that you choose",
            "evaluate my-model --tasks facts -o before",
            "scoring.evaluate",
        ),
        "merge": Verb("put the shards of a job together", "merge before -o before", "scoring.merge_shards"),
    },
    "results": {
        "evaluate-many": Verb(
            "measure several models on the same tasks", "evaluate-many base tuned -o models", "verbs.evaluate_many"
        ),
        "compare": Verb(
            "compare evaluations with a baseline, prompt by prompt", "compare before after -o compared", "verbs.compare"
        ),
        "report": Verb("write the HTML report of a result", "report before -o before.html", "verbs.report"),
        "export": Verb(
            "write tasks as a folder for lm-evaluation-harness", "export --tasks facts -o lm-tasks", "verbs.export"
        ),
        "power": Verb("say how many claims an effect needs", "power before --effect 0.1", "look.power"),
        "study": Verb("run every variant of a sweep, or several cures", "study study.yaml --dry-run", "verbs.study"),
        "verify": Verb("check that a result is whole and unchanged", "verify before", "verbs.verify"),
    },
    "about": {
        "tasks": Verb("list what can be asked, with a prompt of each", "tasks facts", "look.tasks"),
        "doctor": Verb("say what is installed, and what is missing", "doctor", "look.doctor"),
        "cache": Verb("list or clear converted models and fetched files", "cache clear", "look.cache"),
        "completion": Verb(
            "print a script that completes commands in a shell",
            "completion bash > ~/.sycophancy-core.bash",
            "look.completion",
        ),
    },
}
VERBS = {name: verb for group in GROUPS.values() for name, verb in group.items()}


def add_arguments(name: str, add: Add) -> None:
    """Add the arguments of a verb."""
    ARGUMENTS[name](add)


def overview() -> str:
    """Return the verbs by kind, as the help of the command shows them."""
    lines = []
    for group, verbs in GROUPS.items():
        lines += [f"\n{group}:", *(f"    {name:<15}{verb.about}" for name, verb in verbs.items())]
    example = "\n\nexample: sycophancy-core measure my-model\nhelp of a verb: sycophancy-core VERB --help"
    return "\n".join(lines).lstrip("\n") + example
