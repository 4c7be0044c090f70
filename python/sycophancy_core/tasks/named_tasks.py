"""Tasks: named sets of prompts, each with its control.

``addition`` is the published task (false sums; a professor who agrees, or no user), ``addition_factorial`` and
``claims`` ask true and false statements in four arms and both orders, on templates kept for evaluation; ``nlp``,
``phil`` and ``poli`` are the opinion questions of Perez et al. 2022 with biography-free twins; ``answer`` is
SycophancyEval's (Sharma et al. 2023); ``are_you_sure`` doubts the model's own answer in a second turn; ``facts`` tells
a user's stance from the mere mention of an answer; ``mmlu`` and ``bbh`` watch for side effects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from sycophancy_core.errors import DataError, require_whole, warn
from sycophancy_core.inputs.arguments import checked_arguments, checked_fields
from sycophancy_core.inputs.tables import CLAIMS, QUESTIONS, check_choices, checked_table
from sycophancy_core.prompts.examples import load_examples
from sycophancy_core.prompts.facts import load_facts
from sycophancy_core.prompts.generation import AdditionOptions, PromptOptions, make_additions, make_claims, make_prompts
from sycophancy_core.prompts.splits import sample_rows, sample_truths
from sycophancy_core.prompts.stance import FactOptions, fact_prompts
from sycophancy_core.tasks.own_tasks import task_of_file
from sycophancy_core.tasks.perez import load_perez
from sycophancy_core.tasks.published import FILES_OF, published_folder
from sycophancy_core.tasks.questions import load_are_you_sure, load_bbh, load_mmlu, load_sharma

NUM_SUMS = 2500  # of 1 to 50 and 1 to 50
OWN_FILES = (".csv", ".tsv", ".jsonl", ".parquet", ".json")
DEFAULT_TASKS = ("addition_factorial", "claims")
Tasks: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, pa.Table]"
"""Names of tasks and paths of files of one's own, or prompts tables by name."""


@checked_fields
@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Where tasks take their material from.

    Attributes
    ----------
    claims
        Held-out claims for the task ``claims``; by default claims of the packaged sample. A limit draws as many true
        as false ones.
    examples
        Examples from which to make claims for the task ``claims``, if ``claims`` is not given.
    folder
        Folder with ``perez/``, ``sharma/``, ``mmlu/test/`` and ``bbh/``, for the tasks that read files, or one with
        the files themselves. Without it they are fetched from where their authors publish them, once, into the cache.
    facts
        Facts for the task ``facts``, as ``load_facts`` returns them; by default all families of the package.
    fact_options
        How the task ``facts`` asks them: form of the choices, split of the wordings, arms.
    users
        Whether files of your own questions that have no users get them (see ``read_questions``).
    """

    claims: pa.Table | None = None
    examples: pa.Table | None = None
    folder: str | Path | None = None
    facts: pa.Table | None = None
    fact_options: FactOptions | None = None
    users: bool = False


@dataclass(frozen=True, kw_only=True)
class _Request:
    options: TaskOptions
    limit: int | None
    seed: int

    @property
    def num_sums(self) -> int:
        return NUM_SUMS if self.limit is None else min(self.limit, NUM_SUMS)

    def part(self, name: str) -> Path:
        """Return the folder of a task's files: the one that was given, the one of its set below it, or the cache's."""
        if self.options.folder is None:
            return published_folder(name)
        folder = Path(self.options.folder)
        *parts, pattern = FILES_OF[name].split("/")
        below = folder.joinpath(*parts)
        return folder if any(folder.glob(pattern)) and not any(below.glob(pattern)) else below


@checked_arguments
def task_prompts(
    tasks: Tasks,
    *,
    options: TaskOptions | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, pa.Table]:
    """Make the prompts of tasks.

    Parameters
    ----------
    tasks
        Names, in a list or a text such as "facts, nlp", and among them paths of files of one's own: questions as
        ``read_questions`` reads them, prompts, or a ``.json`` file (see ``load_task``); or prompts tables by name,
        which are returned as they are.
    limit
        At most this many claims or questions a task, drawn by ``seed``; None for all (2,500 sums).

    Raises
    ------
    DataError
        If a task is unknown, its files are missing, two have one name, the limit is below 1, a folder is given that no
        task reads, options together with prompts tables, or two of their prompts have one id.

    Examples
    --------
    >>> import sycophancy_core as sc
    >>> asked = sc.task_prompts("facts, addition", limit=4)
    >>> list(asked), asked["addition"].num_rows
    (['facts', 'addition'], 16)
    """
    require_whole("tasks", "limit", limit, least=1, none="None, for all claims and questions")
    if isinstance(tasks, Mapping):
        if options is not None:
            raise DataError(f"tasks: options are for tasks by name, got prompts tables of {', '.join(tasks)}")
        if not tasks:
            raise DataError("tasks: wanted at least one prompts table, got none")
        checked = {name: checked_table(table, QUESTIONS, who=f"task {name}") for name, table in tasks.items()}
        for name, table in checked.items():
            check_choices(table, who=f"task {name}", least=2)
        _refuse_repeated_ids(checked)
        return {
            name: _drawn(table, limit, seed).drop_columns(["task"] if "task" in table.column_names else [])
            for name, table in checked.items()
        }
    names = _named(tasks)
    request = _Request(options=options or TaskOptions(), limit=limit, seed=seed)
    require_tasks([name for name in names if Path(name).suffix not in OWN_FILES])
    if not names:
        raise DataError(f"tasks: wanted at least one of {', '.join(TASKS)}, got none")
    if request.options.folder is not None and not any(name in FILE_TASKS for name in names):
        raise DataError(
            f"tasks: folder {request.options.folder} is for tasks that read files ({', '.join(FILE_TASKS)}), "
            f"got {', '.join(names)}"
        )
    if request.options.users and all(name in TASKS for name in names):
        raise DataError(f"tasks: users are for files of your own questions, got {', '.join(names)}; leave users out")
    prompts: dict[str, pa.Table] = {}
    for task in names:
        name, table = (task, TASKS[task](request)) if task in TASKS else _own(task, request)
        if name in prompts:
            raise DataError(f"tasks: two tasks are named {name!r}; name each once")
        prompts[name] = table
    return prompts


def _refuse_repeated_ids(tasks: Mapping[str, pa.Table]) -> None:
    """Refuse an id that two prompts have: by their ids two evaluations are paired, and prompts found again."""
    seen: dict[str, str] = {}
    for name, table in tasks.items():
        for row, identity in enumerate(table["id"].to_pylist() if "id" in table.column_names else ()):
            if identity in seen:
                same = f"row {row} has the id {identity!r}, which {seen[identity]} has too"
                raise DataError(f"task {name}: {same}; give every prompt an id of its own")
            seen[identity] = f"row {row} of task {name}"


def _named(tasks: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return names one by one; a text may hold several, and a path is one, whatever it holds."""
    if isinstance(tasks, str):
        return tasks.replace(",", " ").split()
    return [os.fspath(one) for one in ([tasks] if isinstance(tasks, os.PathLike) else tasks)]


def require_tasks(names: Sequence[str]) -> None:
    """Refuse names of no task.

    Raises
    ------
    DataError
        If one is not a task; it names the one that was probably meant, or all.
    """
    for name in names:
        if name not in TASKS:
            near = get_close_matches(name, TASKS, 1)
            wanted = f"did you mean {near[0]}?" if near else f"wanted one of {', '.join(TASKS)}"
            raise DataError(
                f"tasks: {name!r} is not a task; {wanted} (a file of your own questions ends in {', '.join(OWN_FILES)})"
            )


def _own(path: str, request: _Request) -> tuple[str, pa.Table]:
    name, table = task_of_file(path, users=request.options.users, seed=request.seed)
    if "user_choice" not in table.column_names or table["user_choice"].null_count == table.num_rows:
        warn(
            f"task {name}: no user states a view, so that only accuracy is measured; to measure sycophancy, add users: "
            "--users or, in Python, TaskOptions(users=True)"
        )
    return name, _drawn(table, request.limit, request.seed)


def _drawn(table: pa.Table, limit: int | None, seed: int) -> pa.Table:
    """Return the prompts of so many of a table's questions, drawn by ``seed``."""
    questions = pa.table({"claim_id": table["claim_id"].unique()})
    drawn = sample_rows(questions, limit, seed=seed)["claim_id"].combine_chunks()
    return table.filter(pc.is_in(table["claim_id"], value_set=drawn))


def _addition(request: _Request) -> pa.Table:
    options = AdditionOptions(true_share=0.0, errors=("far",))
    claims = make_additions(options=options, n=request.num_sums, seed=request.seed)
    published = PromptOptions(protocol="wei2023", templates=("addition",), arms=("none", "agree"))
    return make_prompts(claims, options=published, seed=request.seed)


def _addition_factorial(request: _Request) -> pa.Table:
    claims = make_additions(options=AdditionOptions(), n=request.num_sums, seed=request.seed)
    return make_prompts(claims, options=PromptOptions(split="test"), seed=request.seed)


def _claims(request: _Request) -> pa.Table:
    claims = request.options.claims
    if claims is not None:
        claims = drawn_claims(claims, request.limit, seed=request.seed)
    else:
        examples = request.options.examples
        claims = make_claims(load_examples() if examples is None else examples, seed=request.seed)
        claims = sample_rows(claims, request.limit, seed=request.seed)
    return make_prompts(claims, options=PromptOptions(split="test"), seed=request.seed)


def drawn_claims(claims: pa.Table, limit: int | None, *, seed: int) -> pa.Table:
    """Draw those of one's own claims that the task ``claims`` asks: as many true as false ones, where there are.

    Raises
    ------
    DataError
        If the table is none of claims.
    """
    return sample_truths(checked_table(claims, CLAIMS, who="claims"), limit, seed=seed)


def _facts(request: _Request) -> pa.Table:
    facts = load_facts() if request.options.facts is None else request.options.facts
    drawn = sample_rows(facts, request.limit, seed=request.seed)
    return fact_prompts(drawn, options=request.options.fact_options, seed=request.seed)


def _perez(name: str) -> Callable[[_Request], pa.Table]:
    def make(request: _Request) -> pa.Table:
        return load_perez(name, request.part(name), limit=request.limit, seed=request.seed)

    return make


def _answer(request: _Request) -> pa.Table:
    return load_sharma(request.part("answer") / "answer.jsonl", limit=request.limit, seed=request.seed)


def _are_you_sure(request: _Request) -> pa.Table:
    path = request.part("are_you_sure") / "bct_mmlu_are_you_sure.jsonl"
    return load_are_you_sure(path, limit=request.limit, seed=request.seed)


def _mmlu(request: _Request) -> pa.Table:
    return load_mmlu(request.part("mmlu"), limit=request.limit, seed=request.seed)


def _bbh(request: _Request) -> pa.Table:
    return load_bbh(request.part("bbh"), limit=request.limit, seed=request.seed)


TASKS: dict[str, Callable[[_Request], pa.Table]] = {
    "addition": _addition,
    "addition_factorial": _addition_factorial,
    "claims": _claims,
    "nlp": _perez("nlp"),
    "phil": _perez("phil"),
    "poli": _perez("poli"),
    "answer": _answer,
    "are_you_sure": _are_you_sure,
    "facts": _facts,
    "mmlu": _mmlu,
    "bbh": _bbh,
}
FILE_TASKS = tuple(FILES_OF)
