"""Files of models: weights, their index, configs, tokenizers, adapters, GGUF."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fuzz.mutations import mutated_bytes, mutated_json, mutated_safetensors
from fuzz.runner import Case, Target
from makers.gguf_files.gguf_tokenizers import LLAMA
from makers.gguf_files.tiny_gguf import gguf_model, write_gguf
from makers.tiny_llama import tiny_llama, tiny_tokenizer
from peft import LoraConfig, get_peft_model
from safetensors.torch import save

import sycophancy_core as sc
from sycophancy_core.scoring.checkpoints.saved_adapter import merge_saved_adapter

CONTEXTS, CHOICES = ["a b c"], [[" d", " e f"]]


def use_model(folder: Path, rng: random.Random) -> None:
    """Load a model and, half of the time, score with it."""
    model = sc.load_model(folder)
    if rng.random() < 0.5:
        model.log_probs(CONTEXTS, CHOICES)


def model_file(name: str, mutate: Callable[[bytes, random.Random], bytes]) -> Callable[[Path], Case]:
    """Return what fuzzes one file of a saved model of two shards."""

    def prepare(folder: Path) -> Case:
        tiny_llama().save_pretrained(folder, max_shard_size="40KB")
        tiny_tokenizer().save_pretrained(folder)
        shards = sorted(folder.glob("*.safetensors"))
        assert len(shards) > 1
        path = shards[0] if name == "shard" else folder / name
        good = path.read_bytes()

        def case(rng: random.Random) -> None:
            path.write_bytes(mutate(good, rng))
            use_model(folder, rng)

        return case

    return prepare


def json_file(name: str) -> Callable[[Path], Case]:
    """Return what fuzzes a JSON file of a saved model."""
    return model_file(name, lambda good, rng: mutated_json(json.loads(good), rng))


class Pair(torch.nn.Module):
    """A module that an adapter fits."""

    def __init__(self) -> None:
        super().__init__()
        self.q = torch.nn.Linear(8, 8, bias=False)
        self.k = torch.nn.Linear(8, 4, bias=False)


def adapter(folder: Path) -> Case:
    """Fuzz an adapter's config and its weights."""
    shapes = {"q": 8, "k": 4}
    tensors = {f"base_model.model.{n}.lora_A.weight": torch.randn(2, 8) for n in shapes}
    tensors |= {f"base_model.model.{n}.lora_B.weight": torch.randn(o, 2) for n, o in shapes.items()}
    config: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 2.0, "bias": "none", "use_dora": False}
    config |= {
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "init_lora_weights": True,
        "target_modules": ["q", "k"],
    }
    good = save(tensors)

    def case(rng: random.Random) -> None:
        both = rng.randrange(3)
        weights = mutated_safetensors(good, rng) if both != 0 else good
        (folder / "adapter_model.safetensors").write_bytes(weights)
        text = mutated_json(config, rng) if both != 1 else json.dumps(config).encode()
        (folder / "adapter_config.json").write_bytes(text)
        merge_saved_adapter(Pair(), folder)

    return case


def adapter_next_to_weights(folder: Path) -> Case:
    """Fuzz the two files of an adapter that the engine runs next to a model's own."""
    tiny_llama().save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    get_peft_model(tiny_llama(), LoraConfig(r=2, use_dora=True)).save_pretrained(folder / "adapter")
    config, weights = (folder / "adapter" / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    settings, tensors = json.loads(config.read_bytes()), weights.read_bytes()
    base = sc.load_model(folder / "base")
    base.with_adapter(folder / "adapter")

    def case(rng: random.Random) -> None:
        in_config = rng.random() < 0.5
        config.write_bytes(mutated_json(settings, rng) if in_config else json.dumps(settings).encode())
        weights.write_bytes(tensors if in_config else mutated_safetensors(tensors, rng))
        base.with_adapter(folder / "adapter").log_probs(CONTEXTS, CHOICES)

    return case


def gguf(folder: Path) -> Case:
    """Fuzz a GGUF file of bytes or of pieces: mostly its header, which says what the rest is."""
    of_pieces = gguf_model(vocab_size=len(LLAMA["tokens"]))
    files = [
        write_gguf(folder / "bytes.gguf", gguf_model()).read_bytes(),
        write_gguf(folder / "pieces.gguf", of_pieces, tokenizer=LLAMA).read_bytes(),
    ]

    def case(rng: random.Random) -> None:
        shutil.rmtree(folder.parent / "cache", ignore_errors=True)
        good = rng.choice(files)
        head = good.index(b"blk.0") + 1500
        cut = rng.choice((24, 700, head, head))
        data = mutated_bytes(good[:cut], rng) + good[cut:] if rng.random() < 0.8 else mutated_bytes(good, rng)
        (folder / "m.gguf").write_bytes(data)
        use_model(folder / "m.gguf", rng)

    return case


TARGETS = (
    Target("model: config", json_file("config.json"), 250),
    Target("model: generation config", json_file("generation_config.json"), 50),
    Target("model: shard", model_file("shard", mutated_safetensors), 150),
    Target("model: index", json_file("model.safetensors.index.json"), 150),
    Target("model: tokenizer", json_file("tokenizer.json"), 150),
    Target("model: tokenizer config", json_file("tokenizer_config.json"), 150),
    Target("model: adapter", adapter, 400),
    Target("model: adapter next to weights", adapter_next_to_weights, 300),
    Target("model: gguf", gguf, 150),
)
