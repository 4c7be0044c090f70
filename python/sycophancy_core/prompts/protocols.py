"""Wording of prompts and labels, as data: one JSON file a protocol, each naming its source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sycophancy_core._core import Protocol
from sycophancy_core.errors import DataError
from sycophancy_core.runs.json_files import decode_line, read_json

_FOLDER = Path(__file__).parents[1] / "data/protocols"
_NOT_PROTOCOLS = {"names", "datasets17", "are_you_sure", "stance", "pressure"}


def protocol_names() -> list[str]:
    """Return the names of the protocols that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.json") if path.stem not in _NOT_PROTOCOLS)


def load_protocol(protocol: str | os.PathLike[str]) -> Protocol:
    """Read a protocol and check it.

    Parameters
    ----------
    protocol
        The name of one that comes with the package, or the path of a JSON file.

    Returns
    -------
    Protocol
        The compiled wording: ``name``, ``choices``, ``template_ids``, ``num_names``.

    Raises
    ------
    DataError
        If there is no such protocol, its file is not UTF-8, a template has an unknown slot or key, ``{claim}``,
        ``{choices}`` or ``{opinion}`` is unused, the arm ``none`` is missing, a split is neither ``train`` nor
        ``test``, or the arms ``agree`` and ``disagree``, or the choices of both orders, are the same text.

    Notes
    -----
    A template's ``text`` has the slots ``{opinion}``, ``{claim}`` and ``{choices}``. ``arms`` gives, for each of
    ``none`` (always empty), ``placebo``, ``agree`` and ``disagree``, what fills ``{opinion}``; it may hold ``{name}``,
    ``{age}``, ``{school1}``, ``{school2}`` and ``{claim}``. ``choices`` gives, for ``agree_first`` and
    ``disagree_first``, what fills ``{choices}``. ``{{`` and ``}}`` stand for braces. The arms and orders of a template
    can therefore differ in nothing else.
    """
    path = _protocol_path(protocol)
    return Protocol(decode_line(path.read_bytes(), str(path)), _names_text())


def read_protocol(protocol: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a protocol's JSON as it stands, for wording that belongs to no claim."""
    content: dict[str, Any] = read_json(_protocol_path(protocol))
    return content


def packaged_wording(name: str) -> dict[str, Any]:
    """Return the JSON of a wording that comes with the package, by its name; not every one is a protocol."""
    content: dict[str, Any] = read_json(_FOLDER / f"{name}.json")
    return content


def _protocol_path(protocol: str | os.PathLike[str]) -> Path:
    names = protocol_names()
    path = _FOLDER / f"{protocol}.json" if str(protocol) in names else Path(protocol)
    if not path.is_file():
        known = ", ".join(names)
        raise DataError(
            f"protocol '{protocol}': wanted one of {known}, or the path of a JSON file; there is no such file"
        )
    return path


def _names_text() -> str:
    return (_FOLDER / "names.json").read_text(encoding="utf-8")
