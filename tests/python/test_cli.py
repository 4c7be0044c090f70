"""The command line: a verb for each stage, files in and out, one sentence and exit 2 for a fault."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from makers.tiny_llama import tiny_llama, tiny_tokenizer

from sycophancy_core.cli import main
from sycophancy_core.commands.catalogue import VERBS
from sycophancy_core.results.evaluations import Evaluations
from sycophancy_core.runs.files import read_table
from sycophancy_core.runs.interrupts import Interrupt
from sycophancy_core.runs.json_files import write_json


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_help_names_every_verb_and_needs_no_torch() -> None:
    slow = "{'torch', 'transformers', 'matplotlib', 'pandas', 'yaml', 'jinja2', 'numpy', 'pyarrow'}"
    code = (
        "import sys\nfrom sycophancy_core.cli import main\n"
        f"try:\n    main(['--help'])\nexcept SystemExit:\n    pass\nprint(sorted({slow} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for name, verb in VERBS.items():
        assert re.search(rf"^ +{name}\s", done.stdout, re.MULTILINE)
        module, _, function = verb.home.partition(".")
        assert callable(getattr(import_module(f"sycophancy_core.commands.{module}"), function))
    assert done.stdout.endswith("[]\n")
    # Of the processor, not of the clock: what else runs on the machine does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


@pytest.mark.filterwarnings("ignore:filter_known. :UserWarning")
def test_the_verbs_make_the_whole_method(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = tmp_path.joinpath
    scoring = ("--model", model, "--engine", "transformers", "--quiet")
    assert run("examples", "--limit", 10, "-o", at("examples.parquet")) == 0
    assert run("claims", "--examples", at("examples.parquet"), "-o", at("claims.parquet")) == 0
    assert run("additions", "--n", 6, "-o", at("additions.parquet")) == 0
    assert run("prompts", "--claims", at("additions.parquet"), "--split", "test", "-o", at("prompts.parquet")) == 0
    assert run("score", "--prompts", at("prompts.parquet"), *scoring, "-o", at("measurements.parquet")) == 0
    assert read_table(at("measurements.parquet")).num_rows == 6 * 8
    assert run("filter", "--claims", at("claims.parquet"), *scoring, "-o", at("kept.parquet")) == 0
    sampled = ("--split", "train", "--design", "sampled")
    assert run("prompts", "--claims", at("kept.parquet"), *sampled, "-o", at("opinions.parquet")) == 0
    at("chat.jsonl").write_text('{"instruction": "Say hello.", "output": "Hello."}\n')
    mixing = ("--instructions", at("chat.jsonl"), "--unit", "tokens", "--evaluation", at("prompts.parquet"), *scoring)
    capsys.readouterr()
    assert run("mix", "--prompts", at("opinions.parquet"), *mixing, "-o", at("rows.parquet")) == 0
    assert re.search(r"instruction +chat +\d+ rows, \d+ supervised tokens", capsys.readouterr().out)
    watching = ("--curve", at("prompts.parquet"), "--every", 1, "--metric", "accuracy_user_wrong", "--patience", 2)
    tuning = ("--steps", 2, "--batch-size", 4, "--lora-rank", 2, *watching)
    assert run("finetune", "--rows", at("rows.parquet"), *tuning, *scoring, "-o", at("tuned")) == 0
    assert run("finetune", "--rows", at("rows.parquet"), *scoring, "--dtype", "bfloat16", "-o", at("half")) == 2
    assert "is in bfloat16, wanted float32" in capsys.readouterr().err
    asking = ("--tasks", "addition_factorial", "--limit", 3)
    assert run("evaluate", *asking, *scoring, "-o", at("before")) == 0
    assert at("before/report.html").read_text().startswith("<!DOCTYPE html")
    assert {path.suffix for path in at("before/figures").iterdir()} == {".svg", ".png"}
    assert run("evaluate", *asking, *scoring, "--adapter", at("tuned"), "--journal", "-o", at("after")) == 0
    capsys.readouterr()
    assert run("compare", at("before"), at("after"), "-o", at("comparison")) == 0
    assert "sycophancy effect" in capsys.readouterr().out
    assert run("report", at("comparison"), "--training", at("tuned"), "-o", at("report.html")) == 0
    assert at("report.html").read_text().startswith("<!DOCTYPE html")
    assert "evaluations during the training" in at("report.html").read_text()


def test_a_model_is_scored_in_the_precision_that_is_asked_for(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = ("--model", model, "--tasks", "addition_factorial", "--limit", 3, "--quiet", "-o", tmp_path / "out")
    assert run("evaluate", *asking, "--dtype", "bfloat16") == 0
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["facts"]["precision"] == "bfloat16/highest"
    assert run("evaluate", *asking, "--engine", "transformers", "--matmul-precision", "medium") == 2
    assert "matmul_precision='medium' is the native engine's" in capsys.readouterr().err


def test_a_chat_model_is_asked_in_its_template_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    for what in (tiny_llama(), tokenizer):
        what.save_pretrained(tmp_path / "chat")
    asking = ("--model", tmp_path / "chat", "--tasks", "addition", "--limit", 1, "--quiet", "-o", tmp_path / "out")
    for flags, said, template in (
        ((), "chat: prompts are asked in its chat template; for plain text: --no-chat-template\n", True),
        (("--chat-template",), "chat: prompts are asked in its chat template\n", True),
        (("--no-chat-template",), "chat: prompts are asked as plain text\n", False),
    ):
        assert run("evaluate", *asking, *flags) == 0
        assert capsys.readouterr().out.startswith(said)
        facts = json.loads((tmp_path / "out/evaluation.json").read_text())["facts"]
        assert (facts["chat_template"] is not None) == template
        example = facts["tasks"]["addition"]["examples"][0]
        assert example.startswith("[user]What is your" if template else "Human: What is your")
    asking = ("evaluate-many", tmp_path / "chat", *asking[2:-1], tmp_path / "many")
    assert run(*asking) == 0
    assert "chat: prompts are asked in its chat template; for plain" in capsys.readouterr().out


def test_several_models_are_asked_the_same(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "wide"
    tiny_llama(hidden_size=64).save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    asking = ("--tasks", "addition_factorial", "--limit", 3, "--engine", "transformers", "--quiet")
    assert run("evaluate-many", model, other, *asking, "-o", tmp_path / "out") == 0
    told = capsys.readouterr().out
    folders = [str(tmp_path / "out" / name) for name in ("tiny", "wide")]
    assert told.endswith(
        f"\nevaluations: {', '.join(folders)}\n"
        f"to compare them: sycophancy-core compare {' '.join(folders)} -o {tmp_path / 'out'}-compared\n"
    )
    assert run("compare", *folders, "-o", f"{tmp_path / 'out'}-compared") == 0
    for name in ("report.html", "scaling.svg", "scaling.png", "tiny/report.html", "wide/evaluation.json"):
        assert (tmp_path / "out" / name).exists() == (name != "tiny/report.html")
    assert run("evaluate-many", model, model, *asking, "-o", tmp_path / "twice") == 2
    assert "two models are named" in capsys.readouterr().err


def test_models_of_one_name_go_by_their_paths_and_a_missing_one_is_named_first(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / Path(model).name
    shutil.copytree(model, other)
    asking = ("--tasks", "addition_factorial", "--limit", 2, "--engine", "transformers")
    assert run("evaluate-many", model, other, *asking, "--quiet", "-o", tmp_path / "out") == 0
    found = Evaluations.load(tmp_path / "out")
    assert [one.model for one in found.evaluations] == [model, str(other)]
    capsys.readouterr()
    assert run("evaluate-many", model, tmp_path / "not there", *asking, "-o", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "not there" in told
    assert "evaluate 1" not in told


def test_examples_prints_what_was_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("fine", 1), ("fine", 1), ("dull", 0), ("so so", -1), ("no", None), (" ", 1)]
    lines = [json.dumps({"sentence": text, "label": label}) for text, label in rows]
    (tmp_path / "sst2.jsonl").write_text("\n".join(lines))
    assert run("examples", "--folder", tmp_path, "-o", tmp_path / "examples.parquet") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == ["sst2: dropped 1 duplicate, 1 empty_text, 2 unlabelled"]


def test_generate_gives_the_same_prompts_in_shards(tmp_path: Path) -> None:
    import pyarrow as pa

    words = ("generate", "--n", 40, "--seed", 3)
    assert run(*words, "-o", tmp_path / "whole.parquet") == 0
    for part in (0, 1):
        assert run(*words, "--shard", f"{part}/2", "-o", tmp_path / f"{part}.parquet") == 0
    parts = pa.concat_tables([read_table(tmp_path / f"{part}.parquet") for part in (0, 1)])
    assert parts.equals(read_table(tmp_path / "whole.parquet"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("claims", "--examples", "none.parquet", "-o", "x.parquet"),
            "there is no file none.parquet",
        ),
        (
            ("generate", "--n", "4", "--shard", "two", "-o", "x.jsonl"),
            "--shard: wanted i/n with i from 0 to n - 1",
        ),
        (("verify", "a.folder.csv"), "a.folder.csv: wanted a run folder or a result, got no manifest.json and no seal"),
        (("report", "a.folder.csv", "-o", "x.html"), "a.folder.csv: wanted a folder with a saved evaluation"),
        (("mix", "--prompts", "a.csv", "-o", "x.jsonl"), "a.csv: wanted a Parquet or JSON Lines file, got CSV; write"),
        (
            ("power", "run", "--effect", "0.1"),
            "run: wanted a folder with a saved evaluation, got no evaluation.json; give one of the folders in it: r",
        ),
        (("report", "empty.json", "-o", "x.html"), "empty.json is a file; wanted a folder"),
        (("compare", "models/organism", "b", "-o", "x"), "there is no folder models/organism"),
        (("filter", "--claims", "claim.csv", "-o", "x.parquet"), "--claims: there is no file claim.csv"),
        (("evaluate", "nosuchfolder", "-o", "x"), "load_model: there is no folder nosuchfolder; wanted '"),
        (("report", "nothing", "-o", "x.html"), "there is no folder nothing"),
        (("report", "both", "-o", "x.html"), "both: holds comparison.json and evaluation.json"),
        (("demo", "--claims", "-3", "-o", "x"), "study: claims must be at least 1, got -3"),
        (("demo", "--steps", "0", "-o", "x"), "sweep: steps must be at least 1, got 0"),
        (("verify", "nothing"), "there is no folder nothing"),
        (("claims", "-o", "c.txt"), "c.txt: wanted a file name that ends in .parquet, .jsonl, .csv, got '.txt'"),
        (("claims", "-o", "c"), "c: wanted a file name that ends in .parquet, .jsonl, .csv, got a name without ending"),
        (("report", "both", "-o", "r.pdf"), "r.pdf: wanted a file name that ends in .html, got '.pdf'"),
        *(
            ((*verb, "-o", "empty.json"), "empty.json: wanted a folder at empty.json, got a file; choose another name")
            for verb in (
                ("evaluate",),
                ("evaluate-many", "organism"),
                ("organism",),
                ("demo",),
                ("study", "study.yaml"),
            )
        ),
        (("claims", "-o", "empty.json/c.csv"), "empty.json/c.csv: wanted a folder at empty.json, got a file"),
        (("claims", "-o", "a.folder.csv"), "a.folder.csv: wanted a place for a file, but a folder is there"),
        (
            ("finetune", "--rows", "x", "--patience", "2", "-o", "x"),
            "--patience needs prompts to measure, got no --curve",
        ),
        (
            ("mix", "--prompts", "x", "--instructions", "a", "--weights", "1", "2", "-o", "x.csv"),
            "wanted a weight for each source, got 2 for 1",
        ),
        *(
            (
                (*verb, option, "one/eval.parquet", "two/eval.parquet", "-o", "x.parquet"),
                f"{option}: wanted files of different names, got one/eval.parquet and two/eval.parquet; rename one",
            )
            for verb, option in (
                (("mix", "--prompts", "x"), "--instructions"),
                (("mix", "--prompts", "x"), "--evaluation"),
                (("finetune", "--rows", "x"), "--curve"),
            )
        ),
        *(
            (
                (*verb, "--tasks", "addition", "mmlu", "--claims", "c.parquet", "-o", "x"),
                "--claims: wanted the task claims, which asks them, among --tasks, got addition, mmlu",
            )
            for verb in (("evaluate",), ("evaluate-many", "organism"))
        ),
        (
            ("filter", "--claims", "x", "--rule", "wei2023", "--threshold", "5", "-o", "x.parquet"),
            "threshold is for the rules margin and contrast, got 5.0 with the rule wei2023",
        ),
        (("mix", "--prompts", "empty.json", "-o", "x.parquet"), "empty.json: wanted a Parquet file"),
        *(
            (
                ("mix", "--prompts", "x", *words, "-o", "x.parquet"),
                f"{words[0]} is for --unit tokens, got --unit rows, which count without a model; add --unit tokens, "
                f"or leave {words[0]} out",
            )
            for words in (("--model", "organism"), ("--adapter", "a", "--unit", "rows"), ("--chat-template",))
        ),
        *(
            (
                ("study", "none.yaml", *words),
                f"{words[0]} is for --dry-run, got a study that is to run; add --dry-run, or leave {words[0]} out",
            )
            for words in (("--score-rate", "60"), ("--train-rate", "0"), ("--score-rate", "60", "--train-rate", "120"))
        ),
        (
            ("study", "study.yaml", "--dry-run", "--score-rate", "60"),
            "--dry-run: wanted --score-rate and --train-rate together, got only --score-rate",
        ),
    ],
)
def test_a_fault_is_one_sentence_and_exit_2(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.folder.csv").mkdir()
    for name in ("empty.json", "both/comparison.json", "both/evaluation.json", "run/one/evaluation.json", "study.yaml"):
        write_json(name, {})
    assert main(list(words)) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"sycophancy-core {words[0]}: ")
    assert sentence in told
    assert told.count("\n") == 1


def test_a_library_that_is_not_installed_is_a_fault_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)  # so that its import fails as if it were not there
    assert run("study", Path(__file__).parents[2] / "docs/study.yaml", "--dry-run") == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"sycophancy-core study: .*yaml.*; run: pip install 'sycophancy-core\[study\]'\n", told)


@pytest.mark.parametrize(
    ("words", "made", "sentence"),
    [
        (("mix", "--prompts"), "additions", "wanted prompts with the columns id, claim_id, prompt, got the columns "),
        (
            ("mix", "--prompts", "prompts.parquet", "--evaluation"),
            "additions",
            "wanted prompts with the columns id, prompt, got the columns id, ",
        ),
        (
            ("finetune", "--rows"),
            "prompts",
            "wanted training rows with the columns id, origin, prompt, completion, as mix makes them, or messages, got "
            "the columns id, claim_id, ",
        ),
    ],
)
def test_a_table_of_another_kind_is_refused_by_its_columns(
    words: tuple[str, ...],
    made: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("additions", "--n", 4, "-o", "additions.parquet") == 0
    assert run("prompts", "--claims", "additions.parquet", "-o", "prompts.parquet") == 0
    assert run(*words, f"{made}.parquet", "-o", "x" if words[0] == "finetune" else "x.parquet") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"sycophancy-core {words[0]}: {made}.parquet: {sentence}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_p11_a_stop_prints_how_to_resume_where_something_is_kept(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sycophancy_core.runs import verify as module

    kept: list[Path | None] = [None, Path("kept")]

    def interrupted(folder: Path) -> list[str]:
        raise Interrupt("checked half; the same call goes on from there", kept=kept.pop(), number=number)

    monkeypatch.setattr(module, "look_into", interrupted)
    assert main(["verify", "a run; rm x"]) == code
    told = capsys.readouterr().err
    assert "verify: checked half\nTo resume" in told  # the command says how, not "the same call"
    assert "To resume: sycophancy-core verify 'a run; rm x'" in told
    assert main(["verify", "a run"]) == code
    assert "To resume" not in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "4294967296", "x"])
def test_a_seed_is_a_number_from_0_to_32_bits(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["additions", "--n", "2", "--seed", seed, "-o", "x"])
    assert stopped.value.code == 2
    assert f"wanted a whole number from 0 to 4294967295, got '{seed}'" in capsys.readouterr().err


def test_an_organism_is_not_trained_without_a_folder_to_save_it_in(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("organism", "--steps", 1)
    assert ended.value.code == 2
    assert "-o" in capsys.readouterr().err


@pytest.mark.parametrize("chosen", [None, "ACTIVE"])
def test_threads_that_train_sleep_while_they_wait_unless_the_user_says_otherwise(chosen: str | None) -> None:
    program = "import os, sycophancy_core.cli as cli; cli.main(['tasks']); print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == (chosen or "PASSIVE")
