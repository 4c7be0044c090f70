"""Scoring with a journal (P1, P2, P10, P11): nothing acknowledged is lost, the plan is fixed, stops are heard."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from makers.tiny_llama import tiny_llama, tiny_model, tiny_tokenizer

from sycophancy_core.errors import DataError
from sycophancy_core.runs import batches
from sycophancy_core.runs.interrupts import kept_by
from sycophancy_core.runs.journal import read_journal
from sycophancy_core.scoring import resumable, tokens
from sycophancy_core.scoring.language_model import LanguageModel
from sycophancy_core.scoring.loading import load_model
from sycophancy_core.scoring.resumable import score_resumable


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model()


@pytest.fixture(scope="module")
def prompts() -> pa.Table:
    texts = [f"Is {i} a number? I say {word}." for i in range(10) for word in ("yes", "no", "nothing", "so")]
    return pa.table({"prompt": texts, "choices": [[" (A)", " (B)", " (C) or so"][: 2 + i % 2] for i in range(40)]})


def test_p1_p11_interrupted_scoring_goes_on_to_the_same_scores(
    model: LanguageModel, prompts: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "score.journal"
    whole = score_resumable(model, prompts, journal=tmp_path / "whole.journal", batch_prompts=8)

    def interrupt(done: int, total: int) -> None:
        if done >= 16:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"after (16|24) of 40 prompts, kept in .*; the same call") as stopped:
        score_resumable(model, prompts, journal=path, batch_prompts=8, progress=interrupt)
    assert kept_by(stopped.value) == path
    resumed = score_resumable(model, prompts, journal=path, batch_prompts=8)
    assert np.array_equal(resumed.log_prob, whole.log_prob, equal_nan=True)
    assert resumed.num_tokens == whole.num_tokens
    straight = model.score(prompts)
    for name in ("choice_tokens", "shared_tokens"):
        assert np.array_equal(getattr(resumed, name), getattr(straight, name))


def test_scores_with_a_journal_are_those_without(model: LanguageModel, prompts: pa.Table, tmp_path: Path) -> None:
    found, wanted = score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=8), model.score(prompts)
    assert found.log_prob == pytest.approx(wanted.log_prob, abs=1e-5, nan_ok=True)
    assert (found.num_tokens_unshared, found.num_moved_borders, found.unscored) == (
        wanted.num_tokens_unshared,
        wanted.num_moved_borders,
        wanted.unscored,
    )


def test_a_stop_before_anything_is_kept_promises_nothing(
    model: LanguageModel, prompts: pa.Table, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match=r"stopped after 0 of 40 prompts$") as stopped:
        score_resumable(model, prompts, journal=tmp_path / "j", progress=interrupt)
    assert kept_by(stopped.value) is None


def test_p11_a_stop_while_the_journal_is_read_back_is_heard(
    model: LanguageModel, prompts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=10)
    decode = resumable._decode

    def stopped(payload: bytes) -> Any:
        os.kill(os.getpid(), signal.SIGHUP)
        return decode(payload)

    monkeypatch.setattr(resumable, "_decode", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"scoring stopped after \d+ of 40 prompts, kept in"):
        score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=10)


def test_p5_a_torn_record_is_cut_and_said(model: LanguageModel, prompts: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = score_resumable(model, prompts, journal=path, batch_prompts=10)
    content, num_records = path.read_bytes(), len(read_journal(path).records)
    path.write_bytes(content[:-100])
    torn = len(content) - 100 - len(b"".join(b"0" * 12 + r for r in read_journal(path).records)) - 8
    with pytest.warns(UserWarning, match=rf"j: its last record was torn .*; its {torn} bytes are cut off"):
        resumed = score_resumable(model, prompts, journal=path, batch_prompts=10)
    assert np.array_equal(resumed.log_prob, whole.log_prob, equal_nan=True)
    again = read_journal(path)  # of another size: records hold their seconds, in digits
    assert (len(again.records), again.torn_bytes) == (num_records, 0)


@pytest.mark.parametrize("name", ["torch", "transformers", "processor"])
def test_other_surroundings_are_said_when_a_job_goes_on(
    name: str, model: LanguageModel, prompts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_resumable(model, prompts, journal=tmp_path / "j")
    here = batches.surroundings("cpu")
    monkeypatch.setattr(batches, "surroundings", lambda _: here | {name: "9.9"})
    with pytest.warns(UserWarning, match=rf"j: it was begun with {name} .*, now 9\.9; it goes on, but last digits"):
        score_resumable(model, prompts, journal=tmp_path / "j")


def test_p3_p10_the_journal_of_another_job_is_refused_by_what_differs(
    model: LanguageModel, prompts: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "j"
    score_resumable(model, prompts, journal=path)
    with pytest.raises(DataError, match="this journal was begun with other weights; use those again"):
        score_resumable(tiny_model(seed=1), prompts, journal=path)
    with pytest.raises(DataError, match="this journal was begun with other prompts; use"):
        score_resumable(model, prompts.slice(0, 39), journal=path)
    native = load_model((tiny_llama(), tiny_tokenizer()), engine="native")
    with pytest.raises(DataError, match="begun with other precision and other engine; use"):
        score_resumable(native, prompts, journal=path)
    with pytest.raises(DataError, match="begun with other batch sizes; use"):
        score_resumable(model, prompts, journal=path, batch_prompts=3)


def test_what_is_no_scorings_journal_is_refused(model: LanguageModel, prompts: pa.Table, tmp_path: Path) -> None:
    from sycophancy_core.runs.journal import Journal

    with Journal(tmp_path / "j") as journal:
        journal.append(b"something else")
    with pytest.raises(DataError, match="wanted the journal of a scoring, got another one"):
        score_resumable(model, prompts, journal=tmp_path / "j")


def test_prompts_are_tokenized_once(
    model: LanguageModel, prompts: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, tokenize = [], tokens.tokenize

    def counted(encoder: Any, texts: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(len(texts))
        return tokenize(encoder, texts, *arguments, **options)

    monkeypatch.setattr(tokens, "tokenize", counted)
    score_resumable(model, prompts, journal=tmp_path / "j", batch_prompts=8)
    assert calls == [40]


def test_p2_a_batch_is_as_much_work_as_takes_seconds_whatever_the_clock_says(
    model: LanguageModel, prompts: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = tokens.tokenize_prompts(model.encoder, prompts)
    num_parameters = sum(parameter.numel() for parameter in model.model.parameters())
    a_prompt = num_parameters * batch.num_tokens_unshared / 40
    sizes = []
    for prompts_in_seconds in (1, 40, 100, 1e9):
        monkeypatch.setitem(resumable.BATCH_WORK, "cpu", prompts_in_seconds * a_prompt)
        sizes.append(resumable._batch_prompts(model, batch))
    assert sizes == [resumable.LEAST_PROMPTS, 32, 64, resumable.MOST_PROMPTS]
