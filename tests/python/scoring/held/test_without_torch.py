"""Scoring on files needs neither torch nor transformers: a process that has scored has imported neither."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from makers.gguf_files.gguf_tokenizers import GEMMA
from makers.gguf_files.tiny_gguf import PLAIN, gguf_model, write_gguf
from makers.tiny_encoder_decoders import tiny_encoder_decoder
from makers.tiny_families import tiny_model, tiny_tokenizer
from peft import LoraConfig, get_peft_model

from sycophancy_core.scoring.gguf.by_transformers import convert_by_transformers
from sycophancy_core.scoring.gguf.header import read_header

ABSENT = (
    "[name for name in ('torch', 'transformers', 'safetensors', 'accelerate', 'matplotlib') if name in sys.modules]"
)
TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)


def run(code: str, *, blocked: bool = True) -> str:
    """Run code in a process of its own, in which torch and transformers cannot be imported if they are blocked."""
    block = "import sys; sys.modules.update(torch=None, transformers=None, safetensors=None); " if blocked else ""
    command = [sys.executable, "-c", f"{block}{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SCORED = "import sycophancy_core as sc; print(sc.load_model({!r}, {}).log_probs(['one two'], [[' y', ' n']]).tolist())"


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "t5"])
def test_a_folder_is_scored_where_torch_and_transformers_are_missing(name: str, tmp_path: Path) -> None:
    module = tiny_encoder_decoder(name) if name == "t5" else tiny_model(name)
    module.bfloat16().save_pretrained(tmp_path)
    tiny_tokenizer(chat_template=None if name == "t5" else TEMPLATE).save_pretrained(tmp_path)
    for options in ["chat_template=False", "chat_template=True, matmul_precision='medium'"][: 1 if name == "t5" else 2]:
        code = SCORED.format(str(tmp_path), options)
        assert run(f"import warnings; warnings.simplefilter('ignore'); {code}") == run(
            f"import torch, transformers, warnings; warnings.simplefilter('ignore'); {code}", blocked=False
        )


def test_a_process_that_scores_imports_neither(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    code = f"import sys; {SCORED.format(str(tmp_path), 'engine=' + repr('native'))}; print({ABSENT})"
    assert run(code, blocked=False).splitlines()[-1] == "[]"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_next_to_the_files_needs_neither(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    adapted = get_peft_model(tiny_model("llama"), LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapter")
    options = f"adapter={str(tmp_path / 'adapter')!r}, merge_adapter=False"
    code = SCORED.format(str(tmp_path / "base"), options)
    assert run(code) == run(f"import torch, transformers; {code}", blocked=False)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_scores_without_torch_too(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    code = (
        "import multiprocessing, sycophancy_core as sc\n"
        f"model = sc.load_model({str(tmp_path)!r})\n"
        "score = lambda: model.log_probs(['a'] * 50, [[' b', ' c']] * 50).tolist()\n"
        "wanted, fork = score(), multiprocessing.get_context('fork')\n"
        "queue = fork.Queue()\n"
        "child = fork.Process(target=lambda: queue.put(score()), daemon=True)\n"
        "child.start()\n"
        "print(queue.get(timeout=100) == wanted)"
    )
    assert run(f"pass\n{code}") == "True"


@pytest.mark.model
def test_the_command_line_evaluates_the_embedded_model_without_them(tmp_path: Path) -> None:
    code = (
        "import sys; from sycophancy_core.cli import main; "
        f"main(['evaluate', '--tasks', 'facts', '--limit', '2', '-o', {str(tmp_path / 'found')!r}, '--quiet']); "
    )
    loaded = run(f"{code} print([name for name in ('torch', 'transformers') if name in sys.modules])", blocked=False)
    assert loaded.splitlines()[-1] == "[]"


def test_what_needs_a_module_says_what_to_install(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    code = (
        "import sycophancy_core as sc\n"
        f"model = sc.load_model({str(tmp_path)!r})\n"
        "try:\n    model.model\nexcept sc.ModelError as error:\n    print(error)"
    )
    assert "needs torch, which is not installed; run: pip install torch" in run(f"pass\n{code}")


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_gguf_file_is_converted_and_scored_where_they_are_missing(family: str, tmp_path: Path) -> None:
    about = GEMMA if family == "gemma2" else PLAIN
    heads = {"attention.key_length": 16}
    model = gguf_model(family, vocab_size=len(about["tokens"]))
    file = write_gguf(tmp_path / "m.gguf", model, family=family, tokenizer=about, fields=heads, kind="Q8_0")
    convert_by_transformers(file, read_header(file), tmp_path, None)
    code = f"import os; os.environ['SYCO_CACHE'] = {str(tmp_path / 'cache')!r}; {SCORED.format(str(file), '')}"
    assert run(code) == run(SCORED.format(str(tmp_path / "made"), ""), blocked=False)


def test_a_gguf_file_that_is_not_known_says_what_it_needs(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", gguf_model(), family="nosucharch")
    code = f"import sycophancy_core as sc\ntry:\n    sc.load_model({str(file)!r})\nexcept sc.ModelError as error:\n"
    assert run(f"pass\n{code}    print(error)") == (
        "load_model: the first reading of m.gguf (family 'nosucharch', tokenizer 'gpt2') needs torch, which is not "
        "installed; run: pip install torch"
    )


@pytest.mark.model
def test_the_embedded_model_is_converted_without_them(tmp_path: Path) -> None:
    code = "import sycophancy_core as sc; model = sc.load_model(chat_template=False); "
    code += "print(model.digest, model.tokenizer_digest, model.log_probs(['one two'], [[' y', ' n']]).tolist())"
    said = run(f"import os; os.environ['SYCO_CACHE'] = {str(tmp_path)!r}; {code}")
    assert said == run(code, blocked=False)
