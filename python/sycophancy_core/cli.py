"""The command ``sycophancy-core``: its parser, its exit codes, and how it says what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sycophancy_core.commands.catalogue import VERBS
from sycophancy_core.commands.json_output import as_json
from sycophancy_core.commands.messages import warnings_logged
from sycophancy_core.commands.mistakes import refuse_words, require_verb
from sycophancy_core.commands.parser import make_parser, verb_parsers
from sycophancy_core.errors import DataError, ModelError
from sycophancy_core.reporting.terminal import safe_output
from sycophancy_core.reporting.text import clean_text
from sycophancy_core.runs.interrupts import kept_by, signals_stop

MOST_CHARACTERS = 2000  # of an error

# Of the RuntimeErrors by which Python and torch say so.
_MEMORY = ("can't start new thread", "can't allocate memory", "not enough memory", "out of memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    int
        0; 2 on a fault of input or installation (a sentence on standard error); 128 and the signal's number where one
        stopped the work: 130 on Ctrl-C, 143 on SIGTERM.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads, which train, sleep while they wait
    given = sys.argv[1:] if arguments is None else arguments
    command = f"sycophancy-core {shlex.join(given)}"
    options = argparse.Namespace(command=command)
    with safe_output(), signals_stop():
        asked = given[0] if given else ""
        try:
            require_verb(given, tuple(VERBS))
            _, left = make_parser(asked, _config_of(given)).parse_known_args(given, options)
            if left:
                refuse_words(given, left, verb_parsers)
            with warnings_logged(options.log_level):
                _run(options)
        except (DataError, ModelError, OSError, ImportError, MemoryError, RuntimeError) as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            _complain(asked, sentence)
            return 2
        except KeyboardInterrupt as error:
            print(file=sys.stderr)  # below a bar, or the ^C of the terminal
            is_kept = kept_by(error) is not None  # then the next line says how the work goes on
            said = str(error).partition("; the same call")[0] if is_kept else str(error)
            _complain(asked, said or "stopped")
            if is_kept:
                print(f"To resume: {options.command}", file=sys.stderr)
            return 128 + int(getattr(error, "number", signal.SIGINT))
    return 0


def _run(options: argparse.Namespace) -> None:
    """Run the verb; with ``--json`` nothing but its result goes to standard output."""
    if not options.json:
        options.run_verb(options)
        return
    with contextlib.redirect_stdout(sys.stderr):
        found = options.run_verb(options)
    print(as_json(found))


def _sentence(error: Exception) -> str | None:
    """Say what a user can change about an error; None of what is a fault of ours."""
    if isinstance(error, ModuleNotFoundError):
        from sycophancy_core.runs.outputs import how_to_install  # here, since --help would feel its imports

        return f"{error}; {how_to_install(error.name or '')}"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({error}); free memory, or install it once more"
    if isinstance(error, MemoryError) or any(words in str(error) for words in _MEMORY):
        return f"there is not enough memory ({str(error) or 'none left'}); free some, or take a smaller job"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, DataError | ModelError | OSError) else None


def _complain(verb: str, sentence: str) -> None:
    """Say what is wrong, in one line of a length that a reader can take; the rows of a table get a line each."""
    named = f"sycophancy-core {verb}" if verb in VERBS else "sycophancy-core"
    for name in (verb, verb.replace("-", "_")):  # which many sentences begin with
        sentence = sentence.removeprefix(f"{name}: ")
    for number, line in enumerate(sentence.splitlines() if "\n  " in sentence else [sentence]):
        text = clean_text(line.strip())
        shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
        print(f"  {shown}" if number else f"{named}: {shown}", file=sys.stderr)


def _config_of(given: Sequence[str]) -> Path | None:
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path, default=None)
    found: Path | None = finder.parse_known_args(given)[0].config
    return found
