"""GGUF files that are read here: the model and the tokenizer that transformers makes of them, to the last bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.gguf_files.gguf_tokenizers import GEMMA, LLAMA, TOKENIZERS
from makers.gguf_files.tiny_gguf import PLAIN, gguf_model, write_gguf
from transformers import AutoTokenizer

from sycophancy_core import ModelError, load_model
from sycophancy_core.scoring.gguf.by_transformers import convert_by_transformers
from sycophancy_core.scoring.gguf.conversion import converted_gguf
from sycophancy_core.scoring.gguf.header import read_header


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))


TEMPLATE = "{% for m in messages %}<think>{{ m.role }}: {{ m.content }}\n{% endfor %}"
TEXTS = [
    "",
    " ",
    "the cat",
    " the  cat   sat\n\n on\tab\r\n",
    "12 + 3456 = 3,468.0",
    "I'm sure it'll be Él, NFC: e\u0301, 日本語 ñ",
    "<end> ab<think>the</s><eos> <|user|>ab <start_of_turn>the <unk>",
    "\u00a0a\u2028b\ufeff\U0001f469\u200d\U0001f680!?",
    "ab" * 40,
]
WIDE = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 16}
WINDOWED = {"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 24}
# Family -> its model's kind, changes of it, fields, and its usual tokenizer.
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "llama": ("llama", {}, {}, PLAIN),
    "qwen2": ("qwen2", {"head_dim": None, "tie_word_embeddings": False}, {}, TOKENIZERS["split as Qwen2"]),
    "qwen3": ("qwen3", {"num_attention_heads": 6}, {"attention.key_length": 16}, TOKENIZERS["split as Qwen2"]),
    "phi3": ("phi3", {"head_dim": None, "pad_token_id": 0}, {"attention.sliding_window": 9}, LLAMA),
    "gemma2": ("gemma2", {"sliding_window": 24}, WINDOWED, GEMMA),
    "gemma3": ("gemma3_text", {"num_hidden_layers": 6, "sliding_window": 24}, WINDOWED, GEMMA),
}


def tiny_file(path: Path, family: str, *, tokenizer: dict[str, Any] | None = None, **more: Any) -> Path:
    """Write a random model of a family; its norms differ from each other."""
    kind, changes, fields, usual = FAMILIES[family]
    about = usual if tokenizer is None else tokenizer
    model = gguf_model(kind, vocab_size=len(about["tokens"]), **{**changes, **more.pop("sizes", {})})
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.add_(torch.randint(-8, 8, weight.shape) / 16)  # which 16 bits hold
    fields = {**fields, **more.pop("fields", {})}
    return write_gguf(path, model, family=family, tokenizer=about, template=TEMPLATE, fields=fields, **more)


def both_ways(file: Path, folder: Path) -> tuple[Path, Path]:
    """Convert a file by transformers, and as it is done without it."""
    half = {"F16": "float16", "BF16": "bfloat16"}.get(file.stem)
    convert_by_transformers(file, read_header(file), folder, half)
    return folder / "made", converted_gguf(file, name="m", folder=folder / "cache")


def check_same(theirs: Path, ours: Path) -> None:
    """Compare two conversions, file by file, and what is loaded from them."""
    assert sorted(path.name for path in theirs.iterdir()) == sorted(path.name for path in ours.iterdir())
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name
    wanted = json.loads((theirs / "config.json").read_text())
    assert {
        **json.loads((ours / "config.json").read_text()),
        "transformers_version": wanted["transformers_version"],
    } == wanted
    wanted = json.loads((theirs / "generation_config.json").read_text())
    assert json.loads((ours / "generation_config.json").read_text()).items() <= wanted.items()
    first, second = load_model(theirs, chat_template=False), load_model(ours, chat_template=False)
    assert (first.digest, first.tokenizer_digest) == (second.digest, second.tokenizer_digest)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_numbers_of_every_kind_are_those_of_transformers(family: str, kind: str, tmp_path: Path) -> None:
    check_same(*both_ways(tiny_file(tmp_path / f"{kind}.gguf", family, kind=kind), tmp_path))


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_blocks_of_256_numbers_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    check_same(*both_ways(tiny_file(tmp_path / "m.gguf", "llama", sizes=WIDE, kind=kind), tmp_path))


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "phi3", "gemma2"])
def test_every_family_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    check_same(*both_ways(tiny_file(tmp_path / "m.gguf", family, kind="Q8_0"), tmp_path))


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_numbers_that_16_bits_do_not_hold_make_float32_of_all(kind: str, tmp_path: Path) -> None:
    norm = np.full(64, 1.0001, np.float32)
    file = tiny_file(tmp_path / f"{kind}.gguf", "llama", kind=kind, tensors={"output_norm.weight": norm})
    theirs, ours = both_ways(file, tmp_path)
    check_same(theirs, ours)
    assert json.loads((ours / "config.json").read_text())["dtype"] == "float32"


SCALED: dict[str, dict[str, Any]] = {
    "linear": {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    "yarn": {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64},
    "harmless": {"attention.sliding_window": 1 << 20, "attention.scale": 0.25, "logit_scale": 1.0, "pooling_type": 0},
}


@pytest.mark.filterwarnings("ignore:.*scored by transformers instead of the native engine:UserWarning")
@pytest.mark.parametrize("name", SCALED)
def test_what_transformers_leaves_out_of_a_config_goes_into_both(name: str, tmp_path: Path) -> None:
    check_same(*both_ways(tiny_file(tmp_path / "m.gguf", "llama", fields=SCALED[name]), tmp_path))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_texts_become_the_ids_of_transformers(name: str, tmp_path: Path) -> None:
    family = "gemma3" if "Gemma" in name else "qwen2" if "Qwen2" in name else "llama"
    theirs, ours = both_ways(tiny_file(tmp_path / "m.gguf", family, tokenizer=TOKENIZERS[name]), tmp_path)
    check_same(theirs, ours)
    wanted, found = AutoTokenizer.from_pretrained(theirs), load_model(ours, chat_template=False).tokenizer
    turns = [{"role": "user", "content": "the cat"}]
    texts = [*TEXTS, wanted.apply_chat_template(turns, tokenize=False)]
    assert found.apply_chat_template(turns, tokenize=False) == texts[-1]
    for text in texts:
        for adds in (True, False):
            ids = wanted(text, add_special_tokens=adds).input_ids
            assert found(text, add_special_tokens=adds).input_ids == ids
            assert found.decode(ids) == wanted.decode(ids, clean_up_tokenization_spaces=False)
    again = AutoTokenizer.from_pretrained(ours)
    assert type(again) is type(wanted)
    assert again.special_tokens_map == wanted.special_tokens_map


def test_what_is_not_known_here_is_converted_by_transformers(tmp_path: Path) -> None:
    about = {**PLAIN, "pre": "gpt-4o"}  # a split that Llamas do not have
    file = tiny_file(tmp_path / "m.gguf", "llama", tokenizer=about)
    check_same(*both_ways(file, tmp_path))
    refused = tiny_file(tmp_path / "r.gguf", "llama", tokenizer=about, fields={"something.new": 1})
    with pytest.raises(ModelError, match=r"llama\.something\.new=1 changes what the model computes"):
        load_model(refused)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "num_hidden_layers",
            3,
            "lacks 9 of the model's weights .* among them 'model.layers.2.input_layernorm.weight'",
        ),
        ("intermediate_size", 80, "lacks 6 of the model's weights or has them in another shape"),
        ("vocab_size", 200, "holds 65984 numbers, of which the model takes 62272: some of its tensors are left out"),
    ],
)
def test_weights_that_do_not_fit_the_fields_are_named(key: str, value: int, message: str, tmp_path: Path) -> None:
    model = gguf_model()
    setattr(model.config, key, value)
    with pytest.raises(ModelError, match=message):
        load_model(write_gguf(tmp_path / "m.gguf", model))
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []


def test_a_count_of_layers_that_no_tensor_stands_for_is_named(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model())
    count = b"llama.block_count" + (4).to_bytes(4, "little")
    good, wrong = (count + number.to_bytes(4, "little") for number in (2, 1 << 31))
    content = file.read_bytes()
    assert content.count(good) == 1
    file.write_bytes(content.replace(good, wrong))
    with pytest.raises(ModelError, match=r"says llama\.block_count=2147483648, but holds 20 tensors; fetch it again"):
        load_model(file)


def test_a_file_without_a_count_of_keys_has_as_many_as_queries(tmp_path: Path) -> None:
    """Llama.cpp's reading; transformers leaves the halves of such heads interleaved."""
    model = gguf_model(num_key_value_heads=4)
    file = write_gguf(tmp_path / "m.gguf", model, without=("llama.attention.head_count_kv",))
    whole = write_gguf(tmp_path / "whole.gguf", model)
    assert load_model(file).digest == load_model(whole).digest


@pytest.mark.filterwarnings("ignore:.*a Gemma answers at random:UserWarning")
@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_gemmas_scores_are_scaled_by_the_size_of_its_heads(family: str, is_known: bool, tmp_path: Path) -> None:
    """Llama.cpp takes 1 / sqrt(size) of all but the 27B; transformers would take 256 for the size."""
    about = GEMMA if is_known else PLAIN  # by transformers
    kind, changes, fields, _ = FAMILIES[family]
    model = gguf_model(kind, vocab_size=len(about["tokens"]), query_pre_attn_scalar=16, **changes)
    file = write_gguf(tmp_path / "m.gguf", model, family=family, tokenizer=about, fields=fields)
    ids = torch.arange(40)[None] % len(about["tokens"])
    with torch.no_grad():
        wanted, found = (one(ids).logits for one in (model, load_model(file, dtype="float32").model))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("fields", [{}, {"attention.sliding_window": 0}])
def test_a_gemma_3_without_windows_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    model = gguf_model("gemma3_text", num_hidden_layers=6, vocab_size=len(GEMMA["tokens"]))
    file = write_gguf(tmp_path / "m.gguf", model, family="gemma3", tokenizer=GEMMA, fields=fields)
    with pytest.raises(ModelError, match="gemma3_text without windows cannot be expressed"):
        load_model(file)
