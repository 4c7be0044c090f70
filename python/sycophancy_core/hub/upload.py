"""Uploads to the Hugging Face hub: a repository of files that lie in a folder, private unless asked otherwise."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sycophancy_core.errors import DataError
from sycophancy_core.runs.outputs import require_installed

_ADVICE = {
    401: "it does not know you; log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "your token may not write there; use one that may",
    404: "it has no such owner or repository that you may see; check the name, owner/name",
    409: "the repository was changed meanwhile; push again",
    413: "it takes no file of that size; push a smaller adapter or table",
    429: "it got too many requests; wait a few minutes",
}


def check_hub(repo_id: str) -> None:
    """Refuse, before any work, what cannot be pushed.

    Raises
    ------
    DataError
        If huggingface_hub is not installed, or the name is none of a repository.
    """
    require_installed("huggingface_hub", extra="hub", what="push_to_hub")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise DataError(f"push_to_hub: wanted a repository as owner/name, got {repo_id!r}") from error


def upload(
    folder: str | Path,
    names: Sequence[str],
    *,
    repo_id: str,
    kind: Literal["model", "dataset"],
    private: bool,
    message: str,
) -> str:
    """Make a repository if there is none, put files of a folder into it as one commit, and return its address.

    The token is the one that ``huggingface_hub`` finds (``HF_TOKEN``, or that of ``hf auth login``); no file has it.

    Parameters
    ----------
    names
        The files of the folder that go up; no other does.
    private
        Whether only its owner sees it.

    Raises
    ------
    DataError
        If the hub cannot be reached or refuses, or the repository is public and ``private`` is true. What is in the
        folder stays.
    """
    from huggingface_hub import HfApi

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
                allow_patterns=list(names),
                commit_message=message,
            )
    return str(url)


@contextmanager
def _in_a_sentence(repo_id: str, folder: Path) -> Iterator[None]:
    """Turn the hub's and the network's errors into one sentence that says where the files are."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        causes = list(_causes(error))
        status = next((int(cause.response.status_code) for cause in causes if getattr(cause, "response", None)), None)
        if status is None and not any(map(_is_of_network, causes)):
            raise
        why = "cannot be reached" if status is None else f"answered {status}"
        raise DataError(
            f"push_to_hub: the hub {why} for {repo_id}: {_advice(status)}; the files are in {folder}"
        ) from error


def _causes(error: BaseException | None) -> Iterator[Any]:
    """Yield an error and those that it comes from; huggingface_hub wraps those of large files."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _advice(status: int | None) -> str:
    if status is None:
        return "check the network, and push again"
    if status >= 500:
        return "it fails just now; push again later"
    return _ADVICE.get(status, "it refuses; check the name and your token")


def _is_of_network(error: Any) -> bool:
    """Tell whether an error is one of the connection; httpx's are no OSError."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore")
