"""GGUF files: the scores of the model that the file holds, or a refusal that names what transformers does not read."""

import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.gguf_files.tiny_gguf import gguf_model, gguf_tokenizer, write_gguf
from makers.killable import exit_of_fresh_process

from sycophancy_core import ModelError, load_model

PROMPT = "A text about one and two, long enough for many positions; agree or disagree? " * 3
LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))


def check_scores(file: Path, model: Any) -> None:
    """Compare the scores of a file with those of the model that was written into it."""
    tokenizer = gguf_tokenizer()
    start, whole = (tokenizer(text).input_ids for text in (PROMPT, f"{PROMPT} (A)"))
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([whole[:-1]])).logits[0].double().log_softmax(-1)
    wanted = float(sum(log_probs[i - 1, whole[i]] for i in range(len(start), len(whole))))
    assert load_model(file).log_probs([PROMPT], [[" (A)"]])[0, 0] == pytest.approx(wanted, abs=1e-4)


def llama3_factors(theta: float, factor: float, trained: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what llama.cpp's converter writes for Llama 3.1's settings, written as it loops."""
    found = []
    for i in range(0, 16, 2):
        wavelength = 2 * math.pi * theta ** (i / 16)
        if wavelength < trained / 4:
            found.append(1.0)
        elif wavelength > trained:
            found.append(factor)
        else:
            smooth = (trained / wavelength - 1) / 3
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, np.float32)


@pytest.mark.parametrize("trained", [8192, 16384])
def test_llama_31s_frequencies_are_read_from_their_tensor(trained: int, tmp_path: Path) -> None:
    rope = {**LLAMA3, "rope_theta": 500000.0, "original_max_position_embeddings": trained}
    model = gguf_model(rope_parameters=rope)
    factors = llama3_factors(500000.0, 32.0, trained)
    assert 1 < factors[factors > 1].min() < 32  # one is blended
    check_scores(write_gguf(tmp_path / "m.gguf", model, tensors={"rope_freqs.weight": factors}), model)


ROPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"rope_type": "default"}, {}),
    "said to be none": ({"rope_type": "default"}, {"rope.scaling.type": "none"}),
    "linear": (
        {"rope_type": "linear", "factor": 4.0},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0, "rope.scaling.finetuned": True},
    ),
    "linear, of old files": ({"rope_type": "linear", "factor": 4.0}, {"rope.scale_linear": 4.0}),
    "yarn": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64},
    ),
    "yarn, with an attention factor of its own": (
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "attention_factor": 1.5 * (1 + 0.1 * math.log(4)),
            "beta_fast": 20.0,
            "beta_slow": 2.0,
        },
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 64,
            "rope.scaling.attn_factor": 1.5,
            "rope.scaling.yarn_beta_fast": 20.0,
            "rope.scaling.yarn_beta_slow": 2.0,
        },
    ),
}


@pytest.mark.filterwarnings("ignore:.*scored by transformers instead of the native engine:UserWarning")
@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("theta", [10000.0, 500.0])
def test_scaled_frequencies_are_those_of_the_file(name: str, theta: float, tmp_path: Path) -> None:
    rope, fields = ROPES[name]
    model = gguf_model(rope_parameters={**rope, "rope_theta": theta})
    check_scores(write_gguf(tmp_path / "m.gguf", model, fields=fields), model)


@pytest.mark.parametrize(("window", "fields"), [(9, {"attention.sliding_window": 9}), (None, {})])
def test_a_phi3s_window_is_that_of_the_file(window: int | None, fields: dict[str, Any], tmp_path: Path) -> None:
    model = gguf_model("phi3", sliding_window=window, pad_token_id=0, head_dim=None)
    check_scores(write_gguf(tmp_path / "m.gguf", model, family="phi3", fields=fields), model)


def test_heads_of_another_size_and_epsilon_are_those_of_the_file(tmp_path: Path) -> None:
    model = gguf_model("qwen2", rms_norm_eps=0.01, use_sliding_window=False)
    fields = {"attention.key_length": 16, "attention.value_length": 16}
    check_scores(write_gguf(tmp_path / "m.gguf", model, family="qwen2", fields=fields), model)


@pytest.mark.parametrize(
    ("fields", "tensors", "message"),
    [
        ({"rope.scaling.type": "longrope", "rope.scaling.factor": 4.0}, {}, "frequencies of type 'longrope' cannot be"),
        ({"rope.scaling.yarn_ext_factor": 0.5}, {}, "not known how rope.scaling.yarn_ext_factor changes rotary"),
        ({"rope.dimension_sections": [2, 3, 3]}, {}, "not known how rope.dimension_sections changes rotary"),
        ({}, {"rope_freqs.weight": np.full(8, 3.0, np.float32)}, "in a way that is not Llama 3.1's"),
        ({}, {"rope_factors_long.weight": np.ones(8, np.float32)}, "with rope_factors_long.weight cannot be expressed"),
        ({}, {"blk.0.attn_q.bias": np.ones(64, np.float32)}, "left out, maybe 'blk.0.attn_q.bias'"),
        ({"attention.sliding_window": 64}, {}, "a sliding window of 64 tokens cannot be expressed by llama"),
        ({"attention.sliding_window_pattern": [True, False]}, {}, "windows that differ by layer are not read"),
        ({"attn_logit_softcapping": 50.0}, {}, "llama.attn_logit_softcapping=50.0 changes what the model computes"),
        ({"attention.scale": 0.5}, {}, "llama.attention.scale=0.5 changes what the model computes"),
        ({"logit_scale": 0.5}, {}, "llama.logit_scale=0.5 changes"),
        ({"rope.scaling.attn_factor": 1.5}, {}, "rope.scaling.attn_factor=1.5 with frequencies of type none cannot be"),
        (
            {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0, "rope.scaling.attn_factor": 1.5},
            {},
            "rope.scaling.attn_factor=1.5 with frequencies of type linear cannot be",
        ),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_ext_factor": 0.0},
            {},
            "not known how rope.scaling.yarn_ext_factor changes rotary",
        ),
        (
            {"split.count": 3, "split.no": 1},
            {},
            "is one of 3 parts of a model (split.count); join them with",
        ),
        ({"attention.causal": False}, {}, "llama.attention.causal=False changes"),
        ({"something.new": 1}, {}, "llama.something.new=1 changes"),
        ({"adapter.type": "lora"}, {}, "is an adapter, not a model; merge it into its model first"),
    ],
)
def test_what_changes_the_forward_and_is_not_read_is_refused(
    fields: dict[str, Any], tensors: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model(), fields=fields, tensors=tensors)
    with pytest.raises(ModelError, match=re.escape(message)):
        load_model(file)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_that_does_not_say_its_epsilon_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model(), without=("llama.attention.layer_norm_rms_epsilon",))
    with pytest.raises(
        ModelError, match=r"does not say llama\.attention\.layer_norm_rms_epsilon, which its norms need"
    ):
        load_model(file)


def test_fields_that_change_nothing_are_no_reason_to_refuse(tmp_path: Path) -> None:
    model = gguf_model()
    fields = {"attention.sliding_window": 1 << 20, "attention.scale": 0.25, "logit_scale": 1.0, "pooling_type": 0}
    factors = {"rope_freqs.weight": np.ones(8, np.float32)}
    check_scores(write_gguf(tmp_path / "m.gguf", model, fields=fields, tensors=factors), model)


def test_a_file_is_known_by_its_content_not_by_its_path_size_and_time(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model())
    stat = file.stat()
    before = load_model(file).digest
    other = gguf_model()
    with torch.no_grad():
        other.model.norm.weight.mul_(2)
    write_gguf(file, other)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert load_model(file).digest != before
    check_scores(file, other)
    elsewhere = tmp_path / "elsewhere" / "m.gguf"
    elsewhere.parent.mkdir()
    file.rename(elsewhere)
    load_model(elsewhere)
    assert len(list((tmp_path / "cache/models").iterdir())) == 2


def convert_and_die(file: Path) -> None:
    """Kill the process when the model is written, and its tokenizer is not."""
    from tokenizers import models

    models.BPE = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    load_model(file)


def test_what_a_killed_conversion_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    file, models = write_gguf(tmp_path / "m.gguf", gguf_model()), tmp_path / "cache/models"
    assert exit_of_fresh_process(convert_and_die, file) == -signal.SIGKILL
    assert list(models.rglob("*.safetensors")) != []
    other = gguf_model()
    with torch.no_grad():
        other.model.norm.weight.mul_(2)
    load_model(write_gguf(tmp_path / "other.gguf", other))
    assert [path.name.rpartition("-")[0] for path in models.iterdir()] == ["other"]
    check_scores(file, gguf_model())


def test_nothing_that_lies_next_to_a_file_is_read(tmp_path: Path) -> None:
    model = gguf_model()
    file = write_gguf(tmp_path / "m.gguf", model)
    other = {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.M"}, "rms_norm_eps": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(other))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x/y"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (tmp_path / "own.py").write_text("raise SystemExit('code next to a file was run')")
    check_scores(file, model)
    assert not load_model(file).tokenizer.chat_template


@pytest.mark.parametrize("kept", [0, 3, 23, 60, 700, 5000])
def test_a_file_that_was_cut_is_named(kept: int, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model())
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"load_model: .*m\.gguf (is no GGUF file|is damaged|cannot be converted)"):
        load_model(file)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>404</html>",
        b"version https://git-lfs.github.com/spec/v1",
        b"GGUF\x03\0\0\0" + b"\xff" * 16,
        b"GGUF\x01\0\0\0" + b"\0" * 16,
        b"GGUF\0\0\0\x03" + b"\0" * 16,
    ],
)
def test_what_is_no_gguf_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.gguf is (no GGUF file|damaged|of version 1|big-endian)"):
        load_model(tmp_path / "m.gguf")


def test_a_family_that_transformers_does_not_read_is_named(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model(), family="nosucharch")
    with pytest.raises(ModelError, match=r"m\.gguf cannot be converted by transformers: .*nosucharch"):
        load_model(file)
