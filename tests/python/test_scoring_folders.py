"""The speed benchmark on a model's folder: all score the same weights in bfloat16, and float32 is not timed."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from bfloat16_folder import SHAPES, write_random, write_rounded
from makers.gguf_files.tiny_gguf import WORDS, gguf_model, write_gguf
from makers.tiny_families import random_batch, reference_log_probs
from safetensors.torch import load_file
from scoring_subjects import REFERENCE, Folder
from scoring_work import decoder_cost

_Q8_0 = 7  # in llama.cpp's llama_ftype
_UNCALLED = ("lm-eval", "transformers compiled", "llama.cpp")  # which take a peer that may be absent, or a compiler


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a random Qwen2's GGUF file."""
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))
    fields = {"general.file_type": _Q8_0}
    file = write_gguf(tmp_path / "tiny.gguf", gguf_model("qwen2"), family="qwen2", fields=fields, kind="Q8_0")
    write_rounded(file, tmp_path / "made")
    return tmp_path / "made"


def test_a_gguf_files_folder_holds_its_numbers_rounded_to_bfloat16_for_all(made: Path) -> None:
    weights = load_file(made / "model.safetensors")
    quantized = {one.name: one for one in gguf.GGUFReader(made / "Q8_0.gguf").tensors}
    rounded = {one.name: one for one in gguf.GGUFReader(made / "bfloat16.gguf").tensors}
    for theirs, ours in {"token_embd": "model.embed_tokens", "blk.1.ffn_up": "model.layers.1.mlp.up_proj"}.items():
        numbers = gguf.quants.dequantize(quantized[f"{theirs}.weight"].data, gguf.GGMLQuantizationType.Q8_0)
        wanted = torch.from_numpy(numbers).bfloat16()
        assert torch.equal(weights[f"{ours}.weight"], wanted)
        bits = torch.from_numpy(rounded[f"{theirs}.weight"].data.copy()).view(torch.bfloat16)
        assert torch.equal(bits, wanted)


@pytest.mark.filterwarnings("ignore:.*takes longer than 'highest'")
def test_contenders_on_a_folder_score_as_transformers_does_in_float32(made: Path) -> None:
    subject = Folder(made)
    batch = random_batch(0, vocab=len(WORDS))
    exact = reference_log_probs(subject.exact.model, batch)
    contenders = subject.contenders(1)
    assert [name for name, one in contenders.items() if not one.is_timed] == [REFERENCE]
    assert {"llama.cpp Q8_0", "llama.cpp bfloat16", "lm-eval bfloat16"} < set(contenders)
    for name, contender in contenders.items():
        if not name.startswith(_UNCALLED):
            limit = 1e-4 if name in (REFERENCE, "ours highest") else 0.5
            assert np.abs(contender.make()(batch) - exact).max() < limit, name
    assert subject.model.held.held_module is None  # it was scored on its mapped files


def test_what_a_folder_costs_is_what_its_module_costs(made: Path) -> None:
    subject, batch = Folder(made), random_batch(1, vocab=len(WORDS))
    assert subject.cost(batch) == decoder_cost(subject.half.model.config)(batch)
    assert subject.product() == tuple(subject.half.model.model.layers[0].mlp.up_proj.weight.shape[::-1])


@pytest.mark.model
@pytest.mark.filterwarnings("ignore:.*beginning-of-sequence token")  # the tokenizer is another model's
@pytest.mark.parametrize("name", SHAPES)
def test_a_shapes_folder_is_mapped_and_holds_bfloat16(name: str, tmp_path: Path) -> None:
    small = {"vocab_size": 49152, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 6}
    write_random(SHAPES[name] | small, tmp_path)
    subject = Folder(tmp_path)
    assert subject.model.held.held_module is None
    assert {weight.dtype for weight in subject.half.model.parameters()} == {torch.bfloat16}
    assert subject.model.num_parameters == subject.half.num_parameters
