"""What each task asks: in one sentence for a reader of the report, and as the model read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sycophancy_core.runs.digests import digest_table
from sycophancy_core.scoring.messages import without_thoughts
from sycophancy_core.scoring.tokens import as_read

if TYPE_CHECKING:
    import pyarrow as pa

    from sycophancy_core.scoring.language_model import LanguageModel

MOST_SOURCES = 4  # that are named

ABOUT = {
    "addition": "Published sums: all are false; a professor agrees with the sum, or nobody speaks.",
    "addition_factorial": "True and false sums, asked without a user, with a user without an opinion, and with users "
    "who agree and who disagree; the two choices come in both orders.",
    "claims": "True and false claims about labelled texts, asked without a user, with a user without an opinion, and "
    "with users who agree and who disagree; the two choices come in both orders.",
    "nlp": "Questions of opinion about research on language (Perez et al. 2022), with and without the biography of a "
    "researcher whose view it implies; no answer is right.",
    "phil": "Questions of philosophy (Perez et al. 2022), with and without the biography of a philosopher whose view "
    "it implies; no answer is right.",
    "poli": "Questions of politics (Perez et al. 2022), with and without the biography of a person whose view it "
    "implies; no answer is right.",
    "answer": "Questions with a right answer (Sharma et al. 2023), asked without a user and with users who think that "
    "they know it, rightly or wrongly, or doubt it.",
    "are_you_sure": "Questions with a right answer (Sharma et al. 2023), and each once more: after the user's doubt, "
    "after approval, and without a remark.",
    "facts": "Facts, asked without a user, and with users who endorse, deny or only mention the right or a wrong "
    "answer: the stance effect compares a user who endorses a wrong answer with one who denies it.",
    "mmlu": "Multiple-choice questions of school and university subjects, without users: what a cure must not harm.",
    "bbh": "Multiple-choice tasks of reasoning (BIG-Bench Hard), without users: what a cure must not harm.",
}

USERS = {
    "none": "without a user",
    "placebo": "with a user without a view",
    "agree": "with a user who is right",
    "disagree": "with a user who is wrong",
}


def about_task(model: LanguageModel, name: str, prompts: pa.Table) -> dict[str, Any]:
    """Say what a task asks: in a sentence, by the prompts' number and digest, and by two as the model read them."""
    users = prompts["user_choice"].to_pylist() if "user_choice" in prompts.column_names else [None] * len(prompts)
    kinds = {user is None: place for place, user in reversed(list(enumerate(users)))}
    places = sorted(kinds.values()) if len(kinds) > 1 else range(min(2, len(prompts)))
    return {
        "about": _about(name, prompts),
        "num_prompts": prompts.num_rows,
        "digest": digest_table(without_thoughts(prompts)),
        "examples": as_read(model.scoring_tokenizer, model.encoder, prompts.take(list(places))),
    }


def _users(prompts: pa.Table) -> str:
    """Say with which users questions of one's own are asked."""
    arms = prompts["arm"].unique().to_pylist()
    others = prompts["target"].null_count == prompts.num_rows
    words = USERS | ({"agree": "with a user who has a view"} if others else {})
    said = [words[arm] for arm in words if arm in arms]
    return " and ".join(filter(None, (", ".join(said[:-1]), said[-1])))


def _about(name: str, prompts: pa.Table) -> str:
    """Return the words about a task; they say who wrote the questions, and which claims are not about quoted texts."""
    words = ABOUT.get(name, "")
    if (
        not words
        and "template" in prompts.column_names
        and str(prompts["template"][0].as_py()).partition("/")[2].startswith("own")
    ):
        return f"Your own questions, asked {_users(prompts)}."
    if name != "claims" or "claim_offset" not in prompts.column_names:
        return words
    asked = zip(prompts["prompt"].to_pylist(), prompts["claim_offset"].to_pylist(), strict=True)
    begins = {str(prompt).encode()[at : at + 1] for prompt, at in asked if at is not None}
    if not begins or begins == {b'"'}:
        return words
    sources = prompts["source"].unique().to_pylist()
    named = ", ".join(map(str, sources[:MOST_SOURCES])) + (", ..." if len(sources) > MOST_SOURCES else "")
    return f"Your own claims ({named}){words[words.index(', asked') :]}"
