"""What the site adds to docs/: every flag and every public name from the code, and addresses of files outside docs/."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FLAGS, NAMES = "<!-- every flag -->", "<!-- every public name -->"


def repository() -> str:
    """Return the address of the repository, which pyproject.toml defines."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"])


def on_config(config: Any) -> Any:
    """Give the site the repository's address, and let it read the package."""
    sys.path.insert(0, str(ROOT / "python"))
    config.repo_url, config.repo_name = repository(), "repository"
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, and send links that leave docs/ to the repository."""
    if FLAGS in markdown:
        markdown = markdown.replace(FLAGS, every_flag())
    if NAMES in markdown:
        markdown = markdown.replace(NAMES, every_name())
    return with_addresses(markdown, ROOT / "docs" / page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Show a docstring's reference to a name (:func:`~package.name`) as the name."""
    return re.sub(r":\w+:<code>~?(?:\w+\.)*(\w+)</code>", r"<code>\1</code>", html)


def with_addresses(markdown: str, path: Path) -> str:
    """Return a page whose relative links that leave docs/, or lead to a folder, are addresses in the repository."""

    def address(link: re.Match[str]) -> str:
        target = (path.parent / link[1]).resolve()
        inside = target.is_relative_to(ROOT / "docs") and target.is_file()
        return link[0] if inside else f"]({repository()}/blob/main/{target.relative_to(ROOT).as_posix()}{link[2]})"

    return re.sub(r"\]\((?!https?:|#)([^)#]+)((?:#[^)]*)?)\)", address, markdown)


def every_flag() -> str:
    """Return a table of flags for each verb, by kind."""
    from sycophancy_core.commands.catalogue import GROUPS
    from sycophancy_core.commands.parser import make_parser

    parsers = next(action for action in make_parser(every=True)._actions if action.dest == "verb").choices
    assert isinstance(parsers, dict)
    lines = []
    for group, verbs in GROUPS.items():
        lines += [f"## Verbs: {group}", ""]
        for name, verb in verbs.items():
            lines += [f"### {name}", "", f"{verb.about[0].upper()}{verb.about[1:]}.", ""]
            lines += ["```sh", f"sycophancy-core {verb.example}", "```", "", "| option | what it is |", "|---|---|"]
            lines += [*_rows(parsers[name]), ""]
    return "\n".join(lines)


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.dest != "help" and action.help != argparse.SUPPRESS:
            names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
            choices = f" One of {', '.join(map(str, action.choices))}." if action.choices else ""
            about = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
            yield f"| {names} | {about.replace('|', '/')}.{choices} |"


def every_name() -> str:
    """Return the site's directive for each public name: functions, then records and errors."""
    import sycophancy_core as sc

    home = {name: f"sycophancy_core.{module}.{name}" for module, names in sc._HOMES.items() for name in names}
    functions = [name for name in sc.__all__ if inspect.isroutine(getattr(sc, name))]
    others = [name for name in sc.__all__ if inspect.isclass(getattr(sc, name))]
    lines = []
    for heading, names in (("Functions", functions), ("Records, models and errors", others)):
        lines += [f"## {heading}", "", *(f"::: {home.get(name, f'sycophancy_core._core.{name}')}\n" for name in names)]
    return "\n".join(lines)
