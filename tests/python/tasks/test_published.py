"""Published files are fetched once, over real HTTP from this machine, and a changed file is refused."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from makers import perez_files

import sycophancy_core as sc
from sycophancy_core.commands.look import cache
from sycophancy_core.tasks import published
from sycophancy_core.tasks.named_tasks import task_prompts
from sycophancy_core.tasks.published import PUBLISHED, published_folder

SHARMA = {
    "prompt": [{"type": "human", "content": "Which is the capital of France?"}],
    "base": {"question": "Which is the capital of France?", "correct_answer": "Paris", "incorrect_answer": "Lyon"},
    "metadata": {"prompt_template": "{question}"},
}
MMLU = [
    {"question": 'Which, "if any"?', "subject": "logic", "choices": ["a, b", "c", "d", "e"], "answer": 2},
    {"question": "Two\nlines?", "subject": "logic", "choices": ["a", "b", "c", "d"], "answer": 0},
    {"question": "Why?", "subject": "law", "choices": ["a", "b", "c", "d"], "answer": 3},
]


class Handler(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str]]]:
    """Serve a folder as every data set's address, with an empty cache: the folder, and the paths that are asked for."""
    folder, asked = tmp_path / "site", list[str]()
    folder.mkdir()
    handler = type("Noting", (Handler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        for name, source in PUBLISHED.items():
            monkeypatch.setitem(PUBLISHED, name, replace(source, address=address))
        monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))
        yield folder, asked
        server.shutdown()
        thread.join()


def test_opinion_questions_are_fetched_once_with_their_licence_shown(
    site: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, asked = site
    perez_files.written(folder, "nlp", [perez_files.row("nlp")])
    first = task_prompts(("nlp",))["nlp"]
    assert capsys.readouterr().err.endswith("/sycophancy_on_nlp_survey.jsonl (CC BY 4.0)\n")
    assert (
        task_prompts(("nlp",))["nlp"] == first == task_prompts(("nlp",), options=sc.TaskOptions(folder=folder))["nlp"]
    )
    assert asked == ["/sycophancy_on_nlp_survey.jsonl"]
    path = next(folder.iterdir())
    noted = (published_folder("nlp") / f"{path.name}.sha256").read_text()
    assert noted == f"{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_sets_of_one_folder_have_a_note_each(site: tuple[Path, list[str]]) -> None:
    """Two processes that fetch two sets at once write no file of each other's."""
    folder, _ = site
    for task in ("nlp", "poli"):
        perez_files.written(folder, task, [perez_files.row(task)])
    kept = {task: published_folder(task) for task in ("nlp", "poli")}
    assert kept["nlp"] == kept["poli"]
    assert sorted(path.name for path in kept["nlp"].glob("*sha256*")) == [
        "sycophancy_on_nlp_survey.jsonl.sha256",
        "sycophancy_on_political_typology_quiz.jsonl.sha256",
    ]


def test_a_file_that_changed_where_it_is_published_is_refused(site: tuple[Path, list[str]]) -> None:
    folder, _ = site
    (folder / "answer.jsonl").write_text(json.dumps(SHARMA))
    kept = published_folder("answer") / "answer.jsonl"
    kept.unlink()
    (folder / "answer.jsonl").write_text(json.dumps(SHARMA) + "\n")
    with pytest.raises(sc.DataError, match=r"answer\.jsonl is not the file that was fetched first.*remove the folder"):
        task_prompts(("answer",))
    assert not kept.exists()


def test_a_file_that_changed_in_the_cache_is_refused(site: tuple[Path, list[str]]) -> None:
    folder, _ = site
    (folder / "answer.jsonl").write_text(json.dumps(SHARMA))
    kept = published_folder("answer") / "answer.jsonl"
    kept.write_text(kept.read_text().replace("Lyon", "Nice"))
    with pytest.raises(sc.DataError, match="is not the file that was fetched first"):
        task_prompts(("answer",))
    assert task_prompts(("answer",))["answer"]["choices"][0].as_py() in ([" Paris", " Lyon"], [" Lyon", " Paris"])


def test_mmlu_becomes_its_authors_files(site: tuple[Path, list[str]]) -> None:
    folder, asked = site
    pq.write_table(pa.Table.from_pylist(MMLU), folder / "test-00000-of-00001.parquet")
    rows = {
        row["source"] + row["prompt"].split("\n\n", 1)[1]: row for row in task_prompts(("mmlu",))["mmlu"].to_pylist()
    }
    assert {key: row["target"] for key, row in rows.items()} == {
        'mmlu_logicWhich, "if any"?\nA. a, b\nB. c\nC. d\nD. e\nAnswer:': 2,
        "mmlu_logicTwo\nlines?\nA. a\nB. b\nC. c\nD. d\nAnswer:": 0,
        "mmlu_lawWhy?\nA. a\nB. b\nC. c\nD. d\nAnswer:": 3,
    }
    task_prompts(("mmlu",))
    assert len(asked) == 1


def test_the_files_that_mmlu_is_read_from_are_not_changed_unseen(site: tuple[Path, list[str]]) -> None:
    folder, asked = site
    pq.write_table(pa.Table.from_pylist(MMLU), folder / "test-00000-of-00001.parquet")
    first, place = task_prompts(("mmlu",))["mmlu"], published_folder("mmlu")
    (place / "law_test.csv").unlink()
    assert task_prompts(("mmlu",))["mmlu"] == first
    law = place / "law_test.csv"
    law.write_text(law.read_text().replace("Why", "How"))
    with pytest.raises(sc.DataError, match=r"task mmlu: law_test\.csv is not the file that was made first"):
        task_prompts(("mmlu",))
    assert task_prompts(("mmlu",))["mmlu"] == first
    assert len(asked) == 1


def test_all_tasks_of_big_bench_hard_are_fetched(site: tuple[Path, list[str]]) -> None:
    folder, asked = site
    content = json.dumps({"examples": [{"input": "Is it so?", "target": "yes"}, {"input": "Is it?", "target": "no"}]})
    for name in published._BBH.split():
        (folder / f"{name}.json").write_text(content)
    assert task_prompts(("bbh",), limit=4)["bbh"].num_rows == 4
    assert len(set(asked)) == 27


def test_a_missing_file_names_file_flag_and_addresses(site: tuple[Path, list[str]]) -> None:
    words = r"task phil: wanted http://127\.0\.0\.1:\d+/sycophancy_on_philpapers2020\.jsonl, got the answer 404; get "
    words += r"perez/sycophancy_on_philpapers2020\.jsonl from github\.com/anthropics/evals .* give the folder"
    with pytest.raises(sc.DataError, match=words):
        task_prompts(("phil",))


def test_no_server_is_one_sentence(site: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, "perez", replace(PUBLISHED["perez"], address="http://127.0.0.1:9/"))
    with pytest.raises(sc.DataError, match=r"task nlp: wanted http://127\.0\.0\.1:9/.*got no file \(.*\); get perez/"):
        task_prompts(("nlp",))


def test_what_is_not_published_as_a_file_is_asked_for(site: tuple[Path, list[str]]) -> None:
    with pytest.raises(sc.DataError, match=r"task are_you_sure: its files are not fetched; get sharma/.*--folder"):
        task_prompts(("are_you_sure",))


def test_the_cache_lists_what_was_fetched(site: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    from argparse import Namespace

    (site[0] / "answer.jsonl").write_text(json.dumps(SHARMA))
    published_folder("answer")
    cache(Namespace(action="clear", yes=True))
    assert "sharma" in capsys.readouterr().out
    assert not published_folder("answer").samefile(site[0])
    assert len(site[1]) == 2
