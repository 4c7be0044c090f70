"""Folders as the hub has had them for years: names without a prefix, and masks among the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from makers.tiny_families import tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from sycophancy_core import load_model

TEXT, CHOICE = "A text about one and two; agree or disagree?", " (A)"
Weights = dict[str, torch.Tensor]


def as_it_is(weights: Weights) -> Weights:
    return weights


def without_prefix(weights: Weights) -> Weights:
    return {name.removeprefix("transformer."): one for name, one in weights.items()}


def with_masks(weights: Weights) -> Weights:
    """Add what GPT-2 and GPT-NeoX kept in every layer: which positions see which, and what hides the others."""
    added = {}
    for name in weights:
        layer, found, _ = name.partition("attn.c_attn.weight" if "c_attn" in name else "attention.dense.weight")
        if found:
            place = f"{layer}{found.partition('.')[0]}"
            added[f"{place}.bias"] = torch.ones(1, 1, 300, 300).tril().bool()
            added[f"{place}.masked_bias"] = torch.tensor(-1e9)
    assert len(added) == 4
    return weights | added


def with_head(weights: Weights) -> Weights:
    (table,) = (one for name, one in weights.items() if name.endswith("wte.weight"))
    return weights | {"lm_head.weight": table.clone()}


LAYOUTS: dict[str, tuple[Any, ...]] = {
    "of today": (as_it_is,),
    "without a prefix": (without_prefix,),
    "with masks": (with_masks,),
    "without a prefix, with masks": (without_prefix, with_masks),
    "without a prefix, with masks and a head": (without_prefix, with_masks, with_head),
}


@pytest.mark.parametrize("engine", ["native", "transformers"])
@pytest.mark.parametrize(("family", "layout"), [*(("gpt2", name) for name in LAYOUTS), ("gpt-neox", "with masks")])
def test_an_old_layout_is_the_same_model(family: str, layout: str, engine: str, tmp_path: Path) -> None:
    model, tokenizer, file = tiny_model(family), tiny_tokenizer(), tmp_path / "model.safetensors"
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    saved = load_model(tmp_path, engine=engine).digest
    weights = load_file(file)
    for change in LAYOUTS[layout]:
        weights = change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    start, whole = (tokenizer(text).input_ids for text in (TEXT, TEXT + CHOICE))
    with torch.no_grad():
        likely = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    wanted = sum(float(likely[at - 1, whole[at]]) for at in range(len(start), len(whole)))
    found = load_model(tmp_path, engine=engine)
    assert found.log_probs([TEXT], [[CHOICE]])[0, 0] == pytest.approx(wanted, abs=1e-4)
    assert found.digest == saved
