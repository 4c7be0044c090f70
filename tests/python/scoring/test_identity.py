"""What a model is: weights, buffers, config and tokenizer by their content, unchanged by use and by saving."""

import copy
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from makers.tiny_encoder_decoders import T5S, tiny_encoder_decoder
from makers.tiny_families import FAMILIES, random_batch, tiny_model, tiny_tokenizer
from makers.tiny_llama import tiny_llama
from makers.tiny_llama import tiny_tokenizer as byte_tokenizer

from sycophancy_core import DataError, LanguageModel, load_model
from sycophancy_core.scoring.resumable import score_resumable


def model_of(module: Any, **options: Any) -> LanguageModel:
    return LanguageModel(module, tiny_tokenizer(), name="tiny", engine="transformers", **options)


@pytest.mark.filterwarnings("ignore:.*without its beginning-of-sequence token:UserWarning")
@pytest.mark.parametrize("name", [*FAMILIES, *T5S])
def test_a_digest_is_unchanged_by_use_and_by_saving(name: str, tmp_path: Path) -> None:
    module = tiny_encoder_decoder(name) if name in T5S else tiny_model(name)
    before = model_of(module).digest
    ids = torch.arange(3, 40)[None]
    module(**dict.fromkeys(["input_ids", *["decoder_input_ids"] * (name in T5S)], ids))
    assert model_of(module).digest == before
    module.save_pretrained(tmp_path)
    if name in T5S and name.endswith("untied"):
        return  # transformers ties them when it loads
    assert model_of(type(module).from_pretrained(tmp_path).eval()).digest == before


def test_rotary_frequencies_that_grow_with_a_text_do_not_change_the_digest() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 8}
    module = tiny_model("llama", rope_parameters=rope, max_position_embeddings=8)
    before = model_of(module).digest
    frequencies = module.model.rotary_emb.inv_freq.clone()
    module(torch.arange(20)[None])
    assert not torch.equal(module.model.rotary_emb.inv_freq, frequencies)
    assert model_of(module).digest == before


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.config.rope_parameters.update(rope_theta=500.0),
        lambda module: setattr(module.config, "rms_norm_eps", 0.5),
        lambda module: setattr(module.config, "hidden_act", "gelu"),
        lambda module: module.model.rotary_emb.inv_freq.mul_(0.5),
        lambda module: module.model.norm.weight.data.mul_(2),
    ],
)
def test_a_change_of_config_buffer_or_weight_changes_the_digest(change: Callable[[Any], None]) -> None:
    module = tiny_model("llama")
    before = model_of(module).digest
    change(module)
    assert model_of(module).digest != before


DIGEST = """
import sys
import torch
sys.path.insert(0, {tests!r})
from makers.tiny_families import tiny_model, tiny_tokenizer
from sycophancy_core import LanguageModel

rope = {{"rope_type": "default", "rope_theta": 1e6}}
module = tiny_model("llama", rope_parameters=rope, head_dim=128)
for weight in module.parameters():  # which random numbers are drawn is the processor's too
    torch.nn.init.constant_(weight, 0.5)
print(module.model.rotary_emb.inv_freq.tolist())
print(LanguageModel(module, tiny_tokenizer(), name="x", engine="transformers").digest)
"""


@pytest.mark.skipif("avx2" not in Path("/proc/cpuinfo").read_text(), reason="one way to multiply alone")
def test_a_digest_does_not_depend_on_the_processor_that_makes_the_rotations() -> None:
    code = DIGEST.format(tests=str(Path(__file__).parents[1]))
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"ATEN_CPU_CAPABILITY": kind},
        ).stdout.splitlines()
        for kind in ("default", "avx2")
    ]
    assert found[0][1] == found[1][1]
    assert found[0][0] != found[1][0], "the rotations are alike: choose others"


def test_names_and_habits_do_not_change_the_digest() -> None:
    module = tiny_model("llama")
    before = model_of(module).digest
    module.config._name_or_path = "/another/place"
    module.config.use_cache = not module.config.use_cache
    module.config.languages = {"en", "de"}
    with_a_set = model_of(module).digest
    module.config.languages = {"de", "en"}
    assert model_of(module).digest == with_a_set != before


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        {"rms_norm_eps": 0.5},
        {"hidden_act": "gelu"},
    ],
)
def test_p10_a_journal_goes_on_only_with_the_config_it_was_begun_with(change: dict[str, Any], tmp_path: Path) -> None:
    import pyarrow as pa

    prompts = pa.table({"id": ["a", "b"], "prompt": ["one?", "two?"], "choices": [[" y", " n"]] * 2})
    folder = tmp_path / "m"
    tiny_llama().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    score_resumable(load_model(folder), prompts, journal=tmp_path / "j")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(DataError, match=r"this journal was begun with"):
        score_resumable(load_model(folder), prompts, journal=tmp_path / "j")


def test_the_tokenizers_digest_is_unchanged_by_use_where_its_file_cuts_or_pads() -> None:
    for prepare in ("enable_truncation", "enable_padding"):
        tokenizer = byte_tokenizer()
        plain = LanguageModel(tiny_llama(), byte_tokenizer(), name="x", engine="transformers").tokenizer_digest
        getattr(tokenizer.backend_tokenizer, prepare)(**{"max_length": 64} if "trunc" in prepare else {})
        model = LanguageModel(tiny_llama(), tokenizer, name="x", engine="transformers")
        before = model.tokenizer_digest
        model.log_probs(["a"], [[" b"]])
        assert model.tokenizer_digest == before == plain


@pytest.mark.parametrize("engine", ["native", "transformers"])
def test_a_copy_for_another_process_scores_the_same(engine: str) -> None:
    model = load_model((tiny_llama(), byte_tokenizer()), engine=engine)
    for copied in (copy.deepcopy(model), model.__reduce__()[0](*model.__reduce__()[1])):
        assert (copied.engine, copied.precision, copied.digest) == (model.engine, model.precision, model.digest)
        assert copied.log_probs(["a"], [[" b"]]).tolist() == model.log_probs(["a"], [[" b"]]).tolist()


SPAWNED = """
import multiprocessing, sys
sys.path.insert(0, {tests!r})
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from sycophancy_core import load_model

def score(model, queue):
    queue.put(float(model.log_probs(["a"], [[" b"]])[0, 0]))

if __name__ == "__main__":
    model = load_model((tiny_llama(), tiny_tokenizer()))
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    child = spawn.Process(target=score, args=(model, queue))
    child.start()
    assert queue.get(timeout=200) == float(model.log_probs(["a"], [[" b"]])[0, 0])
    child.join()
"""


def test_a_spawned_process_takes_a_model(tmp_path: Path) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED.format(tests=str(Path(__file__).parents[1])))
    subprocess.run([sys.executable, str(script)], check=True, timeout=300)


FORKED = """
import multiprocessing, sys, warnings
import torch
torch.set_num_threads(2)
sys.path.insert(0, {tests!r})
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from sycophancy_core import FinetuneOptions, finetune, load_model
import numpy as np
import pyarrow as pa

model = load_model((tiny_llama(), tiny_tokenizer()), engine={engine!r})
texts, choices = [f"text {{i}} about claims" for i in range(200)], [[" (A)", " (B)"]] * 200
rows = pa.table({{"id": ["a"], "origin": ["synthetic"], "prompt": ["x"], "completion": [" y"]}})
scored = {scored}
wanted = model.log_probs(texts, choices).tolist() if scored else None

def work(queue):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = model.log_probs(texts, choices).tolist()
        model.log_probs(["a"], [[" b"]])
        finetune(model, rows, options=FinetuneOptions(steps=1, batch_size=1, precision="float32"))
    queue.put((found, [str(w.message) for w in said if "forked" in str(w.message)]))

fork = multiprocessing.get_context("fork")
queue = fork.Queue()
child = fork.Process(target=work, args=(queue,), daemon=True)
child.start()
found, said = queue.get(timeout=200)
wanted = wanted if scored else model.log_probs(texts, choices).tolist()
assert np.allclose(found, wanted, atol=0 if {engine!r} == "native" else 1e-4), "other scores"
assert len(said) == 1 and "spawn" in said[0], said
"""


@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("engine", ["native", "transformers"])
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_scores_and_trains_on_one_thread_and_says_so(engine: str, scored: bool) -> None:
    code = FORKED.format(tests=str(Path(__file__).parents[1]), engine=engine, scored=scored)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "2"})


def test_scoring_leaves_the_digest_alone() -> None:
    model = model_of(tiny_model("llama"))
    before = model.digest, model.tokenizer_digest
    model.score_tokens(random_batch(1))
    assert (model.digest, model.tokenizer_digest) == before
