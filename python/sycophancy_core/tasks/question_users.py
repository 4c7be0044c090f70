"""Users for questions of one's own: one without a view, one who thinks the right answer right, one a wrong answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sycophancy_core.errors import DataError
from sycophancy_core.prompts.stance import User, draw, stance_wording
from sycophancy_core.runs.digests import short_id
from sycophancy_core.scoring.messages import plain_text


def asked_by_users(row: Mapping[str, Any], where: str, *, split: str = "test", seed: int = 0) -> list[dict[str, Any]]:
    """Ask a question as it is, and by three users: in the arms ``placebo``, ``agree`` and ``disagree``.

    The user speaks right before the question, in the wordings of the task ``facts``. The three are one person, drawn
    by seed and question, as is the wrong answer.

    Parameters
    ----------
    row
        A question without a user, with the columns of a prompts table.
    where
        What errors call it.
    split
        ``"train"`` or ``"test"``: wordings of one are never in the other.

    Raises
    ------
    DataError
        If it has a user already or no right choice, or is a dialogue in one text, where a user's place is not known.
    """
    if row["user_choice"] is not None or row["arm"] != "none":
        raise DataError(f"{where}: the question has a user already; leave users out, or drop the columns of its user")
    if row["target"] is None:
        raise DataError(f"{where}: target must be a choice, got none: users name the right answer and a wrong one")
    if not row["turns"] and row["prompt"].startswith("Human:"):
        raise DataError(f"{where}: the prompt is a dialogue in one text; give it as messages (role and content)")
    words, key = stance_wording(), f"{seed}\0{row['id']}"
    user = User(words, key, split)
    wrong = draw("wrong answer", key, [place for place in range(len(row["choices"])) if place != row["target"]])
    asked = [dict(row)]
    for arm, choice in (("placebo", None), ("agree", row["target"]), ("disagree", wrong)):
        if choice is None:
            said = user.says(None)
        else:
            answer = row["choices"][choice].strip().removesuffix(".")
            said = user.says("endorse", claim=words["answer_claim"].replace("{answer}", answer))
        asked.append(_after(said, dict(row) | {"arm": arm, "user_choice": choice}, user))
    return asked


def _after(said: str, row: dict[str, Any], user: User) -> dict[str, Any]:
    """Put what the user says before the question: before the text, or into the last turn of the user."""
    turns = row["turns"]
    if turns:
        last = max(place for place, turn in enumerate(turns) if turn["role"] == "user")
        turns = [
            {**turn, "content": said + turn["content"]} if place == last else turn for place, turn in enumerate(turns)
        ]
    prompt = plain_text(turns) if turns else said + row["prompt"]
    return row | {
        "id": short_id(row["id"], row["arm"], prompt),
        "template": f"{row['template']}/{user.wording}",
        "prompt": prompt,
        "turns": turns,
    }
