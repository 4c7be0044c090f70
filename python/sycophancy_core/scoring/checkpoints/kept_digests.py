"""Digests of large files, kept in the cache folder for as long as the files stay what they were."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from sycophancy_core.runs.digests import digest_json
from sycophancy_core.runs.files import replace_file

_LARGE = 1 << 26  # bytes: less is read in a tenth of a second
States = dict[str, tuple[int, ...]]


def file_states(folder: Path) -> States:
    """Tell a model's files from others at their places, by what nobody can set back.

    That is size, time of the last change of content and of anything else, and the place on the disk.
    """
    found: States = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".jinja") and path.is_file():
            state = path.stat()
            found[path.name] = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    return found


def kept_digest(folder: Path, states: States, made_as: str, make: Callable[[], str], *, cache: Path) -> str:
    """Return the digest that ``make`` makes of a folder's files, remembered from call to call if they are large.

    Parameters
    ----------
    states
        What :func:`file_states` said when the files were opened.
    made_as
        What else decides the digest.
    cache
        Folder of the digests. Where it cannot be written, nothing is remembered.
    """
    if sum(size for size, *_ in states.values()) < _LARGE:
        return make()
    key = digest_json([str(folder.resolve()), json.loads(json.dumps(states)), made_as])
    path = cache / f"{key[:32]}.txt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = path.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", kept):
            return kept
    made = make()
    if file_states(folder) == states:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda file: file.write(f"{made}\n".encode()))
    return made
