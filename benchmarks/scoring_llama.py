"""llama.cpp on a GGUF file, as its own scoring of answer choices runs it: one call a prompt."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scoring_peers import Score

from sycophancy_core.scoring.tokens import TokenBatch


def llama_cpp(model_file: Path, kind: str, threads: int) -> Score:
    """Score with llama.cpp from a GGUF file: "quantized" as it is, or after its matrices were written out as ``kind``.

    A prompt's choices are sequences of one call that share the prompt's keys and values; logits are made where they
    are read.
    """
    import llama_cpp as package

    parameters = package.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = 8192, 2048, 512
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.n_seq_max, parameters.kv_unified = 8, True
    if kind == "float32":
        parameters.type_k = parameters.type_v = package.GGML_TYPE_F32
    package.llama_log_set(_silent(package), None)
    with tempfile.TemporaryDirectory() as scratch:
        path = model_file
        if kind != "quantized":
            path = Path(scratch) / "model.gguf"
            write_unquantized(model_file, path, kind)
        options = package.llama_model_default_params()
        options.use_mmap = False
        model = package.llama_model_load_from_file(str(path).encode(), options)
    context = package.llama_init_from_model(model, parameters)
    vocabulary = package.llama_vocab_n_tokens(package.llama_model_get_vocab(model))
    calls = package.llama_batch_init(parameters.n_batch, 0, parameters.n_seq_max)

    def score(batch: TokenBatch) -> NDArray[np.float64]:
        values = np.zeros(batch.num_sequences)
        for prompt in np.unique(batch.prompt_index):
            members = np.flatnonzero(batch.prompt_index == prompt).tolist()
            wanted = _fill(calls, batch, members)
            package.llama_memory_clear(package.llama_get_memory(context), True)
            if package.llama_decode(context, calls) != 0:
                raise RuntimeError("llama.cpp could not run a prompt")
            for row, targets in wanted.items():
                logits = np.ctypeslib.as_array(package.llama_get_logits_ith(context, row), (vocabulary,))
                top = float(logits.max())
                total = top + float(np.log(np.exp(logits - top).sum(dtype=np.float64)))
                for s, token in targets:
                    values[s] += float(logits[token]) - total
        return values

    return score


_CALLBACKS: list[Any] = []


def _silent(package: Any) -> Any:
    _CALLBACKS.append(package.llama_log_callback(lambda *_: None))
    return _CALLBACKS[-1]


def _fill(calls: Any, batch: TokenBatch, members: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Lay a prompt and its choices into a call; returns what is read after which of its rows: sequence and token."""
    context = int(batch.num_context[members[0]])
    wanted: dict[int, list[tuple[int, int]]] = {}
    row = 0

    def add(token: int, position: int, sequences: range) -> int:
        nonlocal row
        calls.token[row], calls.pos[row], calls.n_seq_id[row] = token, position, len(sequences)
        for i, sequence in enumerate(sequences):
            calls.seq_id[row][i] = sequence
        calls.logits[row] = 0
        row += 1
        return row - 1

    everyone = range(len(members))
    for position, token in enumerate(batch.sequence(members[0])[:context].tolist()):
        last = add(token, position, everyone)
    for number, s in enumerate(members):
        before = last
        for position, token in enumerate(batch.sequence(s)[context:].tolist(), context):
            calls.logits[before] = 1
            wanted.setdefault(before, []).append((s, token))
            if position < len(batch.sequence(s)) - 1:
                before = add(token, position, range(number, number + 1))
    calls.n_tokens = row
    return wanted


def file_type(file: Path) -> str:
    """Name what a GGUF file says of its numbers, such as ``Q4_K_M``."""
    import gguf

    number = gguf.GGUFReader(file).fields["general.file_type"].contents()
    return gguf.LlamaFileType(number).name.removeprefix("MOSTLY_")


def write_unquantized(source: Path, target: Path, kind: str) -> None:
    """Write a GGUF file again with its matrices in float32 or bfloat16, and the rest in float32."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    about_file = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture", "general.file_type")
    for name, field in reader.fields.items():
        if name not in about_file:
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if kind == "bfloat16" and numbers.ndim > 1:
            rounded = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(tensor.name, rounded, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(tensor.name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
