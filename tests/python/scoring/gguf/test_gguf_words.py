"""Tokenizers of GGUF files where transformers reads another one than the model was trained with.

The expected ids are those of the models' own pipelines (tokenizer.json of Llama 3, DeepSeek R1 Distill, Tekken and
Phi-3), built here with the package tokenizers; llama.cpp reads the files so, too.
"""

from pathlib import Path
from typing import Any

import pytest
from makers.gguf_files.gguf_tokenizers import BYTES, LLAMA, ODD
from makers.gguf_files.tiny_gguf import PLAIN, gguf_model, write_gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from sycophancy_core import ModelError, load_model

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
USER, END, THINK, BEGIN = (ODD.index(token) for token in ODD[-5:-1])
TEXTS = [
    "xyz ab 12345 xyzab",
    f"{ODD[USER]}Is it <think>ab</think>?{ODD[END]}xyz",
    "a\n\n b<begin>xyz",
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYCO_CACHE", str(tmp_path / "cache"))


def read(path: Path, family: str, about: dict[str, Any], **more: Any) -> Any:
    """Return the tokenizer of a file of a family with such a tokenizer."""
    sizes = {"vocab_size": len(about["tokens"]), "head_dim": 16 if family == "llama" else None, "pad_token_id": 0}
    file = write_gguf(path / "m.gguf", gguf_model(family, **sizes), family=family, tokenizer=about, **more)
    return load_model(file, chat_template=False).tokenizer


def own_pipeline(*, whole_words: bool, split: str) -> Tokenizer:
    """Return what a model's tokenizer.json does: words of the vocabulary as they are, or by merges alone."""
    vocabulary = {token: place for place, token in enumerate(ODD)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")], ignore_merges=whole_words))
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), in_bytes])
    backend.add_special_tokens([AddedToken(ODD[place], normalized=False) for place in (0, USER, END, THINK, BEGIN)])
    return backend


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("says", [{}, {"add_bos_token": True}, {"add_bos_token": False}])
def test_llama_3_takes_whole_words_first_and_begins_with_its_token(
    says: dict[str, bool], text: str, tmp_path: Path
) -> None:
    found = read(tmp_path, "llama", {**BYTES, "pre": "llama-bpe", **says})
    wanted = own_pipeline(whole_words=True, split=LLAMA3_SPLIT).encode(text).ids
    assert ODD.index("xyz") in wanted
    start = [BEGIN] if says.get("add_bos_token", True) else []
    assert found(text).input_ids == [*start, *wanted]
    assert found(text, add_special_tokens=False).input_ids == wanted
    assert found.decode(wanted) == text


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_of_control_and_of_the_user_are_never_cut_however_they_are_spelled(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, "qwen2", {**BYTES, "pre": "deepseek-r1-qwen", "add_bos_token": True})
    wanted = own_pipeline(whole_words=False, split=LLAMA3_SPLIT.replace("{1,3}", "")).encode(text).ids
    assert found(text).input_ids == [BEGIN, *wanted]
    assert found.decode(wanted) == text
    assert found.eos_token_id == END
    assert len(found) <= len(ODD) + 1  # the class's own <|endoftext|>


def test_a_qwens_file_that_names_another_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="family qwen2 has the split 'llama-bpe', but Qwen's tokenizer splits texts in"
    ):
        read(tmp_path, "qwen2", {**BYTES, "pre": "llama-bpe"})


def test_tokens_that_transformers_cuts_are_refused(tmp_path: Path) -> None:
    """The split gpt-4o is left to transformers, which spells every word in bytes."""
    with pytest.raises(
        ModelError, match="transformers cuts its token '<\uff5cUser\uff5c>' into pieces; use the model's"
    ):
        read(tmp_path, "llama", {**BYTES, "pre": "gpt-4o"})


def test_a_split_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    """It would take that of GPT-2, which keeps the digits together that Falcon's splits by three."""
    with pytest.raises(ModelError, match="its tokenizer splits texts as 'falcon', which transformers does not do"):
        read(tmp_path, "llama", {**PLAIN, "pre": "falcon"})
    assert read(tmp_path, "llama", {**PLAIN, "pre": "olmo"})("ab").input_ids == [len(PLAIN["tokens"]) - 1]


def pieces(normalizer: Any, *, rstrip: bool = False) -> Tokenizer:
    """Return the pipeline of a SentencePiece model that was converted with its own normalizer."""
    vocabulary = {token: place for place, token in enumerate(LLAMA["tokens"])}
    merges = [
        (left, right) for left, right in (("t", "h"), ("th", "e"), ("\u2581", "the"), ("a", "b"), ("\u2581", "a"))
    ]
    model = models.BPE(vocab=vocabulary, merges=merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>")
    backend = Tokenizer(model)
    backend.normalizer = normalizer
    control = [AddedToken(token, normalized=False, rstrip=rstrip) for token in ("</s>", "<|user|>", "<think>")]
    backend.add_special_tokens([*control, *(AddedToken(token, normalized=False) for token in ("<unk>", "<s>"))])
    return backend


SPACE = normalizers.Replace(" ", "\u2581")
FIRST = normalizers.Sequence([normalizers.Prepend("\u2581"), SPACE])


@pytest.mark.parametrize("text", ["the the", "the<|user|>the <s> the", " the"])
def test_no_space_is_put_before_a_text_where_the_file_says_so(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, "llama", {**LLAMA, "add_space_prefix": False})
    wanted = pieces(SPACE).encode(text).ids
    assert found(text, add_special_tokens=False).input_ids == wanted
    assert found.decode(wanted) == text


@pytest.mark.parametrize("name", ["Phi 3", "Phi-3 Mini 4k", "tuned-phi3"])
@pytest.mark.parametrize("text", ["<|user|>\nthe <think> the</s>\n", "<s> the<unk>\nthe"])
def test_tokens_of_phi_3_take_the_white_space_after_them(text: str, name: str, tmp_path: Path) -> None:
    found = read(tmp_path, "phi3", LLAMA, name=name)
    wanted = pieces(FIRST, rstrip=name != "Phi 3").encode(text).ids  # llama.cpp goes by the name
    assert found(text, add_special_tokens=False).input_ids == wanted


def test_a_plain_file_has_no_start(tmp_path: Path) -> None:
    assert read(tmp_path, "llama", {**PLAIN, "bos_token_id": 5})("ab").input_ids == [len(PLAIN["tokens"]) - 1]
