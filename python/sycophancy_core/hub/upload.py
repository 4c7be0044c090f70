"""Uploads to the Hugging Face hub: a repository of files that lie in a folder, private unless asked otherwise."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sycophancy_core.errors import DataError
from sycophancy_core.runs.files import replace_file
from sycophancy_core.runs.outputs import require_installed
from sycophancy_core.runs.seals import CARD, SEAL, seal_more

_ADVICE = {
    401: "it does not know you; log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "your token may not write there; use one that may",
    404: "it has no such owner or repository that you may see; check the name, owner/name",
    409: "the repository was changed meanwhile; push again",
    413: "it takes no file of that size; push a smaller adapter or table",
    429: "it got too many requests; wait a few minutes",
}
_NETWORK = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


def check_hub(repo_id: str) -> None:
    """Refuse, before any work, what cannot be pushed.

    Raises
    ------
    DataError
        If huggingface_hub is not installed, or the name is none of a repository.
    """
    require_installed("huggingface_hub", extra="hub", what="push_to_hub")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, but not in __all__

    try:
        validate_repo_id(repo_id)
        has_owner = "/" in repo_id
    except HFValidationError:
        has_owner = False
    if not has_owner:
        raise DataError(
            f"push_to_hub: wanted a repository as owner/name, got {repo_id!r}; the owner is your name on the hub, or "
            "that of an organization"
        )


def upload(
    folder: str | Path,
    names: Sequence[str],
    *,
    card: str,
    repo_id: str,
    kind: Literal["model", "dataset"],
    private: bool,
    message: str,
) -> str:
    """Write a card next to files of a folder, put all into a repository as one commit, and return its address.

    The repository is made if there is none. Where the files are sealed, the card is put under their seal.

    The token is the one that ``huggingface_hub`` finds (``HF_TOKEN``, or that of ``hf auth login``); no file has it.

    Parameters
    ----------
    names
        The files of the folder that go up; no other does, but the card.
    card
        What ``README.md`` says, in Markdown.
    private
        Whether only its owner sees it.

    Raises
    ------
    DataError
        If the hub cannot be reached or refuses, a file cannot be read, or the repository is public and ``private`` is
        true. What is in the folder stays.
    """
    from huggingface_hub import HfApi

    path = replace_file(Path(folder) / CARD, lambda file: file.write(card.encode()))
    if SEAL in names:
        seal_more(folder, [path])
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with _in_a_sentence(repo_id, Path(folder)):
        url = api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
        if private and not api.repo_info(repo_id, repo_type=kind).private:
            raise DataError(
                f"push_to_hub: {repo_id} is there already and public; give private=False, or another name; the files "
                f"are in {folder}"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*commit a data file", category=UserWarning)  # a training's log
            api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                repo_type=kind,
                allow_patterns=[*names, CARD],
                commit_message=message,
            )
    return str(url)


@contextmanager
def _in_a_sentence(repo_id: str, folder: Path) -> Iterator[None]:
    """Turn errors of the hub, the network and the disk into one sentence that says where the files are."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        why = _why(list(_causes(error)), repo_id)
        if why is None:
            raise
        raise DataError(f"push_to_hub: {why}; the files are in {folder}") from error


def _causes(error: BaseException | None) -> Iterator[Any]:
    """Yield an error and those that it comes from; huggingface_hub wraps those of large files."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _why(causes: Sequence[Any], repo_id: str) -> str | None:
    """Say what went wrong, and what to do; None where that is not known."""
    status = next((int(cause.response.status_code) for cause in causes if getattr(cause, "response", None)), None)
    if status is not None:
        return f"the hub answered {status} for {repo_id}: {_advice(status)}"
    if any(map(_is_of_network, causes)):
        return f"the hub cannot be reached for {repo_id}: check the network, and push again"
    for cause in causes:
        if isinstance(cause, OSError):
            where = f"{cause.filename}: " if cause.filename else ""
            return f"reading or writing a file failed ({where}{cause.strerror or cause}); mend that, and push again"
    return None


def _advice(status: int) -> str:
    if status >= 500:
        return "it fails just now; push again later"
    return _ADVICE.get(status, "it refuses; check the name and your token")


def _is_of_network(error: Any) -> bool:
    """Tell whether an error is one of the connection: an OSError may as well be the disk's; httpx's are none."""
    return (
        isinstance(error, ConnectionError | TimeoutError | socket.gaierror | ssl.SSLError)
        or getattr(error, "errno", None) in _NETWORK
        or type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore")
    )
