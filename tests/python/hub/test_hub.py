"""What is pushed to the hub arrives there whole, private, with a card that says what it is; a refusal loses nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from makers.stand_in_hub import StandInHub, stand_in_hub
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.hub.upload import upload
from sycophancy_core.scoring.sources import public_source
from sycophancy_core.tasks.named_tasks import task_prompts

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<:DeprecationWarning")  # between two other packages
TOKEN = "hf_" + "s" * 34


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInHub]:
    with stand_in_hub(TOKEN) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        yield served


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    claims = sc.make_claims(sc.load_examples(), seed=1).slice(0, 24)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="train", design="sampled"), seed=1)
    return sc.mix(prompts, sc.load_instructions(), ratio=5.0)


def tuned(rows: pa.Table, **changes: Any) -> sc.FinetuneResult:
    options = sc.FinetuneOptions(**{"steps": 2, "batch_size": 4, "lora_rank": 2, "learning_rate": 1e-2, **changes})
    return sc.finetune(tiny_model(), rows, options=options)


def front(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---")[1]))


def test_a_pushed_adapter_arrives_private_with_its_card_and_loads(
    hub: StandInHub, rows: pa.Table, tmp_path: Path
) -> None:
    tasks = {"claims": task_prompts(("claims",), limit=2)["claims"]}
    before = sc.evaluate(tiny_model(), tasks=tasks).made_by("sycophancy-core evaluate --tasks claims")
    result = tuned(rows)
    comparison = sc.compare(before, sc.evaluate(result.model, tasks=tasks))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text(TOKEN)
    url = result.push_to_hub("me/tiny-cured", folder=tmp_path / "mine", comparison=comparison, license="apache-2.0")
    assert url == f"{hub.url}/me/tiny-cured"
    assert hub.repositories == {"models/me/tiny-cured": True}
    files = hub.files["models/me/tiny-cured"]
    assert "notes.txt" not in files
    assert not any(TOKEN.encode() in content for content in files.values())
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "training_log.parquet"} <= files.keys()
    for name, content in files.items():
        assert (tmp_path / "mine" / name).read_bytes() == content
        (tmp_path / "fetched" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fetched" / name).write_bytes(content)
    fetched = sc.load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path / "fetched", engine="transformers")
    for name, weight in result.model.model.named_parameters():
        assert weight.equal(fetched.model.get_parameter(name)), name
    card = files["README.md"].decode()
    assert front(card)["license"] == "apache-2.0"
    assert front(card)["library_name"] == "peft"
    for digest in ("model", "rows", "tokens"):
        assert result.inputs[digest] in card
    assert all(str(finding).split(": ", 1)[-1][:40] in card.replace("\\", "") for finding in comparison.findings)
    effect = next(r for r in comparison.before.estimates.to_pylist() if r["metric"] == "sycophancy_effect")
    assert f"{effect['value']:.2f}" in card
    assert f"{rows.num_rows:,} rows" in card
    assert "| evaluated before by | `sycophancy-core evaluate --tasks claims` |" in card


def test_a_card_without_an_evaluation_or_licence_says_so(hub: StandInHub, rows: pa.Table, tmp_path: Path) -> None:
    tuned(rows, lora_rank=None).push_to_hub("me/tiny", folder=tmp_path)
    card = hub.files["models/me/tiny"]["README.md"].decode()
    assert "nothing is known of what the fine-tuning changed" in card
    assert "None was given" in card
    assert "license" not in front(card)
    assert front(card)["library_name"] == "transformers"
    assert "model.safetensors" in hub.files["models/me/tiny"]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "answered 401 .*log in with `hf auth login`"),
        (403, "answered 403 .*use one that may"),
        (404, "answered 404 .*check the name"),
        (413, "answered 413 .*no file of that size"),
        (500, "answered 500 .*push again later"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_adapter_is_on_disk(
    status: int, advice: str, hub: StandInHub, rows: pa.Table, tmp_path: Path
) -> None:
    hub.failure = status
    with pytest.raises(sc.DataError, match=f"(?s)the hub {advice}.*; the files are in") as error:
        tuned(rows).push_to_hub("me/tiny", folder=tmp_path)
    assert "\n" not in str(error.value)
    assert TOKEN not in str(error.value)
    assert hub.files == {}
    assert (tmp_path / "adapter_model.safetensors").stat().st_size > 1000
    assert (tmp_path / "README.md").read_text().startswith("---")


def test_a_large_file_that_the_hub_does_not_take_is_the_same_sentence(
    hub: StandInHub, rows: pa.Table, tmp_path: Path
) -> None:
    hub.failure, hub.fails_at = 413, "/large/"
    with pytest.raises(sc.DataError, match="the hub answered 413 for me/tiny: it takes no file of that size"):
        tuned(rows).push_to_hub("me/tiny", folder=tmp_path)
    assert hub.files == {}
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_a_wrong_token_and_a_hub_that_is_not_there_are_sentences(
    hub: StandInHub, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tuned(rows)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "w" * 34)
    with pytest.raises(sc.DataError, match="the hub answered 401 for me/tiny"):
        result.push_to_hub("me/tiny", folder=tmp_path / "a")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(sc.DataError, match="the hub cannot be reached for me/tiny: check the network"):
        result.push_to_hub("me/tiny", folder=tmp_path / "b")
    assert (tmp_path / "b" / "adapter_model.safetensors").is_file()
    for wrong in ("a/b/c", "tiny"):
        with pytest.raises(sc.DataError, match=f"wanted a repository as owner/name, got '{wrong}'; the owner is your"):
            result.push_to_hub(wrong, folder=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_file_that_cannot_be_read_is_not_called_a_fault_of_the_network(hub: StandInHub, tmp_path: Path) -> None:
    (tmp_path / "unread").symlink_to("/proc/self/mem")  # whose first bytes give an input/output error
    settings = {"repo_id": "me/tiny", "kind": "model", "private": True, "message": "m"}
    with pytest.raises(
        sc.DataError, match=r"push_to_hub: reading or writing a file failed \(.*Input/output error\); mend"
    ):
        upload(tmp_path, ["unread"], card="# Card", **settings)
    assert hub.files == {}


def test_the_card_is_under_the_seal_and_may_be_edited_on_the_hub(
    hub: StandInHub, rows: pa.Table, tmp_path: Path
) -> None:
    result = tuned(rows)
    result.push_to_hub("me/tiny", folder=tmp_path)
    assert sc.verify(tmp_path) == []
    assert hub.files["models/me/tiny"]["seal.json"] == (tmp_path / "seal.json").read_bytes()
    result.push_to_hub("me/other", folder=tmp_path)
    assert sc.verify(tmp_path) == []
    assert not (tmp_path / "previous-1").exists()
    (tmp_path / "README.md").write_text("# Another title")
    assert "README.md was changed" in sc.verify(tmp_path)[0]
    sc.load_model((tiny_llama(), tiny_tokenizer()), adapter=tmp_path, engine="transformers")


def test_the_main_process_alone_pushes(
    hub: StandInHub, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import PartialState

    result = tuned(rows)
    monkeypatch.setattr(PartialState(), "process_index", 1)
    assert result.push_to_hub("me/tiny", folder=tmp_path) == ""
    assert (hub.files, list(tmp_path.iterdir())) == ({}, [])


def test_the_cards_code_loads_a_base_that_is_a_folder_here_without_its_path(
    hub: StandInHub, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "secret" / "my-base"
    tiny_llama().save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    from transformers import AutoModelForCausalLM

    pair = AutoModelForCausalLM.from_pretrained(base), tiny_tokenizer()
    model = sc.load_model(pair, engine="transformers")
    assert str(tmp_path) in model.name
    result = sc.finetune(model, rows, options=sc.FinetuneOptions(steps=2, batch_size=4, lora_rank=2))
    result.push_to_hub("me/tiny", folder=tmp_path / "pushed")
    card = hub.files["models/me/tiny"]["README.md"].decode()
    assert "secret" not in card
    assert "secret" not in " ".join(hub.messages)
    assert "base_model" not in front(card)
    code = card.split("```python\n")[1].split("```")[0].replace("print(sc.evaluate(model))", "")
    assert "# 'my-base' is a folder with the base, which is not public" in code
    monkeypatch.chdir(base.parent)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda _: str(tmp_path / "pushed"))
    found: dict[str, Any] = {}
    exec(code, found)  # our own card
    for name, weight in result.model.model.named_parameters():
        assert weight.equal(found["model"].model.get_parameter(name)), name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("smollm2-135m-instruct", "smollm2-135m-instruct"),
        ("smollm2-135m-instruct+organism", "organism"),
        ("owner/name", "owner/name"),
        ("owner/name+adapter", None),
        ("models/here", None),
        ("here", None),
    ],
)
def test_the_source_of_a_base_is_one_that_everybody_has(
    name: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_source(name) == wanted


def test_nothing_private_goes_into_a_public_repository(hub: StandInHub, rows: pa.Table, tmp_path: Path) -> None:
    hub.repositories["models/me/tiny"] = False
    result = tuned(rows)
    with pytest.raises(sc.DataError, match="me/tiny is there already and public; give private=False"):
        result.push_to_hub("me/tiny", folder=tmp_path)
    assert hub.files == {}
    result.push_to_hub("me/tiny", folder=tmp_path, private=False)
    assert "README.md" in hub.files["models/me/tiny"]


def test_pushed_prompts_are_the_table_with_a_card(hub: StandInHub, tmp_path: Path) -> None:
    prompts = sc.generate(sc.load_examples(), n=40, seed=1)
    url = sc.push_prompts_to_hub(prompts, "me/prompts", folder=tmp_path, license="apache-2.0")
    assert url == f"{hub.url}/datasets/me/prompts"
    assert hub.repositories == {"datasets/me/prompts": True}
    files = hub.files["datasets/me/prompts"]
    assert set(files) == {"README.md", "prompts.parquet"}
    assert pq.read_table(pa.BufferReader(files["prompts.parquet"])).to_pylist() == prompts.to_pylist()
    card = files["README.md"].decode()
    assert front(card) == {
        "license": "apache-2.0",
        "tags": ["sycophancy", "sycophancy-core"],
        "task_categories": ["multiple-choice"],
    }
    assert "40 prompts" in card
    assert TOKEN not in card
