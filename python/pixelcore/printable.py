"""Makes strangers' texts safe to read: control characters and invisible characters are escaped like in JSON."""

from __future__ import annotations

import re

# DEL and the C1 controls. JSON requires escapes only for the C0 controls.
_CONTROLS = re.compile(r"[\x7f-\x9f]")
# The part of Unicode's Default_Ignorable_Code_Point that str.isprintable() does not cover: fillers and selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def escape_controls(json_text: str) -> str:
    """Equivalent JSON without control characters, for pipes."""
    return _CONTROLS.sub(_escaped, json_text)


def escape(text: str) -> str:
    """The text with controls, directions and invisible characters escaped, so that a terminal shows every character.

    Line feeds stay. JSON stays equivalent.
    """
    if text.isascii() and (text.isprintable() or text.replace("\n", "").isprintable()):
        return text
    return "".join(
        char if char == "\n" or (char.isprintable() and not _INVISIBLE.match(char)) else _escape(char) for char in text
    )


def _escaped(match: re.Match[str]) -> str:
    return _escape(match[0])


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
