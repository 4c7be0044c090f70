"""Text from data made safe to show: on a terminal, in HTML, in a column of a given width."""

from __future__ import annotations

import html
import re
import unicodedata

# CSI, OSC, DCS/SOS/PM/APC and two-character sequences, in their 7-bit and 8-bit forms (ECMA-48, section 5).
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])(?:[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c))?"
    r"|\x1b[ -/]*[0-~]?"
)
# Characters that change the direction or the order of the text around them.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def clean_text(text: object) -> str:
    """Return text that is safe on a terminal and well-formed in XML.

    Escape sequences and direction marks are removed; white space of any kind becomes one space; every other control
    character, surrogate or non-character becomes U+FFFD.
    """
    plain = _ESCAPE_SEQUENCE.sub("", str(text))
    shown = (" " if ch.isspace() else ch for ch in plain if ch not in _DIRECTION)
    return "".join("\ufffd" if _is_unprintable(ch) else ch for ch in shown)


def _is_unprintable(ch: str) -> bool:
    return unicodedata.category(ch) in {"Cc", "Cs"} or (ord(ch) & 0xFFFE) == 0xFFFE


def escape(text: object) -> str:
    """Return text for HTML: cleaned of control characters, then escaped (quotes too)."""
    return html.escape(clean_text(text), quote=True)


def display_width(text: str) -> int:
    """Return the number of terminal columns that a text takes (wide characters take two, combining ones none)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit_name(name: str, width: int) -> str:
    """Return a name cut in its middle, where it is too long, or padded: names often differ only at their ends."""
    if display_width(name) <= width:
        return fit(name, width)
    ends = list(name[len(name) - len(name) // 2 :])
    while display_width("".join(ends)) > (width - 1) // 2:
        ends.pop(0)
    end = "".join(ends)
    return fit(fit(name, width - display_width(end)) + end, width)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return text cut or padded to a number of terminal columns."""
    if display_width(text) > width:
        while display_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    padding = " " * (width - display_width(text))
    return padding + text if right else text + padding
