"""A model on its mapped files is the model that its module is, to the last bit, and becomes it when that is wanted."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_encoder_decoders import T5S, random_pairs, tiny_encoder_decoder
from makers.tiny_families import FAMILIES, random_batch, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from sycophancy_core import FinetuneOptions, LanguageModel, ModelError, finetune, load_model
from sycophancy_core.scoring import sources
from sycophancy_core.scoring.held.held_module import HeldModule
from sycophancy_core.scoring.held.mapped_model import MappedModel, map_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*without its beginning-of-sequence token:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*takes longer than 'highest' here:UserWarning"),
]
WEIGHTS = "model.safetensors"
# Whose experts are saved one by one, and joined when they are loaded.
JOINED = ("mixtral", "qwen3-moe", "qwen3-moe-one-plain-layer")
PROMPTS = pa.table({"id": ["a", "b"], "prompt": ["one?", "two?"], "choices": [[" y", " n"]] * 2})


def save(folder: Path, name: str, dtype: str = "float32", **options: Any) -> Path:
    module = tiny_encoder_decoder(name) if name in T5S else tiny_model(name)
    module.to(getattr(torch, dtype)).save_pretrained(folder, **options)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def as_module(folder: Path, dtype: str = "auto") -> LanguageModel:
    """Load a folder through transformers, as all models were before."""
    return LanguageModel.of_held(HeldModule(*sources.read_model(folder, dtype=dtype)), name=folder.name)


def is_mapped(model: LanguageModel) -> bool:
    return isinstance(model.held, MappedModel)


def batch_of(name: str, seed: int) -> Any:
    return random_pairs(seed) if name in T5S else random_batch(seed)


TIED_T5S = [name for name in T5S if not name.endswith("untied")]
CASES = [(name, dtype) for name in FAMILIES if name not in JOINED for dtype in ("float32", "bfloat16", "float16")]
CASES += [(name, dtype) for name in TIED_T5S for dtype in ("float32", "bfloat16")]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_files_are_scored_to_the_bits_of_the_module(name: str, dtype: str, tmp_path: Path) -> None:
    folder = save(tmp_path, name, dtype)
    mapped, module = load_model(folder), as_module(folder)
    assert is_mapped(mapped)
    for what in ("engine", "precision", "digest", "tokenizer_digest", "context_length", "num_parameters", "device"):
        assert getattr(mapped, what) == getattr(module, what), what
    assert mapped.is_encoder_decoder == module.is_encoder_decoder
    for precision in ("highest", "medium"):
        batch = batch_of(name, 3)
        found, wanted = (one.with_precision(precision).score_tokens(batch) for one in (mapped, module))
        assert found.log_prob.tolist() == wanted.log_prob.tolist()
        assert found.is_greedy.tolist() == wanted.is_greedy.tolist()
        assert found.num_tokens == wanted.num_tokens
    assert is_mapped(mapped)


@pytest.mark.model
def test_the_embedded_model_is_scored_on_its_files_to_the_bits_of_its_module() -> None:
    mapped = load_model(chat_template=True)
    assert is_mapped(mapped)
    folder, name = sources.resolve_source(None)
    held = HeldModule(*sources.read_model(folder, dtype="auto"))
    module = LanguageModel.of_held(held, name=name, chat_template=True)
    texts, choices = ["Is Rome in Italy?", [{"role": "user", "content": "2 + 2?"}]], [["Yes", "No"], ["4", "5", "six"]]
    found, wanted = (one.log_probs(texts, choices) for one in (mapped, module))
    np.testing.assert_array_equal(found, wanted)
    assert (mapped.digest, mapped.tokenizer_digest) == (module.digest, module.tokenizer_digest)
    assert mapped.template_facts == module.template_facts
    assert is_mapped(mapped)


def test_a_model_in_several_files_is_mapped(tmp_path: Path) -> None:
    folder = save(tmp_path, "llama", max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    mapped = load_model(folder)
    assert is_mapped(mapped)
    assert mapped.digest == as_module(folder).digest


def test_a_folder_of_links_as_the_hub_has_them_is_mapped(tmp_path: Path) -> None:
    blobs = save(tmp_path / "blobs", "llama")
    (tmp_path / "snapshot").mkdir()
    for file in blobs.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(Path("..") / "blobs" / file.name)
    assert is_mapped(load_model(tmp_path / "snapshot"))


def change_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def change_weights(change_tensors: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        save_file(change_tensors(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return change


def with_bias(name: str, size: int) -> Callable[[Path], None]:
    return change_weights(lambda tensors: tensors | {f"{name}.bias": torch.ones(size)})


NORM = "model.norm.weight"
LAYER = "model.layers.0"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("llama", with_bias(f"{LAYER}.self_attn.q_proj", 60)),
        ("llama", with_bias(f"{LAYER}.mlp.down_proj", 60)),
        ("llama", with_bias(f"{LAYER}.input_layernorm", 60)),
        ("qwen2", with_bias(f"{LAYER}.self_attn.o_proj", 60)),
        ("gpt-neox", with_bias("embed_out", 131)),
        ("opt", change_config(enable_bias=False)),
        ("falcon", change_config(bias=True)),
        ("falcon-groups", change_config(num_ln_in_parallel_attn=1)),
        ("gpt-neox", change_config(attention_bias=False)),
        ("starcoder2", change_config(use_bias=False)),
        ("llama-untied-biases", change_config(mlp_bias=False)),
        ("llama", change_config(model_type="nosuch")),
        ("llama", change_config(rope_parameters={"rope_type": "dynamic", "rope_theta": 1.0, "factor": 2.0})),
        ("llama", change_config(quantization_config={"quant_method": "fp8"})),
        ("llama", change_config(surprise=1)),
        ("llama", change_config(hidden_act="mish")),
        ("llama", change_weights(lambda tensors: tensors | {"lm_head.weight": torch.ones(131, 60)})),
        ("llama", change_weights(lambda tensors: {**tensors, NORM: tensors[NORM].half()})),
        ("llama", change_weights(lambda tensors: {name.removeprefix("model."): one for name, one in tensors.items()})),
        ("llama", change_weights(lambda tensors: {name: one for name, one in tensors.items() if name != NORM})),
        ("llama", lambda folder: (folder / "tokenizer.json").unlink()),
        ("t5", change_weights(lambda tensors: tensors | {"lm_head.weight": torch.ones(131, 60)})),
        *((name, lambda folder: None) for name in JOINED),
    ],
)
def test_what_a_module_may_read_otherwise_is_left_to_it(
    name: str, change: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = save(tmp_path, name)
    change(folder)
    assert map_model(folder, "auto") is None


def test_frequencies_that_old_checkpoints_hold_are_left_out(tmp_path: Path) -> None:
    folder = save(tmp_path, "llama")
    wanted = load_model(folder).digest
    key = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(lambda tensors: tensors | {key: torch.arange(5)})(folder)
    mapped = load_model(folder)
    assert is_mapped(mapped)
    assert mapped.digest == as_module(folder).digest == wanted


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"engine": "transformers"}, {"dtype": "float16"}])
def test_other_numbers_engines_and_devices_are_the_modules(options: dict[str, Any], tmp_path: Path) -> None:
    folder = save(tmp_path, "llama")
    assert not is_mapped(load_model(folder, **options))
    assert is_mapped(load_model(folder, device="cpu", engine="native", dtype="float32", matmul_precision="medium"))


def test_a_module_is_made_when_it_is_asked_for_and_takes_over(tmp_path: Path) -> None:
    folder = save(tmp_path, "llama")
    model, other = load_model(folder), load_model(folder)
    exact, medium = model.with_precision("highest"), model.with_precision("medium")
    before = model.log_probs(["a b"], [[" c", " d"]])
    digest, kept = model.digest, medium.log_probs(["a b"], [[" c", " d"]])
    module = model.model
    assert type(module).__name__ == "LlamaForCausalLM" and module is model.model is exact.model is medium.model
    assert type(model.tokenizer).__module__.startswith("transformers.")
    assert not is_mapped(model) and not is_mapped(exact) and not is_mapped(medium)
    assert (model.digest, model.engine, medium.precision) == (digest, "native", "float32/medium")
    np.testing.assert_array_equal(model.log_probs(["a b"], [[" c", " d"]]), before)
    np.testing.assert_array_equal(medium.log_probs(["a b"], [[" c", " d"]]), kept)
    with torch.no_grad():
        module.model.norm.weight.mul_(2)
    assert (model.log_probs(["a b"], [[" c", " d"]]) != before).all()
    np.testing.assert_array_equal(exact.log_probs(["a b"], [[" c", " d"]]), model.log_probs(["a b"], [[" c", " d"]]))
    assert model.digest != digest == other.digest
    np.testing.assert_array_equal(other.log_probs(["a b"], [[" c", " d"]]), before)


def test_another_precision_is_there_before_and_after_the_module_took_over(tmp_path: Path) -> None:
    model = load_model(save(tmp_path, "llama"), chat_template=False)
    before = model.with_precision("high")
    assert is_mapped(before)
    assert model.model is before.model
    after = model.with_precision("high")
    batch = batch_of("llama", 1)
    wanted = before.score_tokens(batch).log_prob
    np.testing.assert_array_equal(after.score_tokens(batch).log_prob, wanted)


def test_fine_tuning_a_model_on_files_trains_its_module(tmp_path: Path) -> None:
    model = load_model(save(tmp_path, "llama"))
    before = model.log_probs(["x"], [[" y", " z"]])
    rows = pa.table({"id": ["a"], "origin": ["synthetic"], "prompt": ["x"], "completion": [" y"]})
    finetune(model, rows, options=FinetuneOptions(steps=3, batch_size=1, precision="float32", learning_rate=0.01))
    after = model.log_probs(["x"], [[" y", " z"]])
    assert after[0, 0] > before[0, 0]


@pytest.mark.parametrize("change", [change_config(rms_norm_eps=0.5), lambda folder: (folder / WEIGHTS).unlink()])
def test_a_module_of_changed_files_is_refused(change: Callable[[Path], None], tmp_path: Path) -> None:
    folder = save(tmp_path, "llama")
    model = load_model(folder)
    before = model.log_probs(["a"], [[" b"]])
    copied = copy.deepcopy(model)
    change(folder)
    with pytest.raises(ModelError, match=r"has changed since the model was loaded from it; load the model again"):
        _ = model.model
    with pytest.raises(ModelError, match=r"has changed since the model was loaded from it; load the model again"):
        copy.deepcopy(model)
    assert model.log_probs(["a"], [[" b"]]).tolist() == before.tolist() == copied.log_probs(["a"], [[" b"]]).tolist()


def test_a_copy_for_another_process_maps_the_files_again(tmp_path: Path) -> None:
    model = load_model(save(tmp_path, "llama"), matmul_precision="medium")
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert is_mapped(copied)
        assert (copied.digest, copied.precision) == (model.digest, model.precision)
        assert copied.log_probs(["a"], [[" b"]]).tolist() == model.log_probs(["a"], [[" b"]]).tolist()


def test_tokens_beyond_the_vocabulary_are_refused_as_by_the_module(tmp_path: Path) -> None:
    folder = save(tmp_path, "gpt2")
    batch = random_batch(1, vocab=200)
    said = []
    for model in (load_model(folder), as_module(folder)):
        with pytest.raises(Exception, match=r"is not in the model's vocabulary of 131") as caught:
            model.score_tokens(batch)
        said.append(str(caught.value).partition(":")[2])
    assert said[0] == said[1]
