"""Makes a folder with a model's weights in bfloat16, as ``bench_scoring.py --model FOLDER`` scores it.

    python benchmarks/bfloat16_folder.py qwen-1.5b.gguf FOLDER
    python benchmarks/bfloat16_folder.py gemma3-1b FOLDER

A GGUF file's weights are rounded to bfloat16. Next to them stand the file itself, under the name of its type
(``Q4_K_M.gguf``), and the same bfloat16 numbers as ``bfloat16.gguf``: llama.cpp runs both. A name in ``SHAPES`` gets
random weights and the embedded model's tokenizer, and no GGUF file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from scoring_llama import file_type, write_unquantized

import sycophancy_core as sc

# The sizes in the configs of Qwen/Qwen2.5-1.5B and google/gemma-3-1b-pt.
SHAPES: dict[str, dict[str, Any]] = {
    "qwen2.5-1.5b": {
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "gemma3-1b": {
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 26,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "sliding_window": 512,
    },
}


def write_random(shape: dict[str, Any], folder: Path) -> None:
    """Write random weights of a shape, the same at every call, with the embedded model's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = sc.load_model(engine="transformers", chat_template=False).tokenizer
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape, **ends), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_rounded(file: Path, folder: Path) -> None:
    """Write a GGUF file's weights, rounded to bfloat16, as safetensors and as GGUF, and a link to the file itself."""
    model = sc.load_model(file, dtype="bfloat16", engine="transformers", chat_template=False)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    write_unquantized(file, folder / "bfloat16.gguf", "bfloat16")
    (folder / f"{file_type(file)}.gguf").symlink_to(file.resolve())


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help=f"a GGUF file, or one of {', '.join(SHAPES)}")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.model in SHAPES:
        write_random(SHAPES[options.model], options.folder)
    else:
        write_rounded(Path(options.model), options.folder)


if __name__ == "__main__":
    main()
