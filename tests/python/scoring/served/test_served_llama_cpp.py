"""llama.cpp's own server, run on the loopback address, against scores of the same models here."""

import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from makers.gguf_files.embedded_gguf import write_float32
from makers.gguf_files.tiny_gguf import gguf_model, gguf_tokenizer, write_gguf
from makers.llama_server import llama_servers

from sycophancy_core import DataError, ModelError, load_model
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.resumable import score_resumable
from sycophancy_core.scoring.served import llama_cpp
from sycophancy_core.scoring.sources import embedded_gguf

TEMPLATE = (
    "{% for message in messages %}<end>{{ message['role'] }}\n{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<end>assistant\n{% endif %}"
)
PROMPTS = pa.table(
    {
        "prompt": ["Is a cab a car?\n\nAnswer:", "Is a cab a car?\n\nReply:", "2 + 2 is", "caf\u00e9 \u6771 is"],
        "choices": [[" (A)", " (B)"], [" (A)", " (B)", " (C) or so"], [" four", " five"], [" a", "\u00e9"]],
    }
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where llama.cpp's server holds a tiny model."""
    path = write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", gguf_model(), template=TEMPLATE)
    with llama_servers(path) as (url,):
        yield url


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    gguf_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(url: str) -> LanguageModel:
    return load_model(url, chat_template=False)


@pytest.fixture(scope="module")
def local() -> LanguageModel:
    return load_model((gguf_model(), gguf_tokenizer()), engine="transformers")


def test_llama_cpp_scores_as_transformers(served: LanguageModel, local: LanguageModel) -> None:
    found, wanted = served.score(PROMPTS), local.score(PROMPTS)
    assert served.engine == "server (llama.cpp)"
    np.testing.assert_allclose(found.log_prob, wanted.log_prob, atol=2e-4)


def test_the_servers_tokenizer_is_that_of_the_file(
    served: LanguageModel, local: LanguageModel, url: str, tokenizer_folder: Path
) -> None:
    texts, choices = ["a cab <end> here", "caf\u00e9 \u6771\n"], [[" a", "b"], [" c"]]
    assert served.encoder.rows(texts, choices) == local.encoder.rows(texts, choices)
    given = load_model(url, tokenizer=tokenizer_folder)
    np.testing.assert_allclose(given.log_probs(texts, choices), served.log_probs(texts, choices), atol=1e-4)


def test_a_chat_template_of_the_server_is_written_out_as_here(url: str, local: LanguageModel) -> None:
    asked = load_model(url, chat_template="auto", system_prompt="Be brief.")
    tokenizer = gguf_tokenizer()
    tokenizer.chat_template = TEMPLATE
    here = load_model((gguf_model(), tokenizer), engine="transformers", chat_template=True, system_prompt="Be brief.")
    assert asked.template_facts == here.template_facts
    texts = ["Is a cab a car?", "what is <end>?"]
    assert asked.encoder.rows(texts, [["Yes"], ["No"]]) == here.encoder.rows(texts, [["Yes"], ["No"]])


def test_a_choice_below_the_first_entries_has_its_value_too(
    served: LanguageModel, local: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "FIRST_ENTRIES", 2)
    asked = (["2 + 2 is"], [[" four", " Z"]])
    np.testing.assert_allclose(served.log_probs(*asked), local.log_probs(*asked), atol=2e-4)


def test_a_tokenizer_of_another_model_is_refused(url: str, tmp_path: Path) -> None:
    from makers.tiny_llama import tiny_tokenizer

    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the server makes other tokens of a text than the tokenizer here"):
        load_model(url, tokenizer=tmp_path)


def test_a_prompt_beyond_the_servers_context_is_refused_before_it_is_sent(served: LanguageModel) -> None:
    assert served.context_length == 1023  # 2048 in two slots, less the token that the server makes
    with pytest.raises(DataError, match="takes at most 1024; shorten"):
        served.log_probs(["x" * 1024], [["y"]])


def test_p1_journal_and_resume(served: LanguageModel, tmp_path: Path) -> None:
    score_resumable(served, PROMPTS, journal=tmp_path / "j", batch_prompts=2)
    again = score_resumable(served, PROMPTS, journal=tmp_path / "j", batch_prompts=2)
    np.testing.assert_allclose(again.log_prob, served.score(PROMPTS).log_prob, atol=1e-4)


def test_the_chat_endpoint_gives_first_tokens_and_intervals(url: str) -> None:
    """The wanted values are those of the whole vocabulary, after the same messages in the same template."""
    chat = load_model(f"{url}/v1/chat/completions")
    exact = load_model(url, chat_template=True)
    choices = [*string.ascii_letters, *string.digits, *"!#$%&+-/;<=>?@^_{|}~"]
    found = chat.score(pa.table({"prompt": ["Is a cab a car?"], "choices": [choices]}))
    wanted = exact.log_probs(["Is a cab a car?"], [choices])[0]
    low, high = found.log_prob_low, found.log_prob
    assert low is not None
    known = np.isfinite(low[0])
    assert 0 < known.sum() < len(choices)
    np.testing.assert_allclose(high[0][known], wanted[known], atol=2e-4)
    assert (wanted[~known] <= high[0][~known] + 2e-4).all()
    assert (high[0][~known] <= wanted[known].min() + 2e-4).all()


def test_a_prompt_of_which_no_choice_is_likely_is_unscored(url: str) -> None:
    chat = load_model(f"{url}/v1/chat/completions")
    texts = [f"question {i}" for i in range(4)]
    found = chat.score(pa.table({"prompt": texts, "choices": [["Qx", "Zx"]] * 4}))
    said = {None, "no choice among the likeliest first tokens"}
    assert set(found.unscored) <= said
    assert [why is not None for why in found.unscored] == np.isnan(found.log_prob).all(axis=1).tolist()


@pytest.mark.model
def test_the_embedded_model_on_llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In float32 within 5e-3 nats; quantized kernels are another model, 0.1 to 0.2 nats a token away."""
    folder = tmp_path_factory.mktemp("embedded")
    try:
        quantized = embedded_gguf()
    except ModelError as error:
        pytest.skip(str(error))
    exact = write_float32(quantized, folder / "float32.gguf")
    local = load_model(engine="native", chat_template=False)
    asked = (
        ["The capital of France is", "Is 7 a prime number?\n\nChoices:\n (A) Agree\n (B) Disagree\n\nAnswer:"],
        [[" Paris", " London", " the"], [" (A)", " (B)"]],
    )
    wanted = local.log_probs(*asked)
    try:
        with llama_servers(exact, quantized) as urls:
            found, coarse = (load_model(url, chat_template=False).log_probs(*asked) for url in urls)
    finally:
        exact.unlink()
    np.testing.assert_allclose(found, wanted, atol=5e-3)
    num_tokens = np.array([[1, 1, 1], [3, 3, np.nan]])  # " (", "A", ")"
    assert np.nanmax(np.abs(coarse - wanted) / num_tokens) < 0.2
