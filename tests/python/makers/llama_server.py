"""llama.cpp's own server, in a process of its own on the loopback address: one for each GGUF file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_servers(*files: Path) -> Iterator[list[str]]:
    """Run a server for each file while the block lasts, and give their URLs."""
    command = [sys.executable, __file__, *map(str, files)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()  # the process ends with it, or with us
        process.stdout.close()
        process.wait(timeout=60)


def _serve(files: list[str]) -> None:
    import xllamacpp

    servers = []
    for file in files:
        params = xllamacpp.CommonParams()
        params.model.path = file
        params.n_ctx = 2048
        params.n_parallel = 2
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.port = 0
        params.warmup = False
        params.cache_ram_mib = 0
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32  # F16 moves the third digit
        servers.append(xllamacpp.Server(params))
    print(json.dumps([server.listening_address for server in servers]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1:])
    sys.stdout.flush()
    import os

    os._exit(0)  # whatever the server's threads do
