"""Model folders: what is damaged, names code or pickles, or counts more than it holds ends in one sentence."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.tiny_families import tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from sycophancy_core import ModelError, load_model
from sycophancy_core.scoring.checkpoints.model_files import check_model_files

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FOUR_BITS = {"quant_method": "gptq", "bits": 4}  # by a package that is not installed
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model folder as save_pretrained writes it."""
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_index(folder: Path, content: Any) -> None:
    (folder / WEIGHTS).rename(folder / "part.safetensors")
    (folder / INDEX).write_text(json.dumps(content))


def cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes(POINTER), r"model\.safetensors is a pointer of Git LFS"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), r"model\.safetensors is damaged or no safetensors file"),
        (cut(WEIGHTS, 0.6), r"model\.safetensors is damaged or no safetensors file; fetch it again"),
        (cut(WEIGHTS, 0.001), r"model\.safetensors is damaged"),
        (cut("config.json", 0.6), r"config\.json is no JSON: JSONDecodeError"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json: wanted a JSON object, got a list"),
        (lambda folder: (folder / "config.json").write_text("[" * 100000), r"config\.json is no JSON: RecursionError"),
        (cut("tokenizer.json", 0.6), "cannot be loaded by transformers"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be loaded by transformers"),
        (lambda folder: set_config(folder, hidden_size="60"), "cannot be loaded by transformers: .*hidden_size"),
        (lambda folder: set_config(folder, hidden_size=None), "cannot be loaded by transformers"),
        (lambda folder: set_config(folder, hidden_act="nosuch"), "cannot be loaded by transformers: .*nosuch"),
        (lambda folder: set_config(folder, rope_parameters=[1]), "cannot be loaded by transformers"),
        (lambda folder: set_config(folder, model_type="nosuch"), "cannot be loaded by transformers: .*nosuch"),
        (lambda folder: set_config(folder, quantization_config=FOUR_BITS), "cannot be loaded by transformers: Import"),
    ],
)
def test_a_damaged_or_foreign_folder_is_one_sentence(
    change: Callable[[Path], None], message: str, folder: Path
) -> None:
    change(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**9}, "config.json says num_hidden_layers=1000000000, but its files hold 20 tensors"),
        ({"num_hidden_layers": -1}, "config.json says num_hidden_layers=-1, but"),
        ({"num_hidden_layers": 1e300}, "config.json says num_hidden_layers=1e\\+300, but"),
        ({"num_experts": 10**7}, "config.json says num_experts=10000000, but"),
        ({"max_position_embeddings": 10**30}, "says max_position_embeddings=10+, which no model has"),
        ({"vocab_size": 10**12}, "describes a model of .* numbers, but its files hold .* bytes"),
        ({"intermediate_size": 10**9}, "describes a model of .* numbers, but its files hold .* bytes"),
        ({"vocab_size": 132}, "lacks 1 of the model's weights or has them in another shape"),
    ],
)
def test_a_number_that_no_weight_stands_for_is_refused_before_memory_is_taken(
    values: dict[str, Any], message: str, folder: Path
) -> None:
    set_config(folder, **values)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "key",
    ["attn_implementation", "_attn_implementation", "_attn_implementation_internal", "_experts_implementation"],
)
@pytest.mark.parametrize("value", ["nobody/kernel", "paged|nobody/kernel@main:f", {"": "nobody/kernel"}])
def test_a_config_that_names_code_of_the_hub_is_refused(key: str, value: Any, folder: Path) -> None:
    set_config(folder, **{key: value})
    with pytest.raises(ModelError, match=rf"config\.json names code of the hub \({key}.*, which is never run; remove"):
        load_model(folder)
    set_config(folder, **{key: None}, text_config={key: value})
    with pytest.raises(ModelError, match=r"names code of the hub"):
        load_model(folder)


def test_an_attention_that_is_not_installed_is_left_to_transformers(folder: Path) -> None:
    set_config(folder, _attn_implementation="flash_attention_2")
    assert load_model(folder).model.config._attn_implementation == "sdpa"
    set_config(folder, _attn_implementation="eager")
    assert load_model(folder).model.config._attn_implementation == "eager"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "../part.safetensors", "/etc/passwd", "sub/part.safetensors", 5])
def test_an_index_names_only_safetensors_of_its_folder(name: Any, folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    write_index(folder, {"metadata": {}, "weight_map": {"model.norm.weight": name}})
    with pytest.raises(ModelError, match=r"names .* as the file of 'model\.norm\.weight'; only safetensors"):
        load_model(folder)


@pytest.mark.parametrize("content", [{}, {"weight_map": []}, {"weight_map": {}}, []])
def test_an_index_without_files_is_refused(content: Any, folder: Path) -> None:
    write_index(folder, content)
    with pytest.raises(ModelError, match=r"has no weight_map|wanted a JSON object"):
        load_model(folder)


def test_a_model_in_several_files_is_loaded_and_a_missing_one_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    parts = {"a-1.safetensors": names[:5], "a-2.safetensors": names[5:]}
    (folder / WEIGHTS).unlink()
    for part, kept in parts.items():
        save_file({name: tensors[name] for name in kept}, folder / part, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: part for part, kept in parts.items() for name in kept}}
    (folder / INDEX).write_text(json.dumps(index))
    assert load_model(folder).digest == load_model((tiny_model("llama"), tiny_tokenizer())).digest
    (folder / "a-2.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks a-2\.safetensors; fetch the whole model again"):
        load_model(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "../x.safetensors", 5])
def test_weights_named_by_the_config_are_safetensors_of_its_folder(name: Any, folder: Path) -> None:
    set_config(folder, transformers_weights=name)
    with pytest.raises(ModelError, match=r"as its weights; wanted safetensors"):
        load_model(folder)


def test_no_code_of_a_folder_is_run_and_no_pickle_read(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w').write('x')\nfrom transformers import LlamaForCausalLM, LlamaConfig\n"
        "class M(LlamaForCausalLM): pass\nclass C(LlamaConfig): model_type = 'own'\n"
    )
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(f"open({str(mark)!r}, 'w').write('x')")
    own = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", "own.T"]}
    for kind in ("llama", "own"):
        set_config(folder, auto_map=own, model_type=kind)
        try:
            load_model(folder).log_probs(["a"], [["b"]])
        except ModelError as error:
            assert kind == "own"
            assert "custom code" in str(error)
    assert not mark.exists()


@pytest.mark.parametrize("kernels", [False, True])
def test_no_kernel_is_fetched_even_where_it_could_be(kernels: bool, folder: Path, tmp_path: Path) -> None:
    """With a stand-in for the package that fetches code, which ends the process when it is asked."""
    stand_in = tmp_path / "stand_in"
    (stand_in / "kernels").mkdir(parents=True)
    (stand_in / "kernels-0.18.2.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n"
    (stand_in / "kernels-0.18.2.dist-info/METADATA").write_text(about)
    (stand_in / "kernels/__init__.py").write_text(
        textwrap.dedent(
            """
            __version__ = "0.18.2"
            import os
            def get_kernel(*a, **k): os._exit(66)
            def __getattr__(name):
                if name.startswith("__"): raise AttributeError(name)
                def made(*a, **k): return a[0] if a else made
                return type(name, (), {"__init__": lambda *a, **k: None, "__call__": lambda self, *a, **k: a[0]})
            """
        )
    )
    set_config(folder, _attn_implementation="flash_attention_2", attn_implementation="flash_attention_3")
    code = (
        f"import sys; sys.path[:0] = {[str(stand_in)] * kernels!r}\n"
        f"from sycophancy_core import load_model; load_model({str(folder)!r}, engine='transformers')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("seed", range(40))
def test_a_folder_changed_at_random_is_loaded_or_refused_in_a_sentence(seed: int, folder: Path) -> None:
    """Flip, cut or repeat bytes of one file of the folder."""
    import random
    import warnings

    draw = random.Random(seed)
    path = draw.choice([folder / name for name in ("config.json", "tokenizer.json", WEIGHTS, "tokenizer_config.json")])
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 3, 30])):
        at = draw.randrange(min(len(content), 4000))
        how = draw.randrange(4)
        if how == 0:
            content[at] = draw.randrange(256)
        elif how == 1:
            del content[at : at + draw.randrange(1, 50)]
        elif how == 2:
            content[at:at] = content[at : at + draw.randrange(1, 50)]
        else:
            content[at : at + 1] = str(draw.choice([-1, 0, 2**31, 2**64, 1e308])).encode()
    path.write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load_model(folder).log_probs(["so"], [[" a", " b"]])
        except (ModelError, Exception) as error:
            assert type(error).__name__ in ("ModelError", "DataError"), f"{path.name}: {error!r}"


def test_real_families_pass_the_checks(tmp_path: Path) -> None:
    for name in ("mistral-window", "qwen2-window", "gemma", "phi3", "gpt-neox", "gpt2"):
        tiny_model(name).save_pretrained(tmp_path / name)
        assert check_model_files(tmp_path / name).num_bytes > 0
    experts = AutoConfig.for_model(
        "mixtral",
        vocab_size=131,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    AutoModelForCausalLM.from_config(experts).save_pretrained(tmp_path / "experts")
    assert check_model_files(tmp_path / "experts").num_bytes > 0
