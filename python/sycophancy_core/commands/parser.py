"""The parser of the command line: every verb, with its options and an example."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sycophancy_core._build_info import VERSION
from sycophancy_core.commands.catalogue import VERBS, add_arguments, overview
from sycophancy_core.commands.mistakes import CommandParser
from sycophancy_core.commands.records import option_records, read_options
from sycophancy_core.flags import add_flags, set_from_config


def make_parser(asked: str = "", config: Path | None = None, *, every: bool = False) -> CommandParser:
    """Return the parser of all verbs, with every flag of the one that is asked for, or of all."""
    parser = CommandParser(
        prog="sycophancy-core",
        usage="sycophancy-core VERB ...",
        description=f"Measure, reduce and audit sycophancy in open language models.\n\n{overview()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    # The help lists the verbs above, by kind; a script that completes words must see them here.
    listed = "what to do" if every else argparse.SUPPRESS
    parsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB", prog="sycophancy-core", help=listed)
    for name, about in VERBS.items():
        described = f"{about.about[0].upper()}{about.about[1:]}."
        settings: dict[str, Any] = {"help": about.about, "formatter_class": argparse.RawDescriptionHelpFormatter}
        verb = parsers.add_parser(name, description=described, **settings)
        verb.epilog = f"example: sycophancy-core {about.example}"
        verb.set_defaults(run_verb=about.run)
        _add_common(verb, has_config=name != "study")  # which is given its file by position
        add_arguments(name, verb.add_argument)
        if name == asked or every:  # the records of the others need not be imported
            for record, leave_out in option_records(name):
                add_flags(verb, record, leave_out=leave_out)
        if name == asked and config is not None:
            set_from_config(verb, read_options(config), config)
    return parser


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every verb, with every flag."""
    (verbs,) = (
        action.choices for action in make_parser(every=True)._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(verbs)


def _add_common(verb: argparse.ArgumentParser, *, has_config: bool) -> None:
    verb.add_argument("--quiet", action="store_true", help="show no progress")
    verb.add_argument("--json", action="store_true", help="print the result as JSON, for other programs")
    verb.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="level of the messages to show on standard error (default warning); debug also shows where errors arise",
    )
    if has_config:
        verb.add_argument("--config", type=Path, default=None, help="YAML file with values for these options")
