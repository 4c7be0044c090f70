"""GGUF files of families and tokenizers that this package does not know, converted by transformers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from sycophancy_core.errors import ModelError
from sycophancy_core.scoring.checkpoints.foreign import transformers_needed, translated
from sycophancy_core.scoring.gguf.fields import check_tensors, honour
from sycophancy_core.scoring.gguf.header import GgufHeader
from sycophancy_core.scoring.gguf.splits import LIKE_GPT2
from sycophancy_core.scoring.gguf.tokenizer_files import whole_tokens


def convert_by_transformers(file: Path, header: GgufHeader, scratch: Path, half: str | None) -> None:
    """Convert a file into ``scratch/made``, where nothing is next to it that a reader would take for a part of it.

    Parameters
    ----------
    half
        A type of 16 bits, which the weights get if it changes none of them; else they are float32.

    Raises
    ------
    ModelError
        If transformers is missing or cannot convert the file, or the file says of its model what it does not read.
    """
    kind = header.fields.get("tokenizer.ggml.model")
    with transformers_needed(f"the first reading of {file.name} (family {header.family!r}, tokenizer {kind!r})"):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from sycophancy_core.scoring.sources import check_loaded, quiet_transformers

    what, alone, made = f"load_model: {file}", scratch / "alone", scratch / "made"
    alone.mkdir()
    (alone / "model.gguf").symlink_to(file.resolve())
    options = {"gguf_file": "model.gguf", "local_files_only": True, "trust_remote_code": False}
    with quiet_transformers(), translated(f"{what} cannot be converted by transformers"):
        config = AutoConfig.from_pretrained(alone, **options)
        honour(header, config, what=what)
        read, loaded = AutoModelForCausalLM.from_pretrained(
            alone, config=config, dtype=torch.float32, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(alone, **options)
        _check_split(header, what)
        _check_whole_tokens(header, tokenizer, what)
        # A model read from GGUF carries its quantization in the config, and could not be saved with it.
        if hasattr(read.config, "quantization_config"):
            del read.config.quantization_config
        if all(tensor.is_floating_point() for tensor in read.parameters()):  # others are as packed as in the file
            is_tied = getattr(read.config, "tie_word_embeddings", False)
            check_tensors(header, _num_weights(read), what=what, is_tied=is_tied)
        model = type(read)(read.config)
        model.load_state_dict(read.state_dict())
        _in_its_type(model, half).save_pretrained(made)
        tokenizer.save_pretrained(made)
    check_loaded(file, loaded)  # here, since the context would swallow its warning


def _check_split(header: GgufHeader, what: str) -> None:
    """Refuse a byte-level tokenizer with a split of texts that transformers does not know: it would make GPT-2's."""
    known = set(LIKE_GPT2)
    with suppress(ImportError):  # an earlier version splits all texts as GPT-2 does
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

        known |= set(GGUF_PRE_TOKENIZER_SPLITS)
    split = str(header.fields.get("tokenizer.ggml.pre", "default"))
    if header.fields.get("tokenizer.ggml.model") == "gpt2" and split not in known:
        raise ModelError(
            f"{what}: its tokenizer splits texts as {split!r}, which transformers does not do; use the model's "
            "safetensors files"
        )


def _check_whole_tokens(header: GgufHeader, tokenizer: Any, what: str) -> None:
    """Refuse a tokenizer in bytes that would cut a token of control or of the user, such as DeepSeek's."""
    if header.fields.get("tokenizer.ggml.model") == "gpt2":
        for token, place in whole_tokens(header).items():
            if place not in tokenizer(token, add_special_tokens=False).input_ids:
                raise ModelError(
                    f"{what}: transformers cuts its token {token!r} into pieces; use the model's safetensors files"
                )


def _num_weights(model: Any) -> int:
    return sum(tensor.numel() for tensor in {id(t): t for t in model.state_dict(keep_vars=True).values()}.values())


def _in_its_type(model: Any, half: str | None) -> Any:
    """Return the model in a type of 16 bits, if that changes none of its numbers."""
    import torch

    if half is None or any((p.to(getattr(torch, half)).float() != p).any() for p in model.parameters()):
        return model
    return model.to(getattr(torch, half))
