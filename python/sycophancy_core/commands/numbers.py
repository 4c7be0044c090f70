"""Numbers on the command line: read, or refused with what is wanted."""

from __future__ import annotations

import argparse
from pathlib import Path


def seed_number(text: str) -> int:
    """Read a seed."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"wanted a whole number from 0 to {2**32 - 1}, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"wanted a whole number above 0, got {text!r}")
    return int(text)


def facts_to_ask(text: str) -> int:
    """Read how many facts a cure asks, which elsewhere is how a file of claims is named."""
    if Path(text).suffix:
        raise argparse.ArgumentTypeError(
            f"wanted how many facts of each family are asked, got {text!r}; how to train on claims of your own is in "
            "docs/howto/own-claims.md"
        )
    return positive(text)
