"""Speed and memory of training an adapter: this package in weight space and through PEFT, TRL, transformers' Trainer.

python benchmarks/bench_training.py [--model SOURCE] [--steps 8] [--batch-size 8] [--threads 2] [--device cpu]

Every way trains LoRA of rank 8 on all linear layers, in float32, on the same rows in the same order, without dropout,
each in a process of its own. Columns: tokens a second without padding (median of the steps after the first), how far
memory rose in training over what was held before it (of the process, or of the device), and the loss of the first and
last step.

With --kept it counts instead what a step of a small random Llama keeps of each token, which docs/scale.md builds on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

WAYS = ("weights", "peft", "trl", "trainer")
RANK = 8
WIDTH, TOKENS = 256, 128  # of the small Llama that memory is counted of


def rows_of(seed: int) -> Any:
    """Return training rows as the method makes them: opinions answered by the truth, and instructions."""
    import sycophancy_core as sc

    claims = sc.make_claims(sc.load_examples(), seed=seed)
    prompts = sc.make_prompts(claims, options=sc.PromptOptions(split="train", design="sampled"), seed=seed)
    return sc.mix(prompts.slice(0, 400), sc.load_instructions(), ratio=5.0, seed=seed)


def options_of(arguments: argparse.Namespace, **changes: Any) -> Any:
    """Return the fine-tuning's options; the rate is constant, as the peers' is."""
    import sycophancy_core as sc

    sizes = {"steps": arguments.steps, "batch_size": arguments.batch_size, "lora_rank": RANK, "lora_alpha": 16.0}
    schedule = {"learning_rate": 1e-4, "warmup_share": 0.0, "final_rate_share": 1.0}
    return sc.FinetuneOptions(**sizes, **schedule, precision="float32", **changes)


def train_here(model: Any, rows: Any, arguments: argparse.Namespace, *, through_peft: bool) -> dict[str, Any]:
    """Train with this package; return seconds and losses of the steps."""
    import sycophancy_core as sc

    changes = {"target_modules": r".*\.\d+\..*_proj"} if through_peft else {}
    log = sc.finetune(model, rows, options=options_of(arguments, **changes), progress=False).log
    return {"seconds": log["seconds"].to_pylist(), "loss": log["loss"].to_pylist()}


def trainer_settings(*, steps: int, batch_size: int, use_cpu: bool) -> dict[str, Any]:
    """Return what trainers are told, to take the steps of :func:`options_of`; tests of the integration use it too."""
    return {
        "max_steps": steps,
        "per_device_train_batch_size": batch_size,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": use_cpu,
    }


def lora(rank: int) -> Any:
    """Return PEFT's adapter of the shape that this package trains."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")


def train_there(model: Any, rows: Any, arguments: argparse.Namespace, *, with_trl: bool) -> dict[str, Any]:
    """Train with TRL's SFTTrainer or transformers' Trainer, on an adapter of PEFT's; return seconds and losses."""
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments
    from trl import SFTConfig, SFTTrainer

    from sycophancy_core.integrations.trl import training_dataset

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
        def __init__(self) -> None:
            self.at = [0.0]

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.at.append(time.perf_counter() - self.begun)

    dataset = training_dataset(model, rows, options=options_of(arguments))
    adapter, on_cpu = lora(RANK), arguments.device == "cpu"
    settings = trainer_settings(steps=arguments.steps, batch_size=arguments.batch_size, use_cpu=on_cpu)
    settings["output_dir"] = tempfile.mkdtemp()
    if with_trl:
        config = SFTConfig(**settings, max_length=None)
        parts = {"processing_class": model.tokenizer, "peft_config": adapter}
        trainer = SFTTrainer(model=model.model, args=config, train_dataset=dataset, **parts)
    else:
        collate = DataCollatorForSeq2Seq(model.tokenizer, padding=True)
        module = get_peft_model(model.model, adapter)
        trainer = Trainer(
            model=module, args=TrainingArguments(**settings), train_dataset=dataset, data_collator=collate
        )
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return {"seconds": clock.at[1:], "loss": [e["loss"] for e in trainer.state.log_history if "loss" in e]}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train in this process in one way, and return what its row of the table says."""
    import torch

    import sycophancy_core as sc
    from sycophancy_core.integrations.trl import training_dataset

    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    model = sc.load_model(arguments.model, device=arguments.device, chat_template=False)
    rows = rows_of(0)
    tokens = [len(ids) for ids in training_dataset(model, rows, options=options_of(arguments))["input_ids"]]
    before = forget_peak(arguments.device)
    if arguments.way in ("weights", "peft"):
        found = train_here(model, rows, arguments, through_peft=arguments.way == "peft")
    else:
        found = train_there(model, rows, arguments, with_trl=arguments.way == "trl")
    size = arguments.batch_size
    per_step = [sum(tokens[start : start + size]) for start in range(0, len(tokens), size)]
    rates = [count / seconds for count, seconds in zip(per_step, found["seconds"], strict=True)]
    peak = peak_bytes(arguments.device) - before
    return {"rate": statistics.median(rates[1:]), "bytes": peak, "first": found["loss"][0], "last": found["loss"][-1]}


def forget_peak(device: str) -> int:
    """Reset the peak to what is in use now, so that loading does not count; return that number of bytes."""
    import torch

    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
        return _resident_bytes("VmRSS")
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def peak_bytes(device: str) -> int:
    """Return the most memory that was held since: of the process, or of the device."""
    import torch

    return _resident_bytes("VmHWM") if device == "cpu" else int(torch.cuda.max_memory_allocated())


def _resident_bytes(name: str) -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def print_kept() -> None:
    """Print what a step on all weights of a small random Llama keeps of each token for the backward pass."""
    print("| products | computed again | bytes a token, block and number of width |\n|---|---|---|")
    for precision in ("float32", "bfloat16"):
        for again in (False, True):
            few, many = (kept_a_token(blocks, precision, again) for blocks in (2, 6))
            print(f"| {precision} | {'yes' if again else 'no'} | {(many - few) / 4 / WIDTH:.1f} |", flush=True)


def kept_a_token(blocks: int, precision: Any, again: bool) -> float:
    """Return bytes a token: the slope between steps of two and of six rows."""
    few, many = (kept_by_a_step(blocks, number, precision, again) for number in (2, 6))
    return (many - few) / (4 * TOKENS)


def kept_by_a_step(blocks: int, num_rows: int, precision: Any, again: bool) -> int:
    """Return the bytes that autograd saves in one step, each stretch of memory counted once, weights left out."""
    import pyarrow as pa
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import sycophancy_core as sc

    tokenizer = sc.load_model(chat_template=False).tokenizer
    sizes = {"hidden_size": WIDTH, "intermediate_size": 7 * WIDTH // 2, "num_hidden_layers": blocks}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2}
    module = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **heads))
    model = sc.load_model((module, tokenizer), engine="transformers", chat_template=False)
    weights = {parameter.data_ptr() for parameter in module.parameters()}
    shapes = {tuple(parameter.shape) for parameter in module.parameters()}
    shapes |= {shape[::-1] for shape in shapes}  # their copies in bfloat16, too
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tuple(tensor.shape) not in shapes:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    prompt = tokenizer.decode(tokenizer(" word")["input_ids"] * (TOKENS - 3))  # its choice has three tokens
    columns = {"id": [str(n) for n in range(num_rows)], "origin": ["synthetic"] * num_rows}
    rows = pa.table(columns | {"prompt": [prompt] * num_rows, "completion": [" (A)"] * num_rows})
    how = {"precision": precision, "gradient_checkpointing": again, "pad_multiple": 1}
    options = sc.FinetuneOptions.wei2023(steps=1, batch_size=num_rows, **how)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        sc.finetune(model, rows, options=options, progress=False)
    return sum(saved.values())


def main() -> None:
    """Run every way in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true")
    arguments = parser.parse_args()
    if arguments.kept:
        print_kept()
        return
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    print(f"{'way':<10}{'tokens/s':>10}{'peak GB':>10}{'first loss':>12}{'last loss':>12}")
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"{way:<10}{row['rate']:>10,.0f}{row['bytes'] / 1e9:>10.2f}{row['first']:>12.4f}{row['last']:>12.4f}")


if __name__ == "__main__":
    main()
