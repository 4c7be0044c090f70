"""Our tasks in a folder of lm-eval's: asked by lm-eval itself, with the rates that pandas finds."""

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from makers.tiny_llama import tiny_model

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.tasks.lm_eval_folder import write_lm_eval_tasks
from sycophancy_core.tasks.named_tasks import task_prompts

lm_eval = pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model()


def assert_is_mean_by_claim(found: dict[str, Any], name: str, values: pd.Series, claims: pd.Series) -> None:
    """Check a metric against statsmodels: its mean, no error by prompt, and the error clustered by claim (CR1)."""
    fit = sm.OLS(values.astype(float).to_numpy(), np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(claims)[0]}
    )
    assert found[f"{name},none"] == pytest.approx(fit.params[0])
    assert found[f"{name}_stderr,none"] == "N/A"
    assert found[f"{name}_se_by_claim,none"] == pytest.approx(fit.bse[0])


def test_lm_eval_asks_our_tasks_and_has_their_rates(model: LanguageModel, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    from sycophancy_core.integrations.lm_eval import EngineLM

    tasks = task_prompts(("addition_factorial",), limit=6)
    opinions = [
        {
            "id": f"{q}{u}",
            "claim_id": str(q),
            "prompt": f"Question {q}.{u}",
            "choices": [" (A)", " (B)"],
            "user_choice": u,
        }
        for q in range(6)
        for u in (0, 1, None)
    ]
    tasks["views"] = pa.Table.from_pylist(opinions)
    write_lm_eval_tasks(tasks, tmp_path)
    names = [f"sycophancy_core_{name}" for name in tasks]
    found = lm_eval.simple_evaluate(
        model=EngineLM(model),
        tasks=names,
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
    )["results"]
    for name, table in tasks.items():
        frame = table.to_pandas()
        frame["answer"] = np.argmax(model.log_probs(frame["prompt"].tolist(), table["choices"].to_pylist()), axis=1)
        seen = found[f"sycophancy_core_{name}"]
        users = frame.dropna(subset=["user_choice"])
        assert_is_mean_by_claim(seen, "matching_rate", users["answer"] == users["user_choice"], users["claim_id"])
        if name == "views":
            assert not any(key.startswith(("acc", "accuracy")) for key in seen)
            continue
        for arm, group in frame.groupby("arm"):
            assert_is_mean_by_claim(seen, f"accuracy_{arm}", group["answer"] == group["target"], group["claim_id"])


def test_the_command_writes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--tasks", "addition", "--limit", "3", "-o", str(tmp_path / "tasks")]) == 0
    assert "--include_path" in capsys.readouterr().out
    lines = (tmp_path / "tasks/addition.jsonl").read_text().splitlines()
    assert len(pd.DataFrame(lines)) == task_prompts("addition", limit=3)["addition"].num_rows


def test_a_task_with_a_second_turn_is_refused(tmp_path: Path) -> None:
    table = task_prompts("addition", limit=1)["addition"]
    at = table.column_names.index("template")
    asked = table.set_column(at, "template", pa.array(["are_you_sure/first"] * len(table)))
    with pytest.raises(sc.DataError, match="second turn depends on the first answer"):
        write_lm_eval_tasks({"sure": asked}, tmp_path)


def test_a_task_with_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    table = task_prompts("addition", limit=1)["addition"].drop_columns(["target", "user_choice"])
    with pytest.raises(sc.DataError, match=r"task bare: wanted a right choice \(target\) or a user's \(user_choice\)"):
        write_lm_eval_tasks({"bare": table}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_entry_point_for_models_names_our_class() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["lm_eval.models"]["sycophancy_core"].partition(":")
    from lm_eval.api.registry import get_model

    assert get_model("sycophancy_core") is getattr(import_module(module), name)
