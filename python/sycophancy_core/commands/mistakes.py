"""What was probably meant by a command that cannot be read: the verb, its option, or the verb that has the option."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from sycophancy_core.errors import DataError

PROGRAM = "sycophancy-core"
_OF_THE_PROGRAM = ("-h", "--help", "--version")


class CommandParser(argparse.ArgumentParser):
    """A parser that says what is wrong with a value in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with status 2."""
        about, _, sentence = message.partition("argument ")
        if not about and sentence:
            self.exit(2, f"{self.prog}: {sentence}\n")
        super().error(message)


def require_verb(given: Sequence[str], verbs: Sequence[str]) -> None:
    """Refuse a command that does not begin with a verb.

    Raises
    ------
    DataError
        If its first word is not a verb; the message says what was probably meant.
    """
    if not given or given[0] in verbs or given[0].startswith(_OF_THE_PROGRAM):
        return
    first = given[0]
    if first.startswith("-"):
        at = next((place for place, word in enumerate(given) if word in verbs), None)
        if at is None:
            raise DataError(f"wanted a verb, got {first}; the verbs: {PROGRAM} --help")
        raise DataError(f"options come after the verb: {_command([*given[at:], *given[:at]])}")
    near = get_close_matches(first, verbs, 1)
    if Path(first).exists() or (not near and ("/" in first or first.endswith(".gguf"))):
        raise DataError(f"{first!r} is not a verb; did you mean: {_command(['measure', *given])}")
    meant = f"did you mean: {_command([*near, *given[1:]])}" if near else f"the verbs: {PROGRAM} --help"
    raise DataError(f"{first!r} is not a verb; {meant}")


def refuse_words(
    given: Sequence[str], left: Sequence[str], every: Callable[[], Mapping[str, argparse.ArgumentParser]]
) -> NoReturn:
    """Say of words that a verb does not know what was probably meant.

    Parameters
    ----------
    given
        The command, which begins with the verb.
    left
        Those of its words that the verb does not know.
    every
        Makes the parsers of all verbs, with all of their options.
    """
    verb, word = given[0], left[0].partition("=")[0]
    parsers = every()
    mine = parsers[verb]
    others = [name for name, parser in parsers.items() if word in parser._option_string_actions]
    near = get_close_matches(word, mine._option_string_actions, 1, cutoff=0.75)
    if not word.startswith("-"):
        meant = f"has no place for {word!r}"
    elif others:
        others.sort(key=lambda name: _positions(parsers[name]) != _positions(mine))
        meant = f"has no {word}; {others[0]} has it: {_command(_filled(parsers[others[0]], [others[0], *given[1:]]))}"
    else:
        meant = f"has no {word}; " + (f"did you mean {near[0]}?" if near else f"its options: {PROGRAM} {verb} --help")
    mine.error(f"{verb} {meant}")


def _positions(parser: argparse.ArgumentParser) -> list[str]:
    """Return what a verb takes without a flag."""
    return [action.dest for action in parser._actions if not action.option_strings]


def _filled(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Add the options without which a verb does not run."""
    for action in parser._actions:
        if action.required and action.option_strings and not set(action.option_strings) & set(words):
            words = [*words, action.option_strings[0], action.dest.upper()]
    return words


def _command(words: Sequence[str]) -> str:
    return f"{PROGRAM} {shlex.join(words)}"
