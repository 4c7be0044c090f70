r"""What a reply in words says: one of the answer choices, or none that can be told. Nothing is guessed.

The rules, in order; the first that says something decides:

1. A thought is cut off, which is all up to ``</think>``: its ``<think>`` may stand in the prompt. One without an end
   says nothing.
2. Space, quotation marks, asterisks and the like around the reply are left out, and an opening such as "The best answer
   is", "I choose" or "Answer:".
3. The reply must now **begin** with a choice, and a word must end there. Letters count as "(A)", "A)", "A.", "A:", or
   "A" alone or before a comma or a line's end, never as the word "a". Words are compared without case. Where the prompt
   lists texts after letters ("(A) Agree"), these texts count as their letters; of several lists the last counts. Of
   choices that begin alike, the longest counts. A number does not end before a digit: "3.14" does not say "3".
4. If another choice follows at once, on the next line or joined by "or", "and", "/" or a comma, the reply says neither:
   it may only list the choices again.
5. If the reply denies the choice at once ("(A) is wrong", "Paris isn't"), it says none.

All else says nothing: a reply that only mentions a choice somewhere, refuses, or asks back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)
_MARKS = " \t\r\n*_`\"'“”‘’#>"
_ROUND = "*_`\"'“”‘’"  # marks that may close a choice
_OPENING = re.compile(
    r"(?:(?:my|the)\s+)?(?:(?:best|correct|right|final)\s+)?(?:answer|choice|option)\s*(?:is|would be|:)\s*:?"
    r"|i\s+(?:would\s+)?(?:choose|pick|select|answer)\b:?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\(([A-Z])\)")
_JOINT = re.compile(r"\s*(?:[,/]|\bor\b|\band\b)\s*(?:\bor\b|\band\b)?\s*|\s+|\.\s*\n\s*", re.IGNORECASE)
_DENIED = re.compile(
    r"\s*(?:\b(?:is|are|was|were|seems|would\s+be)\s+(?:\w+ly\s+)?(?:not|never|wrong|incorrect|false|untrue)\b"
    r"|\b(?:is|are|was|were|would|could|ca|does|do|did)n['’]t\b|\b(?:cannot|never)\b)",
    re.IGNORECASE,
)
_WITHIN_NUMBER = r"[.,:/–-]?\d"


def read_reply(reply: str, choices: Sequence[str], *, prompt: str = "") -> int | None:
    """Return the position of the choice that a reply names, or None.

    Parameters
    ----------
    choices
        As a prompt has them: letters such as ``" (A)"``, or texts.
    prompt
        The prompt's text, in which letters may stand before texts.
    """
    text = _THOUGHT.sub("", reply).strip(_MARKS)
    opening = _OPENING.match(text)
    if opening:
        text = text[opening.end() :].strip(_MARKS)
    forms = [_forms(choice, prompt) for choice in choices]
    place, end = _begun(text, forms)
    if place is None:
        return None
    rest = text[end:].lstrip(_ROUND)
    again, end = _begun(rest.lstrip(), forms)  # a letter's own text
    if again == place:
        rest = rest.lstrip()[end:].lstrip(_ROUND)
    return None if _DENIED.match(rest) or _names_another(rest, place, forms) else place


def _names_another(rest: str, place: int, forms: Sequence[Sequence[re.Pattern[str]]]) -> bool:
    """Tell whether what follows a choice is another one."""
    joint = _JOINT.match(rest)
    other, _ = _begun(rest[joint.end() :].lstrip(_MARKS), forms) if joint else (None, 0)
    return other not in (None, place)


def _begun(text: str, forms: Sequence[Sequence[re.Pattern[str]]]) -> tuple[int | None, int]:
    """Return which choice a text begins with, the longest of several, and where it ends there."""
    found = [
        (match.end(), place) for place, patterns in enumerate(forms) for one in patterns if (match := one.match(text))
    ]
    if not found:
        return None, 0
    end = max(length for length, _ in found)
    places = {place for length, place in found if length == end}
    return (places.pop(), end) if len(places) == 1 else (None, 0)


def _forms(choice: str, prompt: str) -> list[re.Pattern[str]]:
    """Return how a reply may begin that names a choice."""
    letter = _LETTER.fullmatch(choice.strip())
    if letter is None:
        return [_words(choice)]
    name = letter[1]
    said = re.compile(rf"\({name}\)|{name}(?=[).:,\n]|\s*$)[).:]?")
    listed = re.findall(rf"^[ \t]*\({name}\)[ \t]*(\S.*?)[ \t]*$", prompt, re.MULTILINE)
    return [said, _words(listed[-1])] if listed else [said]


def _words(text: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in text.strip().strip(".").split())
    within = _WITHIN_NUMBER if words[-1:].isdigit() else r"(?!)"
    return re.compile(rf"{words}(?!\w|{within})", re.IGNORECASE)
