"""HTML pages by Jinja2: every text is cleaned of control characters and escaped where it enters the markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sycophancy_core.errors import DataError
from sycophancy_core.reporting.blocks import Block, Section
from sycophancy_core.reporting.text import clean_text

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
HOW_TO_INSTALL = "pip install 'sycophancy-core[report]'"


def page(title: str, *, subject: str = "", lead: Sequence[Block] = (), sections: Iterable[Section] = ()) -> str:
    """Return a whole document that loads nothing and runs no script.

    Its policy allows one style sheet, known by its hash, and images within the page.

    Parameters
    ----------
    title, subject
        Plain text.
    lead
        What stands above the first section.
    sections
        Those without blocks are left out.

    Raises
    ------
    DataError
        If Jinja2 is not installed.
    """
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    shown = [section for section in sections if section.blocks]
    template = _environment().get_template("page.html.j2")
    return template.render(title=title, subject=subject, policy=policy, lead=lead, sections=shown)


def fragment(blocks: Sequence[Block]) -> str | None:
    """Return blocks as markup for a notebook; None, at which it shows the text instead, where Jinja2 is missing."""
    try:
        template = _environment().get_template("fragment.html.j2")
    except DataError:
        return None
    return template.render(blocks=blocks)


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise DataError(f"report: wanted the package jinja2, got none installed; run: {HOW_TO_INSTALL}") from error
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _clean(value: object) -> object:
    """Clean what a template shows; markup, which the templates alone make, stays as it is."""
    return value if hasattr(value, "__html__") else clean_text(value)
