"""A tokenizer without transformers makes of every text the ids that transformers' own makes."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_tokenizers import TOKENIZERS, WORDS, save_tokenizer
from transformers import AutoTokenizer

from sycophancy_core.scoring import sources
from sycophancy_core.scoring.encoding import Encoder
from sycophancy_core.scoring.sources import tokenizer_text
from sycophancy_core.scoring.tokenizing.light_tokenizer import LightTokenizer, light_tokenizer

ODD = (
    *("", " ", "  ", "\n", "\t\n ", "a", " a", "a ", "Hello, world!", "naïve café", "naïve café", "Ａｂｃ①"),
    *(
        "東京に行きます。",
        "Привет, мир",
        "🙂🙂🏽👩‍👩‍👧",
        "مرحبا بالعالم",
        "x" * 300,
        "1234567890 3.14159",
        "don't I'll we've",
    ),
    *("\r\nline\r\n\r\nline", "tab\tspace  two   three", "\u200b\u00a0\u3000end", "\x00\x01", "\ufffd", "ẞß İı ﬁ"),
    *("<s> a </s>", "<|end|>", "a<|turn|>user\n<|end|>b", " <left> x <right>  y", "word words aword word.", "<0x41>"),
    *(
        "<bos>a<eos>",
        "<extra_id_0> and <extra_id_99>",
        "[CLS] a [SEP]",
        "<|endoftext|>x",
        "<new pad><newer><a>",
        "▁a ▁",
    ),
    *("def f(x):\n    return x**2", '{"a": [1, 2]}', "(A) Agree\n(B) Disagree", " (A)", "Answer: True", "A B  C"),
)


def texts() -> list[str]:
    """Return odd texts, pieces of a document, and joints of these."""
    draw = random.Random(0)
    document = WORDS.read_text(encoding="utf-8")
    pieces = [document[(at := draw.randrange(len(document) - 200)) : at + draw.randrange(1, 200)] for _ in range(80)]
    return [*ODD, *pieces, *("".join(draw.choices((*ODD, *pieces), k=3)) for _ in range(90))]


FORMS = ("new", "old", "oldest")
CASES = [(name, form) for name in TOKENIZERS for form in FORMS]


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def pair(folder: Path) -> tuple[LightTokenizer, Any]:
    light = light_tokenizer(folder, config_of(folder))
    assert light is not None
    return light, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def assert_alike(light: LightTokenizer, whole: Any) -> None:
    assert tokenizer_text(light) == tokenizer_text(whole)
    assert light.special_tokens_map == whole.special_tokens_map
    assert light.chat_template == whole.chat_template
    assert (light.eos_token, light.eos_token_id) == (whole.eos_token, whole.eos_token_id)
    told = [{i: repr(token) for i, token in one.added_tokens_decoder.items()} for one in (light, whole)]
    assert told[0] == told[1]
    for options in ({}, {"add_special_tokens": False}, {"split_special_tokens": True}):
        found, wanted = (one(texts(), return_attention_mask=False, **options).input_ids for one in (light, whole))
        assert found == wanted
    for ids in light(texts(), add_special_tokens=False).input_ids[:60]:
        wanted = whole.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert light.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == wanted
    assert light("one").input_ids == whole("one").input_ids
    assert light.convert_ids_to_tokens(5) == whole.convert_ids_to_tokens(5)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_ids_are_those_of_transformers(name: str, form: str, tmp_path: Path) -> None:
    assert len(texts()) > 200
    assert_alike(*pair(save_tokenizer(name, tmp_path, form=form)))


@pytest.mark.model
def test_ids_of_the_embedded_model_are_those_of_transformers() -> None:
    folder, _ = sources.resolve_source(None)
    assert isinstance(folder, Path)
    assert_alike(*pair(folder))


DIALOGUES: list[list[dict[str, str]]] = [
    [{"role": "user", "content": " What is 1 + 1? "}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi<|end|>"}],
    [{"role": "user", "content": "A\n\nB"}, {"role": "assistant", "content": " It is"}],
    [{"role": role, "content": role} for role in ("user", "assistant", "user")],
]


@pytest.mark.parametrize("name", ["byte-level", "Qwen2", "Llama, legacy"])
def test_an_encoder_makes_the_same_ids_on_either(name: str, tmp_path: Path) -> None:
    both = pair(save_tokenizer(name, tmp_path, form="new"))
    assert all(one.chat_template for one in both)
    for options in ({}, {"chat_template": True}, {"chat_template": True, "system_prompt": "Think."}):
        prompts = [one for one in DIALOGUES if one[0]["role"] != "system" or "system_prompt" not in options]
        choices = [[" (A)", " yes", "<|turn|>"]] * len(prompts)
        found, wanted = (Encoder(one, **options).rows(prompts, choices) for one in both)
        assert found == wanted
        assert Encoder(both[0], **options).end_of_reply() == Encoder(both[1], **options).end_of_reply()


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def put(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | values))

    return change


@pytest.mark.parametrize(
    "change",
    [
        remove("tokenizer.json"),
        put("added_tokens.json", x=5),
        put("tokenizer_config.json", tokenizer_class="NllbTokenizer"),
        put("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
        put("tokenizer_config.json", split_special_tokens=True),
        put("tokenizer_config.json", fix_mistral_regex=True),
        put("tokenizer_config.json", eos_token={"content": "<|end|>"}),
        put("tokenizer_config.json", chat_template=5),
        put("tokenizer_config.json", added_tokens_decoder={"x": {}}),
        put(
            "tokenizer.json",
            padding=json.loads(
                '{"strategy":"BatchLongest","direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"x"}'
            ),
        ),
        put("config.json", model_type="bert"),
        put("tekken.json"),
        lambda folder: (folder / "additional_chat_templates").mkdir(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
    ],
)
def test_what_may_be_read_otherwise_is_left_to_transformers(change: Callable[[Path], None], tmp_path: Path) -> None:
    folder = save_tokenizer("byte-level", tmp_path, form="old")
    assert light_tokenizer(folder, config_of(folder)) is not None
    change(folder)
    assert light_tokenizer(folder, config_of(folder)) is None


def test_an_added_token_of_an_id_far_away_gets_the_next_one_on_either(tmp_path: Path) -> None:
    folder = save_tokenizer("Qwen2", tmp_path, form="new")
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["added_tokens"].append({**saved["added_tokens"][0], "id": 5000, "content": "<far>"})
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    assert_alike(*pair(folder))


VALUES = (None, True, False, 1, "x", "<|end|>", "</s>", "<new>", [], ["<new>", "<|turn|>"], {"a": "<b>"}, {"a": 1})
SETTINGS = (
    *("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "image_token", "extra_special_tokens"),
    *("additional_special_tokens", "add_prefix_space", "legacy", "add_bos_token", "tokenizer_class", "chat_template"),
    *("padding_side", "model_max_length", "backend", "clean_up_tokenization_spaces", "trim_offsets", "errors", "foo"),
)
CLASSES = (*(f"{name}Tokenizer" for name in ("Llama", "GPT2", "Qwen2", "Gemma", "T5", "GPTNeoX")), "TokenizersBackend")
ADDED = {
    "content": "<more>",
    "lstrip": False,
    "rstrip": True,
    "normalized": False,
    "single_word": False,
    "special": True,
}


def drawn(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for seed in range(400):
        draw = random.Random(seed)
        name = draw.choice(list(TOKENIZERS))
        save_tokenizer(name, folder, form=draw.choice(FORMS))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        for key in draw.choices(SETTINGS, k=draw.choice((1, 2, 3))):
            settings[key] = draw.choice((*CLASSES, *(f"{one}Fast" for one in CLASSES)) if "class" in key else VALUES)
        if draw.random() < 0.2:
            settings["added_tokens_decoder"] = {"2": ADDED, "900": {**ADDED, "content": "<most>", "special": False}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        family = draw.choice(list(TOKENIZERS.values()))[0]
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
        yield seed, settings
        (folder / "special_tokens_map.json").unlink(missing_ok=True)
        (folder / "chat_template.jinja").unlink(missing_ok=True)


def test_drawn_settings_are_read_as_transformers_does_it_or_left_to_it(tmp_path: Path) -> None:
    taken = 0
    for seed, settings in drawn(tmp_path):
        light = light_tokenizer(tmp_path, config_of(tmp_path))
        if light is None:
            continue
        taken += 1
        whole = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
        told = (seed, settings, type(whole).__name__)
        assert tokenizer_text(light) == tokenizer_text(whole), told
        assert light.special_tokens_map == whole.special_tokens_map, told
        assert (light.chat_template, light.eos_token_id) == (whole.chat_template, whole.eos_token_id), told
    assert taken > 100
