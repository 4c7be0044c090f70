"""A study: stages done once and shared, P1 a kill changes nothing in the end, faults of the file in one sentence."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from makers.killable import exit_of_fresh_process
from makers.tiny_studies import KillingPrinter, content, kinds, run_quietly, stages, tiny_study

import sycophancy_core as sc
from sycophancy_core.cli import main
from sycophancy_core.results.evaluation import find_estimate
from sycophancy_core.results.knowledge_filter import FilterOptions, FilterResult
from sycophancy_core.runs import run_folder
from sycophancy_core.runs.files import write_table
from sycophancy_core.runs.json_files import read_json
from sycophancy_core.studies.costs import Throughput
from sycophancy_core.studies.stages import load


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> sc.StudyOptions:
    return tiny_study(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def whole(options: sc.StudyOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "whole"
    run_quietly(options, folder)
    return folder


def test_variants_share_the_measurement_and_the_filter(whole: Path) -> None:
    shared = ["before", "what-is-known", "filter-margin-balanced"]
    own = ["audit", "rows", "tuned", "after", "compared", "report"]
    assert kinds(stages(whole)) == sorted(shared + 2 * own)
    assert sc.verify(whole) == []
    summed_up = read_json(whole / "manifest.json")["results"]
    assert summed_up.keys() == {"study.parquet", "study.json", "study.html", "seal.json"}


def test_the_table_holds_each_variants_comparison(whole: Path) -> None:
    found = sc.StudyResult.load(whole)
    assert found.table["variant"].unique().to_pylist() == ["filter=margin", "filter=none"]
    reported = (whole / found.reports["filter=none"]).parent.name
    inputs = read_json(whole / "manifest.json")["stages"][reported]["inputs"]
    compared = sc.Comparison.load(whole / inputs["compared"])
    change = compared.estimate("addition", "sycophancy_effect")
    after = find_estimate(compared.after.estimates, "addition", "sycophancy_effect")
    rows = [
        row
        for row in found.table.to_pylist()
        if (row["variant"], row["task"], row["metric"], row["subset"])
        == ("filter=none", "addition", "sycophancy_effect", "all")
    ]
    assert len(rows) == 1
    assert rows[0]["filter"] == "none"
    assert {name: rows[0][name] for name in ("value", "before", "after", "n")} == {
        name: change[name] for name in ("value", "before", "after", "n")
    }
    assert (rows[0]["after_low"], rows[0]["after_high"]) == (after["low"], after["high"])


def test_text_and_html_show_every_variant(whole: Path) -> None:
    found = sc.StudyResult.load(whole)
    page = (whole / "study.html").read_text()
    for variant in ("filter=margin", "filter=none"):
        assert f"sycophancy effect, {variant}" in repr(found)
        assert f'<a href="{found.reports[variant]}">{variant}</a>' in page


def test_a_study_without_null_variant_says_what_it_cannot_tell(whole: Path) -> None:
    found = sc.StudyResult.load(whole)
    assert found.null_effects is None
    assert not (whole / "null_effects.parquet").exists()
    for text in (repr(found), (whole / "study.html").read_text()):
        assert "No variant trains without users, so nothing here tells the effect of users in the training" in text


def test_a_result_of_an_older_study_is_read_with_a_sentence(whole: Path, tmp_path: Path) -> None:
    found = sc.StudyResult.load(whole)
    found.save(tmp_path)
    names = ["arm" if name == "variant" else name for name in found.table.column_names]
    older = found.table.rename_columns(names).drop_columns("training")
    write_table(tmp_path / "study.parquet", older)
    (tmp_path / "seal.json").unlink()  # which it had not
    with pytest.warns(FutureWarning, match=r"the column arm of study.parquet is now called variant; save the result"):
        again = sc.StudyResult.load(tmp_path)
    assert again.table.schema == found.table.schema
    assert repr(again) == repr(found)
    assert again.findings == found.findings


def run_and_kill(options: sc.StudyOptions, folder: Path, stage: str) -> None:
    run_quietly(options, folder, KillingPrinter(stage))


@pytest.mark.parametrize(
    "stage",
    [
        "before",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("filter margin balanced", "fine-tune")),
        "after",
    ],
)
def test_p1_a_kill_at_any_stage_changes_nothing_in_the_end(
    stage: str, options: sc.StudyOptions, whole: Path, tmp_path: Path
) -> None:
    assert exit_of_fresh_process(run_and_kill, options, tmp_path / "study", stage) == -signal.SIGKILL
    run_quietly(options, tmp_path / "study")
    assert content(tmp_path / "study") == content(whole)


def test_p1_a_stop_between_the_training_and_the_manifest_loses_no_step(
    options: sc.StudyOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = run_folder.digest_file

    def stop(path: Path) -> str:
        if path.name == "adapter_model.safetensors":
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(run_folder, "digest_file", stop)
    with pytest.raises(KeyboardInterrupt):
        run_quietly(replace(options, sweep=sc.Sweep(filter=("none",), steps=(2,))), tmp_path)
    (tuned,) = tmp_path.glob("tuned-*")
    assert (tuned / "finetune.checkpoint.safetensors").is_file()


def test_a_changed_option_makes_anew_only_what_depends_on_it(options: sc.StudyOptions, tmp_path: Path) -> None:
    run_quietly(options, tmp_path)
    done = stages(tmp_path)
    run_quietly(options, tmp_path)
    assert stages(tmp_path) == done
    run_quietly(replace(options, learning_rate=1e-4, sweep=sc.Sweep(filter=("none",), steps=(2,))), tmp_path)
    made = [name for name in stages(tmp_path) if name not in done]
    assert kinds(made) == ["after", "compared", "report", "tuned"]


def test_a_full_fine_tuning_can_be_swept_too(options: sc.StudyOptions, tmp_path: Path) -> None:
    found = run_quietly(replace(options, lora_rank=None, sweep=sc.Sweep(filter=("none",), steps=(1,))), tmp_path)
    assert found.table["variant"].unique().to_pylist() == ["the only variant"]


def yaml_file(folder: Path, options: sc.StudyOptions, more: str = "") -> Path:
    path = folder / "study.yaml"
    path.write_text(
        f"model: {options.model}\nfamilies: [addition, sample_number]\ncandidate_families: [sample_number]\n"
        f"claims: 3\ncandidates: 8\nbatch_size: 6\nlora_rank: 2\n"
        f"sweep:\n  filter: [margin, none]\n  steps: [2]\n{more}"
    )
    return path


def test_a_yaml_file_gives_the_same_options(options: sc.StudyOptions, tmp_path: Path) -> None:
    assert sc.read_study(yaml_file(tmp_path, options)) == options
    assert sc.read_study(yaml_file(tmp_path, options, "learning_rate: 1e-3\n")) == options


def test_a_study_asks_in_the_chat_template_unless_told_otherwise(options: sc.StudyOptions, tmp_path: Path) -> None:
    chat = tmp_path / "chat"
    shutil.copytree(str(options.model), chat)
    (chat / "chat_template.jinja").write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[bot]")
    for text, model, is_chat in (("", chat, True), ("chat_template: no\n", chat, False), ("", options.model, False)):
        found = sc.read_study(yaml_file(tmp_path, replace(options, model=str(model)), text))
        assert load(found).chat_template == is_chat
    whole = replace(options, model=str(chat), lora_rank=None)
    assert load(whole, chat).chat_template
    assert not load(replace(whole, model="organism"), chat).chat_template  # asked as its base is


def test_a_key_of_an_earlier_version_is_read_with_a_sentence(options: sc.StudyOptions, tmp_path: Path) -> None:
    path = yaml_file(tmp_path, options, "tasks: [mmlu]\nfolder: files\n")
    with pytest.warns(FutureWarning, match=r"study.yaml: the key folder is now called task_folder; rename it"):
        found = sc.read_study(path)
    assert found == replace(options, tasks=("mmlu",), task_folder=str(tmp_path / "files"))
    with pytest.raises(sc.DataError, match="the file has the unknown key 'folder'"):
        sc.read_study(yaml_file(tmp_path, options, "folder: files\ntask_folder: files\n"))


def test_the_study_of_the_documentation_can_be_read() -> None:
    found = sc.read_study(Path(__file__).parents[3] / "docs/study.yaml")
    assert list(found.sweep.variants()) == [
        f"filter={rule} training={training}" for rule in ("margin", "none") for training in ("users", "no_users")
    ]


def test_ratios_that_differ_have_variants_of_their_own() -> None:
    near = sc.Sweep(ratio=(0.3333333, 0.33333334, 1 / 3, 5.0, 2.5, 0.5, 1e-7, 1e6, 1234567.0)).variants()
    assert list(near) == [
        *("ratio=0.3333333", "ratio=0.33333334", "ratio=0.3333333333333333", "ratio=5", "ratio=2.5", "ratio=0.5"),
        *("ratio=1e-07", "ratio=1e+06", "ratio=1234567.0"),
    ]
    assert all(float(name.removeprefix("ratio=")) == variant.ratio for name, variant in near.items())


def test_a_dry_run_counts_and_writes_nothing(
    options: sc.StudyOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", str(yaml_file(tmp_path, options)), "-o", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--score-rate", "60", "--train-rate", "120"]) == 0
    told = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    # 2 tasks of 3 claims in 4 arms and 2 orders; 2 steps of 6 rows; 6 held-out claims in 2 templates and 2 orders
    lines = [line.split() for line in told.splitlines()]
    assert [line[3] for line in lines if line[:3] == ["all", "variants", "before"]] == ["48"]
    assert [line[2] for line in lines if line[:2] == ["filter=none", "fine-tune"]] == ["12"]
    assert [line[5] for line in lines if line[:5] == ["all", "variants", "what", "is", "known"]] == ["24"]
    before = next(line for line in lines if line[:3] == ["all", "variants", "before"])
    assert float(before[5]) == pytest.approx(int(before[4].replace(",", "")) / 60 / 60, abs=0.06)
    assert main(words) == 0  # with measured rates
    assert "tokens/s of fine-tuning" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_planned_tokens_are_those_that_are_scored(options: sc.StudyOptions) -> None:
    from sycophancy_core.studies.stages import load, study_prompts

    rates = Throughput(score_tokens_per_second=1.0, train_tokens_per_second=1.0)
    cost = sc.study_cost(options, throughput=rates)
    tasks = study_prompts(options).values()
    counted = sum(load(options).score(prompts).num_tokens_unshared for prompts in tasks)
    assert {stage.tokens for stage in cost.stages if stage.stage in ("before", "after")} == {counted}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clams: 3", "the file has the unknown key 'clams'; did you mean claims? wanted some of families, candidate_"),
        ("x: 3", "the file has the unknown key 'x'; wanted some of families, candidate_families"),
        ("sweep:\n  rate: [1]", "sweep has the unknown key 'rate'; did you mean ratio? wanted some of filter, recipe"),
        ("claims: many", "claims must be a whole number, got 'many'"),
        ("claims: true", "claims must be a whole number, got True"),
        ("claims: 0", "study: claims must be at least 1, got 0"),
        ("learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("families: addition", "families must be a list, got 'addition'"),
        ("sweep:\n  seed: [0, x]", "each of seed must be a whole number, got 'x'"),
        ("sweep:\n  filter: [true]", "each of filter must be one of margin, wei2023, none, got True"),
        ("sweep:\n  ratio: [0]", "sweep: ratio must be > 0, got 0.0"),
        ("sweep:\n  steps: []", "sweep: steps wants at least one value and none twice, got []"),
        ("sweep: [1]", "sweep must hold keys with values, got [1]"),
        ("tasks: [claims]", "study: tasks must be of nlp, phil, poli, answer, mmlu, bbh, got 'claims'"),
        ("tasks: [mmlu]", "study: tasks mmlu need the folder of their files, got no task_folder"),
        ("claims: [", "wanted YAML, got"),
    ],
)
def test_a_fault_of_the_file_is_one_sentence(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text + "\n")
    assert main(["study", str(path), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert f"{path}: " in told
    assert sentence in told
    assert told.count("\n") == 1


def test_a_family_that_is_not_there_is_named(options: sc.StudyOptions, tmp_path: Path) -> None:
    wrong = replace(options, families=("weather",))
    with pytest.raises(sc.DataError, match=r"families must be addition or of sample_.*, got 'weather'"):
        run_quietly(wrong, tmp_path)


def test_side_effects_are_tasks_of_their_own(options: sc.StudyOptions, tmp_path: Path) -> None:
    files = tmp_path / "files/mmlu/test"
    files.mkdir(parents=True)
    rows = [f"What is {a} plus {a}?,{2 * a},{3 * a},{4 * a},{5 * a},A" for a in range(1, 7)]
    (files / "sums_test.csv").write_text("\n".join(rows) + "\n")
    path = yaml_file(tmp_path, options, "tasks: [mmlu]\ntask_folder: files\nlimit: 4\n")
    wanted = replace(sc.read_study(path), sweep=sc.Sweep(filter=("none",), steps=(1,)))
    found = run_quietly(wanted, tmp_path / "study").table
    assert find_estimate(found, "mmlu", "accuracy")["n"] == 4


@pytest.mark.filterwarnings("ignore:filter_known. the model agrees:UserWarning")
def test_max_error_bounds_what_the_margin_filter_keeps(options: sc.StudyOptions, tmp_path: Path) -> None:
    bounded = replace(options, max_error=0.9, threshold=1e-3, sweep=sc.Sweep(filter=("margin", "wei2023"), steps=(2,)))
    run_quietly(bounded, tmp_path)
    (published,) = tmp_path.glob("filter-wei2023-*")
    assert FilterResult.load(published).options == FilterOptions(rule="wei2023")  # which knows no threshold
    (stage,) = tmp_path.glob("filter-margin-*")
    found = FilterResult.load(stage)
    assert found.options == FilterOptions(max_error=0.9, threshold=1e-3)
    with pytest.warns(UserWarning, match="told apart from chance"):
        again = sc.filter_known(sc.load_model(options.model), found.table, options=found.options)
    assert again.table.equals(found.table)
    done = stages(tmp_path)
    with pytest.raises(sc.DataError, match="did the filter keep nothing"):
        run_quietly(replace(bounded, max_error=0.001), tmp_path)  # so few claims cannot show that
    assert kinds(stages(tmp_path)) == sorted([*kinds(done), "filter-margin-balanced"])
