"""P1: a command that is killed at any moment, and called again, ends with the bytes of one that was not."""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from makers.killable import Commands
from makers.stand_in_server import stand_in
from makers.tiny_llama import THINKING_TEMPLATE, tiny_llama, tiny_tokenizer

KILLS = int(os.environ.get("SYCO_KILLS", "340"))  # of `make check`, over all workloads
SEED = 20260101

STUDY = """\
model: {model}
families: [addition]
candidate_families: [sample_sentiment]
claims: 6
candidates: 12
batch_size: 4
lora_rank: 2
sweep: {{filter: [none], steps: [2, 3]}}
"""

CURES = """\
model: {model}
families: [capitals]
candidate_families: [plurals]
validation_families: [currencies]
claims: 8
candidates: 12
num_random: 2
cures:
  told: {{method: prompted, text: Be true.}}
  vector: {{method: steered, layers: [1], strengths: [8.0]}}
  tuned: {{method: synthetic, steps: 2, batch_size: 4, lora_rank: 2}}
"""

_SCORING = "--model MODEL --quiet"
_TRAINING = f"finetune --rows IN/rows.parquet --batch-size 4 --checkpoint-steps 1 {_SCORING}"
WORKLOADS = {
    "examples": "examples --limit 40 -o OUT/x.parquet",
    "claims": "claims -o OUT/c.jsonl",
    "additions": "additions -o OUT/a.csv",
    "prompts": "prompts --claims IN/claims.parquet -o OUT/p.parquet",
    "generate": "generate --n 900 -o OUT/p.parquet",
    "generate lines": "generate --n 900 -o OUT/p.jsonl",
    "score": f"score --prompts IN/prompts.parquet {_SCORING} -o OUT/s.parquet",
    "filter": f"filter --claims IN/few.parquet --every-claim OUT/every.parquet {_SCORING} -o OUT/k.parquet",
    "mix": "mix --prompts IN/opinions.parquet -o OUT/rows.parquet",
    "finetune": f"{_TRAINING} --steps 8 -o OUT",
    "finetune an adapter": f"{_TRAINING} --steps 8 --lora-rank 2 --curve IN/prompts.parquet --every 3 -o OUT",
    "finetune through PEFT": f"{_TRAINING} --steps 8 --lora-rank 2 --dtype bfloat16 -o OUT",
    "organism": "organism --model MODEL7 --steps 3 --batch-size 2 --rank 2 --quiet -o OUT",
    "evaluate": f"evaluate --tasks addition_factorial --limit 20 {_SCORING} -o OUT",
    "evaluate draws": f"evaluate --tasks addition_factorial --limit 5 --draws 2 --max-tokens 4 {_SCORING} -o OUT",
    "evaluate draws of a server": "evaluate --model SERVER/v1/chat/completions --tasks addition_factorial --limit 1"
    " --draws 32 --max-tokens 1 --quiet -o OUT",
    "evaluate thoughts": "evaluate --model THINKING --tasks addition_factorial --limit 1 --think 6 --quiet -o OUT",
    "evaluate-many": "evaluate-many MODEL --tasks addition_factorial --limit 5 --quiet -o OUT",
    "compare": "compare IN/before IN/after -o OUT",
    "report": "report IN/before -o OUT/r.html",
    "study": "study IN/study.yaml --quiet -o OUT",
    "study of cures": "study IN/cures.yaml --quiet -o OUT",
}
QUICK = (
    "generate",
    "score",
    "finetune",
    "finetune an adapter",
    "finetune through PEFT",
    "evaluate",
)  # whose stops cost most


class World:
    """Inputs, commands, and what each workload makes when nobody disturbs it."""

    def __init__(self, folder: Path, commands: Commands, server: str) -> None:
        self.folder = folder
        self.commands = commands
        self.server = server
        self.whole: dict[str, tuple[dict[str, str], float]] = {}
        self.kills = 0  # that met a command at work

    def words(self, text: str, out: Path) -> list[str]:
        places: dict[str, object] = {
            "MODEL7": self.folder / "model7",
            "MODEL": self.folder / "model",
            "THINKING": self.folder / "thinking",
            "IN": self.folder,
            "OUT": out,
        }
        places |= {"SERVER": self.server}
        words = []
        for word in text.split():
            head, _, tail = word.partition("/")
            words.append(f"{places[head]}/{tail}".removesuffix("/") if head in places else word)
        return words

    def undisturbed(self, name: str) -> tuple[dict[str, str], float]:
        """Return the digests of all files of a whole run, and the seconds that it takes."""
        if name not in self.whole:
            out = self.folder / f"whole-{name.replace(chr(32), chr(45))}"
            for _ in range(2):  # the second time, what is read and compiled once is there
                start = time.monotonic()
                assert self.commands.run(self.words(WORKLOADS[name], out)) == 0, self.commands.log.read_text()
                seconds = time.monotonic() - start
            self.whole[name] = digests(out), seconds
        return self.whole[name]


def digests(folder: Path) -> dict[str, str]:
    """Digest every file that a command leaves, but for the seconds, the day and the folder that it was told."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("timings.json", "made.json"):
            content = path.read_bytes().replace(str(folder).encode(), b"OUT")
            if path.name == "seal.json":  # holds the digests of these very files
                content = " ".join(sorted(json.loads(content)["files"])).encode()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kills")
    for name, layers in (("model", 2), ("model7", 7)):
        tiny_llama(num_hidden_layers=layers).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINKING_TEMPLATE
    tiny_llama().save_pretrained(folder / "thinking")
    tokenizer.save_pretrained(folder / "thinking")
    for name, text in (("study", STUDY), ("cures", CURES)):
        (folder / f"{name}.yaml").write_text(text.format(model=folder / "model"))
    with Commands(folder / "log") as commands, stand_in("chat") as server:
        world = World(folder, commands, server.url)
        for text in (
            "claims --seed 1 -o IN/claims.parquet",
            "additions --n 12 -o IN/few.parquet",
            "prompts --claims IN/few.parquet --split test -o IN/prompts.parquet",
            "prompts --claims IN/claims.parquet --split train --design sampled -o IN/opinions.parquet",
            "mix --prompts IN/opinions.parquet -o IN/rows.parquet",
            "evaluate --model MODEL --tasks addition_factorial --limit 5 --quiet -o IN/before",
            "evaluate --model MODEL --tasks addition_factorial --limit 5 --quiet --matmul-precision high -o IN/after",
        ):
            assert commands.run(world.words(text, folder)) == 0, commands.log.read_text()
        yield world
    printer = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    if printer:
        printer.write_line(f"\n{world.kills} kills at random moments, seed {SEED}")


def kill_and_go_on(world: World, name: str, draws: random.Random, out: Path) -> None:
    """Kill a workload at one to three random moments, then let it end with the bytes of an undisturbed run."""
    wanted, seconds = world.undisturbed(name)
    words, moments = world.words(WORKLOADS[name], out), []
    for _ in range(draws.randint(1, 3)):
        moments.append(draws.uniform(0, seconds))
        code = world.commands.run(words, after=moments[-1])
        assert code in (0, -signal.SIGKILL), world.commands.log.read_text()
        if code == 0:
            break
        world.kills += 1
    assert world.commands.run(words) == 0, (moments, world.commands.log.read_text())
    assert digests(out) == wanted, moments


@pytest.mark.parametrize("name", QUICK)
def test_p1_a_killed_command_goes_on_to_the_same_bytes(name: str, world: World, tmp_path: Path) -> None:
    kill_and_go_on(world, name, random.Random(f"{SEED} {name}"), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_p1_hundreds_of_kills_end_with_the_same_bytes(name: str, world: World, tmp_path: Path) -> None:
    draws, before, trial = random.Random(f"{SEED} {name} many"), world.kills, 0
    while world.kills - before < KILLS / len(WORKLOADS):
        kill_and_go_on(world, name, draws, tmp_path / str(trial))
        trial += 1


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGINT, signal.SIGHUP))]
)
def test_p11_a_stopped_training_is_kept_and_resumed(number: signal.Signals, world: World, tmp_path: Path) -> None:
    words = world.words(WORKLOADS["finetune"], tmp_path / "whole")
    words[words.index("--steps") + 1] = "200"
    words[words.index("--checkpoint-steps") + 1] = "7"
    assert world.commands.run(words) == 0
    out = tmp_path / "stopped"
    words[words.index(str(tmp_path / "whole"))] = str(out)
    assert world.commands.run(words, after=out / "finetune.checkpoint.safetensors", number=number) == 128 + number
    said = world.commands.log.read_text()
    assert "Traceback" not in said
    assert f"kept in {out}" in said
    assert "To resume: sycophancy-core finetune" in said
    assert world.commands.run(words) == 0
    assert digests(out) == digests(tmp_path / "whole")
