"""Prompts as a data set on the hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sycophancy_core.hub.cards import prompts_card
from sycophancy_core.hub.upload import check_hub, upload
from sycophancy_core.inputs.arguments import checked_arguments
from sycophancy_core.inputs.tables import PROMPTS, checked_table
from sycophancy_core.runs.digests import digest_table
from sycophancy_core.runs.files import write_table


@checked_arguments
def push_prompts_to_hub(
    prompts: pa.Table, repo_id: str, *, folder: str | Path, license: str | None = None, private: bool = True
) -> str:
    """Write prompts and a data set card into a folder, push them to the hub, and return the repository's address.

    Parameters
    ----------
    repo_id
        ``owner/name``; made if it is not there.
    folder
        Gets ``prompts.parquet`` and ``README.md`` first; they stay, whatever the hub says.
    license
        The hub's short name of a licence, such as ``"apache-2.0"``.

    Raises
    ------
    DataError
        If these are not prompts, the hub refuses or cannot be reached, or the repository is public and ``private``
        true.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> prompts = sc.generate(sc.load_examples(), n=100)
    >>> sc.push_prompts_to_hub(prompts, "me/claims", folder="claims", license="apache-2.0")  # doctest: +SKIP
    """
    check_hub(repo_id)
    prompts = checked_table(prompts, PROMPTS, who="push_prompts_to_hub")
    folder = Path(folder)
    card = prompts_card(prompts, repo_id=repo_id, digest=digest_table(prompts), license=license)
    write_table(folder / "prompts.parquet", prompts)
    return upload(
        folder,
        ["prompts.parquet"],
        card=card,
        repo_id=repo_id,
        kind="dataset",
        private=private,
        message=f"{prompts.num_rows} prompts of sycophancy-core",
    )
