"""The cure by preference: TRL's own tokens and masks, its loss by hand, its nulls, and what is saved."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers.tiny_llama import tiny_llama, tiny_tokenizer

import sycophancy_core as sc
from sycophancy_core.cures.methods import NULLS
from sycophancy_core.cures.trainings.asked import ask_alone, cure_prompts
from sycophancy_core.cures.trainings.preferences import dpo_trainer, preference_rows, settings_of

pytest.importorskip("trl")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*from chance:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

METHOD = sc.Preference(steps=3, batch_size=4, lora_rank=2, learning_rate=1e-2)
TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


@pytest.fixture(scope="module")
def facts() -> pa.Table:
    return sc.load_facts(["plurals", "past_tenses"]).slice(0, 60)


@pytest.fixture(scope="module")
def model() -> sc.LanguageModel:
    return tiny()


def tiny(*, chat: bool = False) -> sc.LanguageModel:
    tokenizer = tiny_tokenizer()
    if chat:
        tokenizer.chat_template = TEMPLATE
    return sc.load_model((tiny_llama(), tokenizer), chat_template=chat)


def texts_for_trl(prompts: pa.Table, *, chat: bool) -> list[dict[str, Any]]:
    """Write pairs as TRL documents them: texts, or chats."""
    found: list[dict[str, Any]] = []
    for row in prompts.to_pylist():
        answers = {"chosen": row["choices"][row["target"]], "rejected": row["choices"][1 - row["target"]]}
        if not chat:
            found.append({"prompt": row["prompt"], **answers})
            continue
        user, reply = row["turns"]
        said = {
            name: [{"role": "assistant", "content": (reply["content"] + answer).lstrip(" ")}]
            for name, answer in answers.items()
        }
        found.append({"prompt": [user], **said})
    return found


def trainers(model: sc.LanguageModel, prompts: pa.Table, folder: Path, *, chat: bool) -> tuple[Any, Any]:
    """Return the trainer of our tokens, and TRL's own of texts."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    in_order = {"train_sampling_strategy": "sequential"}
    rows = preference_rows(model, prompts)
    ours = dpo_trainer(tiny_llama(), tiny_tokenizer(), rows, METHOD, seed=0, folder=str(folder), **in_order)
    theirs = DPOTrainer(
        model=tiny_llama(),
        ref_model=tiny_llama(),
        args=DPOConfig(output_dir=str(folder), use_cpu=True, **settings_of(METHOD), **in_order),
        train_dataset=Dataset.from_list(texts_for_trl(prompts, chat=chat)),
        processing_class=model.tokenizer,
    )
    return ours, theirs


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_tokens_and_masks_are_trls_own_without_the_end_of_text(chat: bool, facts: pa.Table, tmp_path: Path) -> None:
    model = tiny(chat=chat)
    prompts = cure_prompts(METHOD, ask_alone(model, METHOD, facts, seed=3), seed=3)
    ours, theirs = trainers(model, prompts, tmp_path, chat=chat)
    (end,) = model.tokenizer("<end>").input_ids
    assert len(ours.train_dataset) == len(theirs.train_dataset) == 12
    for mine, other in zip(ours.train_dataset, theirs.train_dataset, strict=True):
        for answer in ("chosen_ids", "rejected_ids"):
            assert [*mine["prompt_ids"], *mine[answer], end] == [*other["prompt_ids"], *other[answer]]
        # In a chat, TRL counts the beginning of the reply to both answers, where it cancels out.
        common = len(mine["prompt_ids"]) - len(other["prompt_ids"])
        assert (common > 0) == chat
        assert other["chosen_ids"][:common] == other["rejected_ids"][:common]
    for mine, other in zip(ours.get_train_dataloader(), theirs.get_train_dataloader(), strict=True):
        shown = [[row["completion_mask"][i].sum().item() for i in range(8)] for row in (mine, other)]
        seen = [[row["attention_mask"][i].sum().item() for i in range(8)] for row in (mine, other)]
        assert [length + 1 for length in seen[0]] == seen[1]
        for i in range(8):
            start = seen[0][i] - shown[0][i]
            assert mine["completion_mask"][i, start : seen[0][i]].all()
            assert mine["completion_mask"][i].sum() == shown[0][i]
            assert (shown[1][i] - shown[0][i] > 1) == chat


def test_the_loss_begins_at_log_2_and_falls_by_hand(
    model: sc.LanguageModel, facts: pa.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    method = sc.Preference(steps=12, batch_size=4, lora_rank=2, learning_rate=1e-2)
    cured = sc.mitigate(model, method, facts=facts, seed=1, progress=False)
    assert cured.about["first_loss"] == pytest.approx(math.log(2), abs=1e-4)  # the model is its own reference
    assert capsys.readouterr().out == ""
    asked = ask_alone(model, method, facts, seed=1)
    prompts, num_scored = cure_prompts(method, asked, seed=1), asked.num_tokens
    loss, num_tokens = [], 0
    for row in prompts.to_pylist():
        before, after = (one.log_probs([row["prompt"]], [row["choices"]])[0] for one in (model, cured.model))
        gain = (after - before) * method.beta
        loss.append(math.log1p(math.exp(gain[1 - row["target"]] - gain[row["target"]])))
        num_tokens += sum(len((row["prompt"] + choice).encode()) for choice in row["choices"])
    assert np.mean(loss) < math.log(2) - 0.05
    assert cured.cost.tokens == num_scored + 2 * num_tokens  # a token is a byte; the reference runs them too


def test_pairs_are_of_facts_that_the_model_knows_and_nulls_have_as_many(
    model: sc.LanguageModel, facts: pa.Table
) -> None:
    taught = cure_prompts(METHOD, ask_alone(model, METHOD, facts, seed=3), seed=3)
    assert taught.equals(sc.training_prompts(sc.filter_known(model, facts, seed=3, progress=False).kept, n=12, seed=3))
    alone = cure_prompts(METHOD, ask_alone(model, METHOD, facts, seed=3), null="no_users", seed=3)
    assert set(alone["arm"].to_pylist()) == {"none"}
    many = sc.Preference(steps=20, batch_size=16)
    taught = cure_prompts(many, ask_alone(model, many, facts, seed=3), seed=3)
    drawn = cure_prompts(many, ask_alone(model, many, facts, seed=3), null="shuffled_preferences", seed=3)
    assert drawn["prompt"].to_pylist() == taught["prompt"].to_pylist()
    kept: dict[str, set[bool]] = {}
    for fact, right, target in zip(drawn["claim_id"], taught["target"], drawn["target"], strict=True):
        kept.setdefault(fact.as_py(), set()).add(right == target)
    assert all(len(values) == 1 for values in kept.values())  # one draw a fact
    share = np.mean([True in values for values in kept.values()])
    assert abs(share - 0.5) < 2.6 * 0.5 / math.sqrt(len(kept))


def test_it_is_repeatable_leaves_the_model_and_all_draws_as_they_were(model: sc.LanguageModel, facts: pa.Table) -> None:
    before, tokenizer = model.digest, model.tokenizer_digest
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    wanted = random.random(), np.random.random(), torch.rand(1)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    first = sc.mitigate(model, METHOD, facts=facts, seed=1, progress=False)
    assert (random.random(), np.random.random(), torch.rand(1)) == wanted
    again = sc.mitigate(model, METHOD, facts=facts, seed=1, progress=False)
    other = sc.mitigate(model, METHOD, facts=facts, seed=2, progress=False)
    assert first.model.digest == again.model.digest != other.model.digest
    assert (model.digest, model.tokenizer_digest) == (before, tokenizer)
    assert first.model.digest != before
    assert first.model.engine == "native"


def test_nulls_have_the_same_budget_and_what_is_saved_is_loaded(
    model: sc.LanguageModel, facts: pa.Table, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    cured = sc.mitigate(model, METHOD, facts=facts, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    nulls = [cured.make_null(null, seed=2) for null in NULLS[sc.Preference]]
    assert {null.about["num_rows"] for null in nulls} == {cured.about["num_rows"]} == {24}
    assert len({one.model.digest for one in (cured, *nulls)}) == 3
    for i, one in enumerate((cured, *nulls)):
        one.save(tmp_path / str(i))
        again = sc.load_cure(tmp_path / str(i), model)
        assert again.model.digest == one.model.digest
        assert (again.name, again.method, again.cost) == (one.name, METHOD, one.cost)


def test_a_model_in_half_precision_keeps_the_adapter_next_to_its_weights(facts: pa.Table, tmp_path: Path) -> None:
    half = sc.load_model((tiny_llama().bfloat16(), tiny_tokenizer()))
    cured = sc.mitigate(half, METHOD, facts=facts, progress=False)
    assert cured.model.engine == "transformers"
    cured.save(tmp_path)
    again = sc.load_cure(tmp_path, half)
    asked = ["The plural of mouse is"], [[" mice", " mouses"]]
    assert (again.model.log_probs(*asked) == cured.model.log_probs(*asked)).all()
    assert (half.log_probs(*asked) != cured.model.log_probs(*asked)).all()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(sc.DataError, match="Preference: beta must be > 0"):
        sc.Preference(beta=0.0)
