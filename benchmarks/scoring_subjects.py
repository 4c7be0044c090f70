"""The models that are scored, each with its contenders: this package and its peers on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import scoring_llama as llama
import scoring_peers as peers
import scoring_t5 as t5
from scoring_work import decoder_cost

import sycophancy_core as sc
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.sources import embedded_gguf, resolve_source
from sycophancy_core.scoring.tokens import TokenBatch, tokenize_prompts

REFERENCE = "transformers float32"  # errors are differences from its log-probabilities


@dataclass(frozen=True)
class Contender:
    """How to make a scorer, and the number type of its products, which sets its ceiling; "" for none measured.

    One that is not timed would crowd out the others: it runs in processes of its own only.
    """

    make: Callable[[], peers.Score]
    products: str
    is_timed: bool = True


class Subject(Protocol):
    """A model; whatever is heavy is loaded when it is first asked for, so that a process holds what it uses."""

    def batch_of(self, prompts: pa.Table) -> TokenBatch:
        """Tokenize prompts."""

    def cost(self, batch: TokenBatch) -> tuple[int, float]:
        """Count distinct tokens and needed operations."""

    def product(self) -> tuple[int, int]:
        """Features before and after the model's first product of the MLP, with which GEMM is measured."""

    def contenders(self, threads: int) -> dict[str, Contender]:
        """Name every contender; ``REFERENCE`` is one of them."""


def transformers_contenders(by_type: dict[str, Callable[[], LanguageModel]]) -> dict[str, Contender]:
    """Name the ways to score on transformers' modules of a decoder, by number type."""
    makers: dict[str, Callable[[LanguageModel], peers.Score]] = {
        "lm-eval": lambda own: peers.lm_eval(own.model, own.tokenizer),
        "transformers": lambda own: peers.plain_transformers(own.model),
        "transformers tuned": lambda own: peers.tuned_transformers(own.model),
        "transformers compiled": lambda own: peers.tuned_transformers(own.model, compiled=True),
    }
    return {
        f"{name} {dtype}": Contender(lambda make=make, load=load: make(load()), dtype)
        for name, make in makers.items()
        for dtype, load in by_type.items()
    }


def our_contenders(load: Callable[[], LanguageModel]) -> dict[str, Contender]:
    """Name this package's precisions."""
    products = {"highest": "float32", "high": "three bfloat16", "medium": "bfloat16"}
    return {
        f"ours {precision}": Contender(lambda precision=precision: peers.ours(load(), precision), kind)
        for precision, kind in products.items()
    }


class SmolLM2:
    """SmolLM2-135M-Instruct, the embedded model."""

    @cached_property
    def model(self) -> LanguageModel:
        """The model in float32."""
        return sc.load_model(chat_template=False)

    @cached_property
    def half(self) -> LanguageModel:
        """The model as transformers loads it in bfloat16, which leaves its rotary frequencies in float32."""
        return sc.load_model(dtype="bfloat16", engine="transformers", chat_template=False)

    def batch_of(self, prompts: pa.Table) -> TokenBatch:
        """Tokenize prompts."""
        return tokenize_prompts(self.model.encoder, prompts)

    def cost(self, batch: TokenBatch) -> tuple[int, float]:
        """Count distinct tokens and needed operations."""
        return decoder_cost(self.model.model.config)(batch)

    def product(self) -> tuple[int, int]:
        """Features before and after the first product of the MLP."""
        return 576, 1536

    def contenders(self, threads: int) -> dict[str, Contender]:
        """Name every contender."""
        folder, _ = resolve_source(None)
        return {
            **transformers_contenders({"float32": lambda: self.model, "bfloat16": lambda: self.half}),
            "ctranslate2 float32": Contender(lambda: peers.ctranslate2(folder, "float32", threads), "float32"),
            "ctranslate2 int8": Contender(lambda: peers.ctranslate2(folder, "int8", threads), ""),
            "llama.cpp float32": Contender(lambda: llama.llama_cpp(embedded_gguf(), "float32", threads), "float32"),
            "llama.cpp bfloat16": Contender(lambda: llama.llama_cpp(embedded_gguf(), "bfloat16", threads), "bfloat16"),
            "llama.cpp 4 bits": Contender(lambda: llama.llama_cpp(embedded_gguf(), "quantized", threads), ""),
            **our_contenders(lambda: self.model),
            **{f"ours {name}": Contender(make, "float32") for name, make in self._without_techniques().items()},
        }

    def _without_techniques(self) -> dict[str, Callable[[], peers.Score]]:
        return {
            "highest, orders unshared": lambda: peers.ours_unshared(self.model, "highest", by="prompt"),
            "highest, nothing shared": lambda: peers.ours_unshared(self.model, "highest", by="sequence"),
            "highest, small chunks": lambda: peers.ours_small_chunks(self.model, "highest"),
            "through transformers": lambda: peers.ours_through_transformers(self.model),
        }


class FlanT5:
    """An encoder-decoder of the sizes of Flan-T5-small, with random weights.

    Its token ids are SmolLM2's folded into its vocabulary, so that prompts share what they share as text.
    """

    def __init__(self) -> None:
        self._source = SmolLM2()

    @cached_property
    def model(self) -> LanguageModel:
        """The model in float32."""
        return LanguageModel(t5.flan_t5_small(), self._source.model.tokenizer, name="flan-t5-small, random weights")

    def batch_of(self, prompts: pa.Table) -> TokenBatch:
        """Tokenize prompts."""
        return t5.folded(self._source.batch_of(prompts))

    def cost(self, batch: TokenBatch) -> tuple[int, float]:
        """Count distinct tokens and needed operations."""
        return t5.cost(batch)

    def product(self) -> tuple[int, int]:
        """Features before and after the first product of the MLP."""
        return t5.HIDDEN, t5.INTERMEDIATE

    def contenders(self, threads: int) -> dict[str, Contender]:
        """Name every contender."""
        return {
            "transformers float32": Contender(lambda: t5.plain(t5.flan_t5_small()), "float32"),
            "transformers bfloat16": Contender(lambda: t5.plain(t5.flan_t5_small().bfloat16()), "bfloat16"),
            "transformers tuned float32": Contender(lambda: t5.tuned(t5.flan_t5_small()), "float32"),
            "transformers tuned bfloat16": Contender(lambda: t5.tuned(t5.flan_t5_small().bfloat16()), "bfloat16"),
            **our_contenders(lambda: self.model),
        }


class Folder:
    """A model's folder in bfloat16: this package on its files, peers on a module, llama.cpp on the GGUF files in it.

    ``bfloat16_folder.py`` makes such folders. The module in float32 is the reference only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def model(self) -> LanguageModel:
        """The model on its files."""
        return sc.load_model(self._folder, dtype="bfloat16", chat_template=False)

    @cached_property
    def half(self) -> LanguageModel:
        """The model as transformers loads it in bfloat16."""
        return sc.load_model(self._folder, dtype="bfloat16", engine="transformers", chat_template=False)

    @cached_property
    def exact(self) -> LanguageModel:
        """The model as transformers loads it in float32."""
        return sc.load_model(self._folder, dtype="float32", engine="transformers", chat_template=False)

    def batch_of(self, prompts: pa.Table) -> TokenBatch:
        """Tokenize prompts."""
        return tokenize_prompts(self.model.encoder, prompts)

    def cost(self, batch: TokenBatch) -> tuple[int, float]:
        """Count distinct tokens and needed operations, of a gated MLP as a Llama's."""
        return decoder_cost(self.model.held.text_config)(batch)

    def product(self) -> tuple[int, int]:
        """Features before and after the first product of the MLP."""
        config = self.model.held.text_config
        return config.hidden_size, config.intermediate_size

    def contenders(self, threads: int) -> dict[str, Contender]:
        """Name every contender."""
        files = {f"llama.cpp {file.stem}": file for file in sorted(self._folder.glob("*.gguf"))}
        return {
            REFERENCE: Contender(lambda: peers.plain_transformers(self.exact.model), "float32", is_timed=False),
            **transformers_contenders({"bfloat16": lambda: self.half}),
            **{
                name: Contender(
                    lambda file=file: llama.llama_cpp(file, "quantized", threads),
                    "bfloat16" if file.stem == "bfloat16" else "",
                )
                for name, file in files.items()
            },
            **our_contenders(lambda: self.model),
        }


SUBJECTS: dict[str, Callable[[], Subject]] = {"smollm2": SmolLM2, "flan-t5": FlanT5}


def subject_of(model: str) -> Subject:
    """Return the subject of a name in ``SUBJECTS``, or of a folder."""
    return SUBJECTS[model]() if model in SUBJECTS else Folder(Path(model))
